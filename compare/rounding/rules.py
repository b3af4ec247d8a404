"""What each elementwise ufunc makes of its operands' errors, and the rounding it adds on the two sides.

A rule gets the precision, the result v, and the operands as (value, error) with error None for exact. It
returns a new array, the error of v, or None where v is exact.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from handgrad.compare.rounding.elementary import ELEMENTARY, LIBRARY_ULPS, Operand, Rule, rounding
from handgrad.compare.rounding.model import NoRoundingRule, Precision


def plus(*errors: Any) -> Any:
    """The sum of errors of which some may be None."""
    present = [e for e in errors if e is not None]
    return sum(present[1:], start=present[0]) if present else None


def carried(a: Operand, b: Operand, product: Callable[..., Any] = np.multiply) -> Any:
    """|ab − a'b'| ≤ (|a| + e_a) e_b + e_a |b|, for any bilinear product."""
    (va, ea), (vb, eb) = a, b
    terms = []
    if eb is not None:
        terms.append(product(abs(va) if ea is None else abs(va) + ea, eb))
    if ea is not None:
        terms.append(product(ea, abs(vb)))
    return plus(*terms)


def _add(p: Precision, v: Any, a: Operand, b: Operand) -> Any:
    """The rounding of a sum, of which there is none where either number is 0 exactly."""
    error = np.abs(v, dtype=np.float64)
    error *= 2 * p.unit
    for value, e in (a, b):
        error = _none_where(value == 0, e, error)
    if a[1] is not None:
        error += a[1]
    if b[1] is not None:
        error += b[1]
    return error


def _none_where(neutral: Any, e: Any, own: Any) -> Any:
    """The rounding `own` of an operation, and none where an operand is its neutral element exactly."""
    if neutral is False or not np.logical_or.reduce(neutral, axis=None):
        return own
    return np.where(neutral if e is None else neutral & (e == 0), 0.0, own)


def _scale(x: Any) -> float | None:
    """|x| where x is a Python power of two or 0, by which scaling rounds nothing but underflow."""
    if isinstance(x, (int, float)) and abs(math.frexp(x)[0]) in (0.5, 0.0):
        return abs(float(x))
    return None


def _scaled(p: Precision, v: Any, source: Any, scale: float) -> Any:
    """What scaling by 2ᵏ loses: nothing, or η where it shrinks a number below the smallest normal one."""
    if scale >= 1 or scale == 0:
        return None
    small = abs(v) < p.tiny
    return p.tiny * (small & (source != 0)) if small.any() else None


def _multiply(p: Precision, v: Any, a: Operand, b: Operand) -> Any:
    own: Any = None
    if (scale := _scale(a[0])) is not None:
        own = _scaled(p, v, b[0], scale)
    elif (scale := _scale(b[0])) is not None:
        own = _scaled(p, v, a[0], scale)
    elif np.bool_ not in (getattr(a[0], "dtype", None), getattr(b[0], "dtype", None)):  # a mask selects
        own = _but_for_zeros(v, rounding(p, v), a, b)
        for value, e in (a, b):
            own = _none_where(abs(value) == 1, e, own)  # nor by ±1
    return plus(own, carried(a, b))


def _but_for_zeros(v: Any, own: Any, *operands: Operand) -> Any:
    """The rounding of a product, which is 0 and not underflow where an operand is 0 exactly: a masked number, say.

    Without that, whatever is masked would count as not quite 0, and a comparison with 0 as undecided.
    """
    if np.logical_and.reduce(v, axis=None):  # 0 nowhere
        return own
    certain = [(x == 0) if e is None else (x == 0) & (e == 0) for x, e in operands]
    certain = [zero for zero in certain if zero is not False]  # of a Python number
    return np.where(functools.reduce(operator.or_, certain) & (v == 0), 0.0, own) if certain else own


def _divide(p: Precision, v: Any, a: Operand, b: Operand) -> Any:
    """|a/b − a'/b'| = |(a − a') − (b − b') a/b| / |b'| ≤ (e_a + |a/b| e_b) / |b'|."""
    (va, ea), (vb, eb) = a, b
    if scale := _scale(vb):
        own = _scaled(p, v, va, 1 / scale)
    else:  # x / y may be x · (1/y): two operations, the first of which may underflow
        own = _but_for_zeros(v, rounding(p, v, 2) + p.tiny * np.abs(va, dtype=np.float64), a)
        own = _none_where(abs(vb) == 1, eb, own)
    if eb is None:
        return plus(own, None if ea is None else ea / abs(vb))
    room = abs(vb) - eb  # the smallest |b'|
    spread = (abs(v) + p.tiny) * eb  # v may underflow
    if ea is not None:
        spread = spread + ea
    if np.minimum.reduce(room, axis=None, initial=np.inf) > 0:
        return plus(own, spread / room)
    return plus(own, np.where((room > 0) | (eb == 0), spread / np.where(room > 0, room, 1), np.inf))


def _power(p: Precision, v: Any, a: Operand, b: Operand) -> Any:
    (va, ea), (vb, eb) = a, b
    vb, size = np.asarray(vb, np.float64), np.abs(v, dtype=np.float64)
    own = (4 * LIBRARY_ULPS + 2 * np.abs(vb)) * p.unit * size + p.tiny  # by the library, or |b| multiplications
    low = high = np.abs(va, dtype=np.float64)
    shift: Any = 0.0
    if ea is not None:
        low, high = np.maximum(low - ea, 0), high + ea
        # The slope |b| |x|^(b−1) is largest at one end; and |xᵇ − yᵇ| ≤ |x − y|ᵇ for 0 < b < 1 and x, y ≥ 0.
        steepest = np.where(vb >= 1, high, low)
        shift = np.abs(vb) * steepest**vb * (ea / steepest)
        shift = np.where((vb > 0) & (vb < 1), np.fmin(shift, ea ** np.where(vb > 0, vb, 1)), shift)
        shift = np.where((ea > 0) & (vb != 0), shift, 0)
    if eb is not None:  # |aᵇ' − aᵇ| ≤ |aᵇ| (e^(|log a| e_b) − 1)
        rate = np.maximum(np.abs(np.log(low)), np.abs(np.log(high)))
        growth = (size + p.tiny + shift) * np.expm1(rate * eb)
        shift = shift + np.where((eb == 0) | ((high == 0) & (vb > eb)), 0, growth)
    return own + shift


def _keeps_size(p: Precision, v: Any, *operands: Operand) -> Any:
    """abs, minus: exact, and never spreading two inputs further apart than they were."""
    errors = [e for _, e in operands if e is not None]
    if not errors:
        return None
    return np.maximum(*errors) if len(errors) == 2 else np.array(errors[0])  # not the operand's own array


def _larger(p: Precision, v: Any, a: Operand, b: Operand) -> Any:
    """max and min: exact, with the error of the operand that wins, or the greater one where rounding decides which.

    So what a ReLU shuts, max(0, z), is 0 exactly, and a mask made of it is decided.
    """
    if a[1] is None and b[1] is None:
        return None
    ea, eb = (0.0 if e is None else e for _, e in (a, b))
    apart = np.abs(np.subtract(a[0], b[0], dtype=np.float64)) > ea + eb
    return np.where(apart, np.where(v == a[0], ea, eb), np.maximum(ea, eb))


def _logaddexp(p: Precision, v: Any, a: Operand, b: Operand) -> Any:
    """max + log(1 + e^−d), d = |a − b|; to the base 2 the numbers added are 1/log 2 < 1½ times as large.

    The function has slopes of at most 1. Of the formula, e^−d ≤ 1 and the logarithm ≤ log 2 are off by 2u LIBRARY_ULPS
    each, 1 + e^−d rounds, and so does d, by u d, which the slope e^−d / (1 + e^−d) makes 0.28 u at most.
    """
    own = rounding(p, v) + 2 * p.unit * 1.5 * (4 * LIBRARY_ULPS + 2)
    return plus(own, _keeps_size(p, v, a, b))


def _comparison(p: Precision, v: Any, a: Operand, b: Operand) -> Any:
    """A mask whose error is 1 where rounding decides; None where it decides nothing."""
    reach = plus(a[1], b[1])
    if reach is None or (p is not None and p.decided):
        return None
    apart = np.abs(np.subtract(a[0], b[0], dtype=np.float64)) > reach
    undecided = ~apart & (reach > 0)
    return undecided.astype(np.float64) if np.any(undecided) else None


def undecided(x: Operand) -> Any:
    """Where rounding decides whether x is 0, a mask's False; None where nowhere."""
    value, error = x
    return None if error is None else _comparison(None, None, (value, error), (0, None))  # type: ignore[arg-type]


def _logical(p: Precision, v: Any, *operands: Operand) -> Any:
    return _keeps_size(p, v, *((value, undecided((value, error))) for value, error in operands))


def _jump(f: Callable[[Any], Any]) -> Rule:
    """sign, floor and their kind: exact, but for the jump where x ± e crosses one."""

    def rule(p: Precision, v: Any, x: Operand) -> Any:
        return None if x[1] is None or p.decided else f(x[0] + x[1]) - f(x[0] - x[1])

    return rule


def _heaviside(p: Precision, v: Any, x: Operand, h: Operand) -> Any:
    jump = undecided(x)
    return None if jump is None and h[1] is None else plus(0.0, None if jump is None else jump * (1 + abs(h[0])), h[1])


def _copysign(p: Precision, v: Any, a: Operand, b: Operand) -> Any:
    jump = undecided(b)
    return plus(a[1], None if jump is None else 2 * np.abs(a[0], dtype=np.float64) * jump)


def _exact_only(p: Precision, v: Any, *operands: Operand) -> Any:
    if not p.decided and any(e is not None and np.any(e) for _, e in operands):
        raise NoRoundingRule("a remainder or a whole-number division of rounded numbers")
    return rounding(p, v) if np.any(np.abs(v) * p.unit > 1) else None  # a whole number that may not fit


def _remainder(p: Precision, v: Any, *operands: Operand) -> Any:
    _exact_only(p, v, *operands)
    return rounding(p, v)  # fmod is exact, adding the divisor for its sign is not


def _finite(p: Precision, v: Any, x: Operand) -> Any:
    return None if x[1] is None or np.all(np.isfinite(x[1])) else (~np.isfinite(x[1])).astype(np.float64)


RULES: dict[np.ufunc, Rule] = ELEMENTARY | {
    np.add: _add,
    np.subtract: _add,
    np.multiply: _multiply,
    np.divide: _divide,
    np.power: _power,
    np.float_power: _power,
    np.square: lambda p, v, x: _multiply(p, v, x, x),
    np.reciprocal: lambda p, v, x: _divide(p, v, (1, None), x),
    np.logaddexp: _logaddexp,
    np.logaddexp2: _logaddexp,
    np.hypot: lambda p, v, a, b: plus(rounding(p, v, 2 * LIBRARY_ULPS), a[1], b[1]),
    np.heaviside: _heaviside,
    np.copysign: _copysign,
    np.floor_divide: _exact_only,
    np.fmod: _exact_only,
    np.remainder: _remainder,
    np.isfinite: _finite,
    np.isnan: _finite,
    np.isinf: _finite,
    np.signbit: lambda p, v, x: undecided(x),
}
for _names, _rule in {
    "maximum minimum fmax fmin": _larger,
    "absolute fabs negative positive conjugate": _keeps_size,
    "greater greater_equal less less_equal equal not_equal": _comparison,
    "logical_not invert logical_and logical_or logical_xor bitwise_and bitwise_or bitwise_xor": _logical,
}.items():
    RULES |= {getattr(np, name): _rule for name in _names.split()}
RULES |= {f: _jump(f) for f in (np.sign, np.floor, np.ceil, np.rint, np.trunc)}
