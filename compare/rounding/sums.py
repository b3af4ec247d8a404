"""Sums, means, products and contractions: what they make of their operands' errors, and the rounding they add.

|fl(Σ xᵢ) − Σ xᵢ| ≤ γ_{n−1} Σ |xᵢ|          in any order (Higham 2002, eq. 4.4 and the remark below it)
|fl(Σ xᵢ yᵢ) − Σ xᵢ yᵢ| ≤ γ_n Σ |xᵢ| |yᵢ|   in any order, with or without fused multiply-add (eq. 3.5)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from handgrad.compare.rounding.bounded import Bounded, NoRoundingRule, Precision, operand, settled
from handgrad.compare.rounding.elementary import Operand
from handgrad.compare.rounding.magnitudes import absolute_product
from handgrad.compare.rounding.rules import carried, plus, rounding


def accumulated(p: Precision, n: int, absolute: Any) -> Any:
    """2 γ_n times the sum of magnitudes, n roundings on either side; nothing where all the magnitudes are 0."""
    gamma = 2 * p.gamma(n)
    if gamma == np.inf:
        return np.where(absolute > 0, np.inf, 0.0)
    absolute *= gamma  # in place: it is the caller's own
    return absolute


def _reduced(x: Any, axis: Any) -> int:
    """How many elements of x go into one of the sum."""
    if axis is None:
        return int(x.size)
    return math.prod(x.shape[a] for a in axis) if isinstance(axis, tuple) else int(x.shape[axis])


def _sum(p: Precision, x: Any, axis: Any = None, *, dtype: Any = None, keepdims: bool = False) -> Bounded:
    value, error = x.value, x.error
    total = value.sum(axis=axis, dtype=dtype, keepdims=keepdims)
    own = None
    if (n := _reduced(value, axis)) > 1:
        own = accumulated(p, n - 1, np.abs(value, dtype=np.float64).sum(axis=axis, keepdims=keepdims))
    spread = None if error is None else error.sum(axis=axis, keepdims=keepdims)
    return of_terms(n, settled(p, total, plus(own, spread)))


def _mean(p: Precision, x: Any, axis: Any = None, *, dtype: Any = None, keepdims: bool = False) -> Bounded:
    v = np.mean(x.value, axis=axis, dtype=dtype, keepdims=keepdims)
    n = _reduced(x.value, axis)
    total = _sum(p, x, axis, keepdims=keepdims).error
    if n == 0 or (n == 1 and total is None):
        return settled(p, v, total)
    return settled(p, v, plus(total / n, p.tiny if n & (n - 1) == 0 else rounding(p, v, 2)))  # 2: or times 1/n


def _var(p: Precision, x: Any, axis: Any = None, *, ddof: int = 0, keepdims: bool = False) -> Bounded:
    v = np.var(x.value, axis=axis, ddof=ddof, keepdims=keepdims)
    r: Any = x - _mean(p, x, axis, keepdims=True)
    mean_square: Any = _sum(p, r * r, axis, keepdims=keepdims) / (_reduced(x.value, axis) - ddof)
    return settled(p, v, mean_square.error)


def _std(p: Precision, x: Any, axis: Any = None, *, ddof: int = 0, keepdims: bool = False) -> Bounded:
    v = np.std(x.value, axis=axis, ddof=ddof, keepdims=keepdims)
    root: Any = np.sqrt(_var(p, x, axis, ddof=ddof, keepdims=keepdims))
    return settled(p, v, root.error)


def _norm(p: Precision, x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Bounded:
    vectors = np.ndim(axis) == 0 and (axis is not None or x.ndim == 1)
    if not (ord is None or (ord == 2 and vectors)):
        raise NoRoundingRule(f"np.linalg.norm with ord={ord!r}")
    v = np.linalg.norm(x.value, ord, axis, keepdims)
    root: Any = np.sqrt(_sum(p, x * x, axis, keepdims=keepdims))
    return settled(p, v, root.error)


def _extreme(func: Callable[..., Any]) -> Callable[..., Bounded]:
    """The largest of x' lies between the largest of x − e and of x + e: a masked −1e30 far below has no part in it."""

    def rule(p: Precision, x: Any, axis: Any = None, *, keepdims: bool = False) -> Bounded:
        v = func(x.value, axis=axis, keepdims=keepdims)
        if x.error is None:
            return settled(p, v, None)
        here = np.asarray(x.value, np.float64)
        low, high = (func(here + e, axis=axis, keepdims=keepdims) for e in (-x.error, x.error))
        slack = np.spacing(np.abs(v, dtype=np.float64))  # of the two sums
        gap = np.maximum(high - v, v - low)
        return settled(p, v, gap + np.where(gap > 0, slack, 0))

    return rule


def _prod(p: Precision, x: Any, axis: Any = None, *, keepdims: bool = False) -> Bounded:
    """Π(1 + ε) for n factors, and their errors one factor at a time, each beside the others grown by theirs.

    An intermediate product that underflows costs η times the factors still to come, Π max(1, |x|) at most.
    """
    v = np.prod(x.value, axis=axis, keepdims=keepdims)
    n = _reduced(x.value, axis)
    grown = np.abs(x.value, dtype=np.float64)
    spread = None
    if x.error is not None:
        grown = grown + x.error
        shares = np.divide(x.error, grown, out=np.zeros(x.shape), where=grown > 0)
        spread = np.prod(grown, axis=axis, keepdims=keepdims) * np.sum(shares, axis=axis, keepdims=keepdims)
    lost = 2 * n * p.tiny * np.prod(np.maximum(grown, 1), axis=axis, keepdims=keepdims)
    return settled(p, v, plus(accumulated(p, n, np.abs(v, dtype=np.float64)), lost, spread))


def _cumsum(p: Precision, x: Any, axis: Any = None) -> Bounded:
    n = x.size if axis is None else x.shape[axis]
    own = accumulated(p, n, np.cumsum(np.abs(x.value, dtype=np.float64), axis=axis))
    spread = None if x.error is None else np.cumsum(x.error, axis=axis)
    return settled(p, np.cumsum(x.value, axis=axis), plus(own, spread))


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


# --- products -----------------------------------------------------------------------------------------------


def contraction(p: Precision, product: Callable[..., Any], a: Any, b: Any, n: int) -> Bounded:
    """Any bilinear product that sums n terms into an element."""
    oa, ob = operand(p, a), operand(p, b)
    v = product(oa[0], ob[0])
    error = accumulated(p, n, absolute_product(product, a, b, n, v.size))
    error += n * p.tiny  # in place, as the product of large matrices wants it
    if (spread := carried(oa, ob, product)) is not None:
        error += spread
    return of_terms(n, settled(p, v, error))


def of_terms(n: int, total: Bounded) -> Bounded:
    """The same, known as a sum of n terms."""
    total.terms = max(n, 1)
    return total


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


def matmul(p: Precision, a: Any, b: Any) -> Bounded:
    """a @ b."""
    return contraction(p, np.matmul, a, b, (a if hasattr(a, "shape") else np.asarray(a)).shape[-1])


def _dot(p: Precision, a: Any, b: Any, *, func: Callable[..., Any] = np.dot) -> Any:
    a, b = (x if hasattr(x, "shape") else np.asarray(x) for x in (a, b))
    if a.ndim == 0 or b.ndim == 0:
        return np.multiply(a, b)
    return contraction(p, func, a, b, a.shape[-1])


def _inner(p: Precision, a: Any, b: Any) -> Any:
    return _dot(p, a, b, func=np.inner)


def _outer(p: Precision, a: Any, b: Any) -> Any:
    return np.multiply(np.ravel(a)[:, np.newaxis], np.ravel(b)[np.newaxis, :])


def _tensordot(p: Precision, a: Any, b: Any, axes: Any = 2) -> Bounded:
    shape = np.shape(a)
    summed = range(len(shape) - axes, len(shape)) if isinstance(axes, int) else np.atleast_1d(axes[0])
    n = int(np.prod([shape[i] for i in summed]))
    return contraction(p, lambda x, y: np.tensordot(x, y, axes), a, b, n)


def _einsum(p: Precision, subscripts: Any, *operands: Any, optimize: Any = False) -> Bounded:
    """k factors and n terms an element: γ_{n+k} on the product of the magnitudes, which errors make larger.

    A product of k factors that underflows on the way costs η times the factors still to come.
    """
    if not isinstance(subscripts, str):
        raise NoRoundingRule("np.einsum with its subscripts as lists")
    pairs = [(np.asarray(value), error) for value, error in (operand(p, x) for x in operands)]
    values = [value for value, _ in pairs]
    v = np.array(np.einsum(subscripts, *values, optimize=optimize))  # a copy: a transposition comes as a view
    absolutes = [np.abs(value).astype(np.float64) for value in values]
    grown = [a if e is None else a + e for a, (_, e) in zip(absolutes, pairs, strict=True)]
    # Π(|x|+e) − Π|x| in floating point loses what is below u of it; the sum of the first-order terms, each with
    # the other factors grown, does not, and is at least as large.
    spread = plus(
        *(
            np.einsum(subscripts, *grown[:i], np.broadcast_to(e, a.shape), *grown[i + 1 :], optimize=optimize)
            for i, (a, (_, e)) in enumerate(zip(absolutes, pairs, strict=True))
            if e is not None
        )
    )
    n, k = _summed_terms(subscripts, values), len(values)
    if n * k == 1:
        return settled(p, v, None if spread is None else np.array(spread))
    most = np.prod(sorted(max(1.0, float(g.max(initial=0))) for g in grown)[2:])  # of the k − 2 factors to come
    own = accumulated(p, n + k, np.array(np.einsum(subscripts, *absolutes, optimize=optimize))) + n * k * p.tiny * most
    return settled(p, v, plus(own, spread))


def _summed_terms(subscripts: str, values: list[Any]) -> int:
    """The number of terms summed into one element: the sizes of all index letters that the output lacks."""
    inputs, arrow, output = subscripts.replace(" ", "").partition("->")
    if not arrow:
        output = "".join(c for c in inputs if c.isalpha() and inputs.count(c) == 1)
    sizes: dict[str, int] = {}
    for letters, value in zip(inputs.split(","), values, strict=True):
        head, _, tail = letters.partition("...")
        shape = (*value.shape[: len(head)], *value.shape[value.ndim - len(tail) :])
        for letter, size in zip(head + tail, shape, strict=True):
            sizes[letter] = max(size, sizes.get(letter, 1))
    return int(np.prod([size for letter, size in sizes.items() if letter not in output]))


REDUCTIONS: dict[np.ufunc, Callable[..., Bounded]] = {
    np.add: _sum,
    np.multiply: _prod,
    np.maximum: _extreme(np.max),
    np.minimum: _extreme(np.min),
}
SUMS: dict[Callable[..., Any], Callable[..., Any]] = {
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
    np.trace: lambda p, x: _sum(p, np.diagonal(x), -1),
}
