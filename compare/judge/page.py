"""The small tensors of a step, laid end to end and judged in one pass.

A step of a small network has about twenty tensors to judge, and there NumPy's calls cost more than its arithmetic. On
a page they cost a handful of calls together. A page takes a copy of each result as it comes, so that code which changes
its own result afterwards is judged by what it returned. It accepts what plainly agrees, by the same numbers as
`agreement.judge`, and hands back whatever else there is, to be judged one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from handgrad.compare.judge.agreement import Worst, looseness
from handgrad.compare.rounding.bounded import Bounded, Precision

LARGEST_TENSOR = 1 << 14  # from here on arithmetic costs more than calls, and a copy would only cost memory
ROOM = 1 << 16  # numbers on a page: 1.5 MB in float64


class Agreed(NamedTuple):
    """A tensor of which no element differs by more than it may; the fields are those of a Verdict."""

    shape: tuple[int, ...]
    fraction: float
    largest_difference: float
    looseness: float
    worst: Callable[[], Worst]


class Page:
    """Room for the results, their bounds and torch's results of a step."""

    def __init__(self, precision: Precision) -> None:
        self.precision = precision
        self.value, self.error = np.empty(ROOM, precision.dtype), np.empty(ROOM)
        self.used = 0
        self.starts: list[int] = []
        self.entries: list[tuple[Any, np.ndarray, bool]] = []  # a key, torch's tensor, whether there is a bound

    def takes(self, ours: Any, theirs: Any) -> bool:
        """Whether there is room, and the two are small, not empty, and of one shape and dtype."""
        return (
            isinstance(ours, Bounded)
            and isinstance(theirs, np.ndarray)
            and 0 < theirs.size < LARGEST_TENSOR
            and self.used + theirs.size <= ROOM
            and ours.value.shape == theirs.shape
            and ours.value.dtype == theirs.dtype == self.precision.dtype
        )

    def add(self, key: Any, ours: Bounded, theirs: np.ndarray) -> None:
        """Note a tensor that the page takes."""
        self.starts.append(self.used)
        here = slice(self.used, self.used + theirs.size)
        self.used = here.stop
        error = ours.error
        self.value[here] = ours.value.ravel()
        self.error[here] = 0 if error is None else error.ravel()
        self.entries.append((key, theirs, error is not None))

    def verdicts(self) -> Iterator[tuple[Any, Agreed | Bounded, np.ndarray]]:
        """(key, verdict, torch's) of each tensor in order, with our copy in place of a verdict where it may disagree.

        The page is empty afterwards, and its room may be used again.
        """
        starts, entries, used, tiny = self.starts, self.entries, self.used, self.precision.tiny
        self.starts, self.entries, self.used = [], [], 0
        if not entries:
            return
        value, error = self.value[:used], self.error[:used]
        torch = np.concatenate([theirs.ravel() for _, theirs, _ in entries])
        with np.errstate(all="ignore"):
            difference = np.subtract(value, torch, dtype=np.float64)
            np.abs(difference, out=difference)
            allowed = error + tiny
            ratio = difference / allowed
            np.abs(torch, out=torch)  # only its size is needed from here on
            # NaN counts as the largest.
            fractions, furthest, loosest, largest = (
                np.maximum.reduceat(x, starts).tolist() for x in (ratio, difference, allowed, torch)
            )
        for i, (key, theirs, bounded) in enumerate(entries):
            here = slice(starts[i], starts[i] + theirs.size)
            if fractions[i] <= 1:  # not where it is NaN

                def worst(here: slice = here, bounded: bool = bounded) -> Worst:
                    flat = int(ratio[here].argmax())
                    apart, within = float(difference[here.start + flat]), float(allowed[here.start + flat])
                    return flat, apart, within if bounded or apart else 0.0  # exactly equal: nothing is allowed

                loose = looseness(loosest[i], largest[i], tiny)
                yield key, Agreed(theirs.shape, fractions[i], furthest[i], loose, worst), theirs
            else:
                bound = error[here].reshape(theirs.shape) if bounded else None
                yield key, Bounded(value[here].reshape(theirs.shape), bound, self.precision), theirs
