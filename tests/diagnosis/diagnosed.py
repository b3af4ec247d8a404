"""A wrong derivation put to `check`, and what is said of it: shared by the tests of the diagnosis."""

from collections.abc import Callable
from typing import Any

import pytest

from handgrad import CheckFailed, check

Function = Callable[[Any, Any], Any]


class LossOf:
    """A loss of a value and a gradient, both functions of (output, target)."""

    def __init__(self, value: Function, gradient: Function) -> None:
        self.value, self.slope = value, gradient

    def forward(self, output: Any, target: Any) -> Any:
        return self.value(output, target), (output, target)

    def gradient(self, cache: Any) -> Any:
        return self.slope(*cache)


def causes_of(ours: Any, reference: Any, **arguments: Any) -> dict[str, tuple[str, ...]]:
    """The causes of every tensor that differs; fails where none does."""
    with pytest.raises(CheckFailed) as caught:
        check(ours, reference, **arguments)
    return {f.tensor: f.phrases for f in caught.value.report.findings if f.differs}
