"""Planted faults in Adam and AdamW."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import optim

from handgrad.manual import Adam, AdamW
from tests.derivations.case import Derivation
from tests.derivations.wrong.optimizers import BrokenRule, fault, nudged, of_calls, torch_rule


@dataclass(frozen=True)
class Bent(Adam):
    """Adam with one line changed; the fields say which."""

    correct_m: bool = True
    correct_v: bool = True
    late_count: int = 0
    inside: bool = False
    squared: bool = True
    beta_for_power: bool = False

    def descend(self, theta: Any, g: Any, state: Any, learning_rate: float) -> tuple[Any, Any]:
        t = state["step"] + 1
        m = self.beta1 * state["exp_avg"] + (1 - self.beta1) * g
        v = self.beta2 * state["exp_avg_sq"] + (1 - self.beta2) * (g * g if self.squared else np.abs(g))
        count = 1 if self.beta_for_power else t + self.late_count
        m_hat = m / (1 - self.beta1**count) if self.correct_m else m
        v_hat = v / (1 - self.beta2**count) if self.correct_v else v
        root = np.sqrt(v_hat + self.eps) if self.inside else np.sqrt(v_hat) + self.eps
        return theta - learning_rate * m_hat / root, {"step": t, "exp_avg": m, "exp_avg_sq": v}


@dataclass(frozen=True)
class Undecayed(AdamW):
    """AdamW whose decay forgets the learning rate."""

    def update(self, theta: Any, grad: Any, state: Any, learning_rate: float) -> tuple[Any, Any]:
        return self.descend(theta * (1 - self.weight_decay), grad, state, learning_rate)


@dataclass(frozen=True)
class Summed(Adam):
    """m and v without their 1 − β."""

    def descend(self, theta: Any, g: Any, state: Any, learning_rate: float) -> tuple[Any, Any]:
        t = state["step"] + 1
        m = self.beta1 * state["exp_avg"] + g
        v = self.beta2 * state["exp_avg_sq"] + (1 - self.beta2) * g * g
        m_hat, v_hat = m / (1 - self.beta1**t), v / (1 - self.beta2**t)
        theta = theta - learning_rate * m_hat / (np.sqrt(v_hat) + self.eps)
        return theta, {"step": t, "exp_avg": m, "exp_avg_sq": v}


def faults() -> Iterator[Derivation]:
    """All of this file."""
    moments = ("exp_avg", "exp_avg_sq")
    right = torch_rule(optim.Adam)
    yield from of_calls("Adam", Adam(), right, ("theta", *moments))

    def adam(name: str, ours: Adam, word: str, *tensors: str, **options: Any) -> Derivation:
        return fault(
            f"Adam: {name}", ours, torch_rule(optim.Adam, **options), dict.fromkeys(("theta", *tensors), (word,))
        )

    yield adam("bias correction missing", Bent(correct_m=False, correct_v=False), "the bias corrections are left out")
    yield adam("bias correction of m missing", Bent(correct_m=False), "division by 1 - β₁ ** t is left out")
    yield adam("bias correction of v missing", Bent(correct_v=False), "division by 1 - β₂ ** t is left out")
    yield adam("β instead of βᵗ", Bent(beta_for_power=True), "β stands where β ** t belongs")
    yield adam("count one ahead", Bent(late_count=1), "one ahead")
    yield adam("ε inside the root", Bent(eps=1e-4, inside=True), "inside the root", eps=1e-4)
    yield adam("ε missing", Adam(eps=0.0), "term ε is left out", eps=1e-4)
    yield adam("the square missing in v", Bent(squared=False), "not its square, stands in 'v =", "exp_avg_sq")
    yield adam("m is a sum", Summed(), "factor 1 - β₁ is left out in 'm =", "exp_avg")
    yield adam("β₁ and β₂ swapped", Adam(0.999, 0.9), "swapped", *moments)
    yield adam("weight decay missing", Adam(), "term weight decay * θ is left out", *moments, weight_decay=0.1)
    yield adam("weight decay doubled", Adam(weight_decay=0.2), "weight decay is doubled", *moments, weight_decay=0.1)
    yield fault(
        "Adam: bias correction of v missing, ε inside the root", Bent(eps=1e-4, inside=True, correct_v=False),
        torch_rule(optim.Adam, eps=1e-4), {"theta": ("division by 1 - β₂ ** t is left out", "inside the root")},
    )  # fmt: skip
    yield fault("Adam: one weight 1e-11", BrokenRule(Adam(), nudged), right, {"theta": ("a single element",)}, "1e-11")
    every = dict.fromkeys(("theta", *moments), ("coupled (in the gradient) instead",))
    decay = torch_rule(optim.AdamW, weight_decay=0.3)
    yield fault("AdamW: weight decay coupled", Adam(weight_decay=0.3), decay, every)
    yield fault(
        "AdamW: weight decay missing", AdamW(weight_decay=0.0), decay, {"theta": ("lr * weight decay * θ is left out",)}
    )
    yield fault("AdamW: weight decay doubled", AdamW(weight_decay=0.6), decay, {"theta": ("weight decay is doubled",)})
    yield fault("AdamW: weight decay halved", AdamW(weight_decay=0.15), decay, {"theta": ("weight decay is halved",)})
    yield fault(
        "AdamW: decay not times η",
        Undecayed(weight_decay=0.3),
        decay,
        {"theta": ("factor lr is left out in 'θ = θ - lr * weight decay",)},
    )
