"""One training step, from the batch to the new weights. Its reference is torch_ref/training.py."""

from typing import NamedTuple

from handgrad.manual.layer import Array
from handgrad.manual.losses import Loss
from handgrad.manual.network import Network
from handgrad.manual.optimizers import Optimizer, State


class StepRecord(NamedTuple):
    """Everything one step computed."""

    outputs: list[Array]  # of every layer, the last one being ŷ
    loss: Array  # J, shape ()
    deltas: list[Array]  # ∂J/∂outputs, the same shapes
    grad: Array  # ∂J/∂θ (size,)
    theta: Array  # θ after the update (size,)
    state: State  # the optimizer's, after the update


def step(
    network: Network,
    loss: Loss,
    optimizer: Optimizer,
    theta: Array,
    state: State,
    x: Array,
    target: Array,
    learning_rate: float,
) -> StepRecord:
    """Forward, loss, backward, update. Nothing that comes in is changed."""
    outputs, caches = network.forward(theta, x)
    J, loss_cache = loss.forward(outputs[-1], target)
    deltas, grad = network.backward(theta, caches, loss.gradient(loss_cache))
    theta, state = optimizer.update(theta, grad, state, learning_rate)
    return StepRecord(outputs, J, deltas, grad, theta, state)
