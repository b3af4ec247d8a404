"""One training step, from the batch to the new weights. Its reference is manual/training.py."""

from typing import Any, NamedTuple

from torch import Tensor, nn, optim

from handgrad.torch_ref.parameters import flat, flat_grad, flat_state


class StepRecord(NamedTuple):
    """Everything one step computed; tensors that later steps do not change."""

    outputs: list[Tensor]  # of every layer, the last one being ŷ
    loss: Tensor  # J, shape ()
    deltas: list[Tensor]  # ∂J/∂outputs, the same shapes
    grad: Tensor  # ∂J/∂θ (size,)
    theta: Tensor  # θ after the update (size,)
    state: dict[str, Any]  # the optimizer's, after the update


def step(
    model: nn.Sequential,
    loss: nn.Module,
    optimizer: optim.Optimizer,
    x: Tensor,
    target: Tensor,
) -> StepRecord:
    """Forward, loss, backward, update. The model and the optimizer are changed in place, as torch does it."""
    outputs = []
    for layer in model:
        x = layer(x)
        if x.requires_grad:
            x.retain_grad()  # torch keeps the gradient of parameters only, unless it is asked
        outputs.append(x)
    J = loss(outputs[-1], target)
    optimizer.zero_grad()
    J.backward()
    optimizer.step()
    return StepRecord(
        outputs=[y.detach() for y in outputs],
        loss=J.detach(),
        deltas=[y.grad for y in outputs if y.grad is not None],
        grad=flat_grad(model),
        theta=flat(model),
        state=flat_state(optimizer),
    )
