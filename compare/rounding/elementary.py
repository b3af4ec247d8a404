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


def _tan_slope(x: Any, e: Any) -> Any:
    """|tan x − tan x'| = |sin(x − x')| / |cos x cos x'|, and |cos x'| ≥ |cos x| − e."""
    room = np.abs(np.cos(x)) - e
    return np.where(room > 0, 1 / (np.abs(np.cos(x)) * room), np.inf)


def _arcsin_slope(x: Any, e: Any) -> Any:
    """1 / √(1 − x'²), and |arcsin x − arcsin x'| ≤ arccos(1 − e) ≤ (π/2) √(2e), attained at the ends."""
    far = np.abs(x) + e
    return np.fmin(1 / np.sqrt(np.maximum((1 - far) * (1 + far), 0)), np.pi / 2 * np.sqrt(2 / e))


def _arccosh_slope(x: Any, e: Any) -> Any:
    """1 / √(x'² − 1), and |arccosh x − arccosh x'| ≤ arccosh(1 + e) ≤ √(2e), attained at 1."""
    near = np.maximum(x - e, 1)
    return np.fmin(1 / (np.sqrt(near - 1) * np.sqrt(near + 1)), np.sqrt(2 / e))  # not of the product: it may overflow


def _arctanh_slope(x: Any, e: Any) -> Any:
    far = np.abs(x) + e
    return 1 / np.maximum((1 - far) * (1 + far), 0)


def _arctan2(p: Precision, v: Any, y: Operand, x: Operand) -> Any:
    """The angle of a point that moves by s of its distance from 0: arcsin s ≤ s / (1 − s).

    It is 2π where the point may pass the cut, the negative half of the x axis, at which the angle jumps from π to −π.
    """
    own = rounding(p, v, 2 * LIBRARY_ULPS)
    (vy, ey), (vx, ex) = y, x
    if ey is None and ex is None:
        return own
    ey, ex = (0.0 if e is None else e for e in (ey, ex))
    moved, distance = np.hypot(ex, ey), np.hypot(np.asarray(vx, np.float64), vy)
    turned = np.where(moved < distance, moved / (distance - moved), np.inf)
    cut = (np.abs(vy) <= ey) & (ey > 0) & (vx - ex <= 0)
    return own + np.where(moved == 0, 0.0, np.where(cut, 2 * np.pi, np.minimum(turned, 2 * np.pi)))


def _converted(factor: float) -> Rule:
    """A change of units: a constant, rounded, and a product."""
    return lambda p, v, x: rounding(p, v, 2) + (0.0 if x[1] is None else factor * x[1])


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
    np.tan: smooth(_tan_slope),
    np.arcsin: smooth(_arcsin_slope),
    np.arccos: smooth(_arcsin_slope),
    np.arccosh: smooth(_arccosh_slope),
    np.arctanh: smooth(_arctanh_slope),
    np.arctan2: _arctan2,
    np.deg2rad: _converted(np.pi / 180),
    np.radians: _converted(np.pi / 180),
    np.rad2deg: _converted(180 / np.pi),
    np.degrees: _converted(180 / np.pi),
    np.sin: smooth(lambda x, e: np.minimum(1, 2 / e)),
    np.cos: smooth(lambda x, e: np.minimum(1, 2 / e)),
}
