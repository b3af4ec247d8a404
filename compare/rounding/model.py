"""The standard model of floating-point arithmetic: u and η of a dtype, γ_n, and which constants round."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np


class NoRoundingRule(TypeError):
    """The code used something whose rounding `Bounded` cannot follow; the two-precision tolerance takes over."""


@dataclass(frozen=True)
class Precision:
    """What the standard model needs to know of a dtype."""

    dtype: np.dtype[Any]
    unit: float  # u, half the distance from 1 to the next number
    tiny: float  # the smallest normal number
    largest: float = np.inf  # the largest number
    wary: bool = False  # whether plain numbers and arrays may have been computed, and rounded, out of sight
    decided: bool = False  # whether choices and jumps are what they are, because nobody else makes them

    @staticmethod
    def of(dtype: Any) -> Precision:
        """The precision of a float dtype; TypeError for any other."""
        try:
            return PRECISIONS[np.dtype(dtype)]
        except KeyError:
            raise TypeError(
                f"a rounding bound needs float64, float32 or float16 numbers, got {np.dtype(dtype)}: convert them first"
            ) from None

    def gamma(self, n: int) -> float:
        """γ_n = n u / (1 − n u), and ∞ where n u ≥ 1 and the model says nothing."""
        nu = n * self.unit
        return nu / (1 - nu) if nu < 1 else np.inf


PRECISIONS = {
    np.dtype(t): Precision(np.dtype(t), float(np.finfo(t).eps / 2), float(np.finfo(t).tiny), float(np.finfo(t).max))
    for t in (np.float64, np.float32, np.float16)
}


def unseen_rounding(p: Precision, x: Any) -> Any:
    """What plain numbers may be off by that were computed where no `Bounded` saw it: float64, 0 where x is short.

    A rounding on either side, as for any constant; and what is left of numbers up to 2, as
    by 1 − 0.99 or 0.55 − 0.45, has lost digits: its bits end where theirs do, and so the last one set is off by one.
    """
    x = np.abs(np.where(np.isfinite(x), x, 0.0).astype(np.float64))
    mantissa, exponent = np.frexp(x)
    short = (mantissa * 2048 == np.rint(mantissa * 2048)) & (exponent >= -13) & (exponent <= 16)
    return np.where(short, 0.0, np.maximum(2 * p.unit * x, lost_digit(p, x)))


def lost_digit(p: Precision, x: Any) -> Any:
    """The last bit that is set in a finite float64 number, where it may be the last one of a number up to 2; or 0."""
    mantissa, exponent = np.frexp(np.abs(x))
    whole = (mantissa * 2.0**53).astype(np.int64)  # exactly
    last = np.ldexp((whole & -whole).astype(np.float64), exponent - 53)
    return np.where(last <= 2 * p.unit, last, 0.0)


def is_short(x: float) -> bool:
    """Whether float16, 11 bits and a largest number of 2¹⁶ − 2⁵, holds x; ∞ and NaN are what they are."""
    mantissa, exponent = math.frexp(x)
    return not math.isfinite(x) or (-13 <= exponent <= 16 and (mantissa * 2048).is_integer())
