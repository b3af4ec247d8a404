"""Training as the lessons need it: the manual side alone, epoch after epoch, and the first few digits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

import numpy as np

from handgrad import data, manual
from handgrad.manual import Array
from handgrad.manual.training import step


def epochs(
    network: manual.Network,
    loss: manual.Loss,
    optimizer: manual.Optimizer,
    theta: Array,
    x: Array,
    target: Array,
    batch_size: int,
    learning_rate: float | Callable[[int], float],
    seed: int = 0,
) -> Iterator[tuple[Array, Array]]:
    """Train from θ, without end: after each epoch, θ (size,) and the loss of each of its steps (steps,).

    The loss of a step is that before its update. `learning_rate` is a number, or a schedule: a function of the step.
    """
    rate = learning_rate if callable(learning_rate) else manual.Constant(learning_rate)
    state, steps, epoch = optimizer.init(theta), 0, 0
    while True:
        losses = []
        for rows in data.batch_order(len(x), batch_size, seed, epoch):
            record = step(network, loss, optimizer, theta, state, x[rows], target[rows], rate(steps))
            theta, state = record.theta, record.state
            losses.append(float(record.loss))
            steps += 1
        epoch += 1
        yield theta, np.array(losses)


def theta_after(count: int, runs: Iterator[tuple[Array, Array]]) -> Array:
    """θ (size,) after so many of the `epochs`."""
    theta, _ = next(islice(runs, count - 1, None))
    return theta


def training_digits(count: int) -> tuple[Array, Array]:
    """The first so many training digits, x (N, 784), float64, and their labels (N,)."""
    digits = data.load().train
    return data.scale(digits.images[:count], np.float64), digits.labels[:count]
