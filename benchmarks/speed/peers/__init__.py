"""The same training step, once per library. Each module has `makers`: a function from a `Problem` to a `Step` by name.

A step is forward, loss, backward and update of the 784-16-16-10 ReLU network with softmax cross-entropy. All start
from the same weights and batch, and `benchmarks.speed.training_step` compares the weights after three steps before it
times anything: whoever computes something else is not a peer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

SIZES = (784, 16, 16, 10)
RATE = 0.1  # SGD's learning rate; Adam's schedule has its peak at a thirtieth of it
ADAM_RATE = RATE / 30
STEPS = 1_000_000  # of the one-cycle schedule, more than are ever made


@dataclass(frozen=True)
class Problem:
    """What is trained: θ₀ as one (weight, bias) per layer, one batch, and the rule, "sgd" or "adam"."""

    params: list[tuple[np.ndarray, np.ndarray]]  # W (out, in), b (out,)
    x: np.ndarray  # (N, 784)
    target: np.ndarray  # (N,) int64
    rule: str

    @property
    def dtype(self) -> np.dtype:
        return self.x.dtype


class Step(NamedTuple):
    """One library's training step."""

    run: Callable[[], Any]  # makes one step, to its end
    first_weight: Callable[[], np.ndarray]  # the first layer's W (out, in), as it is now


class Unfit(Exception):
    """The library cannot do this step; the message says why."""


Makers = dict[str, Callable[[Problem], Step]]
