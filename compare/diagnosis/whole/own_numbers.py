"""The reference's own result: as it is, in other places, replaced by a constant, or of another step."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import permutations

import numpy as np

from handgrad.compare.diagnosis.cause import Cause
from handgrad.compare.diagnosis.whole.hypothesis import Change, Edit, Hypothesis
from handgrad.compare.judge.case import Case
from handgrad.compare.judge.sides import Sides

DISTINCT = 6  # different numbers that are more than chance in another order
VALUES: tuple[tuple[str, str, Change], ...] = (
    ("absolute value", "it is the absolute value of the right gradient", np.abs),
    ("sign only", "only the sign of the right gradient is left", np.sign),
    ("power", "it is the square of the right gradient", np.square),
    ("power", "it is the cube of the right gradient", lambda v: v**3),
)
ROOT: tuple[str, str, Change] = ("root", "the root is taken", np.sqrt)
SHORT = 4  # turned round, an axis of two or three is what many other edits make of it, too


def own_numbers(sides: Sides, case: Case) -> Iterator[Hypothesis]:
    """The reference's result as it is, a constant in its place, and what a step before has left."""
    what = "gradient" if case.output in case.gradients else "result"
    yield Hypothesis(None, lambda c: c.torch)
    yield Hypothesis(Cause("zero", f"the {what} is zero"), lambda c: np.zeros_like(c.manual))
    yield Hypothesis(Cause("one", f"the {what} is 1 throughout"), lambda c: np.ones_like(c.manual))
    if case.previous is None or case.previous.shape != case.torch.shape:
        return
    for edit, phrase, added in (
        ("kept by torch", "torch's gradient still holds that of the previous step (zero_grad() is missing)", -1),
        ("never zeroed", "the gradient of the previous step is still in it (never zeroed)", 1),
    ):
        yield Hypothesis(Cause(edit, phrase), partial(_with_previous, 1, added))
    late = Cause("one step late", "it is the gradient of one step ago")
    yield Hypothesis(late, partial(_with_previous, 0, 1))


def _with_previous(now: int, before: int, case: Case) -> np.ndarray | None:
    return None if case.previous is None else now * case.torch + before * case.previous


def _changed(change: Change, case: Case) -> np.ndarray:
    return change(case.torch)


def in_other_places(sides: Sides, case: Case) -> Iterator[Hypothesis]:
    """The reference's numbers transposed, reversed, rolled, permuted, or in another shape."""
    m, t = case.manual, case.torch
    for order in permutations(range(t.ndim)) if 2 <= t.ndim <= 4 else ():
        if order != tuple(range(t.ndim)) and tuple(t.shape[a] for a in order) == m.shape:
            phrase = "it is transposed" if t.ndim == 2 else f"it is transposed: axes in the order {order}"
            yield Hypothesis(Cause("transposed", phrase), partial(_changed, partial(np.transpose, axes=order)))
    if t.size == m.size and t.shape != m.shape:
        yield Hypothesis(Cause("reshaped", "its shape is wrong"), _reshaped)
    if t.shape != m.shape or len(np.unique(t)) < DISTINCT:
        return
    for axis in range(t.ndim):
        if t.shape[axis] >= SHORT:
            for edit in moves(axis, t.shape[axis]):
                cause = Cause(edit.name, f"it is {edit.words}", f"axis {axis}")
                yield Hypothesis(cause, partial(_changed, edit.change))
            cause = Cause("permuted", f"its slices along axis {axis} are permuted", f"axis {axis}")
            yield Hypothesis(cause, partial(_matched, axis))


def moves(axis: int, size: int) -> Iterator[Edit]:
    """Numbers in other places along an axis."""
    if size > 1:
        flip = partial(np.flip, axis=axis)
        yield Edit("reversed", f"reversed along axis {axis}", flip, flip)
    for by in (1, -1) if size > 2 else ():
        there, back = (partial(np.roll, shift=k, axis=axis) for k in (by, -by))
        yield Edit("rolled", f"rolled by {by} along axis {axis}", there, back)


def of_its_values(sides: Sides, case: Case) -> Iterator[Hypothesis]:
    """A function of the reference's gradient, number by number, or the root of its loss."""
    if case.output == "output":
        return
    for edit, phrase, change in VALUES if case.output != "loss" else (ROOT,):
        yield Hypothesis(Cause(edit, phrase), partial(_changed, change))
    m, t = case.manual, case.torch
    limit, norm, size = (float(v) for v in (np.abs(m).max(initial=0), np.linalg.norm(m), np.linalg.norm(t)))
    if 0 < limit < np.abs(t).max(initial=0) and float(f"{limit:.4g}") == limit:
        clip = partial(np.clip, a_min=-limit, a_max=limit)
        yield Hypothesis(Cause("clipped", f"it is clipped to ±{limit:g}"), partial(_changed, clip))
    rounded = float(f"{norm:.4g}")
    if 0 < norm < size and abs(rounded - norm) < 1e-12 * norm:
        cause = Cause("clipped", f"its norm is clipped, or scaled, to {rounded:g}")
        yield Hypothesis(cause, lambda c: c.torch * (rounded / float(np.linalg.norm(c.torch))))


def _reshaped(case: Case) -> np.ndarray | None:
    return case.torch.reshape(case.manual.shape) if case.torch.size == case.manual.size else None


def _matched(axis: int, case: Case) -> np.ndarray | None:
    """The reference's slices in the order that may give the manual ones, found by sorting; None where it is theirs."""
    m, t = case.manual, case.torch
    others = tuple(a for a in range(t.ndim) if a != axis)
    keys = [np.abs(a).sum(axis=others) for a in (t, m)]
    if t.shape != m.shape or not all(np.isfinite(k).all() for k in keys):
        return None
    rank = np.empty(len(keys[1]), int)
    rank[np.argsort(keys[1], kind="stable")] = np.arange(len(rank))
    order = np.argsort(keys[0], kind="stable")[rank]
    return None if np.array_equal(order, np.arange(len(order))) else t.take(order, axis)
