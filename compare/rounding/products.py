"""Products of vectors, matrices and tensors, each a sum of products.

|fl(Σ xᵢ yᵢ) − Σ xᵢ yᵢ| ≤ γ_n Σ |xᵢ| |yᵢ|   in any order, with or without fused multiply-add (Higham 2002, eq. 3.5)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from handgrad.compare.rounding.bounded import Bounded, NoRoundingRule, Precision, operand
from handgrad.compare.rounding.magnitudes import absolute_product
from handgrad.compare.rounding.results import accumulated, of_terms, settled
from handgrad.compare.rounding.rules import carried, plus


def contraction(p: Precision, product: Callable[..., Any], a: Any, b: Any, n: int) -> Bounded:
    """Any bilinear product that sums n terms into an element."""
    oa, ob = operand(p, a), operand(p, b)
    v = product(oa[0], ob[0])
    error = accumulated(p, n, absolute_product(product, a, b, n, v.size))
    error += n * p.tiny  # in place, as the product of large matrices wants it
    if (spread := carried(oa, ob, product)) is not None:
        error += spread
    return of_terms(n, settled(p, v, error))


def matrix_product(p: Precision, ufunc: np.ufunc, a: Any, b: Any) -> Bounded:
    """a @ b and its kin, which sum over the last axis of a."""
    return contraction(p, ufunc, a, b, (a if hasattr(a, "shape") else np.asarray(a)).shape[-1])


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


MATRIX_PRODUCTS = {  # vecmat and matvec came with NumPy 2.2
    getattr(np, name) for name in ("matmul", "vecdot", "vecmat", "matvec") if hasattr(np, name)
}
PRODUCTS: dict[Callable[..., Any], Callable[..., Any]] = {
    np.dot: _dot,
    np.inner: _inner,
    np.outer: _outer,
    np.tensordot: _tensordot,
    np.einsum: _einsum,
}
