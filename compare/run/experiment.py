"""One description of a run, from which both sides are built."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn, optim

from handgrad import data, manual, torch_ref
from handgrad.compare.foundation.errors import UsageError
from handgrad.compare.foundation.validation import (
    DTYPES,
    LARGEST,
    choose,
    is_whole,
    require_learning_rate,
    require_memory,
    require_seed,
)
from handgrad.compare.pairs import table as pairs
from handgrad.torch_ref import parameters as torch_parameters


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
        sizes = self.sizes if isinstance(self.sizes, (tuple, list)) else ()
        if len(sizes) < 2 or not all(is_whole(size) and 1 <= size <= LARGEST for size in sizes):
            got = "-".join(map(str, sizes)) if sizes else repr(self.sizes)
            raise UsageError(
                "sizes must be two or more whole numbers of at least 1, input first, output last, "
                f"got {got}: choose others"
            )
        for name in ("batch_size", "epochs", "max_steps", "judge_every"):
            value = getattr(self, name)
            if value is None and name == "max_steps":
                continue
            if not is_whole(value) or not 1 <= value <= LARGEST:
                most = f" and at most {LARGEST}" if is_whole(value) and value > LARGEST else ""
                words = name.replace("_", " ")
                raise UsageError(f"{words} must be a whole number of at least 1{most}, got {value!r}: choose another")
        require_seed(self.seed)
        if not is_whole(self.validation) or self.validation < 0:
            raise UsageError(
                f"validation must be a whole number of at least 0, got {self.validation!r}: choose another"
            )
        if not (isinstance(self.device, str) and re.fullmatch(r"cpu|cuda(:\d+)?", self.device)):
            raise UsageError(f"device must be cpu, or cuda where torch sees a GPU, got {self.device!r}: choose one")
        require_learning_rate(self.learning_rate)
        if not isinstance(self.resync, (bool, np.bool_)):
            raise UsageError(f"resync must be True or False, got {self.resync!r}: choose one")
        if not isinstance(self.optimizer_options, Mapping):
            raise UsageError(
                f"optimizer options must be a dictionary of numbers by name, got {self.optimizer_options!r}: "
                "write {'momentum': 0.9}"
            )
        allowed = pairs.OPTIMIZERS[self.optimizer].options
        for name, value in self.optimizer_options.items():
            if isinstance(allowed.get(name), bool) and not isinstance(value, (bool, np.bool_)):
                raise UsageError(f"{name} must be True or False, got {value!r}: choose one")
            if name not in allowed:
                raise UsageError(
                    f"{name.replace('_', ' ')} is no option of {self.optimizer}; it takes "
                    f"{', '.join(o.replace('_', ' ') for o in allowed)}: leave it out or choose another optimizer"
                )
        try:
            self.rule()
        except ValueError as problem:
            raise UsageError(str(problem)) from None
        # Numbers of NumPy become Python's, which JSON can hold.
        object.__setattr__(self, "sizes", tuple(int(size) for size in sizes))
        for name in ("batch_size", "epochs", "max_steps", "judge_every", "seed", "learning_rate", "resync"):
            value = getattr(self, name)
            object.__setattr__(self, name, value.item() if isinstance(value, np.generic) else value)

    @property
    def parameters(self) -> int:
        """The number of weights and biases."""
        return sum((inputs + 1) * outputs for inputs, outputs in pairwise(self.sizes))

    def require_memory(self) -> None:
        """Raise UsageError for what cannot fit into this machine, before any of it is taken."""
        numbers = self.parameters + self.batch_size * sum(self.sizes)
        needed = COPIES * numbers * np.dtype(self.dtype).itemsize
        sizes = "-".join(map(str, self.sizes))
        require_memory(
            "a run",
            needed,
            f"sizes {sizes} with batches of {self.batch_size:,}",
            "use narrower layers or smaller batches",
        )

    def rule(self) -> manual.Optimizer:
        """The manual update rule."""
        return pairs.OPTIMIZERS[self.optimizer].manual(**self.optimizer_options)

    def as_json(self) -> dict[str, Any]:
        """All settings, as experiment.json holds them."""
        return {**dataclasses.asdict(self), "optimizer_options": dict(self.optimizer_options)}


# θ and ∇ on either side, both before and after the update, and a bound for each: what a step holds at least.
COPIES = 8


CHOICES: dict[str, Any] = {
    "activation": pairs.ACTIVATIONS,
    "loss": pairs.LOSSES,
    "optimizer": pairs.OPTIMIZERS,
    "schedule": pairs.SCHEDULES,
    "initialization": pairs.INITIALIZATIONS,
    "dtype": DTYPES,
    "dataset": dict.fromkeys(data.NAMES),
    "augmentation": data.AUGMENTATIONS,
}


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
        e.sizes, activation.manual(), output.manual() if output else None, pairs.INITIALIZATIONS[e.initialization]()
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
        loss=loss.manual(),
        optimizer=e.rule(),
        schedule=manual_schedule,
        theta=theta,
        model=model,
        torch_loss=loss.torch(),
        torch_optimizer=optimizer,
        scheduler=schedule.torch(optimizer, e.learning_rate, steps, steps_per_epoch),
    )
