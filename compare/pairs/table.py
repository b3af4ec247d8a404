"""The table of pairs: every manual thing beside its torch counterpart.

The command's choices, the equivalence suite and `handgrad check --all` all read this one table. A new layer,
loss, optimizer or schedule is one row here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from torch import nn, optim
from torch.optim import lr_scheduler

from handgrad import manual, torch_ref
from handgrad.manual import initialization, schedules
from handgrad.torch_ref.losses import HalfSquaredError, PerceptronCriterion


@dataclass(frozen=True)
class Activation:
    """An elementwise layer."""

    manual: manual.Layer
    torch: Callable[[], nn.Module]


@dataclass(frozen=True)
class Loss:
    """A loss; `target` is what it is given, and `output` the activation after the last Linear layer."""

    manual: manual.Loss
    torch: Callable[[], nn.Module]
    target: str = "one-hot"  # or "class"
    output: str = ""


@dataclass(frozen=True)
class Optimizer:
    """An update rule. `torch(parameters, learning_rate, **options)` takes the manual rule's option names."""

    manual: type[manual.Optimizer]
    torch: Callable[..., optim.Optimizer]

    @property
    def options(self) -> dict[str, Any]:
        """The hyperparameters and their defaults."""
        return {f.name: f.default for f in fields(self.manual)}


@dataclass(frozen=True)
class Schedule:
    """η over time. Both take the learning rate, the steps of the run and the steps of an epoch."""

    manual: Callable[[float, int, int], manual.Schedule]
    torch: Callable[[optim.Optimizer, float, int, int], lr_scheduler.LRScheduler]


@dataclass(frozen=True)
class Model:
    """A named stack of layers, and the name of the loss that it is trained by; both sides are built from `sizes`."""

    manual: Callable[..., manual.Network]
    torch: Callable[..., nn.Sequential]
    loss: str
    sizes: Any  # what the equivalence suite builds it with


def _adam(kind: type[optim.Optimizer]) -> Callable[..., optim.Optimizer]:
    def make(
        parameters: Any, learning_rate: float, beta1: float = 0.9, beta2: float = 0.999, **options: Any
    ) -> optim.Optimizer:
        return kind(parameters, lr=learning_rate, betas=(beta1, beta2), **options)  # type: ignore[call-arg]

    return make


ACTIVATIONS = {
    "relu": Activation(manual.ReLU(), nn.ReLU),
    "leaky-relu": Activation(manual.LeakyReLU(), nn.LeakyReLU),
    "sigmoid": Activation(manual.Sigmoid(), nn.Sigmoid),
    "tanh": Activation(manual.Tanh(), nn.Tanh),
    "identity": Activation(manual.Identity(), nn.Identity),
}
LOSSES = {
    "cross-entropy": Loss(manual.SoftmaxCrossEntropy(), nn.CrossEntropyLoss, "class"),
    "mse": Loss(manual.MeanSquaredError(), nn.MSELoss),
    "half-squared": Loss(manual.HalfSquaredError(), HalfSquaredError),
    "bce": Loss(manual.BinaryCrossEntropy(), nn.BCELoss, output="sigmoid"),
    "bce-logits": Loss(manual.BinaryCrossEntropyWithLogits(), nn.BCEWithLogitsLoss),
    "perceptron": Loss(manual.PerceptronCriterion(), PerceptronCriterion),
}
OPTIMIZERS = {
    "sgd": Optimizer(manual.SGD, lambda params, learning_rate, **o: optim.SGD(params, lr=learning_rate, **o)),
    "adam": Optimizer(manual.Adam, _adam(optim.Adam)),
    "adamw": Optimizer(manual.AdamW, _adam(optim.AdamW)),
    "rmsprop": Optimizer(
        manual.RMSprop, lambda params, learning_rate, **o: optim.RMSprop(params, lr=learning_rate, **o)
    ),
}
SCHEDULES = {
    "constant": Schedule(
        lambda rate, steps, per_epoch: manual.Constant(rate),
        lambda opt, rate, steps, per_epoch: lr_scheduler.ConstantLR(opt, factor=1.0),
    ),
    "step": Schedule(
        lambda rate, steps, per_epoch: schedules.StepDecay(rate, per_epoch, gamma=0.5),
        lambda opt, rate, steps, per_epoch: lr_scheduler.StepLR(opt, per_epoch, gamma=0.5),
    ),
    "exponential": Schedule(
        lambda rate, steps, per_epoch: manual.Exponential(rate, gamma=0.1 ** (1 / steps)),
        lambda opt, rate, steps, per_epoch: lr_scheduler.ExponentialLR(opt, gamma=0.1 ** (1 / steps)),
    ),
    "cosine": Schedule(
        lambda rate, steps, per_epoch: manual.Cosine(rate, steps),
        lambda opt, rate, steps, per_epoch: lr_scheduler.CosineAnnealingLR(opt, T_max=steps),
    ),
    "one-cycle": Schedule(
        lambda rate, steps, per_epoch: manual.OneCycle(rate, steps),
        lambda opt, rate, steps, per_epoch: lr_scheduler.OneCycleLR(
            opt, max_lr=rate, total_steps=steps, cycle_momentum=False
        ),
    ),
}
INITIALIZATIONS = {
    "torch": initialization.torch_default,
    "xavier-uniform": initialization.xavier_uniform,
    "xavier-normal": initialization.xavier_normal,
    "he-uniform": initialization.he_uniform,
    "he-normal": initialization.he_normal,
}
MODELS = {
    "perceptron": Model(manual.perceptron, torch_ref.models.perceptron, "perceptron", 4),
    "adaline": Model(manual.adaline, torch_ref.models.adaline, "mse", 4),
    "logistic-regression": Model(manual.logistic_regression, torch_ref.models.logistic_regression, "bce", 4),
    "mlp": Model(manual.mlp, torch_ref.models.mlp, "cross-entropy", (4, 6, 5, 3)),
}
