"""Sums and what is made of them: what they make of their operands' errors, and the rounding they add.

|fl(Σ xᵢ) − Σ xᵢ| ≤ γ_{n−1} Σ |xᵢ|   in any order (Higham 2002, eq. 4.4 and the remark below it)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from handgrad.compare.rounding.bounded import Bounded, NoRoundingRule, Precision, operand, plain_index
from handgrad.compare.rounding.elementary import Operand
from handgrad.compare.rounding.results import accumulated, of_terms, settled
from handgrad.compare.rounding.rules import plus, rounding
from handgrad.compare.rounding.same_numbers import extreme_of


def _reduced(x: Any, axis: Any) -> int:
    """How many elements of x go into one of the sum."""
    if axis is None:
        return int(x.size)
    return math.prod(x.shape[a] for a in axis) if isinstance(axis, tuple) else int(x.shape[axis])


def _sum(
    p: Precision, x: Any, axis: Any = None, dtype: Any = None, *, keepdims: bool = False, initial: Any = None,
    where: Any = True,
) -> Bounded:  # fmt: skip
    value, error = x.value, x.error
    options = {"axis": axis, "keepdims": keepdims} | _masked(where)
    total = value.sum(dtype=dtype, **options, **_started(initial))
    first, off = (0, None) if initial is None else operand(p, initial)
    own = None
    if (n := _reduced(value, axis) + (initial is not None)) > 1:
        own = accumulated(p, n - 1, abs(first) + np.abs(value, dtype=np.float64).sum(**options))
    spread = None if error is None else error.sum(**options)
    return of_terms(n, settled(p, total, plus(own, spread, off)))


def _masked(where: Any) -> dict[str, Any]:
    """The option `where=`, a mask that no rounding sways."""
    return {} if where is True else {"where": plain_index(where)}


def _started(initial: Any) -> dict[str, Any]:
    """The option `initial=`, with a plain number."""
    return {} if initial is None else {"initial": getattr(initial, "value", initial)}


def _mean(p: Precision, x: Any, axis: Any = None, dtype: Any = None, *, keepdims: bool = False) -> Bounded:
    v = np.mean(x.value, axis=axis, dtype=dtype, keepdims=keepdims)
    n = _reduced(x.value, axis)
    total = _sum(p, x, axis, keepdims=keepdims).error
    if n == 0 or (n == 1 and total is None):
        return settled(p, v, total)
    return settled(p, v, plus(total / n, p.tiny if n & (n - 1) == 0 else rounding(p, v, 2)))  # 2: or times 1/n


def _var(
    p: Precision, x: Any, axis: Any = None, dtype: Any = None, *, ddof: int = 0, keepdims: bool = False,
    correction: Any = None,
) -> Bounded:  # fmt: skip
    ddof = ddof if correction is None else correction
    v = np.var(x.value, axis=axis, dtype=dtype, ddof=ddof, keepdims=keepdims)
    r: Any = x - _mean(p, x, axis, keepdims=True)
    mean_square: Any = _sum(p, r * r, axis, keepdims=keepdims) / (_reduced(x.value, axis) - ddof)
    return settled(p, v, mean_square.error)


def _std(
    p: Precision, x: Any, axis: Any = None, dtype: Any = None, *, ddof: int = 0, keepdims: bool = False,
    correction: Any = None,
) -> Bounded:  # fmt: skip
    ddof = ddof if correction is None else correction
    v = np.std(x.value, axis=axis, dtype=dtype, ddof=ddof, keepdims=keepdims)
    root: Any = np.sqrt(_var(p, x, axis, ddof=ddof, keepdims=keepdims))
    return settled(p, v, root.error)


def _extreme(func: Callable[..., Any]) -> Callable[..., Bounded]:
    """The largest of x' lies between the largest of x − e and of x + e: a masked −1e30 far below has no part in it."""

    def rule(
        p: Precision, x: Any, axis: Any = None, *, keepdims: bool = False, initial: Any = None, where: Any = True
    ) -> Bounded:
        options = {"axis": axis, "keepdims": keepdims} | _masked(where) | _started(initial)
        if initial is not None and operand(p, initial)[1] is not None:
            raise NoRoundingRule(f"np.{func.__name__} with a rounded number for initial")
        v = func(x.value, **options)
        if x.error is None:
            return settled(p, v, None)
        here = np.asarray(x.value, np.float64)
        result = settled(p, v, between(v, *(func(here + e, **options) for e in (-x.error, x.error))))
        return result if initial is not None or where is not True else extreme_of(x, result)

    return rule


def between(v: Any, low: Any, high: Any) -> Any:
    """The error of v where the other side's lies between `low` and `high`, sums of two numbers each."""
    gap = np.maximum(high - v, v - low)
    return gap + np.where(gap > 0, np.spacing(np.abs(v, dtype=np.float64)), 0)


def _prod(p: Precision, x: Any, axis: Any = None, dtype: Any = None, *, keepdims: bool = False) -> Bounded:
    """Π(1 + ε) for n factors, and their errors one factor at a time, each beside the others grown by theirs.

    An intermediate product that underflows costs η times the factors still to come, Π max(1, |x|) at most.
    """
    v = np.prod(x.value, axis=axis, dtype=dtype, keepdims=keepdims)
    options = {"axis": axis, "keepdims": keepdims}
    return settled(p, v, _of_products(p, v, x, np.prod, np.sum, options, _reduced(x.value, axis)))


def _of_products(p: Precision, v: Any, x: Any, product: Any, total: Any, options: Any, n: int) -> Any:
    """The error of products of at most n elements of x, made by `product`; `total` sums the same elements."""
    grown = np.abs(x.value, dtype=np.float64)
    spread = None
    if x.error is not None:
        grown = grown + x.error
        shares = np.divide(x.error, grown, out=np.zeros(x.shape), where=grown > 0)
        spread = product(grown, **options) * total(shares, **options)
    lost = 2 * n * p.tiny * product(np.maximum(grown, 1), **options)
    return plus(accumulated(p, n, np.abs(v, dtype=np.float64)), lost, spread)


def _cumprod(p: Precision, x: Any, axis: Any = None, dtype: Any = None) -> Bounded:
    v = np.cumprod(x.value, axis=axis, dtype=dtype)
    n = x.size if axis is None else x.shape[axis]
    return settled(p, v, _of_products(p, v, x, np.cumprod, np.cumsum, {"axis": axis}, n))


def _cumsum(p: Precision, x: Any, axis: Any = None, dtype: Any = None) -> Bounded:
    n = x.size if axis is None else x.shape[axis]
    own = accumulated(p, n, np.cumsum(np.abs(x.value, dtype=np.float64), axis=axis))
    spread = None if x.error is None else np.cumsum(x.error, axis=axis)
    return settled(p, np.cumsum(x.value, axis=axis, dtype=dtype), plus(own, spread))


def add_at(p: Precision, ufunc: np.ufunc, target: Any, index: Any, new: Any) -> None:
    """np.add.at: a sum of as many terms as land on one element, the old value among them."""
    if not isinstance(target, Bounded):
        raise NoRoundingRule("np.add.at adds bounded numbers to a plain array")
    value, error = operand(p, new)
    v, absolute, counts = target.value.copy(), np.abs(target.value, dtype=np.float64), np.zeros(target.shape)
    ufunc.at(v, index, value)
    np.add.at(absolute, index, np.abs(value))
    np.add.at(counts, index, 1)
    grown = accumulated(p, int(counts.max(initial=0)), absolute * (counts > 0))
    if target.error is not None:
        grown = grown + target.error
    if error is not None:
        np.add.at(grown, index, error)
    target._write(..., Bounded(v, grown, p))


def extreme_at(p: Precision, ufunc: np.ufunc, target: Any, index: Any, new: Any) -> None:
    """np.maximum.at and np.minimum.at: nothing rounds, and larger numbers make nothing smaller."""
    if not isinstance(target, Bounded):
        raise NoRoundingRule(f"np.{ufunc.__name__}.at puts bounded numbers into a plain array")
    value, error = operand(p, new)
    v = target.value.copy()
    ufunc.at(v, index, value)
    ends = []
    for sign in (-1, 1):
        end = target.value + np.float64(sign) * (0.0 if target.error is None else target.error)
        ufunc.at(end, index, value + np.float64(sign) * (0.0 if error is None else error))
        ends.append(end)
    target._write(..., Bounded(v, between(v, *ends), p))


def _bincount(p: Precision, x: Any, weights: Any = None, minlength: int = 0) -> Bounded:
    """Sums of as many weights as land on one number, in float64."""
    if isinstance(x, Bounded):
        raise NoRoundingRule("np.bincount of bounded numbers")
    value, error = operand(p, weights)
    v, counts = np.bincount(x, value, minlength), np.bincount(x, None, minlength)
    own = accumulated(p, int(counts.max(initial=0)), np.bincount(x, np.abs(value), minlength))
    return settled(p, v, plus(own, None if error is None else np.bincount(x, error, minlength)))


def lengthened(p: Precision, error: Any, terms: list[int], operands: list[Operand]) -> Any:
    """The error of a ± b, one of which is itself a sum: torch may add the bias first, and Σ xᵢ yᵢ to it term by term.

    Every term of either then takes part in as many more additions as the other has terms. The magnitudes of a sum
    of n terms make e / 2γ_{n−1} at most, for that is how it came by its error e. `error`, that of the sum itself, is
    changed in place where it is an array.
    """
    for (value, e), length, others in zip(operands, terms, terms[::-1], strict=True):
        if length == 1:
            error += accumulated(p, others, np.abs(value, dtype=np.float64))
        elif e is not None:
            error += e * (others / (length - 1))
    return error


REDUCTIONS: dict[np.ufunc, Callable[..., Bounded]] = {
    np.add: _sum,
    np.multiply: _prod,
    np.maximum: _extreme(np.max),
    np.minimum: _extreme(np.min),
}
SUMS: dict[Callable[..., Any], Callable[..., Any]] = {
    np.sum: _sum,
    np.mean: _mean,
    np.max: _extreme(np.max),
    np.min: _extreme(np.min),
    np.amax: _extreme(np.max),
    np.amin: _extreme(np.min),
    np.cumprod: _cumprod,
    np.bincount: _bincount,
    np.prod: _prod,
    np.var: _var,
    np.std: _std,
    np.cumsum: _cumsum,
}
