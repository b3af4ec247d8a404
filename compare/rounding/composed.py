"""NumPy functions that are other functions in a row: their rules are those of the steps that NumPy itself takes.

Each makes the value that NumPy makes, bit for bit, and takes the arguments under NumPy's names.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from handgrad.compare.rounding.bounded import Bounded, NoRoundingRule, Precision, operand
from handgrad.compare.rounding.choices import plain
from handgrad.compare.rounding.products import contraction
from handgrad.compare.rounding.results import settled
from handgrad.compare.rounding.sums import between

# --- differences, products and means ---------------------------------------------------------------------------


def _diff(p: Precision, a: Any, n: int = 1, axis: int = -1) -> Any:
    for _ in range(n):
        a = np.moveaxis(a, axis, -1)
        a = np.moveaxis(a[..., 1:] - a[..., :-1], -1, axis)
    return a


def _vdot(p: Precision, a: Any, b: Any) -> Any:
    return np.dot(np.ravel(a), np.ravel(b))


def _kron(p: Precision, a: Any, b: Any) -> Any:
    a, b = (x if isinstance(x, Bounded) else np.asarray(x) for x in (a, b))
    n = max(a.ndim, b.ndim)
    (*a_shape,), (*b_shape,) = ((1,) * (n - x.ndim) + x.shape for x in (a, b))
    a, b = (x.reshape([k for pair in s for k in pair]) for x, s in (
        (a, [(k, 1) for k in a_shape]), (b, [(1, k) for k in b_shape])))  # fmt: skip
    return (a * b).reshape([i * j for i, j in zip(a_shape, b_shape, strict=True)])


def _cross(p: Precision, a: Any, b: Any, axis: int = -1) -> Any:
    a, b = (x if isinstance(x, Bounded) else np.asarray(x) for x in (a, b))
    if axis != -1 or a.shape[-1] != 3 or b.shape[-1] != 3:
        raise NoRoundingRule("np.cross of anything but vectors of three along the last axis")
    x, y, z = (a[..., i] for i in range(3))
    u, v, w = (b[..., i] for i in range(3))
    return np.stack([y * w - z * v, z * u - x * w, x * v - y * u], axis=-1)


def _convolution(func: Callable[..., Any], default: str) -> Callable[..., Any]:
    """np.convolve and np.correlate: every element is a sum of at most as many products as the shorter one is long."""

    def rule(p: Precision, a: Any, v: Any, mode: str = default) -> Any:
        n = min(np.size(plain(a)), np.size(plain(v)))
        return contraction(p, lambda x, y: func(x, y, mode), a, v, n)

    return rule


def _average(p: Precision, a: Any, axis: Any = None, weights: Any = None, *, keepdims: bool = False) -> Any:
    if weights is None:
        return np.mean(a, axis=axis, keepdims=keepdims)
    a, weights = (x if isinstance(x, Bounded) else np.asarray(x) for x in (a, weights))
    if weights.shape != a.shape:
        if weights.ndim != 1 or not isinstance(axis, int):
            raise NoRoundingRule("np.average with weights of another shape along several axes")
        weights = np.swapaxes(np.broadcast_to(weights, (a.ndim - 1) * (1,) + weights.shape), -1, axis)
    total = np.sum(weights, axis=axis, keepdims=keepdims)
    return np.sum(a * weights, axis=axis, keepdims=keepdims) / total


def _trace(p: Precision, a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    return np.sum(np.diagonal(a, offset, axis1, axis2), axis=-1)


def _norm(p: Precision, x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    vectors = np.ndim(axis) == 0 and (axis is not None or x.ndim == 1)
    if vectors and ord == 1:
        return np.sum(np.abs(x), axis=axis, keepdims=keepdims)
    if vectors and ord in (np.inf, -np.inf):
        return (np.max if ord > 0 else np.min)(np.abs(x), axis=axis, keepdims=keepdims)
    if not (ord is None or (ord == 2 and vectors) or (ord == "fro" and not vectors)):
        raise NoRoundingRule(f"np.linalg.norm with ord={ord!r}")
    v = np.linalg.norm(x.value, ord, axis, keepdims)
    return settled(p, v, np.sqrt(np.sum(x * x, axis=axis, keepdims=keepdims)).error)


def _of_numbers(func: Callable[..., Any]) -> Callable[..., Any]:
    """np.nansum and its kin: NaN counts as 0."""
    return lambda p, a, axis=None, *, keepdims=False: func(
        np.where(np.isnan(a), 0.0, a).astype(a.dtype), axis=axis, keepdims=keepdims
    )


# --- choices ---------------------------------------------------------------------------------------------------


def _select(p: Precision, condlist: Any, choicelist: Any, default: Any = 0) -> Any:
    if len(condlist) != len(choicelist):
        raise ValueError("list of cases must be same length as list of conditions")
    result = default
    for condition, choice in zip(condlist[::-1], choicelist[::-1], strict=True):
        result = np.where(condition, choice, result)
    return result


def _piecewise(p: Precision, x: Any, condlist: Any, funclist: Any, *args: Any, **kwargs: Any) -> Any:
    if not isinstance(x, Bounded):
        raise NoRoundingRule("np.piecewise of a plain array")
    conditions = list(condlist) if isinstance(condlist, (list, tuple)) else [condlist]
    if len(conditions) == len(funclist) - 1:
        conditions.append(~np.any(np.stack(conditions), axis=0))
    here: Any = x
    result: Any = np.zeros_like(x)
    for condition, func in zip(conditions, funclist, strict=True):
        if not callable(func):
            result[condition] = func
        elif np.any(condition):
            result[condition] = func(here[condition], *args, **kwargs)
    return result


def _nan_to_num(p: Precision, x: Any, copy: bool = True, nan: Any = 0.0, posinf: Any = None, neginf: Any = None) -> Any:
    if not copy:
        raise NoRoundingRule("np.nan_to_num in place")
    largest = np.finfo(x.dtype).max
    infinite = np.isinf(x)
    result = np.where(np.isnan(x), nan, x)
    result = np.where(infinite & (x.value > 0), largest if posinf is None else posinf, result)
    return np.where(infinite & (x.value < 0), -largest if neginf is None else neginf, result).astype(x.dtype)


def _sinc(p: Precision, x: Any) -> Any:
    y = np.pi * np.where(x == 0, 1e-20 if p.dtype != np.float16 else 1e-7, x)
    return np.sin(y) / y


# --- order -----------------------------------------------------------------------------------------------------


def monotone(func: Callable[..., Any]) -> Callable[..., Any]:
    """np.sort and its kin: what is never smaller for larger numbers lies between its values for x − e and x + e."""

    def rule(p: Precision, x: Any, axis: Any = -1, **kwargs: Any) -> Any:
        v = func(x.value, axis=axis)
        if x.error is None:
            return settled(p, v, None)
        here = np.asarray(x.value, np.float64)
        low, high = (func(here + e, axis=axis) for e in (-x.error, x.error))
        return settled(p, v, between(v, low, high))

    return rule


def _median(p: Precision, a: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    if np.any(np.isnan(a.value)) or isinstance(axis, tuple):
        raise NoRoundingRule("np.median of NaN, or along several axes")
    line: Any = np.moveaxis(
        np.sort(np.ravel(a) if axis is None else a, axis=-1 if axis is None else axis), axis or 0, -1
    )
    n = line.shape[-1]
    result = np.mean(line[..., (n - 1) // 2 : n // 2 + 1], axis=-1)
    if not keepdims:
        return result
    return result.reshape((1,) * a.ndim) if axis is None else np.expand_dims(result, axis)


# --- what moves several arrays at once, or writes --------------------------------------------------------------


def _joined_in(func: Callable[..., Any], *moved: int) -> Callable[..., Any]:
    """A function that moves the elements of its arguments at `moved`: with their errors it does the same."""

    def rule(p: Precision, *args: Any, **kwargs: Any) -> Any:
        if any(isinstance(x, Bounded) for i, x in enumerate((*args, *kwargs.values())) if i not in moved):
            raise NoRoundingRule(f"np.{func.__name__} with these arguments")
        pairs = {i: _nested(p, args[i]) for i in moved if i < len(args)}
        v = func(*(pairs[i][0] if i in pairs else x for i, x in enumerate(args)), **kwargs)
        errors = func(*(pairs[i][1] if i in pairs else x for i, x in enumerate(args)), **kwargs)
        if isinstance(v, (list, tuple)):
            return type(v)(settled(p, a, np.array(e)) for a, e in zip(v, errors, strict=True))
        return settled(p, v, errors if np.any(errors) else None)

    return rule


def _nested(p: Precision, x: Any) -> tuple[Any, Any]:
    """(values, errors) of an array, or of lists of arrays."""
    if isinstance(x, (list, tuple)):
        pairs = [_nested(p, item) for item in x]
        return [v for v, _ in pairs], [e for _, e in pairs]
    value, error = operand(p, x)
    return value, np.zeros(np.shape(value)) if error is None else np.asarray(error, np.float64)


def _compress(p: Precision, condition: Any, a: Any, axis: Any = None) -> Any:
    return np.take(a, np.flatnonzero(condition), axis=axis)


def _extract(p: Precision, condition: Any, arr: Any) -> Any:
    return np.take(np.ravel(arr), np.flatnonzero(condition))


def _broadcast_arrays(p: Precision, *arrays: Any) -> Any:
    shape = np.broadcast_shapes(*(np.shape(x) for x in arrays))
    return tuple(np.broadcast_to(x, shape) for x in arrays)


def _meshgrid(p: Precision, *xi: Any, **options: Any) -> Any:
    values, errors = _nested(p, xi)
    grids = zip(np.meshgrid(*values, **options), np.meshgrid(*errors, **options), strict=True)
    return tuple(settled(p, v, e if np.any(e) else None) for v, e in grids)


def _round(p: Precision, a: Any, decimals: int = 0) -> Any:
    if decimals:
        raise NoRoundingRule("np.round to a decimal place")
    return np.rint(a)


def _into(func: Callable[..., Any]) -> Callable[..., None]:
    """A function that writes into its first argument, which must be bounded to take in bounded numbers."""

    def rule(p: Precision, target: Any, *args: Any, **kwargs: Any) -> None:
        if not isinstance(target, Bounded):
            raise NoRoundingRule(f"np.{func.__name__.strip('_')} writes bounded numbers into a plain array")
        func(target, *args, **kwargs)

    return rule


def _copyto(target: Any, src: Any, casting: str = "same_kind", where: Any = True) -> None:
    target._write(..., src if where is True else np.where(where, src, target))


def _fill_diagonal(target: Any, val: Any, wrap: bool = False) -> None:
    n = min(target.shape)
    if wrap or len(set(target.shape[1:])) > 1:
        raise NoRoundingRule("np.fill_diagonal with wrap")
    target[(np.arange(n),) * target.ndim] = val


def _put(target: Any, ind: Any, v: Any) -> None:
    if not target.value.flags.c_contiguous:
        raise NoRoundingRule("np.put into an array that is not contiguous")
    target.reshape(-1)[plain(ind)] = v


COMPOSED: dict[Callable[..., Any], Callable[..., Any]] = {
    np.diff: _diff, np.vdot: _vdot, np.kron: _kron, np.cross: _cross, np.average: _average, np.trace: _trace,
    np.linalg.norm: _norm, np.convolve: _convolution(np.convolve, "full"),
    np.correlate: _convolution(np.correlate, "valid"), np.nansum: _of_numbers(np.sum),
    np.select: _select, np.piecewise: _piecewise, np.nan_to_num: _nan_to_num, np.sinc: _sinc,
    np.meshgrid: _meshgrid, np.round: _round,
    np.around: _round, np.astype: lambda p, x, dtype, *, copy=True: x.astype(dtype, copy=copy),
    np.sort: monotone(np.sort), np.median: _median,
    np.ptp: lambda p, a, axis=None, *, keepdims=False: np.subtract(
        np.max(a, axis=axis, keepdims=keepdims), np.min(a, axis=axis, keepdims=keepdims)
    ),
    np.insert: _joined_in(np.insert, 0, 2), np.append: _joined_in(np.append, 0, 1), np.block: _joined_in(np.block, 0),
    np.compress: _compress, np.extract: _extract, np.broadcast_arrays: _broadcast_arrays,
    np.copyto: _into(_copyto), np.fill_diagonal: _into(_fill_diagonal), np.put: _into(_put),
}  # fmt: skip
