"""One description of a run, from which both sides are built."""

from __future__ import annotations

import dataclasses
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn, optim

import data
import manual
import manual.models
import torch_ref.models
from compare import pairs
from torch_ref import parameters as torch_parameters


class UsageError(ValueError):
    """What was asked for cannot be done; the message says what was expected, what came and what to do."""


@dataclass(frozen=True)
class Experiment:
    """The settings of a run. Raises UsageError, naming the setting, for one that makes no sense."""

    sizes: tuple[int, ...] = (784, 16, 16, 10)
    activation: str = "relu"
    loss: str = "cross-entropy"
    optimizer: str = "sgd"
    optimizer_options: Mapping[str, Any] = field(default_factory=dict)
    learning_rate: float = 0.1
    schedule: str = "constant"
    initialization: str = "torch"
    batch_size: int = 32
    augmentation: str = "none"  # of the training digits, one of data.AUGMENTATIONS
    epochs: int = 5
    max_steps: int | None = None  # stop after so many steps, whatever the epochs
    seed: int = 0
    dtype: str = "float64"
    resync: bool = False
    judge_every: int = 1  # 1 judges every step
    device: str = "cpu"
    dataset: str = "mnist"
    validation: int = 0  # so many training digits, the last ones, are tested instead of the test digits

    def __post_init__(self) -> None:
        for name, table in CHOICES.items():
            choose(name.replace("_", " "), getattr(self, name), table)
        if len(self.sizes) < 2 or not all(is_whole(size) and size >= 1 for size in self.sizes):
            raise UsageError(
                "sizes must be two or more whole numbers of at least 1, input first, output last, "
                f"got {'-'.join(map(str, self.sizes))}"
            )
        for name in ("batch_size", "epochs", "max_steps", "judge_every"):
            value = getattr(self, name)
            if value is None and name == "max_steps":
                continue
            if not is_whole(value) or value < 1:
                raise UsageError(f"{name.replace('_', ' ')} must be a whole number of at least 1, got {value!r}")
        for name in ("seed", "validation"):
            if not is_whole(value := getattr(self, name)) or value < 0:
                raise UsageError(f"{name} must be a whole number of at least 0, got {value!r}")
        if not re.fullmatch(r"cpu|cuda(:\d+)?", self.device):
            raise UsageError(f"device must be cpu, or cuda where torch sees a GPU, got {self.device!r}")
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise UsageError(f"learning rate must be a finite number above 0, got {self.learning_rate}")
        allowed = pairs.OPTIMIZERS[self.optimizer].options
        for name in self.optimizer_options:
            if name not in allowed:
                raise UsageError(
                    f"{name.replace('_', ' ')} is no option of {self.optimizer}; it takes "
                    f"{', '.join(o.replace('_', ' ') for o in allowed)}: leave it out or choose another optimizer"
                )
        try:
            self.rule()
        except ValueError as problem:
            raise UsageError(str(problem)) from None

    @property
    def parameters(self) -> int:
        """The number of weights and biases."""
        return sum((inputs + 1) * outputs for inputs, outputs in pairwise(self.sizes))

    def require_memory(self) -> None:
        """Raise UsageError for what cannot fit into this machine, before any of it is taken."""
        numbers = self.parameters + self.batch_size * sum(self.sizes)
        needed = COPIES * numbers * np.dtype(self.dtype).itemsize
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else needed
        if needed > memory:
            sizes = "-".join(map(str, self.sizes))
            raise UsageError(
                f"a run must fit into the {memory / 1e9:,.0f} GB of this machine, but sizes {sizes} with batches of "
                f"{self.batch_size:,} take {needed / 1e9:,.0f} GB: use narrower layers or smaller batches"
            )

    def rule(self) -> manual.Optimizer:
        """The manual update rule."""
        return pairs.OPTIMIZERS[self.optimizer].manual(**self.optimizer_options)

    def as_json(self) -> dict[str, Any]:
        """All settings, as experiment.json holds them."""
        return {**dataclasses.asdict(self), "optimizer_options": dict(self.optimizer_options)}


# θ and ∇ on either side, both before and after the update, and a bound for each: what a step holds at least.
COPIES = 8


def is_whole(x: Any) -> bool:
    """Whether x is an integer, and not True or False."""
    return isinstance(x, (int, np.integer)) and not isinstance(x, bool)


CHOICES: dict[str, Any] = {
    "activation": pairs.ACTIVATIONS,
    "loss": pairs.LOSSES,
    "optimizer": pairs.OPTIMIZERS,
    "schedule": pairs.SCHEDULES,
    "initialization": pairs.INITIALIZATIONS,
    "dtype": {"float64": np.float64, "float32": np.float32},
    "dataset": dict.fromkeys(data.NAMES),
    "augmentation": data.AUGMENTATIONS,
}


def choose(what: str, name: str, table: Mapping[str, Any]) -> Any:
    """The table's entry; UsageError naming the choices where there is none."""
    if name not in table:
        raise UsageError(f"{what} must be one of {', '.join(table)}, got {name!r}: choose one of them")
    return table[name]


class Sides(NamedTuple):
    """Everything both trainers need, built from one experiment; θ₀ is the same vector on both sides."""

    network: manual.Network
    loss: manual.Loss
    optimizer: manual.Optimizer
    schedule: manual.Schedule
    theta: np.ndarray
    model: nn.Sequential
    torch_loss: nn.Module
    torch_optimizer: optim.Optimizer
    scheduler: optim.lr_scheduler.LRScheduler


def build(experiment: Experiment, steps: int, steps_per_epoch: int) -> Sides:
    """Both sides of a run of so many steps. UsageError for too large a run, and for a device that is not there."""
    e = experiment
    e.require_memory()
    activation, loss = pairs.ACTIVATIONS[e.activation], pairs.LOSSES[e.loss]
    output = pairs.ACTIVATIONS[loss.output] if loss.output else None
    dtype = CHOICES["dtype"][e.dtype]

    network = manual.models.mlp(
        e.sizes, activation.manual, output.manual if output else None, pairs.INITIALIZATIONS[e.initialization]
    )
    theta = network.init(np.random.default_rng(e.seed), dtype)

    model = torch_ref.models.mlp(e.sizes, activation.torch, output.torch if output else None)
    try:
        model = model.to(torch.device(e.device), torch.from_numpy(theta).dtype)
    except (RuntimeError, AssertionError) as problem:
        raise UsageError(
            f"device {e.device!r} cannot be used ({str(problem).splitlines()[0]}): "
            "use cpu, or cuda where torch sees a GPU"
        ) from None
    torch_parameters.load(model, torch.from_numpy(theta).to(e.device))
    optimizer = pairs.OPTIMIZERS[e.optimizer].torch(list(model.parameters()), e.learning_rate, **e.optimizer_options)
    schedule = pairs.SCHEDULES[e.schedule]
    try:
        manual_schedule = schedule.manual(e.learning_rate, steps, steps_per_epoch)
    except ValueError as problem:
        raise UsageError(str(problem)) from None
    return Sides(
        network=network,
        loss=loss.manual,
        optimizer=e.rule(),
        schedule=manual_schedule,
        theta=theta,
        model=model,
        torch_loss=loss.torch(),
        torch_optimizer=optimizer,
        scheduler=schedule.torch(optimizer, e.learning_rate, steps, steps_per_epoch),
    )
