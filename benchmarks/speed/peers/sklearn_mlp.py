"""scikit-learn: MLPClassifier.partial_fit on the one batch."""

from __future__ import annotations

import numpy as np
from sklearn.neural_network import MLPClassifier

from benchmarks.speed.peers import RATE, SIZES, Makers, Problem, Step, Unfit


def partial_fit(p: Problem) -> Step:
    """One call is one step on the whole batch; its weights are put in after a first call that makes them."""
    if p.rule == "adam":
        raise Unfit("MLPClassifier has no one-cycle schedule")
    model = MLPClassifier(
        SIZES[1:-1], solver="sgd", alpha=0.0, momentum=0.0, nesterovs_momentum=False, learning_rate_init=RATE,
        batch_size=len(p.x), shuffle=False,
    )  # fmt: skip
    classes = np.arange(SIZES[-1])
    model.partial_fit(p.x, p.target, classes=classes)
    for here, there, (W, b) in zip(model.coefs_, model.intercepts_, p.params, strict=True):
        here[...], there[...] = W.T, b
    return Step(lambda: model.partial_fit(p.x, p.target), lambda: model.coefs_[0].T)


makers: Makers = {"scikit-learn partial_fit": partial_fit}
