"""Infinite results that both sides must have, and that are no overflow."""

from __future__ import annotations

from typing import Any

import numpy as np

from handgrad.compare.rounding.elementary import Operand

# Where the last operand makes the result infinite without any overflow.
POLES: dict[np.ufunc, float] = {np.log: 0, np.log2: 0, np.log10: 0, np.log1p: -1, np.divide: 0, np.reciprocal: 0}


def exactly_infinite(ufunc: np.ufunc, v: Any, operands: list[Operand]) -> Any:
    """Where v is an infinity that both sides must have: from an exact ∞, or at a pole that is hit exactly."""
    values = [np.asarray(x, np.float64) for x, _ in operands]
    errors = [0.0 if e is None else e for _, e in operands]
    exact: Any = np.logical_and.reduce(np.broadcast_arrays(*(e == 0 for e in errors)))
    from_infinity: Any = False
    for x, e in zip(values, errors, strict=True):
        from_infinity = from_infinity | (np.isinf(x) & (e == 0))
    steady = exact
    if ufunc in (np.add, np.subtract):
        steady = np.logical_and.reduce(np.broadcast_arrays(*(e < np.inf for e in errors)))
    elif ufunc in (np.multiply, np.divide):  # no factor can be 0 or change its sign
        pairs = zip(values, errors, strict=True)
        steady = np.logical_and.reduce(np.broadcast_arrays(*((e == 0) | (np.abs(x) > e) for x, e in pairs)))
    at_pole = exact & (values[-1] == POLES.get(ufunc, np.nan))
    return np.isinf(v) & ((from_infinity & steady) | at_pole)
