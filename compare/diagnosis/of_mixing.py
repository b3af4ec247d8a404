"""What may be wrong with the input gradient of a layer whose outputs depend on several inputs: a missing term."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from handgrad.compare.diagnosis.causes import Candidate, again
from handgrad.compare.judge.case import Case
from handgrad.compare.judge.sides import Sides

WIDEST = 64  # columns of a Jacobian that are worth a backward pass each


def of_mixing(sides: Sides, case: Case) -> Iterator[Candidate]:
    """Diagonals and projections that are missing."""
    x, dy, y = case.inputs["x"], case.inputs["dy"], case.results.get("output")
    if dy.shape == x.shape:
        yield Candidate(12, ("it is the upstream gradient, unchanged: the layer's derivative is left out",), dy)
        if y is not None:
            yield from _of_softmax(y, dy, case.torch)
        yield Candidate(10, ("only the Jacobian's diagonal is used",), lambda: _diagonal_only(sides, case))


def _of_softmax(y: np.ndarray, dy: np.ndarray, torch: np.ndarray) -> Iterator[Candidate]:
    """c y ⊙ (δ − Σ δ y) gone wrong, where y are probabilities along an axis, and c is a temperature that stays."""
    for axis in range(y.ndim):
        if y.shape[axis] < 2 or (y < 0).any() or np.abs(y.sum(axis=axis) - 1).max() > 1e-3:
            continue
        along = (dy * y).sum(axis=axis, keepdims=True)
        c = _multiple(torch, y * (dy - along))
        if c is None:  # the reference does more than a softmax: what these words leave out would go unsaid
            return
        yield Candidate(10, ("only y ⊙ δ is left: the projection term y Σ δy is missing",), c * dy * y)
        yield Candidate(11, ("the projection term y Σ δy has the wrong sign",), c * y * (dy + along))
        mean = along / y.shape[axis]
        yield Candidate(11, ("the projection term has a mean where the sum Σ δy belongs",), c * y * (dy - mean))
        yield Candidate(12, ("y is left out of the projection term y Σ δy",), c * (y * dy - along))
        yield Candidate(
            12, ("δ is summed without y in the projection term",), c * y * (dy - dy.sum(axis=axis, keepdims=True))
        )
        for other in range(y.ndim):
            if other != axis:
                words = f"the projection term is summed over axis {other}, the wrong axis"
                yield Candidate(11, (words,), c * y * (dy - (dy * y).sum(axis=other, keepdims=True)))
        yield Candidate(11, ("the projection term is summed over everything",), c * y * (dy - (dy * y).sum()))
        return


def _multiple(torch: np.ndarray, right: np.ndarray) -> float | None:
    """The c with which c · right is torch's result, 1 exactly where it is 1 but for rounding; None where none is."""
    near = float(np.sqrt(np.finfo(torch.dtype).eps))
    square = float(np.vdot(right, right))
    if torch.shape != right.shape or not square > 0:
        return None
    c = float(np.vdot(torch, right)) / square
    if not np.abs(torch - c * right).max() <= near * np.abs(torch).max():
        return None
    return 1.0 if abs(c - 1) <= near else c


def _diagonal_only(sides: Sides, case: Case) -> np.ndarray | None:
    """δ times ∂y_..k/∂x_..k along the last axis, by one backward pass a column; None for wide layers."""
    dy = case.inputs["dy"]
    if dy.ndim < 2 or dy.shape[-1] > WIDEST:
        return None
    diagonal = np.empty_like(dy)
    for k in range(dy.shape[-1]):
        unit = np.zeros_like(dy)
        unit[..., k] = 1
        column = again(sides, case, dy=unit)
        if column is None:
            return None
        diagonal[..., k] = column[..., k]
    return diagonal * dy


def missing_span(case: Case) -> Iterator[Candidate]:
    """A term that is, along one axis, a multiple of a known direction: centring (1) and projection (x, y).

    The difference is fitted by that direction alone in every slice; what a fit of one number to a slice of many
    leaves inside the bound is no accident. Slices with fewer than two numbers to spare are not fitted.
    """
    m, t, x = case.manual, case.torch, case.inputs["x"]
    y = case.results.get("output")
    if m.shape != t.shape or t.ndim < 2 or not np.isfinite(m).all():
        return
    for axis in (t.ndim - 1, 0):
        centred = x - x.mean(axis=axis, keepdims=True)
        one = np.ones_like(t)
        centring = f"the centring term (a mean over axis {axis}) is missing or wrong"
        along = "the projection term (along {}, " + f"over axis {axis}) is missing or wrong"
        directions: list[tuple[int, tuple[str, ...], list[np.ndarray]]] = [
            (15, (centring,), [one]),
            (16, (along.format("x"),), [x]),
            (16, (along.format("x − mean"),), [centred]),
            (26, (centring, along.format("x")), [one, x]),
        ]
        if y is not None and y.shape == t.shape:
            directions.append((16, (along.format("y"),), [y]))
        for complexity, names, basis in directions:
            if t.shape[axis] >= len(basis) + 2:
                fitted = _fit(m - t, basis, axis)
                if fitted is not None:
                    yield Candidate(complexity, names, t + fitted)
        if t.shape[axis] >= 3 and case.where().any(axis=axis).all():
            fitted = _fit(m, [t], axis)
            if fitted is not None and not _one_factor(fitted, t, axis):
                words = f"every slice along axis {axis} has a factor of its own: one that is a sum over it is wrong"
                yield Candidate(24, (words,), fitted)


def _one_factor(fitted: np.ndarray, t: np.ndarray, axis: int) -> bool:
    """Whether all slices have the same factor, which is then a constant and no fault of a sum over the axis."""
    factors = (fitted * t).sum(axis=axis) / (t * t).sum(axis=axis)
    return bool(np.ptp(factors) <= np.sqrt(np.finfo(t.dtype).eps) * np.abs(factors).max())


def _fit(difference: np.ndarray, basis: list[np.ndarray], axis: int) -> np.ndarray | None:
    """The least-squares fit of the difference by the basis, slice by slice along the axis."""
    moved = np.moveaxis(difference, axis, -1)
    rows = moved.reshape(-1, moved.shape[-1])
    directions = [np.moveaxis(b, axis, -1).reshape(rows.shape) for b in basis]
    fitted = np.empty_like(rows)
    for i, row in enumerate(rows):
        A = np.stack([d[i] for d in directions], axis=1)
        if np.linalg.matrix_rank(A) < A.shape[1]:
            return None
        fitted[i] = A @ np.linalg.lstsq(A, row, rcond=None)[0]
    return np.moveaxis(fitted.reshape(moved.shape), -1, axis)
