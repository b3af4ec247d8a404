"""The manual step, and the floor: its eight matrix products, alone."""

from __future__ import annotations

import numpy as np

import manual
import manual.models
from benchmarks.peers import ADAM_RATE, RATE, SIZES, STEPS, Makers, Problem, Step
from manual.training import step


def by_hand(p: Problem) -> Step:
    """`manual.training.step`, as `handgrad mnist` calls it."""
    network, loss = manual.models.mlp(SIZES), manual.SoftmaxCrossEntropy()
    rule: manual.Optimizer = manual.SGD() if p.rule == "sgd" else manual.Adam()
    schedule = manual.Constant(RATE) if p.rule == "sgd" else manual.OneCycle(ADAM_RATE, STEPS)
    theta = np.concatenate([part.ravel() for pair in p.params for part in pair])
    state, k = rule.init(theta), 0

    def run() -> None:
        nonlocal theta, state, k
        record = step(network, loss, rule, theta, state, p.x, p.target, float(schedule(k)))
        theta, state, k = record.theta, record.state, k + 1

    return Step(run, lambda: network.views(theta)[0]["weight"])


def floor(p: Problem) -> Step:
    """Three products forward, three for the weights' gradients, two for the inputs': nobody can do without them."""
    rng, N = np.random.default_rng(0), len(p.x)
    weights = [W for W, _ in p.params]
    inputs = [p.x, *(rng.random((N, len(W))).astype(p.dtype) for W in weights[:-1])]
    deltas = [rng.random((N, len(W))).astype(p.dtype) for W in weights]

    def run() -> None:
        for a, W in zip(inputs, weights, strict=True):
            a @ W.T
        for a, delta in zip(inputs, deltas, strict=True):
            delta.T @ a
        for W, delta in zip(weights[1:], deltas[1:], strict=True):
            delta @ W

    return Step(run, lambda: weights[0])


makers: Makers = {"manual": by_hand, "the eight matrix products alone": floor}
