"""The table of pairs: every manual thing beside its reference in torch.

The choices of the command line, the equivalence suite and `handgrad check --all` are read from here, so a new layer,
loss, optimizer, schedule, initialization or model is one file in `manual/` and one row. Both sides of a row are
functions, called where the row is used: the names alone are read without importing NumPy or torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from handgrad.compare.pairs.later import Later

if TYPE_CHECKING:
    from torch import nn, optim
    from torch.optim import lr_scheduler

    from handgrad import manual
    from handgrad.manual import initialization
    from handgrad.torch_ref import losses, models
else:
    nn, optim, lr_scheduler = Later("torch.nn"), Later("torch.optim"), Later("torch.optim.lr_scheduler")
    manual, initialization = Later("handgrad.manual"), Later("handgrad.manual.initialization")
    losses, models = Later("handgrad.torch_ref.losses"), Later("handgrad.torch_ref.models")


@dataclass(frozen=True)
class Layer:
    """A layer, and the shape of the input that it is checked on."""

    manual: Callable[[], manual.Layer]
    torch: Callable[[], nn.Module]
    x: tuple[int, ...] = (4, 6)


@dataclass(frozen=True)
class Loss:
    """A loss; `target` is what it is given, and `output` the activation after the last Linear layer.

    `link` makes probabilities of ŷ: "softmax", "sigmoid", or "" where the loss compares ŷ itself with the target.
    """

    manual: Callable[[], manual.Loss]
    torch: Callable[[], nn.Module]
    target: str = "one-hot"  # or "class"
    output: str = ""
    link: str = ""


@dataclass(frozen=True)
class Optimizer:
    """An update rule. Both sides take the options by the manual rule's names; torch has its own defaults.

    `settings` are checked besides the defaults. Every option of the rule is in one of them, from which the command
    line knows it.
    """

    manual: Callable[..., manual.Optimizer]  # (**options)
    torch: Callable[..., optim.Optimizer]  # (parameters, learning_rate, **options)
    settings: tuple[Mapping[str, Any], ...]

    @property
    def options(self) -> dict[str, Any]:
        """The hyperparameters and their defaults."""
        return {f.name: f.default for f in fields(self.manual())}


@dataclass(frozen=True)
class Schedule:
    """η over time. Both take the learning rate, the steps of the run and the steps of an epoch."""

    manual: Callable[[float, int, int], manual.Schedule]
    torch: Callable[[optim.Optimizer, float, int, int], lr_scheduler.LRScheduler]


@dataclass(frozen=True)
class Model:
    """A named stack of layers, and the name of the loss that it is trained by; both sides are built from `sizes`."""

    manual: Callable[[Any], manual.Network]
    torch: Callable[[Any], nn.Sequential]
    loss: str
    sizes: Any  # what it is checked with


ACTIVATIONS = {
    "relu": Layer(lambda: manual.ReLU(), lambda: nn.ReLU()),
    "leaky-relu": Layer(lambda: manual.LeakyReLU(), lambda: nn.LeakyReLU()),
    "sigmoid": Layer(lambda: manual.Sigmoid(), lambda: nn.Sigmoid()),
    "tanh": Layer(lambda: manual.Tanh(), lambda: nn.Tanh()),
    "identity": Layer(lambda: manual.Identity(), lambda: nn.Identity()),
}
# Layers that are no activation, and other settings of one: checked, but no choice of the command line.
LAYERS = {
    "linear 7-5": Layer(lambda: manual.Linear(7, 5), lambda: nn.Linear(7, 5), x=(4, 7)),
    "linear 1-1": Layer(lambda: manual.Linear(1, 1), lambda: nn.Linear(1, 1), x=(4, 1)),
    "linear 6-6": Layer(lambda: manual.Linear(6, 6), lambda: nn.Linear(6, 6), x=(4, 6)),
    "linear without bias": Layer(
        lambda: manual.Linear(7, 5, bias=False), lambda: nn.Linear(7, 5, bias=False), x=(4, 7)
    ),
    "leaky-relu slope 0.3": Layer(lambda: manual.LeakyReLU(0.3), lambda: nn.LeakyReLU(0.3)),
}
LOSSES = {
    "cross-entropy": Loss(
        lambda: manual.SoftmaxCrossEntropy(), lambda: nn.CrossEntropyLoss(), target="class", link="softmax"
    ),
    "mse": Loss(lambda: manual.MeanSquaredError(), lambda: nn.MSELoss()),
    "half-squared": Loss(lambda: manual.HalfSquaredError(), lambda: losses.HalfSquaredError()),
    "bce": Loss(lambda: manual.BinaryCrossEntropy(), lambda: nn.BCELoss(), output="sigmoid"),
    "bce-logits": Loss(lambda: manual.BinaryCrossEntropyWithLogits(), lambda: nn.BCEWithLogitsLoss(), link="sigmoid"),
    "perceptron": Loss(lambda: manual.PerceptronCriterion(), lambda: losses.PerceptronCriterion()),
}


def _with_betas(beta1: float = 0.9, beta2: float = 0.999, **options: Any) -> dict[str, Any]:
    """The options of Adam as torch takes them: both β as one."""
    return {"betas": (beta1, beta2), **options}


OPTIMIZERS = {
    "sgd": Optimizer(
        lambda **o: manual.SGD(**o),
        lambda params, rate, **o: optim.SGD(params, lr=rate, **o),
        (
            {"momentum": 0.9},
            {"momentum": 0.9, "dampening": 0.3},
            {"momentum": 0.9, "nesterov": True},
            {"weight_decay": 0.1},
            {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
        ),
    ),
    "adam": Optimizer(
        lambda **o: manual.Adam(**o),
        lambda params, rate, **o: optim.Adam(params, lr=rate, **_with_betas(**o)),
        ({"weight_decay": 0.1}, {"beta1": 0.8, "beta2": 0.95, "eps": 1e-3}),
    ),
    "adamw": Optimizer(
        lambda **o: manual.AdamW(**o),
        lambda params, rate, **o: optim.AdamW(params, lr=rate, **_with_betas(**o)),
        ({"weight_decay": 0.3}, {"beta1": 0.8, "beta2": 0.95, "eps": 1e-3}),
    ),
    "rmsprop": Optimizer(
        lambda **o: manual.RMSprop(**o),
        lambda params, rate, **o: optim.RMSprop(params, lr=rate, **o),
        (
            {"momentum": 0.9},
            {"centered": True},
            {"weight_decay": 0.1, "alpha": 0.9, "centered": True},
            {"eps": 1e-3},
        ),
    ),
}
SCHEDULES = {
    "constant": Schedule(
        lambda rate, steps, per_epoch: manual.Constant(rate),
        lambda opt, rate, steps, per_epoch: lr_scheduler.ConstantLR(opt, factor=1.0),
    ),
    "step": Schedule(
        lambda rate, steps, per_epoch: manual.StepDecay(rate, per_epoch, gamma=0.5),
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
INITIALIZATIONS: dict[str, Callable[[], initialization.Initializer]] = {
    "torch": lambda: initialization.torch_default,
    "xavier-uniform": lambda: initialization.xavier_uniform,
    "xavier-normal": lambda: initialization.xavier_normal,
    "he-uniform": lambda: initialization.he_uniform,
    "he-normal": lambda: initialization.he_normal,
}
MODELS = {
    "perceptron": Model(lambda n: manual.perceptron(n), lambda n: models.perceptron(n), "perceptron", 4),
    "adaline": Model(lambda n: manual.adaline(n), lambda n: models.adaline(n), "mse", 4),
    "logistic-regression": Model(
        lambda n: manual.logistic_regression(n), lambda n: models.logistic_regression(n), "bce", 4
    ),
    "mlp": Model(lambda sizes: manual.mlp(sizes), lambda sizes: models.mlp(sizes), "cross-entropy", (4, 6, 5, 3)),
}


def optimizer_options() -> dict[str, Any]:
    """Every option that an optimizer has, with one of its values: True for a switch, a number for all others."""
    return {name: value for rule in OPTIMIZERS.values() for setting in rule.settings for name, value in setting.items()}
