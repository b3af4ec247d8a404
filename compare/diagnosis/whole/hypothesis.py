"""A hypothesis about a whole result, and how unlikely each is."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from handgrad.compare.diagnosis.cause import Cause
from handgrad.compare.judge.case import Case

Change = Callable[[np.ndarray], np.ndarray]

# How unlikely each edit is, in tens for each thing that went wrong.
EDITS: dict[int, tuple[str, ...]] = {
    5: ("zero",),
    6: ("one", "kept by torch"),
    10: ("never zeroed", "one step late", "updated too early", "transposed", "target left out", "class terms"),
    11: (
        "reversed", "rolled", "outputs exchanged", "not transposed", "δ summed", "some examples", "clipped",
        "input reversed", "input rolled", "input rounded", "other squashing", "sign of the error", "classes shifted",
        "derivative not conjugated", "result conjugated", "δ conjugated",
    ),
    12: (
        "permuted", "reshaped", "other pairs", "derivative twice", "derivative too much", "absolute value", "sign only",
        "root", "input transposed", "input negated", "input doubled", "input halved", "input as 0", "own input moved",
    ),
    13: ("input as 1", "added"),
    14: ("another output", "its own output", "power"),
    15: ("product summed",),
}  # fmt: skip
UNLIKELY = {edit: complexity for complexity, edits in EDITS.items() for edit in edits}


class Hypothesis(NamedTuple):
    """What a result would be with an edit: made on every case alike, before any factor."""

    cause: Cause | None  # None for the reference's own result
    made: Callable[[Case], np.ndarray | None]

    @property
    def complexity(self) -> int:
        """How unlikely it is."""
        return 0 if self.cause is None else UNLIKELY[self.cause.edit]


class Edit(NamedTuple):
    """A change of an array, and what undoes it, where it only moves numbers."""

    name: str
    words: str
    change: Change
    back: Change | None = None
