"""Update rules in NumPy that are torch's, and honest-looking ones beside them that differ in a single place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import optim

Step = Callable[..., Any]


class Rule:
    """An update rule of one function of (θ, ∇, state, η, t), which changes the state, and returns θ."""

    def __init__(self, step: Step, *names: str, **starts: Any) -> None:
        self.step, self.names, self.starts = step, names, starts

    def init(self, theta: Any) -> Any:
        return {"t": 0, **{k: np.zeros_like(theta) for k in self.names}, **self.starts}

    def update(self, theta: Any, grad: Any, state: Any, learning_rate: float) -> Any:
        state = {**state, "t": state["t"] + 1}
        return self.step(theta, grad, state, learning_rate, state["t"]), state


def sgd(w: Any, g: Any, s: Any, lr: float, t: int) -> Any:
    return w - lr * g


def momentum(w: Any, g: Any, s: Any, lr: float, t: int) -> Any:
    s["b"] = g if t == 1 else 0.9 * s["b"] + g
    return w - lr * s["b"]


def folded(w: Any, g: Any, s: Any, lr: float, t: int) -> Any:
    s["b"] = 0.9 * s["b"] + lr * g
    return w - s["b"]


def nesterov(first: bool, late: int = 0) -> Step:
    def step(w: Any, g: Any, s: Any, lr: float, t: int) -> Any:
        s["b"] = g if t == 1 else 0.9 * s["b"] + g
        ahead = (t > 1 or first) and not (late and t >= late)
        return w - lr * (g + 0.9 * s["b"] if ahead else s["b"])

    return step


def dampened(first: bool) -> Step:
    def step(w: Any, g: Any, s: Any, lr: float, t: int) -> Any:
        s["b"] = g if t == 1 and not first else 0.9 * s["b"] + 0.7 * g
        return w - lr * s["b"]

    return step


def fixed_rate(w: Any, g: Any, s: Any, lr: float, t: int) -> Any:
    return w - 0.01 * g


def first_rate(w: Any, g: Any, s: Any, lr: float, t: int) -> Any:
    s["lr"] = lr if t == 1 else s["lr"]
    return w - s["lr"] * g


def adam(
    last: int = 0, inside: bool = False, decay: Any = None, largest: Any = None, late: int = 0, eps: float = 1e-8
) -> Step:
    def step(w: Any, g: Any, s: Any, lr: float, t: int) -> Any:
        k = min(t, last) if last else t
        if decay is not None:
            w = decay(w, lr)
        s["m"], s["v"] = 0.9 * s["m"] + 0.1 * g, 0.999 * s["v"] + 0.001 * g * g
        v = s["v"]
        if largest is not None:
            s["x"] = v = largest(s["x"], v)
        c2 = 1 if late and t > late else 1 - 0.999**k
        v = v / c2
        d = np.sqrt(v + eps) if inside else np.sqrt(v) + eps
        return w - lr * (s["m"] / (1 - 0.9**k)) / d

    return step


def adam_that_skips_zeros(w: Any, g: Any, s: Any, lr: float, t: int) -> Any:
    on = g != 0
    s["m"] = np.where(on, 0.9 * s["m"] + 0.1 * g, s["m"])
    s["v"] = np.where(on, 0.999 * s["v"] + 0.001 * g * g, s["v"])
    return w - lr * (s["m"] / (1 - 0.9**t)) / (np.sqrt(s["v"] / (1 - 0.999**t)) + 1e-8)


def rmsprop(inside: bool = False, eps: float = 1e-8, centred: bool = False) -> Step:
    def step(w: Any, g: Any, s: Any, lr: float, t: int) -> Any:
        s["v"] = v = 0.99 * s["v"] + 0.01 * g * g
        if centred:
            s["a"] = 0.99 * s["a"] + 0.01 * g
            v = v - s["a"] * s["a"]
        return w - lr * g / (np.sqrt(v + eps) if inside else np.sqrt(v) + eps)

    return step


def adagrad(inside: bool) -> Step:
    def step(w: Any, g: Any, s: Any, lr: float, t: int) -> Any:
        s["v"] = s["v"] + g * g
        return w - lr * g / (np.sqrt(s["v"] + 1e-10) if inside else np.sqrt(s["v"]) + 1e-10)

    return step


def adadelta(moved: bool) -> Step:
    def step(w: Any, g: Any, s: Any, lr: float, t: int) -> Any:
        s["v"] = 0.9 * s["v"] + 0.1 * g * g
        d = np.sqrt(s["d"] + 1e-6) / np.sqrt(s["v"] + 1e-6) * g
        s["d"] = 0.9 * s["d"] + 0.1 * (lr * d if moved else d) ** 2
        return w - lr * d

    return step


def adamax(fresh: bool = False, outside: float = 0.0) -> Step:
    def step(w: Any, g: Any, s: Any, lr: float, t: int) -> Any:
        s["m"] = 0.9 * s["m"] + 0.1 * g
        size = np.abs(g) + (0 if outside else 1e-8)
        s["u"] = size if fresh else np.maximum(0.999 * s["u"], size)
        return w - lr * (s["m"] / (1 - 0.9**t)) / (s["u"] + outside)

    return step


def nadam(scheduled: bool) -> Step:
    def step(w: Any, g: Any, s: Any, lr: float, t: int) -> Any:
        mu, after = (0.9 * (1 - 0.5 * 0.96 ** (k * 4e-3)) if scheduled else 0.9 for k in (t, t + 1))
        s["product"] = mu * s["product"]
        s["m"], s["v"] = 0.9 * s["m"] + 0.1 * g, 0.999 * s["v"] + 0.001 * g * g
        d, product = np.sqrt(s["v"] / (1 - 0.999**t)) + 1e-8, s["product"]
        return w - lr * (1 - mu) / (1 - product) * g / d - lr * after / (1 - product * after) * s["m"] / d

    return step


def radam(above: float) -> Step:
    def step(w: Any, g: Any, s: Any, lr: float, t: int) -> Any:
        s["m"], s["v"] = 0.9 * s["m"] + 0.1 * g, 0.999 * s["v"] + 0.001 * g * g
        m, longest = s["m"] / (1 - 0.9**t), 2 / (1 - 0.999) - 1
        rho = longest - 2 * t * 0.999**t / (1 - 0.999**t)
        if rho <= above:
            return w - lr * m
        r = np.sqrt((rho - 4) * (rho - 2) * longest / ((longest - 4) * (longest - 2) * rho))
        return w - lr * m * r * np.sqrt(1 - 0.999**t) / (np.sqrt(s["v"]) + 1e-8)

    return step


def asgd(w: Any, g: Any, s: Any, lr: float, t: int) -> Any:
    eta = s["eta"] if t > 1 else lr
    w = w * (1 - 1e-4 * eta) - eta * g
    s["eta"] = lr / (1 + 1e-4 * lr * t) ** 0.75
    return w


def asgd_without_decay(w: Any, g: Any, s: Any, lr: float, t: int) -> Any:
    return asgd(w, g, {**s, "eta": lr}, lr, t)


def rprop(back: bool, most: float = 50.0) -> Step:
    def step(w: Any, g: Any, s: Any, lr: float, t: int) -> Any:
        size = lr * np.ones_like(w) if t == 1 else s["size"]
        sign = np.sign(g * s["before"])
        size = np.clip(np.where(sign > 0, size * 1.2, np.where(sign < 0, size * 0.5, size)), 1e-6, most)
        g = np.where(sign < 0, 0 * g, g) if back else g
        s["size"], s["before"] = size, g
        return w - np.sign(g) * size

    return step


# --- rules whose references are written beside them ---


class Own(optim.Optimizer):
    """An optimizer of one function of (parameter, state, η, t), which changes the parameter."""

    def __init__(self, params: Any, lr: float, step: Step) -> None:
        super().__init__(params, {"lr": lr})
        self.one = step

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                s = self.state[p]
                s["t"] = s.get("t", 0) + 1
                self.one(p, s, group["lr"], s["t"])


def own(step: Step) -> Callable[..., Own]:
    return lambda params, lr: Own(params, lr, step)


def torch_sign(p: Any, s: Any, lr: float, t: int) -> None:
    p.sub_(lr * torch.sign(p.grad))


def sign(w: Any, g: Any, s: Any, lr: float, t: int) -> Any:
    return w - lr * np.sign(g)


def one_sign_or_the_other(w: Any, g: Any, s: Any, lr: float, t: int) -> Any:
    return w - lr * np.where(g > 0, 1.0, -1.0)


def torch_clipped(p: Any, s: Any, lr: float, t: int) -> None:
    p.sub_(lr * p.grad.clamp(-100, 100))


def clipped(w: Any, g: Any, s: Any, lr: float, t: int) -> Any:
    return w - lr * np.clip(g, -100, 100)


def torch_norm(p: Any, s: Any, lr: float, t: int) -> None:
    norm = torch.sqrt((p.grad**2).sum())
    p.sub_(lr * p.grad * torch.clamp(1000 / (norm + 1e-6), max=1.0))


def norm(w: Any, g: Any, s: Any, lr: float, t: int) -> Any:
    return w - lr * g * np.minimum(1.0, 1000 / (np.sqrt((g * g).sum()) + 1e-6))


def torch_lookahead(k: int) -> Step:
    def step(p: Any, s: Any, lr: float, t: int) -> None:
        slow = s.setdefault("slow", p.clone())
        p.sub_(lr * p.grad)
        if t % k == 0:
            slow.add_(0.5 * (p - slow))
            p.copy_(slow)

    return step


def lookahead(k: int, syncs: str = "both") -> Step:
    def step(w: Any, g: Any, s: Any, lr: float, t: int) -> Any:
        slow = w if t == 1 else s["slow"]
        w = w - lr * g
        if t % k == 0 and syncs != "never":
            w = slow + 0.5 * (w - slow)
            slow = w if syncs == "both" else slow
        s["slow"] = slow
        return w

    return step


def torch_warm_up(steps: int) -> Step:
    def step(p: Any, s: Any, lr: float, t: int) -> None:
        p.sub_(lr * min(1.0, t / steps) * p.grad)

    return step


def warm_up(steps: int, most: float = 1.0) -> Step:
    def step(w: Any, g: Any, s: Any, lr: float, t: int) -> Any:
        return w - lr * min(most, t / steps) * g

    return step


def torch_lion(p: Any, s: Any, lr: float, t: int) -> None:
    m = s.setdefault("m", torch.zeros_like(p))
    p.mul_(1 - lr * 0.1).sub_(lr * torch.sign(0.9 * m + 0.1 * p.grad))
    m.mul_(0.99).add_(0.01 * p.grad)


def lion(decay: bool) -> Step:
    def step(w: Any, g: Any, s: Any, lr: float, t: int) -> Any:
        u = np.sign(0.9 * s["m"] + 0.1 * g)
        s["m"] = 0.99 * s["m"] + 0.01 * g
        return w * (1 - lr * 0.1 if decay else 1 - 0.001) - lr * u

    return step


def torch_trust(p: Any, s: Any, lr: float, t: int) -> None:
    a, b = torch.sqrt((p**2).sum()), torch.sqrt((p.grad**2).sum())
    p.sub_(lr * (a / b if a > 0 and b > 0 else 1.0) * p.grad)


def trust(guarded: bool) -> Step:
    def step(w: Any, g: Any, s: Any, lr: float, t: int) -> Any:
        a, b = np.sqrt((w * w).sum()), np.sqrt((g * g).sum())
        ratio = (a / b if a > 0 and b > 0 else 1.0) if guarded else a / (b + 1e-9)
        return w - lr * ratio * g

    return step
