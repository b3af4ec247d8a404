"""5. Logistic regression as a network, and every factor of the chain rule on its own.

Logistic regression is one neuron: ŷ = σ(x Wᵀ + b), read as the probability of class 1, under binary cross-entropy

    J = −1/N Σ_n [y_n log ŷ_n + (1 − y_n) log(1 − ŷ_n)]

Its boundary is a line. Three sigmoid units before it draw three lines, and the last unit joins them to a region:

    z¹ = W¹ x + b¹    a¹ = σ(z¹)    z² = W² a¹ + b²    ŷ = σ(z²)

    dJ/dW¹ = dJ/dŷ · dŷ/dz² · dz²/da¹ · da¹/dz¹ · dz¹/dW¹

Each factor is a Jacobian: row o holds the derivatives of output o. A layer's gradient method multiplies by it from the
left, so handed the unit vector e_o it returns row o. That is how the factors are got here, and `check` puts each of
these rows beside the one that torch's autograd gives.
"""

from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

import manual
from compare.lessons.judging import judge_training, verdict
from compare.lessons.picture import draw
from compare.lessons.training import epochs
from compare.pairs import LOSSES, MODELS
from manual import Array

ONE_NEURON = manual.logistic_regression(2)
THREE_UNITS = manual.mlp((2, 3, 1), manual.Sigmoid(), manual.Sigmoid())
LOSS = manual.BinaryCrossEntropy()


def disc() -> tuple[Array, Array]:
    """200 points in a square (200, 2); class 1 (200, 1) within a distance of 1 from the middle."""
    x = np.random.default_rng(0).uniform(-1.8, 1.8, (200, 2))
    return x, ((x**2).sum(axis=1, keepdims=True) < 1).astype(float)


def learn(network: manual.Network, start: int, steps: int) -> Array:
    """θ after so many steps of Adam on the whole set."""
    theta = network.init(np.random.default_rng(start))
    runs = epochs(network, LOSS, manual.Adam(), theta, *disc(), 200, 0.05)
    return next(islice(runs, steps - 1, None))[0]
for s in range(6):
  t=learn(THREE_UNITS,s,1500); x,y=disc(); p=THREE_UNITS.predict(t,x); print(s, LOSS.forward(p,y)[0], ((p>.5)==(y>.5)).mean())
for s in range(2):
  t=learn(ONE_NEURON,s,800); x,y=disc(); p=ONE_NEURON.predict(t,x); print(t, LOSS.forward(p,y)[0], ((p>.5)==(y>.5)).mean(), y.mean())
