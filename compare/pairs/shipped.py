"""Every pair that the project ships, as a check: what `handgrad check --all` and the equivalence suite run over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from torch import nn, optim

from handgrad import manual
from handgrad.compare.pairs.table import ACTIVATIONS, LOSSES, MODELS, OPTIMIZERS, SCHEDULES
from handgrad.compare.pairs.whole_network import WholeNetwork
from handgrad.manual import activations

# What each option of an optimizer is set to beside the defaults.
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "sgd": [
        {},
        {"momentum": 0.9},
        {"momentum": 0.9, "dampening": 0.3},
        {"momentum": 0.9, "nesterov": True},
        {"weight_decay": 0.1},
        {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
    ],
    "adam": [{}, {"weight_decay": 0.1}, {"beta1": 0.8, "beta2": 0.95, "eps": 1e-3}],
    "adamw": [{}, {"weight_decay": 0.3}],
    "rmsprop": [{}, {"momentum": 0.9}, {"centered": True}, {"weight_decay": 0.1, "alpha": 0.9, "centered": True}],
}
SCHEDULE_STEPS, STEPS_PER_EPOCH = 200, 25


def shipped() -> Iterator[tuple[str, Any, Any, dict[str, Any]]]:
    """(name, manual side, torch reference, the other arguments of `check`) of every pair."""
    for inputs, outputs in ((7, 5), (1, 1), (6, 6)):
        yield (
            f"linear {inputs}-{outputs}",
            manual.Linear(inputs, outputs),
            nn.Linear(inputs, outputs),
            {"x": (4, inputs)},
        )
    yield "linear without bias", manual.Linear(7, 5, bias=False), nn.Linear(7, 5, bias=False), {"x": (4, 7)}
    for name, pair in ACTIVATIONS.items():
        yield name, pair.manual, pair.torch(), {"x": (4, 6)}
    yield "leaky-relu slope 0.3", activations.LeakyReLU(0.3), nn.LeakyReLU(0.3), {"x": (4, 6)}
    for name, loss in LOSSES.items():
        yield name, loss.manual, loss.torch(), {"output": _outputs(loss.output), "target": _targets(loss.target)}
    for name, model in MODELS.items():
        yield f"model {name}", WholeNetwork(model.manual(model.sizes)), model.torch(model.sizes), {"x": (5, 4)}
    for name, optimizer in OPTIMIZERS.items():
        for options in VARIANTS[name]:
            label = " ".join([name, *(f"{k}={v}" for k, v in options.items())])
            yield label, optimizer.manual(**options), _maker(optimizer.torch, options), {"theta": (50,)}
    for name, schedule in SCHEDULES.items():
        arguments = (0.1, SCHEDULE_STEPS, STEPS_PER_EPOCH)
        ours = schedule.manual(*arguments)
        yield f"schedule {name}", ours, _scheduler(schedule.torch, arguments), {"steps": SCHEDULE_STEPS}


def _outputs(activation: str) -> Any:
    """Logits, or probabilities for a loss that wants them."""
    return (lambda rng: rng.uniform(0.02, 0.98, (6, 5))) if activation == "sigmoid" else (6, 5)


def _targets(kind: str) -> Any:
    return "class" if kind == "class" else lambda rng: np.eye(5)[rng.integers(0, 5, 6)]


def _maker(make: Callable[..., optim.Optimizer], options: dict[str, Any]) -> Callable[..., optim.Optimizer]:
    return lambda parameters, lr: make(parameters, lr, **options)


def _scheduler(make: Callable[..., Any], arguments: tuple[float, int, int]) -> Callable[[optim.Optimizer], Any]:
    return lambda optimizer: make(optimizer, *arguments)
