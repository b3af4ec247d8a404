"""Inverses, solutions and determinants by elimination: the backward error of LU, and what the inverse makes of it.

Elimination solves (A + ΔA) x = b exactly for some |ΔA| ≤ γ_{3n} |L| |U| (Higham 2002, Theorem 9.4), on either side,
with partial pivoting on both. Let G be twice that plus the error of A, M ≥ |A⁻¹| and K = M G. Where the rows of K sum
to at most ρ < 1, so that no matrix within G of A is singular,

    |x − x'| ≤ (I − K)⁻¹ M (G |x| + e_b) ≤ w + K 1 max(w) / (1 − ρ),   w = M (G |x| + e_b)
    |det A' / det A − 1| ≤ Π (1 + r_i) − 1,   r_i the sums of the rows of K / (1 − ρ)            (Ostrowski)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from handgrad.compare.rounding.bounded import Bounded, Precision, operand
from handgrad.compare.rounding.elementary import LIBRARY_ULPS
from handgrad.compare.rounding.results import settled


class Perturbed(NamedTuple):
    """What may become of a matrix, or of a stack of them, on its way through elimination."""

    inverse: Any  # M
    away: Any  # G
    rows: Any  # the sums of the rows of K
    room: Any  # 1 − ρ, and 0 where that is negative
    logs: Any  # Σ |log |u_kk||


def _perturbed(p: Precision, a: Any) -> tuple[Any, Perturbed]:
    value, error = operand(p, a)
    value = np.asarray(value)
    A = value.astype(np.float64)
    n = A.shape[-1]
    if A.ndim < 2 or A.shape[-2] != n:
        raise np.linalg.LinAlgError("Last 2 dimensions of the array must be square")
    X = np.linalg.inv(A)
    off = np.abs(np.eye(n) - X @ A) + 2 * n * 2.0**-53 * (np.abs(X) @ np.abs(A))  # |I − X A|, and its own rounding
    far = off.sum(axis=-1).max(axis=-1)[..., np.newaxis, np.newaxis]
    M = np.abs(X) + off.sum(axis=-1)[..., np.newaxis] * np.abs(X).max(axis=-2, keepdims=True) / _room(far)
    product, logs = _factors(A)
    G = 2 * p.gamma(3 * n) * product + n * p.tiny + (0.0 if error is None else error)
    rows = (M @ G).sum(axis=-1)
    return value, Perturbed(M, G, rows, _room(rows.max(axis=-1)), logs)


def _room(far: Any) -> Any:
    return np.maximum(1 - far, 0)


def _factors(A: Any) -> tuple[Any, Any]:
    """(Pᵀ |L| |U|, Σ |log |u_kk||) for P A = L U with partial pivoting."""
    U, n = A.copy(), A.shape[-1]
    L, order = np.zeros_like(A), np.broadcast_to(np.arange(n), A.shape[:-1]).copy()
    for k in range(n):
        pivot = k + np.abs(U[..., k:, k]).argmax(axis=-1)[..., np.newaxis]
        swap = np.broadcast_to(np.arange(n), A.shape[:-1]).copy()
        np.put_along_axis(swap, pivot, k, axis=-1)
        swap[..., k : k + 1] = pivot
        U, L = (np.take_along_axis(x, swap[..., np.newaxis], axis=-2) for x in (U, L))
        order = np.take_along_axis(order, swap, axis=-1)
        L[..., k:, k] = U[..., k:, k] / U[..., k, k][..., np.newaxis]
        U[..., k + 1 :, :] -= L[..., k + 1 :, k, np.newaxis] * U[..., k, np.newaxis, :]
    product = np.take_along_axis(np.abs(L) @ np.abs(U), np.argsort(order, axis=-1)[..., np.newaxis], axis=-2)
    return product, np.abs(np.log(np.abs(np.diagonal(U, 0, -2, -1)))).sum(axis=-1)


def _moved(found: Perturbed, w: Any) -> Any:
    """The bound of a solution from its first-order part w."""
    return w + found.rows[..., np.newaxis] * w.max(axis=-2, keepdims=True) / found.room[..., np.newaxis, np.newaxis]


def _inv(p: Precision, a: Any) -> Bounded:
    value, found = _perturbed(p, a)
    w = found.inverse @ found.away @ found.inverse
    return settled(p, np.linalg.inv(value), _moved(found, w))


def _solve(p: Precision, a: Any, b: Any) -> Bounded:
    value, found = _perturbed(p, a)
    right, error = operand(p, b)
    x = np.linalg.solve(value, right)
    column = np.ndim(right) == 1
    size, e = (np.abs(y, dtype=np.float64) for y in (x, np.zeros(np.shape(right)) if error is None else error))
    if column:
        size, e = size[..., np.newaxis], e[..., np.newaxis]
    error = _moved(found, found.inverse @ (found.away @ size + e))
    return settled(p, x, error[..., 0] if column else error)


def _off(p: Precision, found: Perturbed) -> Any:
    """How far a determinant may be off, of itself."""
    n = found.rows.shape[-1]
    return np.expm1(np.log1p(found.rows / found.room[..., np.newaxis]).sum(axis=-1)) + 2 * p.gamma(n)


def _det(p: Precision, a: Any) -> Bounded:
    value, found = _perturbed(p, a)
    v = np.linalg.det(value)
    return settled(p, v, np.abs(v, dtype=np.float64) * _off(p, found) + value.shape[-1] * p.tiny)


def _slogdet(p: Precision, a: Any) -> Any:
    value, found = _perturbed(p, a)
    result, off = np.linalg.slogdet(value), _off(p, found)
    sure = off < 1
    sign = settled(p, result.sign, np.where(sure, 0.0, 2.0))
    moved = np.where(sure, -np.log1p(-np.where(sure, off, 0.0)), np.inf)
    return type(result)(
        sign, settled(p, result.logabsdet, moved + 2 * p.gamma(value.shape[-1] + 2 * LIBRARY_ULPS) * found.logs)
    )


LINEAR: dict[Callable[..., Any], Callable[..., Any]] = {
    np.linalg.inv: _inv, np.linalg.solve: _solve, np.linalg.det: _det, np.linalg.slogdet: _slogdet,
}  # fmt: skip
