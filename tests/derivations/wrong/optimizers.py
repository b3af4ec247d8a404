"""Planted faults in SGD and RMSprop; those of Adam and AdamW are in `adam`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import optim

from handgrad import manual
from handgrad.manual import SGD, RMSprop
from tests.derivations.case import RULE, Derivation
from tests.derivations.wrong.breaking import planted

ARGUMENTS = {"theta": (40,), "learning_rate": 0.05, "steps": 6}
Wrapped = Callable[[Any, Any, Any, Any, float], tuple[Any, Any]]


@dataclass(frozen=True)
class BrokenRule(manual.Optimizer):
    """A right rule called wrongly: `wrong(rule, theta, grad, state, rate)`; `seen` holds the gradients so far."""

    right: manual.Optimizer
    wrong: Wrapped
    seen: list[Any] = field(default_factory=list, compare=False)

    def init(self, theta: Any) -> Any:
        self.seen.clear()
        return self.right.init(theta)

    def update(self, theta: Any, grad: Any, state: Any, learning_rate: float) -> tuple[Any, Any]:
        self.seen.append(grad)
        return self.wrong(self, theta, grad, state, learning_rate)


def torch_rule(kind: Any, **options: Any) -> Callable[..., Any]:
    """torch's rule with these options."""
    return lambda parameters, lr: kind(parameters, lr=lr, **options)


def fault(
    name: str,
    ours: manual.Optimizer,
    reference: Any,
    causes: Mapping[str, tuple[str, ...]],
    magnitude: str = "structural",
) -> Derivation:
    """A fault of an update rule."""
    return planted(name, RULE, ours, reference, ARGUMENTS, causes, magnitude)


def of_calls(
    name: str, right: manual.Optimizer, reference: Callable[..., Any], tensors: tuple[str, ...]
) -> Iterator[Derivation]:
    """Faults that any rule may have: what it is given is wrong. `tensors` are those that a wrong gradient reaches."""

    def every(*words: str) -> dict[str, tuple[str, ...]]:
        return dict.fromkeys(tensors, words)

    rows: list[tuple[str, Wrapped, dict[str, tuple[str, ...]]]] = [
        ("sign", lambda r, w, g, s, lr: r.right.update(w, g, s, -lr), {"theta": ("the sign of lr",)}),
        (
            "learning rate twice",
            lambda r, w, g, s, lr: r.right.update(w, g, s, lr * lr),
            {"theta": ("lr is squared: applied twice",)},
        ),
        (
            "learning rate left out",
            lambda r, w, g, s, lr: r.right.update(w, g, s, 1.0),
            {"theta": ("the factor lr is left out",)},
        ),
        ("half the step", lambda r, w, g, s, lr: r.right.update(w, g, s, lr / 2), {"theta": ("lr is halved",)}),
        (
            "the gradient of one step ago",
            lambda r, w, g, s, lr: r.right.update(w, (r.seen[-2] if len(r.seen) > 1 else g * 0), s, lr),
            every("one step ago"),
        ),
        (
            "gradients accumulate",
            lambda r, w, g, s, lr: r.right.update(w, sum(r.seen[1:], r.seen[0]), s, lr),
            every("never zeroed"),
        ),
        (
            "the last two gradients",
            lambda r, w, g, s, lr: r.right.update(w, (g + r.seen[-2] if len(r.seen) > 1 else g), s, lr),
            every("previous step is still in it"),
        ),
    ]
    for label, wrong, causes in rows:
        yield fault(f"{name}: {label}", BrokenRule(right, wrong), reference, causes)


def nudged(rule: Any, w: Any, g: Any, s: Any, lr: float) -> tuple[Any, Any]:
    """One weight a relative 1e-11 too large."""
    w, s = rule.right.update(w, g, s, lr)
    w = w.copy()
    w[3] = w[3] * (1 + 1e-11)
    return w, s


@dataclass(frozen=True)
class Dampened(SGD):
    """b ← μb + (1 − τ)g from the first step on."""

    def update(self, theta: Any, grad: Any, state: Any, learning_rate: float) -> tuple[Any, Any]:
        old = state["momentum_buffer"] if state else 0 * theta
        b = self.momentum * old + (1 - self.dampening) * grad
        return theta - learning_rate * b, {"momentum_buffer": b}


def faults() -> Iterator[Derivation]:
    """All of this file."""
    yield from of_calls("SGD", SGD(), torch_rule(optim.SGD), ("theta",))
    buffer = ("theta", "momentum_buffer")

    def sgd(
        name: str, ours: SGD, options: dict[str, Any], word: str, tensors: tuple[str, ...] = ("theta",)
    ) -> Derivation:
        return fault(f"SGD: {name}", ours, torch_rule(optim.SGD, **options), dict.fromkeys(tensors, (word,)))

    momentum, nesterov, decay = {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}, {"weight_decay": 0.1}
    yield sgd("weight decay missing", SGD(), decay, "term weight decay * θ is left out")
    yield sgd("weight decay doubled", SGD(weight_decay=0.2), decay, "weight decay is doubled")
    yield sgd("weight decay of the wrong sign", _Undecaying(), decay, "the sign of weight decay * θ is wrong")
    yield sgd("weight decay decoupled", _Decoupled(0.9), {**momentum, **decay}, "decoupled instead of coupled", buffer)
    yield fault(
        "SGD: momentum missing",
        SGD(),
        torch_rule(optim.SGD, **momentum),
        {"theta": ("momentum is left out (taken as 0)",)},
    )
    yield sgd(
        "dampening missing", SGD(0.9), {"momentum": 0.9, "dampening": 0.3}, "factor 1 - dampening is left out", buffer
    )
    yield sgd("dampened by 1 − μ", SGD(0.9, 0.9), momentum, "momentum stands where dampening belongs", buffer)
    yield sgd(
        "first gradient dampened", Dampened(0.9, 0.3), {"momentum": 0.9, "dampening": 0.3}, "first gradient", buffer
    )
    yield sgd("Nesterov without look-ahead", SGD(0.9), nesterov, "look-ahead is missing")
    yield sgd("look-ahead too much", SGD(0.9, nesterov=True), momentum, "look-ahead too much")
    yield fault(
        "SGD: Nesterov without look-ahead, weight decay missing",
        SGD(0.9),
        torch_rule(optim.SGD, **nesterov, **decay),
        {
            "theta": ("look-ahead is missing", "term weight decay * θ is left out"),
            "momentum_buffer": ("term weight decay * θ is left out",),
        },
    )
    yield fault(
        "SGD: one weight 1e-11",
        BrokenRule(SGD(), nudged),
        torch_rule(optim.SGD),
        {"theta": ("a single element",)},
        "1e-11",
    )
    yield fault(
        "SGD: float32 inside", BrokenRule(SGD(), in_float32), torch_rule(optim.SGD), {"theta": ("float32",)}, "float32"
    )
    yield from of_rmsprop()


@dataclass(frozen=True)
class _Undecaying(SGD):
    """g = ∇ − λθ."""

    def update(self, theta: Any, grad: Any, state: Any, learning_rate: float) -> tuple[Any, Any]:
        return theta - learning_rate * (grad - 0.1 * theta), state


@dataclass(frozen=True)
class _Decoupled(SGD):
    """θ ← (1 − ηλ)θ beside the momentum."""

    def update(self, theta: Any, grad: Any, state: Any, learning_rate: float) -> tuple[Any, Any]:
        return super().update(theta * (1 - learning_rate * 0.1), grad, state, learning_rate)


def in_float32(rule: Any, w: Any, g: Any, s: Any, lr: float) -> tuple[Any, Any]:
    """The gradient in float32."""
    return rule.right.update(w, g.astype(np.float32).astype(np.float64), s, lr)


@dataclass(frozen=True)
class _EpsInside(RMSprop):
    """g / √(v + ε)."""

    def update(self, theta: Any, grad: Any, state: Any, learning_rate: float) -> tuple[Any, Any]:
        v = self.alpha * state["square_avg"] + (1 - self.alpha) * grad * grad
        return theta - learning_rate * grad / np.sqrt(v + self.eps), {"step": state["step"] + 1, "square_avg": v}


@dataclass(frozen=True)
class _Unrooted(RMSprop):
    """g / (v + ε)."""

    def update(self, theta: Any, grad: Any, state: Any, learning_rate: float) -> tuple[Any, Any]:
        v = self.alpha * state["square_avg"] + (1 - self.alpha) * grad * grad
        return theta - learning_rate * grad / (v + self.eps), {"step": state["step"] + 1, "square_avg": v}


def of_rmsprop() -> Iterator[Derivation]:
    """Faults in RMSprop."""
    right = torch_rule(optim.RMSprop, alpha=0.9)
    both = ("theta", "square_avg")
    yield from of_calls("RMSprop", RMSprop(0.9), right, both)
    yield fault(
        "RMSprop: ε inside the root",
        _EpsInside(0.9, 1e-4),
        torch_rule(optim.RMSprop, alpha=0.9, eps=1e-4),
        {"theta": ("inside the root",)},
    )
    yield fault(
        "RMSprop: ε missing",
        RMSprop(0.9, 0.0),
        torch_rule(optim.RMSprop, alpha=0.9, eps=1e-4),
        {"theta": ("term ε is left out",)},
    )
    yield fault("RMSprop: root missing", _Unrooted(0.9), right, {"theta": ("root of v is not taken",)})
    yield fault("RMSprop: α and 1 − α swapped", RMSprop(1 - 0.9), right, dict.fromkeys(both, ("swapped",)))
    yield fault(
        "RMSprop: centring missing",
        RMSprop(0.9),
        torch_rule(optim.RMSprop, alpha=0.9, centered=True),
        {"theta": ("centring is missing",)},
    )
    yield fault(
        "RMSprop: weight decay missing",
        RMSprop(0.9),
        torch_rule(optim.RMSprop, alpha=0.9, weight_decay=0.1),
        dict.fromkeys(both, ("term weight decay * θ is left out",)),
    )
