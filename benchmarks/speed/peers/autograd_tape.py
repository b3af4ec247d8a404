"""HIPS autograd: NumPy functions traced and differentiated at each call; the update is written in NumPy."""

from __future__ import annotations

import autograd.numpy as anp
import numpy as np
from autograd import grad
from autograd.scipy.special import logsumexp

from benchmarks.speed.peers import Makers, Problem, Step
from benchmarks.speed.peers.rules import rule_of


def tape(p: Problem) -> Step:
    """One gradient and one update."""
    params = [part.copy() for pair in p.params for part in pair]
    update, rows = rule_of(p), np.arange(len(p.x))

    def loss(params: list[np.ndarray]) -> np.ndarray:
        a = p.x
        for i in range(0, len(params), 2):
            z = anp.dot(a, params[i].T) + params[i + 1]
            a = anp.maximum(z, 0)
        return anp.mean(logsumexp(z, axis=1) - z[rows, p.target])

    gradient = grad(loss)

    def run() -> None:
        nonlocal params
        params = update(params, gradient(params))

    return Step(run, lambda: np.array(params[0]))


makers: Makers = {"HIPS autograd": tape}
