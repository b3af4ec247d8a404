"""The manual step; its NumPy calls and nothing else; and the floor, its eight matrix products alone."""

from __future__ import annotations

import numpy as np

from benchmarks.speed.peers import ADAM_RATE, RATE, SIZES, STEPS, Makers, Problem, Step, Unfit
from handgrad import manual
from handgrad.manual.training import step


def by_hand(p: Problem) -> Step:
    """`handgrad.manual.training.step`, as `handgrad mnist` calls it."""
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


def bare(p: Problem) -> Step:
    """The step as one function without layers, checks or a record, in place wherever that is quicker; SGD only.

    What remains are NumPy's own calls: no code that calls these can be quicker, however it is arranged.
    """
    if p.rule != "sgd":
        raise Unfit("written for SGD only")
    theta, x, target = np.concatenate([part.ravel() for pair in p.params for part in pair]), p.x, p.target
    N, n = len(x), np.arange(len(x))
    ends = np.cumsum([part.size for pair in p.params for part in pair]).tolist()
    shapes = [part.shape for pair in p.params for part in pair]

    def run() -> None:
        nonlocal theta
        W1, b1, W2, b2, W3, b3 = (
            theta[end - (shape[0] if len(shape) == 1 else shape[0] * shape[1]) : end].reshape(shape)
            for end, shape in zip(ends, shapes, strict=True)
        )
        z1 = x.dot(W1.T)
        z1 += b1
        a1 = np.maximum(z1, 0)
        z2 = a1.dot(W2.T)
        z2 += b2
        a2 = np.maximum(z2, 0)
        p3 = a2.dot(W3.T)
        p3 += b3
        p3 -= p3.max(axis=1, keepdims=True)
        log_p = p3[n, target]
        np.exp(p3, out=p3)
        total = p3.sum(axis=1, keepdims=True)
        _J = (np.log(total).sum() - log_p.sum()) / N
        p3 /= total
        p3[n, target] -= 1
        p3 /= N
        delta2 = np.where(z2 > 0, p3.dot(W3), 0)
        delta1 = np.where(z1 > 0, delta2.dot(W2), 0)
        theta = theta - RATE * np.concatenate((
            delta1.T.dot(x).ravel(), delta1.sum(axis=0), delta2.T.dot(a1).ravel(), delta2.sum(axis=0),
            p3.T.dot(a2).ravel(), p3.sum(axis=0),
        ))  # fmt: skip

    return Step(run, lambda: theta[: ends[0]].reshape(shapes[0]))


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


makers: Makers = {"manual": by_hand, "its NumPy calls alone": bare, "the eight matrix products alone": floor}
