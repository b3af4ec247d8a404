"""The constants that code compares its numbers with: where it branches, clips or cuts off.

They are heard of while the code runs on `Bounded` arrays, so they are those that it really compares with, computed ones
included.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

COMPARISONS = {
    np.greater, np.greater_equal, np.less, np.less_equal, np.equal, np.not_equal,
    np.maximum, np.minimum, np.fmax, np.fmin, np.heaviside,
}  # fmt: skip

DIVISIONS = {np.remainder, np.fmod, np.floor_divide}  # which divisor is a constant that numbers are compared with
FEW = 16  # constants of an array

_heard: ContextVar[set[float] | None] = ContextVar("handgrad_thresholds", default=None)


@contextmanager
def thresholds() -> Iterator[set[float]]:
    """Gather the constants that numbers are compared with in this context."""
    found: set[float] = set()
    token = _heard.set(found)
    try:
        yield found
    finally:
        _heard.reset(token)


def hear(ufunc: np.ufunc, operands: tuple[Any, ...]) -> None:
    """Take note of a comparison with plain numbers, an array of a few of them included."""
    found = _heard.get()
    if found is None or ufunc not in COMPARISONS | DIVISIONS:
        return
    for x in operands[ufunc in DIVISIONS :]:
        if isinstance(x, (int, float, np.number, np.ndarray)):
            x = np.asarray(x)
            values = np.unique(x[np.isfinite(x)]) if x.dtype.kind in "iuf" else x[:0]
            if x.ndim == 0 or len(values) <= FEW:
                found.update(map(float, values))
