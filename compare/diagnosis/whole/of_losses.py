"""The gradient of a loss with one of its two terms, another squashing function, or its derivative once too often."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from handgrad.compare.diagnosis.cause import Cause
from handgrad.compare.diagnosis.whole.hypothesis import Hypothesis
from handgrad.compare.diagnosis.whole.other_inputs import rerun
from handgrad.compare.judge.case import Case
from handgrad.compare.judge.sides import Sides

Formula = Callable[[np.ndarray, np.ndarray], np.ndarray]  # of the output z and the target y, one-hot


def _sigmoid(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


def _softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


# What gives the gradient, but for a constant, in another place of the right formula: (edit, words, right, wrong)
SQUASHED: tuple[tuple[str, str, Formula, Formula], ...] = (
    ("target left out", "the target is not subtracted", lambda z, y: _softmax(z) - y, lambda z, y: _softmax(z)),
    ("other squashing", "a sigmoid stands where the softmax belongs", lambda z, y: _softmax(z) - y,
     lambda z, y: _sigmoid(z) - y),
    ("other squashing", "a softmax stands where the sigmoid belongs", lambda z, y: _sigmoid(z) - y,
     lambda z, y: _softmax(z) - y),
)  # fmt: skip
# What picks terms of the right gradient, where the target is a class; and what it may be multiplied with.
OF_CLASSES: tuple[tuple[str, str, Formula], ...] = (
    ("class terms", "only the true class's terms, y > 0, are left", lambda z, y: y > 0),
    ("class terms", "only the other classes' terms, y = 0, are left", lambda z, y: y == 0),
)
TOO_MUCH: tuple[tuple[str, str, Formula], ...] = (
    ("derivative too much", "a factor σ'(ŷ) too much", lambda z, y: _sigmoid(z) * (1 - _sigmoid(z))),
    ("derivative too much", "a factor p(1 − p), the softmax's diagonal, too much",
     lambda z, y: _softmax(z) * (1 - _softmax(z))),
)  # fmt: skip


def of_losses(sides: Sides, case: Case) -> Iterator[Hypothesis]:
    """Hypotheses about the gradient of a loss."""
    if case.output != "loss gradient":
        return
    for edit, phrase, right, wrong in SQUASHED:
        yield Hypothesis(Cause(edit, phrase), partial(_instead, right, wrong))
    classes = case.inputs["target"].dtype.kind in "iu"
    for edit, phrase, factor in (*(OF_CLASSES if classes else ()), *TOO_MUCH):
        yield Hypothesis(Cause(edit, phrase), partial(_times, factor))
    for size in (lambda t: t.size, lambda t: t.size / 2, len):
        yield Hypothesis(Cause("sign of the error", "the sign of the error only"), partial(_signs, size))
    for by in (1, -1) if classes else ():
        shifted = Cause("classes shifted", f"the target is off: the classes are shifted by {by}")
        yield Hypothesis(shifted, partial(_shifted, sides, by))


def _target(case: Case) -> np.ndarray | None:
    """The target in the output's shape: classes as one-hot rows; None where that cannot be."""
    z, target = case.inputs["output"], case.inputs["target"]
    if target.shape == z.shape:
        return np.asarray(target)
    if z.ndim > 1 and target.shape == z.shape[:-1] and target.dtype.kind in "iu":
        return (target[..., np.newaxis] == np.arange(z.shape[-1])).astype(z.dtype)
    return None


def _instead(right: Formula, wrong: Formula, case: Case) -> np.ndarray | None:
    """Another formula with the constant of the right one; None where the loss is another one."""
    z, y, t = case.inputs["output"], _target(case), case.torch
    if y is None or t.shape != z.shape:
        return None
    error = right(z, y)
    k = int(np.abs(error).argmax())
    constant = t.flat[k] / error.flat[k]
    near = float(np.sqrt(np.finfo(t.dtype).eps)) * np.abs(t).max()
    return constant * wrong(z, y) if np.abs(t - constant * error).max() <= near else None


def _times(factor: Formula, case: Case) -> np.ndarray | None:
    z, y = case.inputs["output"], _target(case)
    return None if y is None or case.torch.shape != z.shape else case.torch * factor(z, y)


def _signs(size: Callable[[np.ndarray], float], case: Case) -> np.ndarray | None:
    return np.sign(case.torch) / size(case.torch) if case.torch.ndim else None


def _shifted(sides: Sides, by: int, case: Case) -> np.ndarray | None:
    classes = case.inputs["output"].shape[-1]
    return rerun(sides, case, {"target": (case.inputs["target"] + by) % classes})
