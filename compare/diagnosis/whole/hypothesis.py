"""A hypothesis about a whole result, and how unlikely each is."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from handgrad.compare.diagnosis.cause import Cause
from handgrad.compare.judge.case import Case

Change = Callable[[np.ndarray], np.ndarray]

# How unlikely each edit is, in tens for each thing that went wrong.
UNLIKELY = {
    "zero": 5, "one": 6, "kept by torch": 6,
    "never zeroed": 10, "one step late": 10, "updated too early": 10, "transposed": 10,
    "reversed": 11, "rolled": 11, "outputs exchanged": 11, "not transposed": 11, "δ summed": 11, "input rounded": 11,
    "input reversed": 11, "input rolled": 11,
    "permuted": 12, "reshaped": 12, "other pairs": 12, "derivative twice": 12, "input transposed": 12,
    "input negated": 12, "input doubled": 12, "input halved": 12, "input as 0": 12, "own input moved": 12,
    "input as 1": 13, "added": 13,
    "another output": 14, "its own output": 14,
    "product summed": 15,
}  # fmt: skip


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
