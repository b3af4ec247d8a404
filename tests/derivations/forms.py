"""What people have, in every form that can be handed in: one that is right, and one with a fault, of each.

The docstring of `handgrad.check` says what each form is.
"""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from handgrad import constant, indices, mask, stateful


def softmax(z: Any) -> Any:
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def attend(q: Any, k: Any, v: Any) -> Any:
    p = softmax(q @ np.swapaxes(k, -1, -2) / np.sqrt(q.shape[-1]))
    return p @ v, (q, k, v, p)


def attend_back(scale: float) -> Any:
    def backward(dy: Any, cache: Any) -> Any:
        q, k, v, p = cache
        dp = dy @ np.swapaxes(v, -1, -2)
        ds = p * (dp - (dp * p).sum(-1, keepdims=True)) / np.sqrt(q.shape[-1])
        return ds @ k, scale * np.swapaxes(ds, -1, -2) @ q, np.swapaxes(p, -1, -2) @ dy

    return backward


def look_up_back(add: bool) -> Any:
    def backward(dy: Any, ids: Any, table: Any) -> Any:
        g = np.zeros_like(table)
        if add:
            np.add.at(g, ids, dy)
        else:
            g[ids] = dy  # a repeated index overwrites
        return {"table": g}

    return backward


def masked(x: Any, keep: Any) -> Any:
    return np.where(keep, x, 0.0)


def gate(x: Any, h: Any) -> Any:
    """Two outputs, y and the next state."""
    s = 1 / (1 + np.exp(-(x + h)))
    return (s * h, s), (h, s)


def gate_back(lost: bool) -> Any:
    def backward(dy: Any, ds: Any, cache: Any) -> Any:
        h, s = cache
        dz = ((0 if lost else 1) * ds + dy * h) * s * (1 - s)
        return dz, dz + dy * s

    return backward


Moments = namedtuple("Moments", "mean square")


@dataclass(frozen=True)
class Form:
    """A derivation that is right, one that is wrong in `tensor`, where that is named, and what check is given."""

    right: Any
    wrong: Any
    reference: Any
    tensor: str
    options: dict[str, Any]


def gate_of_torch(x: Any, h: Any) -> Any:
    s = torch.sigmoid(x + h)
    return s * h, s


def gate_by_name(x: Any, h: Any) -> Any:
    y, s = gate_of_torch(x, h)
    return {"y": y, "state": {"s": s}}


def by_name(x: Any, h: Any) -> Any:
    (y, s), cache = gate(x, h)
    return {"y": y, "state": {"s": s}}, cache


def by_name_back(lost: bool) -> Any:
    back = gate_back(lost)
    return lambda dy, cache: dict(zip(("x", "h"), back(dy["y"], dy["state"]["s"], cache), strict=True))


class Linear:
    """As most libraries write it: state in the object, gradients as attributes."""

    def __init__(self, rows: int, columns: int, wrong: bool = False) -> None:
        self.W, self.b, self.wrong = np.zeros((rows, columns)), np.zeros(columns), wrong

    def forward(self, x: Any) -> Any:
        self.x = x
        return x @ self.W + self.b

    def backward(self, dy: Any) -> Any:
        self.dW, self.db = self.x.T @ dy, dy.mean(0) if self.wrong else dy.sum(0)
        return dy @ self.W.T


class Nested:
    """Parameters in a dictionary, gradients in another, other names for the passes."""

    def __init__(self, wrong: bool = False) -> None:
        self.params, self.grads, self.wrong = {"g": np.ones(4)}, {"g": None}, wrong

    def __call__(self, x: Any) -> Any:
        self.x = x
        return x * self.params["g"]

    def back(self, dy: Any) -> Any:
        self.grads["g"] = (dy * self.x).sum(0)
        return dy if self.wrong else dy * self.params["g"]


class BatchNorm:
    """Running statistics are outputs, too."""

    def __init__(self, wrong: bool = False) -> None:
        self.mean, self.var, self.wrong = np.zeros(4), np.ones(4), wrong

    def forward(self, x: Any) -> Any:
        m, v = x.mean(0), x.var(0)
        unbiased = v if self.wrong else v * len(x) / (len(x) - 1)
        self.running_mean, self.running_var = 0.9 * self.mean + 0.1 * m, 0.9 * self.var + 0.1 * unbiased
        self.mean, self.var = self.running_mean, self.running_var
        self.r = 1 / np.sqrt(v + 1e-5)
        self.xh = (x - m) * self.r
        return self.xh

    def backward(self, dy: Any) -> Any:
        return self.r * (dy - dy.mean(0) - self.xh * (dy * self.xh).mean(0))


ATTENTION = {"inputs": {"q": ("b", "s", 8), "k": ("b", "t", 8), "v": ("b", "t", 6)}}
FUNCTIONS: dict[str, Form] = {
    "several inputs, named sizes": Form(
        (attend, attend_back(1.0)),
        (attend, attend_back(2.0)),
        functional.scaled_dot_product_attention,
        "gradient of k",
        ATTENTION,
    ),
    "indices": Form(
        (lambda ids, table: table[ids], look_up_back(True)),
        (lambda ids, table: table[ids], look_up_back(False)),
        functional.embedding,
        "gradient of table",
        {"inputs": {"ids": indices("v", ("b", "t")), "table": ("v", 4)}},
    ),
    "a mask": Form(
        (masked, lambda dy, x, keep: dy * keep),
        (masked, lambda dy, x, keep: dy),
        lambda x, keep: torch.where(keep, x, 0.0),
        "input gradient",
        {"inputs": {"x": ("n", 5), "keep": mask(("n", 5))}},
    ),
    "an array of integers": Form(
        (lambda x, i: x[:, i], lambda dy, x, i: np.add.reduce([np.eye(5)[:, k] * dy[:, [j]] for j, k in enumerate(i)])),
        (lambda x, i: x[:, i], lambda dy, x, i: dy @ (np.arange(5) == i[:, None]) * 2.0),
        lambda x, i: x[:, i],
        "input gradient",
        {"inputs": {"x": ("n", 5), "i": np.array([3, 0, 3])}},
    ),
    "a constant of floats": Form(
        (lambda x, w: x * w, lambda dy, x, w: dy * w),
        (lambda x, w: x * w, lambda dy, x, w: dy),
        lambda x, w: x * w,
        "input gradient",
        {"inputs": {"x": ("n", 5), "w": constant((5,))}},
    ),
    "two outputs, one δ each": Form(
        (gate, gate_back(False)),
        (gate, gate_back(True)),
        gate_of_torch,
        "gradient of h",
        {"inputs": {"x": ("n", 3), "h": ("n", 3)}},
    ),
    "outputs in a dictionary": Form(
        (by_name, by_name_back(False)),
        (by_name, by_name_back(True)),
        gate_by_name,
        "input gradient",
        {"inputs": {"x": ("n", 3), "h": ("n", 3)}},
    ),
    "a named tuple": Form(
        (lambda x: (x.mean(0), x**2), lambda dy, x: dy[0] / len(x) + 2 * x * dy[1]),
        (lambda x: (x.mean(0), x**2), lambda dy, x: dy[0] + 2 * x * dy[1]),
        lambda x: Moments(x.mean(0), x**2),
        "input gradient",
        {"x": (4, 3)},
    ),
    "complex numbers": Form(
        (lambda z, w: z * w, lambda dy, z, w: (dy * np.conj(w), dy * np.conj(z))),
        (lambda z, w: z * w, lambda dy, z, w: (dy * np.conj(w), dy * z)),
        torch.mul,
        "gradient of w",
        {"inputs": {"z": ("n", 3), "w": ("n", 3)}, "dtype": "complex128"},
    ),
    "complex to real": Form(
        (lambda z: np.abs(z) ** 2, lambda dy, z: 2 * dy * z),
        (lambda z: np.abs(z) ** 2, lambda dy, z: 2 * dy * np.conj(z)),
        lambda z: torch.abs(z) ** 2,
        "gradient of z",
        {"inputs": {"z": lambda rng: rng.normal(size=(3, 4)) + 1j * rng.normal(size=(3, 4))}},
    ),
    "an object with state": Form(
        stateful(lambda: Linear(4, 3), {"W": "dW", "b": "db"}),
        stateful(lambda: Linear(4, 3, wrong=True), {"W": "dW", "b": "db"}),
        lambda x, W, b: x @ W + b,
        "gradient of b",
        {"x": (4, 4)},
    ),
    "state in dictionaries, other names": Form(
        stateful(Nested, {"params.g": "grads.g"}, forward="__call__", backward="back"),
        stateful(lambda: Nested(wrong=True), {"params.g": "grads.g"}, forward="__call__", backward="back"),
        lambda x, g: x * g,
        "input gradient",
        {"inputs": {"x": ("n", 4)}},
    ),
    "running statistics of a module": Form(
        stateful(BatchNorm, state=["running_mean", "running_var"]),
        stateful(lambda: BatchNorm(wrong=True), state=["running_mean", "running_var"]),
        nn.BatchNorm1d(4, affine=False),
        "output running_var",
        {"inputs": {"x": ("n", 4)}},
    ),
    "one function of J and its gradients": Form(
        lambda a, b: (((a - b) ** 2).sum(), (2 * (a - b), -2 * (a - b))),
        lambda a, b: (((a - b) ** 2).sum(), (2 * (a - b), 2 * (a - b))),
        lambda a, b: ((a - b) ** 2).sum(),
        "gradient of b",
        {"inputs": {"a": ("n", 3), "b": ("n", 3)}},
    ),
    "a module's parameters": Form(
        (lambda x, weight, bias: x @ weight.T + bias, lambda dy, x, weight, bias: (dy @ weight, dy.T @ x, dy.sum(0))),
        (lambda x, weight, bias: x @ weight.T + bias, lambda dy, x, weight, bias: (dy @ weight, dy.T @ x, dy[0])),
        nn.Linear(4, 3),
        "gradient of bias",
        {"x": (5, 4), "params": nn.Linear(4, 3).state_dict()},
    ),
    "a square matrix by x alone": Form(
        (np.linalg.inv, lambda dy, x: -np.linalg.inv(x).T @ dy @ np.linalg.inv(x).T),
        (np.linalg.inv, lambda dy, x: -np.linalg.inv(x) @ dy @ np.linalg.inv(x)),
        torch.linalg.inv,
        "input gradient",
        {"x": (3, 3)},
    ),
}


# --- update rules ---

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


def rule(right: Any, wrong: Any, reference: Any, theta: Any) -> Form:
    """Three steps."""
    return Form(right, wrong, reference, "", {"theta": theta, "steps": 3})


RULES: dict[str, Form] = {
    "a dictionary, groups": rule(Momentum(), Momentum(on="Wb"), groups, SHAPES),
    "in place": rule(InPlace(), InPlace(on="Wb"), groups, SHAPES),
    "a list, clipped across tensors": rule(Clipped(), Clipped(each=True), clipped, [(4, 3), (3,)]),
    "an optimizer in torch": rule(Lion, WrongLion, Lion, (10,)),
    "an optimizer in torch, made by a function": rule(
        lambda p, lr: Lion(p, lr),
        lambda p, lr: WrongLion(p, lr),
        Lion,
        SHAPES,
    ),
}


# --- losses ---


def squares(o: Any, t: Any) -> Any:
    return (o - t) ** 2


def loss(right: Any, wrong: Any, reference: Any) -> Form:
    """Of two arrays of one shape."""
    return Form(right, wrong, reference, "loss gradient", {"output": ("n", "k"), "target": ("n", "k")})


LOSSES: dict[str, Form] = {
    "J and its gradient in one call": loss(
        lambda o, t: (squares(o, t).mean(), 2 * (o - t) / o.size),
        lambda o, t: (squares(o, t).mean(), 2 * (o - t) / len(o)),
        functional.mse_loss,
    ),
    "two functions": loss(
        (lambda o, t: squares(o, t).sum(), lambda o, t: 2 * (o - t)),
        (lambda o, t: squares(o, t).sum(), lambda o, t: o - t),
        lambda o, t: functional.mse_loss(o, t, reduction="sum"),
    ),
    "two functions and a cache": loss(
        (lambda o, t: (squares(o, t).sum(), o - t), lambda e: 2 * e),
        (lambda o, t: (squares(o, t).sum(), o - t), lambda e: -2 * e),
        lambda o, t: functional.mse_loss(o, t, reduction="sum"),
    ),
    "elementwise": loss(
        (squares, lambda o, t: 2 * (o - t)),
        (squares, lambda o, t: o - t),
        lambda o, t: functional.mse_loss(o, t, reduction="none"),
    ),
}
