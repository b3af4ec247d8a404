"""What is said of a tensor that differs. Who says it stands above the judge, and is handed to it."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from handgrad.compare.judge.case import Case
from handgrad.compare.judge.sides import Sides


class Explanation(NamedTuple):
    """The causes that were found, and all lines of the report."""

    causes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Explainer(Protocol):
    """Explains one case; `at` is the element that the report shows."""

    def __call__(self, sides: Sides, case: Case, at: tuple[int, ...]) -> Explanation: ...
