"""What each NumPy ufunc makes of its operands' errors, and the rounding it adds on the two sides.

A rule gets the precision, the result v, and the operands as (value, error) with error None for exact. It
returns the error of v, or None where v is exact.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from compare.rounding import Precision

# The elementary functions of NumPy's SIMD loops are within 4 ulp (NumPy 1.22 release notes, on SVML); torch's
# (SLEEF, 1 ulp) are tighter. One ulp is at most 2u of the value.
LIBRARY_ULPS = 4

Operand = tuple[Any, Any]


def apply(p: Precision, ufunc: np.ufunc, method: str, inputs: Any, kwargs: Any) -> Any:
    """Run `ufunc` on Bounded inputs; NoRoundingRule where there is no rule for it."""
    from compare.rounding import Bounded, NoRoundingRule
    from compare.rounding_functions import reduce_ufunc

    if method == "reduce":
        return reduce_ufunc(p, ufunc, inputs, kwargs)
    if method == "at" and ufunc is np.add:
        return _add_at(p, *inputs)
    rule = RULES.get(ufunc)
    if rule is None or method != "__call__" or "where" in kwargs:
        raise NoRoundingRule(f"np.{ufunc.__name__}{'' if method == '__call__' else '.' + method}")
    operands = [operand(p, x) for x in inputs]
    v = ufunc(*[value for value, _ in operands], **kwargs)
    with np.errstate(all="ignore"):  # a bound may overflow to ∞; that is an answer, not an accident
        error = rule(p, v, *operands)
    if error is None and v.dtype.kind != "f":
        return v  # an exact comparison is an ordinary mask
    return Bounded(v, error, p)


def operand(p: Precision, x: Any) -> Operand:
    """(value, error) of anything a ufunc may be given.

    A Python number that float16 holds exactly (0, ½, 2, 1/16) means itself. Any other (0.1, 0.999) stands for a
    real number that each side had to round.
    """
    from compare.rounding import Bounded

    if isinstance(x, Bounded):
        return x.value, x.error
    if isinstance(x, float) and x != 0 and not _is_short(x):
        return x, 2 * p.unit * abs(x)
    return x, None


def _is_short(x: float) -> bool:
    return abs(x) < 2048 and x * 2048 == int(x * 2048) and abs(x) * 2048 < 2**22


def _is_power_of_two(x: Any) -> bool:
    """Multiplying by such a number, or by a mask of 0 and 1, rounds nothing."""
    if isinstance(x, (int, float)):
        return abs(np.frexp(float(x))[0]) in (0.5, 0.0)
    return getattr(x, "dtype", None) == np.bool_


def rounding(p: Precision, v: Any, operations: float = 1) -> Any:
    """The rounding of `operations` operations on either side, first order: 2 k u |v| + η."""
    return (2 * operations * p.unit) * np.abs(v, dtype=np.float64) + p.tiny


def plus(*errors: Any) -> Any:
    """The sum of errors of which some may be None."""
    present = [e for e in errors if e is not None]
    return sum(present[1:], start=present[0]) if present else None


def carried(a: Operand, b: Operand, product: Callable[..., Any] = np.multiply) -> Any:
    """|ab − a'b'| ≤ |a| e_b + e_a |b| + e_a e_b, for any bilinear product."""
    (va, ea), (vb, eb) = a, b
    terms = []
    if eb is not None:
        terms.append(product(np.abs(va) if ea is None else np.abs(va) + ea, eb))
    if ea is not None:
        terms.append(product(ea, np.abs(vb)))
    return plus(*terms)


def _add(p: Precision, v: Any, a: Operand, b: Operand) -> Any:
    return plus((2 * p.unit) * np.abs(v, dtype=np.float64), a[1], b[1])


def _multiply(p: Precision, v: Any, a: Operand, b: Operand) -> Any:
    own = None if _is_power_of_two(a[0]) or _is_power_of_two(b[0]) else rounding(p, v)
    return plus(own, carried(a, b))


def _divide(p: Precision, v: Any, a: Operand, b: Operand) -> Any:
    own = None if _is_power_of_two(b[0]) else rounding(p, v, 2)  # 2: x / y may be x · (1/y)
    (_, ea), (vb, eb) = a, b
    if eb is None:
        return plus(own, None if ea is None else ea / np.abs(vb))
    room = np.abs(vb) - eb  # the smallest |b'|
    spread = (np.abs(v) * eb + (0 if ea is None else ea)) / np.where(room > 0, room, 1)
    return plus(own, np.where((room > 0) | (eb == 0), spread, np.inf))


def _matmul(p: Precision, v: Any, a: Operand, b: Operand) -> Any:
    n = a[0].shape[-1]
    absolute = np.abs(a[0]).astype(np.float64, copy=False) @ np.abs(b[0])
    return plus((2 * p.gamma(n)) * absolute + n * p.tiny, carried(a, b, np.matmul))


def _power(p: Precision, v: Any, a: Operand, b: Operand) -> Any:
    (va, ea), (vb, eb) = a, b
    own = rounding(p, v, 2 * LIBRARY_ULPS) + 2 * p.unit * np.abs(vb * v)  # or |b| multiplications
    if ea is not None:
        nearest = np.where(np.asarray(vb) >= 1, np.abs(va) + ea, np.abs(va) - ea)
        slope = np.abs(vb) * np.power(np.where(nearest > 0, nearest, np.nan), np.asarray(vb) - 1.0)
        own = own + np.where(ea > 0, np.where(nearest > 0, slope * ea, np.inf), 0)
    if eb is not None:
        rate = np.abs(np.log(np.abs(va)))  # |aᵇ' − aᵇ| ≤ |aᵇ| (e^(|log a| e_b) − 1)
        own = own + np.abs(v) * np.expm1(rate * eb)
    return own


def smooth(steepest: Callable[[Any, Any], Any], ulps: float = LIBRARY_ULPS) -> Callable[..., Any]:
    """The rule of y = f(x): e_y = (the steepest slope within x ± e) e + the function's own rounding.

    One ulp is 2u of a value at most, so k ulps count as 2k roundings.
    """

    def rule(p: Precision, v: Any, x: Operand) -> Any:
        value, error = x
        own = rounding(p, v, 2 * ulps)
        if error is None:
            return own
        return own + np.where(error > 0, steepest(value, error) * error, 0)  # a slope may be ∞

    return rule


def _away_from_zero(x: Any, e: Any) -> Any:
    """The smallest |x'| within x ± e."""
    return np.maximum(np.abs(x) - e, 0)


def _keeps_size(p: Precision, v: Any, *operands: Operand) -> Any:
    """max, min, abs, minus: exact, and never spreading two inputs further apart than they were."""
    errors = [e for _, e in operands if e is not None]
    if not errors:
        return None
    error = errors[0]
    for e in errors[1:]:
        error = np.maximum(error, e)
    return np.broadcast_to(error, v.shape) if np.shape(error) != v.shape else error


def _comparison(p: Precision, v: Any, a: Operand, b: Operand) -> Any:
    """A mask whose error is 1 where rounding decides."""
    reach = plus(a[1], b[1])
    if reach is None:
        return None
    undecided = (np.abs(np.subtract(a[0], b[0], dtype=np.float64)) <= reach) & (reach > 0)
    return undecided.astype(np.float64)


def _jump(f: Callable[[Any], Any]) -> Callable[..., Any]:
    """sign, floor and their kind: exact, but for the jump where x ± e crosses one."""

    def rule(p: Precision, v: Any, x: Operand) -> Any:
        return None if x[1] is None else f(x[0] + x[1]) - f(x[0] - x[1])

    return rule


def _exact_only(p: Precision, v: Any, *operands: Operand) -> Any:
    from compare.rounding import NoRoundingRule

    if any(e is not None and np.any(e) for _, e in operands):
        raise NoRoundingRule("a remainder or a whole-number division of rounded numbers")
    return None


def _no_error(p: Precision, v: Any, *operands: Operand) -> None:
    return None


def _add_at(p: Precision, target: Any, index: Any, new: Any) -> None:
    """np.add.at: a sum of as many terms as land on one element."""
    from compare.rounding import NoRoundingRule

    value, error = operand(p, new)
    if target.error is None and target.value.base is not None:
        raise NoRoundingRule("np.add.at on a view")
    absolute = np.abs(target.value, dtype=np.float64)
    np.add.at(absolute, index, np.abs(value))
    counts = np.zeros(target.shape)
    np.add.at(counts, index, np.ones(np.shape(value)))
    spread = 0 if target.error is None else target.error
    target.error = spread + 2 * p.unit * counts / (1 - p.unit * counts) * absolute
    if error is not None:
        np.add.at(target.error, index, error)
    np.add.at(target.value, index, value)


RULES: dict[np.ufunc, Callable[..., Any]] = {
    np.add: _add,
    np.subtract: _add,
    np.multiply: _multiply,
    np.divide: _divide,
    np.matmul: _matmul,
    np.power: _power,
    np.float_power: _power,
    np.square: lambda p, v, x: _multiply(p, v, x, x),
    np.reciprocal: lambda p, v, x: _divide(p, v, (1, None), x),
    np.sqrt: smooth(lambda x, e: 1 / (np.sqrt(x) + np.sqrt(np.maximum(x - e, 0))), 0.5),
    np.cbrt: smooth(lambda x, e: _away_from_zero(x, e) ** (-2 / 3) / 3),
    np.exp: smooth(lambda x, e: np.exp(x + e)),
    np.exp2: smooth(lambda x, e: np.log(2) * np.exp2(x + e)),
    np.expm1: smooth(lambda x, e: np.exp(x + e)),
    np.log: smooth(lambda x, e: 1 / np.maximum(x - e, 0)),
    np.log2: smooth(lambda x, e: 1 / np.maximum(x - e, 0) / np.log(2)),
    np.log10: smooth(lambda x, e: 1 / np.maximum(x - e, 0) / np.log(10)),
    np.log1p: smooth(lambda x, e: 1 / np.maximum(1 + x - e, 0)),
    np.tanh: smooth(lambda x, e: 1 / np.cosh(np.minimum(_away_from_zero(x, e), 350)) ** 2),
    np.sinh: smooth(lambda x, e: np.cosh(np.abs(x) + e)),
    np.cosh: smooth(lambda x, e: np.sinh(np.abs(x) + e)),
    np.arctan: smooth(lambda x, e: 1 / (1 + _away_from_zero(x, e) ** 2)),
    np.arcsinh: smooth(lambda x, e: 1 / np.sqrt(1 + _away_from_zero(x, e) ** 2)),
    np.sin: smooth(lambda x, e: 1.0),
    np.cos: smooth(lambda x, e: 1.0),
    np.maximum: _keeps_size,
    np.minimum: _keeps_size,
    np.fmax: _keeps_size,
    np.fmin: _keeps_size,
    np.absolute: _keeps_size,
    np.fabs: _keeps_size,
    np.negative: _keeps_size,
    np.positive: _keeps_size,
    np.conjugate: _keeps_size,
    np.greater: _comparison,
    np.greater_equal: _comparison,
    np.less: _comparison,
    np.less_equal: _comparison,
    np.equal: _comparison,
    np.not_equal: _comparison,
    np.sign: _jump(np.sign),
    np.floor: _jump(np.floor),
    np.ceil: _jump(np.ceil),
    np.rint: _jump(np.rint),
    np.trunc: _jump(np.trunc),
    np.heaviside: lambda p, v, x, h: _comparison(p, v, x, (0, None)),
    np.floor_divide: _exact_only,
    np.remainder: _exact_only,
    np.logical_not: _keeps_size,
    np.invert: _keeps_size,
    np.logical_and: _keeps_size,
    np.logical_or: _keeps_size,
    np.logical_xor: _keeps_size,
    np.bitwise_and: _keeps_size,
    np.bitwise_or: _keeps_size,
    np.isfinite: _no_error,
    np.isnan: _no_error,
    np.isinf: _no_error,
    np.signbit: _no_error,
    np.logaddexp: lambda p, v, a, b: plus(
        rounding(p, v, 2 * LIBRARY_ULPS) + 2 * p.unit * np.abs(np.maximum(a[0], b[0])),
        _keeps_size(p, v, a, b),
    ),
    np.hypot: lambda p, v, a, b: plus(rounding(p, v, 2 * LIBRARY_ULPS), a[1], b[1]),
}
