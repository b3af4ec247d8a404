"""MyGrad: tensors over NumPy arrays, with a tape; the update is written in NumPy."""

from __future__ import annotations

import mygrad
import numpy as np
from mygrad.nnet.activations import relu
from mygrad.nnet.losses import softmax_crossentropy

from benchmarks.speed.peers import Makers, Problem, Step
from benchmarks.speed.peers.rules import rule_of


def tape(p: Problem) -> Step:
    """One forward pass on the tape, backward, update."""
    params = [part.copy() for pair in p.params for part in pair]
    update = rule_of(p)

    def run() -> None:
        nonlocal params
        tensors = [mygrad.tensor(value, copy=False) for value in params]
        a = p.x
        for i in range(0, len(tensors), 2):
            z = mygrad.matmul(a, tensors[i].T) + tensors[i + 1]
            a = relu(z)
        softmax_crossentropy(z, p.target).backward()
        params = update(params, [t.grad for t in tensors])

    return Step(run, lambda: np.array(params[0]))


makers: Makers = {"MyGrad": tape}
