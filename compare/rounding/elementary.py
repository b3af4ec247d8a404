"""The elementary functions: the steepest slope within the error of the argument, and the library's own error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from handgrad.compare.rounding.model import Precision

# The elementary functions of NumPy's SIMD loops are within 4 ulp (NumPy 1.22 release notes, on SVML); torch's
# (SLEEF, 1 ulp) are tighter. One ulp is at most 2u of the value.
LIBRARY_ULPS = 4

Operand = tuple[Any, Any]
Rule = Callable[..., Any]


def rounding(p: Precision, v: Any, operations: float = 1) -> Any:
    """The rounding of `operations` operations on either side, first order: 2 k u |v| + η."""
    own = np.abs(v, dtype=np.float64)
    own *= 2 * operations * p.unit
    own += p.tiny
    return own


def smooth(steepest: Callable[[Any, Any], Any], ulps: float = LIBRARY_ULPS) -> Rule:
    """The rule of y = f(x): e_y = (the steepest slope within x ± e) e + the function's own rounding.

    One ulp is 2u of a value at most, so k ulps count as 2k roundings.
    """

    def rule(p: Precision, v: Any, x: Operand) -> Any:
        value, error = x
        own = rounding(p, v, 2 * ulps)
        if error is None:
            return own
        spread = steepest(value, error) * error
        if not np.maximum.reduce(spread, axis=None, initial=0) < np.inf:
            spread = np.where(error > 0, spread, 0.0)  # a slope of ∞ times no error
        own += spread
        return own

    return rule


def _away_from_zero(x: Any, e: Any) -> Any:
    """The smallest |x'| within x ± e."""
    return np.maximum(np.abs(x) - e, 0)


def _sqrt(p: Precision, v: Any, x: Operand) -> Any:
    """|√x − √x'| = |x − x'| / (√x + √x'), and at most √|x − x'|."""
    own, (value, error) = rounding(p, v), x
    if error is None:
        return own
    low = np.asarray(value - error)
    crossing = np.min(low, initial=0) < 0
    roots = np.sqrt(np.maximum(low, 0, out=low), out=low)
    roots += v
    if crossing:
        np.maximum(roots, np.sqrt(error), out=roots)
    roots += np.finfo(np.float64).smallest_subnormal  # 0 / 0 is 0 here
    own += np.divide(error, roots, out=roots)
    return own


def _cbrt_slope(x: Any, e: Any) -> Any:
    """1 / (3 x'^⅔), and |∛x − ∛x'| ≤ ∛(4 |x − x'|), attained at x' = −x."""
    return np.minimum(_away_from_zero(x, e) ** (-2 / 3) / 3, np.cbrt(4) / np.cbrt(e) ** 2)


ELEMENTARY: dict[np.ufunc, Rule] = {
    np.sqrt: _sqrt,
    np.cbrt: smooth(_cbrt_slope),
    np.exp: smooth(lambda x, e: np.exp(x + e)),
    np.exp2: smooth(lambda x, e: np.log(2) * np.exp2(x + e)),
    np.expm1: smooth(lambda x, e: np.exp(x + e)),
    np.log: smooth(lambda x, e: 1 / np.maximum(x - e, 0)),
    np.log2: smooth(lambda x, e: 1 / np.maximum(x - e, 0) / np.log(2)),
    np.log10: smooth(lambda x, e: 1 / np.maximum(x - e, 0) / np.log(10)),
    np.log1p: smooth(lambda x, e: 1 / np.maximum(1 + (x - e), 0)),
    np.tanh: smooth(lambda x, e: 1 / np.cosh(np.minimum(_away_from_zero(x, e), 350)) ** 2),
    np.sinh: smooth(lambda x, e: np.cosh(np.abs(x) + e)),
    np.cosh: smooth(lambda x, e: np.sinh(np.abs(x) + e)),
    np.arctan: smooth(lambda x, e: 1 / (1 + _away_from_zero(x, e) ** 2)),
    np.arcsinh: smooth(lambda x, e: 1 / np.hypot(1, _away_from_zero(x, e))),
    np.sin: smooth(lambda x, e: np.minimum(1, 2 / e)),
    np.cos: smooth(lambda x, e: np.minimum(1, 2 / e)),
}
