"""The same numbers in other places: axes permuted, reversed, rolled, or slices permuted."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations

import numpy as np

from handgrad.compare.diagnosis.causes import Candidate

DISTINCT = 6  # different numbers that are more than chance in another order
SHORT = 4


def rearranged(source: Candidate, m: np.ndarray) -> Iterator[Candidate]:
    """The source's numbers in other places, and in the shape of m."""
    complexity, names, t = source.complexity + 10, source.names, source.array
    if 2 <= t.ndim <= 4:
        for order in permutations(range(t.ndim)):
            if order != tuple(range(t.ndim)):
                moved = t.transpose(order)
                if moved.shape == m.shape:
                    what = "transposed" if t.ndim == 2 else f"transposed: axes in the order {order}"
                    yield Candidate(complexity, (*names, f"it is {what}"), moved)
    if t.size == m.size and t.shape != m.shape:
        words = f"its shape is wrong: {m.shape} for {t.shape}"
        if not names:
            words = "its shape is wrong"
        yield Candidate(complexity + 2, (*names, words), t.reshape(m.shape))
    if t.shape != m.shape or len(np.unique(t)) < DISTINCT:
        return
    for axis in range(t.ndim):
        size = t.shape[axis]
        if size < SHORT:  # turned round, an axis of two or three is what many other slips make of it, too
            continue
        yield Candidate(complexity + 1, (*names, f"it is reversed along axis {axis}"), np.flip(t, axis))
        if size > 2:
            for shift in (1, -1):
                what = f"it is rolled by {shift} along axis {axis}"
                yield Candidate(complexity + 1, (*names, what), np.roll(t, shift, axis))
            matching = _matching(t, m, axis)
            if matching is not None:
                what = f"its slices along axis {axis} are permuted"
                yield Candidate(complexity + 2, (*names, what), t.take(matching, axis))


def _matching(t: np.ndarray, m: np.ndarray, axis: int) -> np.ndarray | None:
    """An order of t's slices that may give m, found by sorting; None where there is nothing to sort."""
    others = tuple(a for a in range(t.ndim) if a != axis)
    keys = [np.abs(a).sum(axis=others) for a in (t, m)]
    if not all(np.isfinite(k).all() for k in keys):
        return None
    rank = np.empty(len(keys[1]), int)
    rank[np.argsort(keys[1], kind="stable")] = np.arange(len(rank))
    order = np.argsort(keys[0], kind="stable")[rank]
    return None if np.array_equal(order, np.arange(len(order))) else order
