"""NumPy's dispatch: which rule follows which ufunc and which array function (np.sum, np.where, np.einsum, …).

Functions that only move elements about do to the errors what they do to the values. Functions that look at
values and return no floating-point number may not be swayed by rounding. The rest is arithmetic or a choice,
each with its rule.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from handgrad.compare.rounding.bounded import Bounded, NoRoundingRule, Precision, operand, plain_index
from handgrad.compare.rounding.choices import CHOICES, any_bounded, plain
from handgrad.compare.rounding.composed import COMPOSED, monotone
from handgrad.compare.rounding.infinities import exactly_infinite
from handgrad.compare.rounding.linear_algebra import LINEAR
from handgrad.compare.rounding.methods import Dispatch
from handgrad.compare.rounding.products import MATRIX_PRODUCTS, PRODUCTS, matrix_product
from handgrad.compare.rounding.results import of_terms, settled
from handgrad.compare.rounding.rules import RULES
from handgrad.compare.rounding.same_numbers import COMPARISONS, LARGER, added_to_zero, chosen, decided
from handgrad.compare.rounding.sums import REDUCTIONS, SUMS, add_at, extreme_at, lengthened


def apply_ufunc(p: Precision, ufunc: np.ufunc, method: str, inputs: Any, kwargs: Any) -> Any:
    """Run `ufunc` on Bounded inputs; NoRoundingRule where there is no rule for it."""
    if method == "__call__":
        if ufunc in MATRIX_PRODUCTS and not kwargs:
            return matrix_product(p, ufunc, *inputs)
        rule = RULES.get(ufunc)
        if rule is not None and kwargs.get("where", True) is True:
            operands = [operand(p, x) for x in inputs]
            v = ufunc(*[value for value, _ in operands], **kwargs)
            return _elementwise(p, ufunc, rule, v, inputs, operands)
    elif method == "reduce" and ufunc in REDUCTIONS:  # which defaults to the first axis
        return _call(REDUCTIONS[ufunc], f"{ufunc.__name__}.reduce", p, inputs, {"axis": 0, **kwargs})
    elif method == "accumulate" and ufunc in (np.add, np.multiply):
        rule = SUMS[np.cumsum if ufunc is np.add else np.cumprod]
        return _call(rule, f"{ufunc.__name__}.accumulate", p, inputs, {"axis": 0, **kwargs})
    elif method == "accumulate" and ufunc in (np.maximum, np.minimum):
        return _call(monotone(ufunc.accumulate), f"{ufunc.__name__}.accumulate", p, inputs, {"axis": 0, **kwargs})
    elif method == "outer" and ufunc in RULES and len(inputs) == 2 and not kwargs:
        a, b = (x if isinstance(x, Bounded) else np.asarray(x) for x in inputs)
        return ufunc(a.reshape(a.shape + (1,) * b.ndim), b)
    elif method == "at" and ufunc in (np.add, np.subtract) and not kwargs:
        return add_at(p, ufunc, inputs[0], plain_index(inputs[1]), inputs[2])
    elif method == "at" and ufunc in (np.maximum, np.minimum) and not kwargs:
        return extreme_at(p, ufunc, inputs[0], plain_index(inputs[1]), inputs[2])
    raise NoRoundingRule(f"np.{ufunc.__name__}{'' if method == '__call__' else '.' + method}")


def _elementwise(p: Precision, ufunc: np.ufunc, rule: Any, v: Any, inputs: Any, operands: Any) -> Any:
    """The result v of the ufunc with its error."""
    error = rule(p, v, *operands)
    if error is not None and ufunc in COMPARISONS:
        error = decided(p, np.broadcast_to(error, v.shape), inputs)
    if error is None and v.dtype.kind != "f":
        return v  # a comparison that no rounding sways is an ordinary mask
    terms: list[int] = []
    if ufunc is np.add or ufunc is np.subtract:
        terms = [getattr(x, "terms", 1) for x in inputs]
        if max(terms) > 1:
            error = lengthened(p, error, terms, operands)
    result = settled(p, v, error, lambda: exactly_infinite(ufunc, v, operands))
    if terms:
        added_to_zero(ufunc, result, inputs, operands)
    elif ufunc in LARGER:
        chosen(chosen(result, *inputs), *inputs[::-1])
    return of_terms(sum(terms), result) if max(terms, default=1) > 1 else result


def apply(p: Precision, func: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Run a NumPy function on Bounded arguments; NoRoundingRule where there is no rule for it."""
    args, kwargs, out = without_out(func, args, kwargs)
    if out is not None:
        return _written(apply(p, func, args, kwargs), out)
    if func in MOVERS and args and isinstance(args[0], Bounded) and not any_bounded((args[1:], kwargs)):
        return _moved(args[0], lambda a: func(a, *args[1:], **kwargs))
    if func in ARITHMETIC:
        return _call(ARITHMETIC[func], func.__name__, p, args, kwargs)
    if func in SHAPES:
        return func(*plain(args), **plain(kwargs))
    if func in LIKE:
        return _like(p, func, *args, **kwargs)
    raise NoRoundingRule(f"np.{func.__name__}")


def without_out(func: Callable[..., Any], args: Any, kwargs: Any) -> tuple[Any, Any, Any]:
    """The arguments but `out`, and it, wherever it stands among them; None where there is none."""
    if "out" in kwargs:
        return args, {k: v for k, v in kwargs.items() if k != "out"}, kwargs["out"]
    if len(args) > 2 and func in ARITHMETIC:
        names = [n for n, q in inspect.signature(func).parameters.items() if q.kind is q.POSITIONAL_OR_KEYWORD]
        if "out" in names[: len(args)]:
            at = names.index("out")
            return args[:at], {**dict(zip(names[at + 1 :], args[at + 1 :], strict=False)), **kwargs}, args[at]
    return args, kwargs, None


def _written(result: Any, out: Any) -> Any:
    """What a function returns that has written its result into `out`."""
    if not isinstance(out, Bounded):
        raise NoRoundingRule("a function writes a bounded result into a plain array, by out=")
    out._write(..., result)
    return out


def _call(rule: Callable[..., Any], name: str, p: Precision, args: Any, kwargs: Any) -> Any:
    """The rule's answer; NoRoundingRule for arguments that it does not know."""
    try:
        return rule(p, *args, **kwargs)
    except (TypeError, AttributeError) as error:
        if isinstance(error, NoRoundingRule):
            raise
        try:
            inspect.signature(rule).bind(p, *args, **kwargs)
        except TypeError:
            raise NoRoundingRule(f"np.{name} with these arguments") from None
        if isinstance(error, AttributeError):  # the Bounded is not where the rule looks for it
            raise NoRoundingRule(f"np.{name} with these arguments") from error
        raise


# --- what leaves values as they are ----------------------------------------------------------------------------


def _moved(x: Any, func: Callable[..., Any]) -> Any:
    """Bounded, or the list of them that np.split and its kind return."""
    parts = func(x.value)
    if isinstance(parts, (list, tuple)):
        return [x._move(lambda a, i=i: func(a)[i]) for i in range(len(parts))]
    return x._move(func)


def _like(p: Precision, func: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
    fill = kwargs.pop("fill_value", args[0] if args else 0) if func is np.full_like else None
    value = func(plain(x), *args, **kwargs) if fill is None else np.empty_like(plain(x), *args[1:], **kwargs)
    result = Bounded(value, None, p) if value.dtype.kind == "f" else value
    if fill is not None:
        result[...] = fill
    return result


def _joined(func: Callable[..., Any]) -> Callable[..., Bounded]:
    """np.concatenate and its kin: an array beside a Bounded one has error 0."""

    def rule(p: Precision, arrays: Any, axis: Any = None) -> Bounded:
        pairs = [operand(p, x) for x in arrays]
        options = {} if axis is None else {"axis": axis}
        v = func([value for value, _ in pairs], **options)
        if all(e is None for _, e in pairs):
            return settled(p, v, None)
        errors = [np.broadcast_to(0.0 if e is None else e, np.shape(value)) for value, e in pairs]
        return settled(p, v, func(errors, **options))

    return rule


def _pad(p: Precision, x: Any, pad_width: Any, mode: str = "constant", **kwargs: Any) -> Bounded:
    if mode not in ("constant", "edge", "reflect", "symmetric", "wrap") or not isinstance(x, Bounded):
        raise NoRoundingRule(f"np.pad with mode={mode!r}")
    pad: Any = np.pad
    fill = kwargs.get("constant_values", 0)
    if operand(p, fill)[1] is not None:
        raise NoRoundingRule("np.pad with rounded constants")
    options = kwargs if mode != "constant" else {"constant_values": 0}
    error = None if x.error is None else pad(x.error, pad_width, mode, **options)
    return settled(p, pad(x.value, pad_width, mode, **kwargs), error)


def _put_along_axis(p: Precision, target: Any, indices: Any, values: Any, axis: Any) -> None:
    if not isinstance(target, Bounded) or isinstance(indices, Bounded):
        raise NoRoundingRule("np.put_along_axis puts bounded numbers into a plain array")
    value, error = operand(p, values)
    v, e = target.value.copy(), np.zeros(target.shape) if target.error is None else target.error.copy()
    np.put_along_axis(v, indices, value, axis)
    np.put_along_axis(e, indices, 0 if error is None else error, axis)
    target._write(..., Bounded(v, e if np.any(e) else None, p))


def _as_strided(p: Precision, x: Any, shape: Any = None, strides: Any = None, subok: Any = False, **_: Any) -> Bounded:
    """A copy, and read-only: where elements overlap no array of errors could follow what is written."""
    if not isinstance(x, Bounded):
        raise NoRoundingRule("np.as_strided of a plain array")
    shape, strides = x.shape if shape is None else shape, x.strides if strides is None else strides
    if x.error is not None and any(
        se * x.itemsize != 8 * sv for se, sv in zip(x.error.strides, x.strides, strict=True)
    ):
        raise NoRoundingRule("np.as_strided of an array in another order than its errors")

    def strided(a: Any) -> Any:
        return np.lib.stride_tricks.as_strided(a, shape, [n * a.itemsize // x.itemsize for n in strides]).copy()

    value = strided(x.value)
    value.flags.writeable = False
    return Bounded(value, None if x.error is None else strided(x.error), p)


MOVERS = {
    np.reshape, np.ravel, np.transpose, np.swapaxes, np.moveaxis, np.expand_dims, np.squeeze, np.broadcast_to,
    np.flip, np.fliplr, np.flipud, np.roll, np.tile, np.repeat, np.take, np.take_along_axis, np.diagonal, np.diag,
    np.tril, np.triu, np.split, np.array_split, np.atleast_1d, np.atleast_2d, np.copy, np.rot90,
    np.lib.stride_tricks.sliding_window_view, np.matrix_transpose, np.delete, np.atleast_3d, np.rollaxis, np.hsplit,
    np.vsplit, np.dsplit, np.resize, np.diagflat, np.real,
}  # fmt: skip
MOVERS |= {getattr(np, name) for name in ("unstack",) if hasattr(np, name)}  # of NumPy 2.1
SHAPES = {
    np.shape, np.ndim, np.size, np.result_type, np.can_cast, np.iscomplexobj, np.isrealobj, np.shares_memory,
    np.may_share_memory, np.min_scalar_type, np.triu_indices_from, np.tril_indices_from, np.diag_indices_from,
}  # fmt: skip
LIKE = {np.zeros_like, np.ones_like, np.empty_like, np.full_like}
ARITHMETIC: dict[Callable[..., Any], Callable[..., Any]] = (
    SUMS
    | PRODUCTS
    | CHOICES
    | COMPOSED
    | LINEAR
    | {
        np.pad: _pad,
        np.put_along_axis: _put_along_axis,
        np.lib.stride_tricks.as_strided: _as_strided,
    }
)
ARITHMETIC |= {
    f: _joined(f) for f in (np.concatenate, np.stack, np.vstack, np.hstack, np.dstack, np.column_stack)
}  # fmt: skip

Bounded.dispatch = Dispatch(apply_ufunc, apply)
