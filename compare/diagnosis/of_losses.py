"""What may be wrong with a loss. Which loss it is, is read off torch's own gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from handgrad.compare.diagnosis.causes import Candidate
from handgrad.compare.judge.case import Case

Formula = Callable[[np.ndarray, np.ndarray], np.ndarray]


def sigmoid(z: np.ndarray) -> np.ndarray:
    """σ(z)."""
    return 1 / (1 + np.exp(-z))


def softmax(z: np.ndarray, axis: int = -1) -> np.ndarray:
    """Probabilities along the axis."""
    e = np.exp(z - z.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


# The gradient but for a constant, of the output z and the target y.
KINDS: dict[str, Formula] = {
    "squared error": lambda z, y: z - y,
    "softmax cross-entropy": lambda z, y: softmax(z) - y,
    "logistic loss": lambda z, y: sigmoid(z) - y,
    "cross-entropy of probabilities": lambda z, y: (z - y) / (z * (1 - z)),
}


def of_loss_gradient(case: Case) -> Iterator[Candidate]:
    """The gradient of the loss that this is, with one thing changed."""
    z, t, y = case.inputs["output"], case.torch, wanted(case)
    yield Candidate(12, ("it is the absolute value of the right gradient",), np.abs(t))
    yield Candidate(13, ("a factor of the output too much",), t * z)
    if y is None:
        return
    yield Candidate(12, ("only the true class's terms, y > 0, are left",), np.where(y > 0, t, 0))
    yield Candidate(12, ("only the other classes' terms, y = 0, are left",), np.where(y > 0, 0, t))
    kind, scale = kind_of(case, y)
    s, p = sigmoid(z), softmax(z)
    for other, formula in KINDS.items():
        if other != kind and not (other == "cross-entropy of probabilities" and not ((z > 0) & (z < 1)).all()):
            for c, of in (
                (1 / len(z), "the batch"),
                (1 / z.size, "every number"),
                (2 / z.size, "every number, times 2"),
            ):
                yield Candidate(15, (f"it is the gradient of the {other}, over {of}",), c * formula(z, y))
    if not kind:
        return
    error = KINDS[kind](z, y)
    for c in dict.fromkeys((scale, 1 / len(z), 1 / z.size)):
        yield Candidate(12, ("the sign of the error only",), c * np.sign(error))
    if kind == "squared error":
        yield Candidate(11, ("the target is not subtracted",), scale * z)
        yield Candidate(11, ("the target is added",), scale * (z + y))
        yield Candidate(12, ("the squared error stands where its derivative belongs",), scale * error * error)
    if kind == "softmax cross-entropy":
        yield Candidate(11, ("the softmax is missing: ŷ − y",), scale * (z - y))
        yield Candidate(11, ("a sigmoid stands where the softmax belongs",), scale * (s - y))
        yield Candidate(11, ("the target is not subtracted",), scale * p)
        yield Candidate(11, ("the softmax runs over axis 0, the wrong axis",), scale * (softmax(z, 0) - y))
        yield Candidate(12, ("the exponentials are not divided by their sum",), scale * (np.exp(z) - y))
        yield Candidate(12, ("a factor p(1 − p), the softmax's diagonal, too much",), t * p * (1 - p))
        yield Candidate(12, ("the softmax's Jacobian is applied once more",), p * (t - (t * p).sum(-1, keepdims=True)))
        for shift in (1, -1):
            words = f"the target is off: the classes are shifted by {shift}"
            yield Candidate(12, (words,), scale * (p - np.roll(y, shift, -1)))
    if kind == "logistic loss":
        yield Candidate(11, ("the sigmoid is missing: ŷ − y",), scale * (z - y))
        yield Candidate(11, ("a softmax stands where the sigmoid belongs",), scale * (p - y))
        yield Candidate(11, ("the target is not subtracted",), scale * s)
        yield Candidate(12, ("a factor σ'(ŷ) too much",), t * s * (1 - s))
    if kind == "cross-entropy of probabilities":
        yield Candidate(11, ("a factor ŷ(1 − ŷ) is missing in the denominator",), scale * error * z * (1 - z))
        yield Candidate(11, ("only the term with y is left: −y / ŷ",), -scale * y / z)
        yield Candidate(11, ("only the term with 1 − y is left: (1 − y) / (1 − ŷ)",), scale * (1 - y) / (1 - z))
        yield Candidate(12, ("ŷ is left out of the denominator ŷ(1 − ŷ)",), scale * (z - y) / (1 - z))
        yield Candidate(12, ("1 − ŷ is left out of the denominator ŷ(1 − ŷ)",), scale * (z - y) / z)


def of_loss(case: Case) -> Iterator[Candidate]:
    """The value of the loss that this is, with one thing changed."""
    z, y = case.inputs["output"], wanted(case)
    if y is None:
        return
    kind, scale = kind_of(case, y)
    if kind == "cross-entropy of probabilities":
        parts = [-scale * (w * np.maximum(np.log(q), -100)).sum() for w, q in ((y, z), (1 - y, 1 - z))]
        yield Candidate(11, ("the term with log(1 − ŷ) is left out",), np.asarray(parts[0]))
        yield Candidate(11, ("the term with log ŷ is left out",), np.asarray(parts[1]))
    if kind == "softmax cross-entropy":
        e = np.exp(z - z.max(axis=-1, keepdims=True))
        yield Candidate(
            12, ("the target is left out: the log of the sum only",), np.asarray(scale * np.log(e.sum(-1)).sum())
        )
        yield Candidate(12, ("the logarithm is missing",), np.asarray(-scale * (softmax(z) * y).sum()))
    if kind == "squared error":
        yield Candidate(
            12, ("the absolute error stands where its square belongs",), np.asarray(scale * np.abs(z - y).sum())
        )
        yield Candidate(12, ("the root is taken",), np.asarray(np.sqrt(case.torch)))


def wanted(case: Case) -> np.ndarray | None:
    """The target in the output's shape: classes as one-hot rows; None where that cannot be."""
    z, target = case.inputs["output"], case.inputs["target"]
    if target.shape == z.shape:
        return target
    if z.ndim > 1 and target.shape == z.shape[:-1] and target.dtype.kind in "iu":
        return (target[..., np.newaxis] == np.arange(z.shape[-1])).astype(z.dtype)
    return None


def kind_of(case: Case, y: np.ndarray) -> tuple[str, float]:
    """Which loss torch's gradient is that of, and the constant in it; an empty name for a loss not known here."""
    z, t = case.inputs["output"], case.results.get("loss gradient")
    if t is None:
        return "", 0.0
    for kind, formula in KINDS.items():
        error = formula(z, y)
        k = int(np.abs(error).argmax())
        scale = float(t.flat[k] / error.flat[k]) if error.flat[k] else 0.0
        near = 1e-4 if t.dtype == np.float32 else 1e-9
        if np.isfinite(error).all() and scale and np.abs(t - scale * error).max() <= near * np.abs(t).max():
            return kind, scale
    return "", 0.0
