"""Every pair that the project ships, as a check: what `handgrad check --all` and the equivalence suite run over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from torch import optim

from handgrad.compare.pairs.table import ACTIVATIONS, LAYERS, LOSSES, MODELS, OPTIMIZERS, SCHEDULES
from handgrad.compare.pairs.whole_network import WholeNetwork

SCHEDULE_STEPS, STEPS_PER_EPOCH = 200, 25


def shipped() -> Iterator[tuple[str, Any, Any, dict[str, Any]]]:
    """(name, manual side, torch reference, the other arguments of `check`) of every pair."""
    for name, layer in {**LAYERS, **ACTIVATIONS}.items():
        yield name, layer.manual(), layer.torch(), {"x": layer.x}
    for name, loss in LOSSES.items():
        yield name, loss.manual(), loss.torch(), {"output": _outputs(loss.output), "target": _targets(loss.target)}
    for name, model in MODELS.items():
        yield f"model {name}", WholeNetwork(model.manual(model.sizes)), model.torch(model.sizes), {"x": (5, 4)}
    for name, optimizer in OPTIMIZERS.items():
        for options in ({}, *optimizer.settings):
            label = " ".join([name, *(f"{k}={v}" for k, v in options.items())])
            yield label, optimizer.manual(**options), _maker(optimizer.torch, options), {"theta": (50,)}
    for name, schedule in SCHEDULES.items():
        arguments = (0.1, SCHEDULE_STEPS, STEPS_PER_EPOCH)
        ours = schedule.manual(*arguments)
        yield f"schedule {name}", ours, _scheduler(schedule.torch, arguments), {}


def _outputs(activation: str) -> Any:
    """Logits, or probabilities for a loss that wants them."""
    return (lambda rng: rng.uniform(0.02, 0.98, (6, 5))) if activation == "sigmoid" else (6, 5)


def _targets(kind: str) -> Any:
    return "class" if kind == "class" else lambda rng: np.eye(5)[rng.integers(0, 5, 6)]


def _maker(make: Callable[..., optim.Optimizer], options: Any) -> Callable[..., optim.Optimizer]:
    return lambda parameters, lr: make(parameters, lr, **options)


def _scheduler(make: Callable[..., Any], arguments: tuple[float, int, int]) -> Callable[[optim.Optimizer], Any]:
    return lambda optimizer: make(optimizer, *arguments)
