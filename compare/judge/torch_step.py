"""What torch did in one training step, from which the judge starts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from handgrad.compare.judge.sides import Arrays


@dataclass(frozen=True)
class TorchStep:
    """What torch did in one step, as NumPy arrays; the fields of torch_ref.training.StepRecord and the inputs."""

    x: np.ndarray
    target: np.ndarray
    learning_rate: float
    theta: np.ndarray
    state: Arrays
    outputs: list[np.ndarray]
    loss: np.ndarray
    deltas: list[np.ndarray]
    grad: np.ndarray
    theta_after: np.ndarray
    state_after: Arrays
