"""What NumPy's array functions (np.sum, np.where, np.einsum, …) make of their operands' errors.

Three kinds: functions that only move elements about, which do to the errors what they do to the values;
functions that look at values and return no floating-point number; and the arithmetic, each with its rule.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from compare.rounding_rules import Operand, carried, operand, plus, rounding

if TYPE_CHECKING:
    from compare.rounding import Precision


def apply(p: Precision, func: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Run a NumPy function on Bounded arguments; NoRoundingRule where there is no rule for it."""
    from compare.rounding import Bounded, NoRoundingRule

    if func in MOVERS:
        value = func(*plain(args), **plain(kwargs))
        if not has_error((args, kwargs)):
            return _wrapped(p, value, None)
        return _wrapped(p, value, func(*errors(args), **errors(kwargs)))
    if func in LOOKERS:
        return func(*plain(args), **plain(kwargs))
    if func in LIKE:
        return Bounded(func(*plain(args), **kwargs), None, p)
    if func in ARITHMETIC:
        if kwargs.pop("out", None) is not None:
            raise NoRoundingRule(f"np.{func.__name__} with out=")
        return ARITHMETIC[func](p, *args, **kwargs)
    raise NoRoundingRule(f"np.{func.__name__}")


def _wrapped(p: Precision, value: Any, error: Any) -> Any:
    """Bounded, or the list of them that np.split and its kind return."""
    from compare.rounding import Bounded

    if isinstance(value, (list, tuple)):
        return [
            _wrapped(p, v, None if error is None else e)
            for v, e in zip(value, error if error is not None else value, strict=True)
        ]
    return Bounded(value, error, p)


def plain(x: Any) -> Any:
    """The same arguments with every Bounded replaced by its value."""
    return _mapped(x, lambda b: b.value)


def errors(x: Any) -> Any:
    """The same arguments with every Bounded replaced by its error, and an array beside one by zeros."""
    return _mapped(x, lambda b: np.zeros(b.shape) if b.error is None else b.error, exact=True)


def _mapped(x: Any, pick: Callable[[Any], Any], exact: bool = False) -> Any:
    from compare.rounding import Bounded

    if isinstance(x, Bounded):
        return pick(x)
    if isinstance(x, dict):
        return {key: _mapped(item, pick, exact) for key, item in x.items()}
    if isinstance(x, (list, tuple)):
        inside = any(isinstance(item, Bounded) for item in x)
        items = [
            np.zeros(item.shape) if exact and inside and isinstance(item, np.ndarray) and item.dtype.kind == "f"
            else _mapped(item, pick, exact)
            for item in x
        ]  # fmt: skip
        return type(x)(items) if type(x) in (list, tuple) else x
    return x


def has_error(x: Any) -> bool:
    """Whether any Bounded among the arguments is inexact."""
    from compare.rounding import Bounded

    if isinstance(x, Bounded):
        return x.error is not None
    if isinstance(x, dict):
        return any(has_error(item) for item in x.values())
    return isinstance(x, (list, tuple)) and any(has_error(item) for item in x)


def plain_index(key: Any) -> Any:
    """An index in which exact Bounded masks are plain; NoRoundingRule where rounding decides what is picked."""
    from compare.rounding import Bounded, NoRoundingRule

    if isinstance(key, tuple):
        return tuple(plain_index(k) for k in key)
    if not isinstance(key, Bounded):
        return key
    if key.error is not None and np.any(key.error):
        raise NoRoundingRule("the code picks elements by a mask that rounding decides")
    return key.value


# --- sums and their kin -------------------------------------------------------------------------------------


def _reduced(x: Any, axis: Any) -> int:
    """How many elements of x go into one of the sum."""
    if axis is None:
        return int(x.size)
    axes = axis if isinstance(axis, tuple) else (axis,)
    return int(np.prod([x.shape[a] for a in axes]))


def _sum(p: Precision, x: Any, axis: Any = None, keepdims: bool = False, **kwargs: Any) -> Any:
    from compare.rounding import Bounded, NoRoundingRule

    if kwargs.pop("where", True) is not True or kwargs.pop("initial", None) is not None:
        raise NoRoundingRule("np.sum with where= or initial=")
    value, error = operand(p, x)
    total = np.sum(value, axis=axis, keepdims=keepdims, **kwargs)
    gamma = p.gamma(max(_reduced(value, axis) - 1, 0))
    own = 2 * gamma * np.abs(value, dtype=np.float64).sum(axis=axis, keepdims=keepdims)
    spread = None if error is None else np.sum(error, axis=axis, keepdims=keepdims)
    return Bounded(total, plus(own, spread), p)


def _mean(p: Precision, x: Any, axis: Any = None, keepdims: bool = False, **kwargs: Any) -> Any:
    from compare.rounding import Bounded

    value = x.value
    n = _reduced(value, axis)
    total = _sum(p, x, axis, keepdims)
    error = total.error / n
    v = np.mean(value, axis=axis, keepdims=keepdims, **kwargs)
    own = None if n & (n - 1) == 0 else rounding(p, v, 2)
    return Bounded(v, plus(error, own), p)


def _extreme(func: Callable[..., Any]) -> Callable[..., Any]:
    def rule(p: Precision, x: Any, axis: Any = None, keepdims: bool = False, **kwargs: Any) -> Any:
        from compare.rounding import Bounded

        v = func(x.value, axis=axis, keepdims=keepdims, **kwargs)
        error = None if x.error is None else np.max(x.error, axis=axis, keepdims=keepdims)
        return Bounded(v, error, p)

    return rule


def _prod(p: Precision, x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    from compare.rounding import Bounded

    v = np.prod(x.value, axis=axis, keepdims=keepdims)
    n = _reduced(x.value, axis)
    absolute = np.abs(x.value)
    grown = absolute if x.error is None else absolute + x.error
    spread = np.prod(grown, axis=axis, keepdims=keepdims) - np.abs(v)
    return Bounded(v, spread + 2 * p.gamma(n) * np.abs(v) + n * p.tiny, p)


def _var(p: Precision, x: Any, axis: Any = None, ddof: int = 0, keepdims: bool = False) -> Any:
    r = x - _mean(p, x, axis, keepdims=True)
    n = _reduced(x.value, axis) - ddof
    return _sum(p, r * r, axis, keepdims) / n


def _std(p: Precision, x: Any, axis: Any = None, ddof: int = 0, keepdims: bool = False) -> Any:
    return np.sqrt(_var(p, x, axis, ddof, keepdims))


def _norm(p: Precision, x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    from compare.rounding import NoRoundingRule

    if ord not in (None, 2) or (ord == 2 and axis is None and x.ndim > 1):
        raise NoRoundingRule(f"np.linalg.norm with ord={ord!r}")
    return np.sqrt(_sum(p, x * x, axis, keepdims))


def _cumsum(p: Precision, x: Any, axis: Any = None) -> Any:
    from compare.rounding import Bounded

    v = np.cumsum(x.value, axis=axis)
    n = x.value.size if axis is None else x.value.shape[axis]
    own = 2 * p.gamma(n) * np.cumsum(np.abs(x.value, dtype=np.float64), axis=axis)
    spread = None if x.error is None else np.cumsum(x.error, axis=axis)
    return Bounded(v, plus(own, spread), p)


REDUCTIONS: dict[np.ufunc, Callable[..., Any]] = {
    np.add: _sum,
    np.multiply: _prod,
    np.maximum: _extreme(np.max),
    np.minimum: _extreme(np.min),
}


def reduce_ufunc(p: Precision, ufunc: np.ufunc, inputs: Any, kwargs: Any) -> Any:
    """np.add.reduce and its kin, which default to the first axis where np.sum takes all of them."""
    from compare.rounding import NoRoundingRule

    if ufunc not in REDUCTIONS:
        raise NoRoundingRule(f"np.{ufunc.__name__}.reduce")
    return REDUCTIONS[ufunc](p, *inputs, **{"axis": 0, **kwargs})


# --- products -----------------------------------------------------------------------------------------------


def _dot(p: Precision, a: Any, b: Any) -> Any:
    if np.ndim(a) == 0 or np.ndim(b) == 0:
        return np.multiply(a, b)
    return _einsum_contraction(p, np.dot, a, b, np.shape(a)[-1])


def _inner(p: Precision, a: Any, b: Any) -> Any:
    return _einsum_contraction(p, np.inner, a, b, np.shape(a)[-1])


def _outer(p: Precision, a: Any, b: Any) -> Any:
    return np.multiply(a.ravel()[:, np.newaxis], b.ravel()[np.newaxis, :])


def _tensordot(p: Precision, a: Any, b: Any, axes: Any = 2) -> Any:
    shape = np.shape(a)
    if isinstance(axes, int):
        n = int(np.prod(shape[len(shape) - axes :]))
    else:
        n = int(np.prod([shape[i] for i in np.atleast_1d(axes[0])]))
    return _einsum_contraction(p, lambda x, y: np.tensordot(x, y, axes), a, b, n)


def _einsum_contraction(p: Precision, product: Any, a: Any, b: Any, n: int) -> Any:
    """Any bilinear product that sums n terms into an element."""
    from compare.rounding import Bounded

    oa, ob = operand(p, a), operand(p, b)
    absolute = product(np.abs(oa[0]).astype(np.float64), np.abs(ob[0]))
    error = plus(2 * p.gamma(n) * absolute + n * p.tiny, carried(oa, ob, product))
    return Bounded(product(oa[0], ob[0]), error, p)


def _einsum(p: Precision, subscripts: str, *operands: Any, **kwargs: Any) -> Any:
    """k factors and n terms an element: γ_{n+k} on the product of the magnitudes, which errors make larger."""
    from compare.rounding import Bounded

    pairs: list[Operand] = [operand(p, x) for x in operands]
    values = [value for value, _ in pairs]
    v = np.einsum(subscripts, *values, **kwargs)
    absolutes = [np.abs(value).astype(np.float64) for value in values]
    absolute = np.einsum(subscripts, *absolutes)
    grown = [a if e is None else a + e for a, (_, e) in zip(absolutes, pairs, strict=True)]
    spread = None
    if has_error(operands):
        # Π(|x|+e) − Π|x| in floating point loses what is below u of it; the sum of the first-order terms, each
        # with the other factors grown, does not, and is at least as large.
        spread = plus(
            *(np.einsum(subscripts, *grown[:i], e, *grown[i + 1 :]) for i, (_, e) in enumerate(pairs) if e is not None)
        )
    n = _summed_terms(subscripts, values)
    return Bounded(v, plus(2 * p.gamma(n + len(values)) * absolute + n * p.tiny, spread), p)


def _summed_terms(subscripts: str, values: list[Any]) -> int:
    """The number of terms summed into one element: the sizes of all index letters that the output lacks."""
    inputs, arrow, output = subscripts.replace(" ", "").partition("->")
    names = inputs.split(",")
    if not arrow:
        output = "".join(c for c in inputs if c.isalpha() and inputs.count(c) == 1)
    sizes = {}
    for letters, value in zip(names, values, strict=True):
        for letter, size in zip(letters.replace("...", ""), value.shape[::1], strict=False):
            if "..." not in letters:
                sizes[letter] = size
        if "..." in letters:
            head, _, tail = letters.partition("...")
            sizes |= dict(zip(head, value.shape[: len(head)], strict=True))
            sizes |= dict(zip(tail, value.shape[len(value.shape) - len(tail) :], strict=True))
    return int(np.prod([size for letter, size in sizes.items() if letter not in output]))


# --- choices ------------------------------------------------------------------------------------------------


def _where(p: Precision, condition: Any, x: Any, y: Any) -> Any:
    """The chosen side's error; where rounding decides the choice, the two sides' difference as well."""
    from compare.rounding import Bounded

    (c, ec), (vx, ex), (vy, ey) = (operand(p, item) for item in (condition, x, y))
    v = np.where(c, vx, vy)
    error = None
    if ex is not None or ey is not None:
        error = np.where(c, 0 if ex is None else ex, 0 if ey is None else ey)
    if ec is not None:
        chosen = 0 if error is None else error
        both = np.abs(np.subtract(vx, vy)) + (0 if ex is None else ex) + (0 if ey is None else ey)
        error = np.where(ec > 0, np.maximum(both, chosen), chosen)
    return Bounded(v, error, p)


def _clip(p: Precision, x: Any, a_min: Any = None, a_max: Any = None, **kwargs: Any) -> Any:
    low, high = kwargs.get("min", a_min), kwargs.get("max", a_max)
    x = x if low is None else np.maximum(x, low)
    return x if high is None else np.minimum(x, high)


MOVERS = {
    np.reshape, np.ravel, np.transpose, np.swapaxes, np.moveaxis, np.expand_dims, np.squeeze, np.broadcast_to,
    np.flip, np.fliplr, np.flipud, np.roll, np.tile, np.repeat, np.take, np.take_along_axis, np.diagonal, np.diag,
    np.tril, np.triu, np.concatenate, np.stack, np.vstack, np.hstack, np.column_stack, np.split, np.array_split,
    np.atleast_1d, np.atleast_2d, np.copy, np.rot90,
}  # fmt: skip
LOOKERS = {
    np.shape, np.ndim, np.size, np.result_type, np.can_cast, np.iscomplexobj, np.isrealobj, np.argmax, np.argmin,
    np.argsort, np.count_nonzero, np.nonzero, np.any, np.all, np.array_equal, np.allclose, np.isclose,
    np.shares_memory, np.may_share_memory, np.min_scalar_type,
}  # fmt: skip
LIKE = {np.zeros_like, np.ones_like, np.empty_like, np.full_like}
ARITHMETIC: dict[Callable[..., Any], Callable[..., Any]] = {
    np.sum: _sum,
    np.mean: _mean,
    np.average: _mean,
    np.max: _extreme(np.max),
    np.min: _extreme(np.min),
    np.prod: _prod,
    np.var: _var,
    np.std: _std,
    np.linalg.norm: _norm,
    np.cumsum: _cumsum,
    np.dot: _dot,
    np.inner: _inner,
    np.outer: _outer,
    np.tensordot: _tensordot,
    np.einsum: _einsum,
    np.trace: lambda p, x: _sum(p, np.diagonal(x), axis=-1),
    np.where: _where,
    np.clip: _clip,
}
