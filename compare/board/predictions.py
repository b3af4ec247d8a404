"""What the two sides say of the test digits: probabilities, mistakes, precision and recall."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.tensorboard.summary import pr_curve

from handgrad.compare.pairs.table import LOSSES
from handgrad.compare.run.lockstep import Lockstep


def probabilities(run: Lockstep, output: np.ndarray) -> np.ndarray:
    """ŷ (N, classes) as probabilities: by the softmax or sigmoid of the loss, else ŷ kept within 0 and 1."""
    link = LOSSES[run.experiment.loss].link
    with np.errstate(all="ignore"):
        if link == "softmax":
            e = np.exp(output - output.max(axis=1, keepdims=True))
            p = e / e.sum(axis=1, keepdims=True)
        elif link == "sigmoid":
            p = 1 / (1 + np.exp(-output))
        else:
            p = np.clip(output, 0, 1)
    return np.nan_to_num(p)  # (N, classes)


def same_digits(labels: np.ndarray, classes: int, each: int) -> np.ndarray:
    """The positions of the first few digits of each class, class by class."""
    return np.concatenate([np.flatnonzero(labels == k)[:each] for k in range(classes)])


def worst_mistakes(labels: np.ndarray, p: np.ndarray, most: int) -> np.ndarray:
    """The positions of the misclassified digits that are surest of a wrong class, (at most `most`,)."""
    surest = p.max(axis=1)  # (N,)
    wrong = np.flatnonzero(p.argmax(axis=1) != labels)
    return wrong[np.argsort(-surest[wrong], kind="stable")][:most]


def confusion(labels: np.ndarray, p: np.ndarray, classes: int) -> np.ndarray:
    """How many digits of class i are taken for class j, (classes, classes)."""
    pairs = labels.astype(np.int64) * classes + p.argmax(axis=1)
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def curves(labels: np.ndarray, p: np.ndarray) -> Iterator[object]:
    """A Summary for the precision and recall of each class against all others."""
    for k in range(p.shape[1]):
        yield pr_curve(  # type: ignore[no-untyped-call]  # torch has no types there
            f"precision and recall/{k}", labels == k, p[:, k]
        )
