"""Parameters and optimizer state as flat vectors, in `parameters()` order; copies, never views."""

from typing import Any

import torch
from torch import Tensor, nn


def flat(model: nn.Module) -> Tensor:
    """Every parameter of the model as one new vector θ (size,)."""
    return torch.cat([p.detach().reshape(-1) for p in model.parameters()])


def flat_grad(model: nn.Module) -> Tensor:
    """Every gradient of the model as one new vector (size,)."""
    return torch.cat([p.grad.reshape(-1) for p in model.parameters() if p.grad is not None])


@torch.no_grad()
def load(model: nn.Module, theta: Tensor) -> None:
    """Copy θ (size,) into the model's parameters, in place, so that an optimizer keeps its hold on them."""
    size = sum(p.numel() for p in model.parameters())
    if theta.shape != (size,):
        raise ValueError(f"θ must have shape ({size},), one number per parameter, got {tuple(theta.shape)}")
    start = 0
    for p in model.parameters():
        p.copy_(theta[start : start + p.numel()].reshape(p.shape))
        start += p.numel()


def flat_state(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """The optimizer's state, each entry concatenated over the parameters: {"exp_avg": (size,), "step": int, …}.

    Empty before the first step, and where the optimizer keeps none; without plain numbers other than the step count.
    """
    states = [optimizer.state[p] for group in optimizer.param_groups for p in group["params"]]
    flat: dict[str, Any] = {}
    for name in states[0] if states else ():
        if states[0][name] is None or (name != "step" and not isinstance(states[0][name], torch.Tensor)):
            continue  # a counter that a rule of one's own keeps as a plain number
        if name == "step":
            flat[name] = int(states[0][name])
        else:
            flat[name] = torch.cat([s[name].reshape(-1) for s in states])
    return flat


@torch.no_grad()
def load_state(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Copy what `flat_state` returns back into the optimizer."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    start = 0
    for p in parameters:
        for name, value in state.items():
            if name == "step":
                optimizer.state[p][name] = torch.tensor(float(value))
            else:
                part = value[start : start + p.numel()].reshape(p.shape)
                optimizer.state[p][name] = part.to(p, copy=True)
        start += p.numel()
