"""What right derivations in other words share: their tables, and two functions written in an unusual way."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.derivations.case import LAYER, LOSS, Derivation

Form = tuple[Derivation, float]  # with the largest scale at which it is right
LAYERS: list[Form] = []
LOSSES: list[Form] = []


@dataclasses.dataclass(frozen=True)
class Loss:
    """A loss of a value and a gradient, both functions of (output, target)."""

    value: Callable[..., Any]
    slope: Callable[..., Any]

    def forward(self, output: Any, target: Any) -> Any:
        return _as(output, self.value(output, target)), (output, target)

    def gradient(self, cache: Any) -> Any:
        return _as(cache[0], self.slope(*cache))


def _as(x: Any, y: Any) -> Any:
    """y in the dtype of x, which an array of constants may have widened."""
    return y.astype(x.dtype)


def layer(name: str, forward: Any, backward: Any, reference: Any, most: float = 1e6) -> None:
    """Note forward(x) and backward(dy, x)."""
    ours = (lambda x: _as(x, forward(x)), lambda dy, x: _as(x, backward(dy, x)))
    LAYERS.append((Derivation(name, LAYER, ours, reference, origin="rewritten"), most))


def loss(name: str, forward: Any, gradient: Any, reference: Any, most: float = 1e6) -> None:
    """Note forward(output, target) and gradient(output, target)."""
    LOSSES.append((Derivation(name, LOSS, Loss(forward, gradient), reference, origin="rewritten"), most))


def side(x: Any) -> Any:
    """±1, the side of a kink."""
    return np.where(x > 0, 1.0, -1.0)


def sigmoid(x: Any) -> Any:
    """By tanh."""
    return 0.5 + 0.5 * np.tanh(0.5 * x)


def softmax(x: Any) -> Any:
    """Shifted by the largest."""
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)
