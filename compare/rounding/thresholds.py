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
    """Take note of a comparison with a single plain number."""
    found = _heard.get()
    if found is None or ufunc not in COMPARISONS:
        return
    for x in operands:
        if (isinstance(x, (int, float, np.number)) and np.isfinite(x)) or (
            isinstance(x, np.ndarray) and x.ndim == 0 and x.dtype.kind in "iuf" and np.isfinite(x)
        ):
            found.add(float(x))
