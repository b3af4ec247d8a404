"""What every rule ends with: its value and error as a bounded array."""

from __future__ import annotations

from typing import Any

import numpy as np

from handgrad.compare.rounding.bounded import Bounded
from handgrad.compare.rounding.model import Precision


def settled(p: Precision, value: Any, error: Any, exactly_infinite: Any = None) -> Bounded:
    """The result of a rule. The error gets the value's shape and layout, so that views of both go together.

    A bound of NaN says nothing, as ∞ does. `exactly_infinite` tells where an infinite value is not an overflow.
    """
    if error is None:
        return Bounded(value, None, p)
    if value.ndim == 0:
        error = np.array(error, np.float64)
    elif type(error) is not np.ndarray or not _same_layout(value, error):
        laid_out = np.empty_like(value, dtype=np.float64, subok=False)
        laid_out[...] = error
        error = laid_out
    largest = np.maximum.reduce(error, axis=None, initial=0)
    if not largest < p.unit * p.largest:  # a value that overflowed has a larger bound than this
        error[np.isnan(error) | np.isinf(value)] = np.inf
        if exactly_infinite is not None:
            error[exactly_infinite()] = 0
    return Bounded(value, error, p)


def _same_layout(v: Any, e: Any) -> bool:
    if e.shape != v.shape or e.dtype != np.float64:
        return False
    if e.flags.c_contiguous and v.flags.c_contiguous:
        return True
    return all(n == 1 or se * v.itemsize == sv * 8 for n, sv, se in zip(v.shape, v.strides, e.strides, strict=True))


def of_terms(n: int, total: Bounded) -> Bounded:
    """The same, known as a sum of n terms."""
    total.terms = max(n, 1)
    return total


def accumulated(p: Precision, n: int, absolute: Any) -> Any:
    """2 γ_n times the sum of magnitudes, n roundings on either side; nothing where all the magnitudes are 0."""
    gamma = 2 * p.gamma(n)
    if gamma == np.inf:
        return np.where(absolute > 0, np.inf, 0.0)
    absolute *= gamma  # in place: it is the caller's own
    return absolute
