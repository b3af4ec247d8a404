"""Many small tensors judged in one pass: laid end to end on one page, they cost four reductions and not four each.

A training step of a small network is judged in about twenty tensors, and there NumPy's calls cost more than its
arithmetic. A page takes a copy of each tensor as it comes, so that code which changes its own result afterwards is
judged by what it returned, and gives the verdict of `agreement.judge` on each one that agrees. The others are handed
back, to be judged one by one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from compare.judge.agreement import Verdict, looseness
from compare.rounding.bounded import Bounded, Precision

LARGEST_TENSOR = 1 << 13  # beyond it the arithmetic costs more than the calls, and a copy would cost memory
ROOM = 1 << 15  # numbers on a page: 0.8 MB in float64, which stays in the cache


class Page:
    """Room for the values, the bounds and torch's numbers of the tensors of a step."""

    def __init__(self, precision: Precision) -> None:
        self.precision = precision
        self.value = np.empty(ROOM, precision.dtype)
        self.torch = np.empty(ROOM, precision.dtype)
        self.error = np.empty(ROOM)
        self.used = 0
        self.entries: list[tuple[Any, int, tuple[int, ...], bool]] = []  # key, where it begins, shape, whether bounded

    def takes(self, ours: Any, theirs: Any) -> bool:
        """Whether this tensor may be judged here: small, not empty, of the right shape and dtype on both sides."""
        return (
            isinstance(ours, Bounded)
            and isinstance(theirs, np.ndarray)
            and 0 < theirs.size <= LARGEST_TENSOR
            and ours.value.shape == theirs.shape
            and ours.value.dtype == theirs.dtype == self.precision.dtype
        )

    def full(self, size: int) -> bool:
        """Whether there is no room for so many numbers."""
        return self.used + size > ROOM

    def add(self, key: Any, ours: Bounded, theirs: np.ndarray) -> None:
        """Copy a tensor that the page takes."""
        start, self.used = self.used, self.used + theirs.size
        here, shape = slice(start, self.used), theirs.shape
        self.value[here].reshape(shape)[...] = ours.value
        self.torch[here].reshape(shape)[...] = theirs
        error = ours.error
        self.error[here].reshape(shape)[...] = 0 if error is None else error
        self.entries.append((key, start, shape, error is not None))

    def verdicts(self) -> Iterator[tuple[Any, Verdict | tuple[Bounded, np.ndarray]]]:
        """(key, verdict) of every tensor; (key, (our copy, torch's)) where it may not agree. Clears the page."""
        entries, used, tiny = self.entries, self.used, self.precision.tiny
        self.entries, self.used = [], 0
        if not entries:
            return
        value, torch = self.value[:used], self.torch[:used]
        starts = [start for _, start, _, _ in entries]
        with np.errstate(all="ignore"):
            difference = np.subtract(value, torch, dtype=np.float64)
            np.abs(difference, out=difference)
            allowed = self.error[:used] + tiny
            ratio = difference / allowed
            furthest = np.maximum.reduceat(difference, starts).tolist()
            loosest = np.maximum.reduceat(allowed, starts).tolist()
            largest = np.maximum.reduceat(np.abs(torch), starts).tolist()
        for i, (key, start, shape, is_bounded) in enumerate(entries):
            here = slice(start, starts[i + 1] if i + 1 < len(starts) else used)
            flat = int(ratio[here].argmax())  # NaN counts as the largest
            fraction = float(ratio[start + flat])
            if not fraction <= 1:  # not `> 1`, which NaN would pass
                error = self.error[here].reshape(shape) if is_bounded else None
                yield key, (Bounded(value[here].reshape(shape), error, self.precision), torch[here].reshape(shape))
                continue
            at = start + flat
            yield key, Verdict(
                True, fraction, flat, float(value[at]), float(torch[at]), float(allowed[at]), furthest[i],
                looseness(loosest[i], largest[i], tiny) if is_bounded else 0.0, 0, shape,
            )  # fmt: skip
