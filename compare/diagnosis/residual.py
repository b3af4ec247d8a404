"""What is left of a difference once an edit has been applied to the reference."""

from __future__ import annotations

from typing import Protocol

import numpy as np


class Compared(Protocol):
    """Both sides' numbers and the bound: a case, or one output of it."""

    @property
    def manual(self) -> np.ndarray: ...

    @property
    def torch(self) -> np.ndarray: ...

    @property
    def allowed(self) -> np.ndarray: ...


def gap(
    seen: Compared, made: np.ndarray, factor: float = 1.0, fitted: np.ndarray | None = None, spread: float = 0.0
) -> float:
    """The largest remaining difference as a fraction of the bound; an infinite one where a number is none.

    The bound is that of the manual result, times the factor that comes with the edit; what is made here rounds a little
    too. A fitted constant is known to a spread only.
    """
    kind = np.finfo(np.float64)
    with np.errstate(all="ignore"):
        size = max(float(np.abs(seen.torch).max(initial=0)), float(np.abs(made).max(initial=0)))
        room = np.broadcast_to(seen.allowed, made.shape) * max(1.0, abs(factor)) + 64 * kind.eps * size + kind.tiny
        if seen.torch.dtype == np.float32:
            theirs = seen.torch if seen.torch.shape == made.shape else made  # of another shape: it is none of this
            room = room + 4 * float(np.finfo(np.float32).eps) * np.abs(theirs)
        if fitted is not None:
            room = room + spread * np.abs(fitted)
        left = np.abs(np.subtract(seen.manual, made, dtype=np.float64)) / room
    return float(left.max(initial=0)) if np.isfinite(left).all() else np.inf
