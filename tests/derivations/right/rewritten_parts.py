"""What right derivations in other words share: their tables, and two functions written in an unusual way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Form(NamedTuple):
    """A layer or a loss: its value, its derivative, torch's reference, and the largest scale at which it is right."""

    value: Callable[..., Any]
    slope: Callable[..., Any]
    reference: Any
    most: float


LAYERS: dict[str, Form] = {}
LOSSES: dict[str, Form] = {}


def layer(name: str, forward: Any, backward: Any, reference: Any, most: float = 1e6) -> None:
    """Note forward(x) and backward(dy, x)."""
    LAYERS[name] = Form(forward, backward, reference, most)


def loss(name: str, forward: Any, gradient: Any, reference: Any, most: float = 1e6) -> None:
    """Note forward(output, target) and gradient(output, target)."""
    LOSSES[name] = Form(forward, gradient, reference, most)


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
