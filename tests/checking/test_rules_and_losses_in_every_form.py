"""Update rules over dictionaries and lists, in place and in torch, and losses in every form; each with a fault."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from handgrad import UsageError, check

SHAPES = {"W": (4, 3), "b": (3,)}


class Momentum:
    """Over a dictionary of tensors: v ← μ v + g, θ ← θ − η v. Weight decay on matrices alone."""

    def __init__(self, mu: float = 0.9, decay: float = 0.125, on: str = "W") -> None:
        self.mu, self.decay, self.on = mu, decay, on

    def init(self, theta: Any) -> Any:
        return {name: np.zeros_like(value) for name, value in theta.items()}

    def update(self, theta: Any, grad: Any, state: Any, eta: float) -> Any:
        new, velocity = {}, {}
        for name, value in theta.items():
            g = grad[name] + (self.decay * value if name in self.on else 0)
            velocity[name] = self.mu * state[name] + g
            new[name] = value - eta * velocity[name]
        return new, velocity


class InPlace(Momentum):
    def update(self, theta: Any, grad: Any, state: Any, eta: float) -> None:
        for name, value in theta.items():
            g = grad[name]
            if name in self.on:
                g += self.decay * value
            state[name] *= self.mu
            state[name] += g
            value -= eta * state[name]


class Clipped:
    """The norm over all tensors is clipped at 1, and then θ ← θ − η g. θ is a list."""

    def __init__(self, each: bool = False) -> None:
        self.each = each

    def init(self, theta: Any) -> Any:
        return None

    def update(self, theta: Any, grad: Any, state: Any, eta: float) -> Any:
        norms = [np.sqrt((g**2).sum()) for g in grad]
        whole = np.sqrt(sum((g**2).sum() for g in grad))
        factors = [np.minimum(1.0, 1.0 / ((n if self.each else whole) + 1e-6)) for n in norms]
        return [t - eta * g * f for t, g, f in zip(theta, grad, factors, strict=True)], state


def groups(parameters: Any, lr: float) -> Any:
    """Weight decay on the first tensor alone."""
    first, *rest = parameters
    return torch.optim.SGD([{"params": [first], "weight_decay": 0.125}, {"params": rest}], lr=lr, momentum=0.9)


def clipped(parameters: Any, lr: float) -> Any:
    optimizer = torch.optim.SGD(parameters, lr=lr)
    optimizer.register_step_pre_hook(lambda *_: torch.nn.utils.clip_grad_norm_(parameters, 1.0) and None)
    return optimizer


class Lion(torch.optim.Optimizer):
    """An optimizer of one's own, in torch."""

    b1 = 0.9

    def __init__(self, params: Any, lr: float) -> None:
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                m = self.state[p].setdefault("m", torch.zeros_like(p))
                p.sub_(group["lr"] * torch.tanh(self.b1 * m + (1 - self.b1) * p.grad))
                m.mul_(0.99).add_(p.grad, alpha=0.01)


class WrongLion(Lion):
    b1 = 0.99


RULES: dict[str, tuple[Any, Any, Any, Any]] = {
    "a dictionary, groups": (Momentum(), Momentum(on="Wb"), groups, SHAPES),
    "in place": (InPlace(), InPlace(on="Wb"), groups, SHAPES),
    "a list, clipped across tensors": (Clipped(), Clipped(each=True), clipped, [(4, 3), (3,)]),
    "an optimizer in torch": (Lion, WrongLion, Lion, (10,)),
    "an optimizer in torch, made by a function": (
        lambda p, lr: Lion(p, lr),
        lambda p, lr: WrongLion(p, lr),
        Lion,
        SHAPES,
    ),
}


@pytest.mark.parametrize("name", RULES)
def test_a_rule_over_tensors_is_judged(name: str) -> None:
    right, wrong, reference, theta = RULES[name]
    assert check(right, reference, theta=theta, steps=3)
    report = check(wrong, reference, theta=theta, steps=3, raises=False)
    differ = [f.tensor for f in report.findings if not f.agrees]
    assert differ
    assert all("after step" in tensor for tensor in differ)


def test_the_tensor_of_a_rule_is_named() -> None:
    report = check(Momentum(on="Wb"), groups, theta=SHAPES, steps=2, raises=False)
    assert {f.tensor for f in report.findings if not f.agrees} == {"b after step 1", "b after step 2"}


def squares(o: Any, t: Any) -> Any:
    return (o - t) ** 2


LOSSES: dict[str, tuple[Any, Any, Any]] = {
    "J and its gradient in one call": (
        lambda o, t: (squares(o, t).mean(), 2 * (o - t) / o.size),
        lambda o, t: (squares(o, t).mean(), 2 * (o - t) / len(o)),
        functional.mse_loss,
    ),
    "two functions": (
        (lambda o, t: squares(o, t).sum(), lambda o, t: 2 * (o - t)),
        (lambda o, t: squares(o, t).sum(), lambda o, t: o - t),
        lambda o, t: functional.mse_loss(o, t, reduction="sum"),
    ),
    "two functions and a cache": (
        (lambda o, t: (squares(o, t).sum(), o - t), lambda e: 2 * e),
        (lambda o, t: (squares(o, t).sum(), o - t), lambda e: -2 * e),
        lambda o, t: functional.mse_loss(o, t, reduction="sum"),
    ),
    "elementwise": (
        (squares, lambda o, t: 2 * (o - t)),
        (squares, lambda o, t: o - t),
        lambda o, t: functional.mse_loss(o, t, reduction="none"),
    ),
}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("shape", [(4, 3), ("n", "k")])
def test_a_loss_in_any_form_is_judged(name: str, shape: Any) -> None:
    right, wrong, reference = LOSSES[name]
    assert check(right, reference, output=shape, target=shape)
    report = check(wrong, reference, output=shape, target=shape, raises=False)
    assert {f.tensor for f in report.findings if not f.agrees} == {"loss gradient"}


def test_a_loss_of_several_arguments_is_judged() -> None:
    def triplet(a: Any, p: Any, n: Any) -> Any:
        J = np.maximum(squares(a, p).sum(1) - squares(a, n).sum(1) + 1, 0)
        on = (J > 0)[:, None]
        return J.sum(), (2 * (n - p) * on, 2 * (p - a) * on, 2 * (a - n) * on)

    def of_torch(a: Any, p: Any, n: Any) -> Any:
        return torch.relu(squares(a, p).sum(1) - squares(a, n).sum(1) + 1).sum()

    shapes = {"a": ("m", "d"), "p": ("m", "d"), "n": ("m", "d")}
    assert check(triplet, of_torch, inputs=shapes)

    def wrong(a: Any, p: Any, n: Any) -> Any:
        J, (da, dp, dn) = triplet(a, p, n)
        return J, (da, dp, -dn)

    report = check(wrong, of_torch, inputs=shapes, raises=False)
    assert {f.tensor for f in report.findings if not f.agrees} == {"gradient of n"}


def test_a_function_that_returns_no_gradient_is_refused() -> None:
    with pytest.raises(UsageError, match=r"a loss that is one function must return \(J, gradient\), got float64"):
        check(lambda o, t: squares(o, t).sum(), functional.mse_loss, output=(4, 3), target=(4, 3))
