"""Update rules in other words: unrolled, folded, by logs, by running products."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import torch


@dataclasses.dataclass
class AdamByLogs:
    """1 − βᵗ as −expm1(t log β), and the two corrections folded into the learning rate."""

    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8

    def init(self, theta: Any) -> Any:
        return {"exp_avg": 0 * theta, "exp_avg_sq": 0 * theta, "t": 0}

    def update(self, theta: Any, grad: Any, state: Any, learning_rate: float) -> Any:
        t = state["t"] + 1
        m, v = state["exp_avg"], state["exp_avg_sq"]
        m, v = m + (1 - self.beta1) * (grad - m), v + (1 - self.beta2) * (grad * grad - v)
        c1, c2 = -math.expm1(t * math.log(self.beta1)), math.sqrt(-math.expm1(t * math.log(self.beta2)))
        return theta - learning_rate * c2 / c1 * m / (np.sqrt(v) + self.eps * c2), {
            "exp_avg": m,
            "exp_avg_sq": v,
            "t": t,
        }


class AdamByProducts(AdamByLogs):
    """βᵗ as a running product."""

    def init(self, theta: Any) -> Any:
        return {**super().init(theta), "t": (1.0, 1.0)}

    def update(self, theta: Any, grad: Any, state: Any, learning_rate: float) -> Any:
        p1, p2 = state["t"][0] * self.beta1, state["t"][1] * self.beta2
        m = self.beta1 * state["exp_avg"] + (1 - self.beta1) * grad
        v = self.beta2 * state["exp_avg_sq"] + (1 - self.beta2) * grad**2
        step = m / (1 - p1) / (np.sqrt(v / (1 - p2)) + self.eps)
        return theta - learning_rate * step, {"exp_avg": m, "exp_avg_sq": v, "t": (p1, p2)}


class AdamUnrolled(AdamByLogs):
    """The averages as sums over all the gradients so far."""

    def init(self, theta: Any) -> Any:
        return {"g": []}

    def update(self, theta: Any, grad: Any, state: Any, learning_rate: float) -> Any:
        g = [*state["g"], grad]
        t = len(g)
        m: Any = sum(self.beta1 ** (t - 1 - k) * x for k, x in enumerate(g)) * (1 - self.beta1) / (1 - self.beta1**t)
        v: Any = (
            sum(self.beta2 ** (t - 1 - k) * x * x for k, x in enumerate(g)) * (1 - self.beta2) / (1 - self.beta2**t)
        )
        return theta - learning_rate * m / (np.sqrt(v) + self.eps), {"g": g}


@dataclasses.dataclass
class NAdam:
    """With its product of momenta in Python's floats, that is in float64; torch keeps it in float32."""

    beta1: float = 0.85
    beta2: float = 0.95
    eps: float = 1e-3
    momentum_decay: float = 0.02

    def init(self, theta: Any) -> Any:
        return {"exp_avg": 0 * theta, "exp_avg_sq": 0 * theta, "t": 0, "p": 1.0}

    def update(self, theta: Any, grad: Any, state: Any, learning_rate: float) -> Any:
        t = state["t"] + 1
        mu, after = (self.beta1 * (1 - 0.5 * 0.96 ** (k * self.momentum_decay)) for k in (t, t + 1))
        p = state["p"] * mu
        m = self.beta1 * state["exp_avg"] + (1 - self.beta1) * grad
        v = self.beta2 * state["exp_avg_sq"] + (1 - self.beta2) * grad**2
        step = (1 - mu) / (1 - p) * grad + after / (1 - p * after) * m
        return theta - learning_rate * step / (np.sqrt(v / (1 - self.beta2**t)) + self.eps), {
            "exp_avg": m,
            "exp_avg_sq": v,
            "t": t,
            "p": p,
        }


@dataclasses.dataclass
class RMSpropByPowers:
    """The root as a power, the average as a difference."""

    alpha: float = 0.99
    eps: float = 1e-8

    def init(self, theta: Any) -> Any:
        return {"square_avg": 0 * theta}

    def update(self, theta: Any, grad: Any, state: Any, learning_rate: float) -> Any:
        v = grad**2 - self.alpha * (grad**2 - state["square_avg"])
        return theta - grad * learning_rate / (v**0.5 + self.eps), {"square_avg": v}


@dataclasses.dataclass
class MomentumUnrolled:
    """The velocity as a sum over all gradients, and the decay multiplied into the weights."""

    momentum: float = 0.9

    def init(self, theta: Any) -> Any:
        return {"g": []}

    def update(self, theta: Any, grad: Any, state: Any, learning_rate: float) -> Any:
        g = [*state["g"], grad]
        velocity: Any = sum(math.exp((len(g) - 1 - k) * math.log(self.momentum)) * x for k, x in enumerate(g))
        return theta - learning_rate * velocity, {"g": g}


@dataclasses.dataclass
class AdamWFactored(AdamByLogs):
    """The decay as a factor (1 − ηλ), the step over √v + ε multiplied out."""

    weight_decay: float = 0.01

    def update(self, theta: Any, grad: Any, state: Any, learning_rate: float) -> Any:
        t = state["t"] + 1
        m = grad - self.beta1 * (grad - state["exp_avg"])
        v = grad**2 - self.beta2 * (grad**2 - state["exp_avg_sq"])
        root = np.sqrt(v) * (1 - self.beta2**t) ** -0.5
        step = m * learning_rate / ((1 - self.beta1**t) * (root + self.eps))
        return theta - learning_rate * self.weight_decay * theta - step, {"exp_avg": m, "exp_avg_sq": v, "t": t}


@dataclasses.dataclass
class AdamaxByLogs:
    """The decayed maximum as a maximum over all gradients so far, its factors by logs."""

    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8

    def init(self, theta: Any) -> Any:
        return {"exp_avg": 0 * theta, "g": []}

    def update(self, theta: Any, grad: Any, state: Any, learning_rate: float) -> Any:
        g = [*state["g"], abs(grad) + self.eps]
        m = state["exp_avg"] * self.beta1 + grad - self.beta1 * grad
        most = g[0] * math.exp((len(g) - 1) * math.log(self.beta2))
        for k, x in enumerate(g):
            most = np.maximum(most, x * math.exp((len(g) - 1 - k) * math.log(self.beta2)))
        return theta - m / most * (learning_rate / -math.expm1(len(g) * math.log(self.beta1))), {"exp_avg": m, "g": g}


@dataclasses.dataclass
class AdagradByPowers:
    """Divided by (Σ g²)^½, the decayed rate as a reciprocal."""

    lr_decay: float = 0.1
    eps: float = 1e-10

    def init(self, theta: Any) -> Any:
        return {"g": [], "t": 0}

    def update(self, theta: Any, grad: Any, state: Any, learning_rate: float) -> Any:
        g = [*state["g"], grad]
        total: Any = sum(x**2 for x in g)
        rate = learning_rate * (1 / (1 + self.lr_decay * state["t"]))
        return theta - rate * (grad / (total**0.5 + self.eps)), {"g": g, "t": state["t"] + 1}


@dataclasses.dataclass
class AdadeltaByRatio:
    """√(u + ε) / √(v + ε) as the root of one quotient."""

    rho: float = 0.9
    eps: float = 1e-6

    def init(self, theta: Any) -> Any:
        return {"v": 0 * theta, "u": 0 * theta}

    def update(self, theta: Any, grad: Any, state: Any, learning_rate: float) -> Any:
        v = self.rho * state["v"] + (1 - self.rho) * grad**2
        step = grad * np.sqrt((state["u"] + self.eps) / (v + self.eps))
        return theta - learning_rate * step, {"v": v, "u": step**2 + self.rho * (state["u"] - step * step)}


@dataclasses.dataclass
class RAdamFolded(AdamByLogs):
    """The rectification by products of its roots."""

    def update(self, theta: Any, grad: Any, state: Any, learning_rate: float) -> Any:
        t = state["t"] + 1
        m = state["exp_avg"] - (1 - self.beta1) * (state["exp_avg"] - grad)
        v = state["exp_avg_sq"] - (1 - self.beta2) * (state["exp_avg_sq"] - grad**2)
        most = (1 + self.beta2) / (1 - self.beta2)
        r = most - 2 * t / (self.beta2**-t - 1)
        step = m / (1 - self.beta1**t)
        if r > 5:
            step = step * math.sqrt((r - 4) / (most - 4)) * math.sqrt((r - 2) / (most - 2) * most / r)
            step = step * math.sqrt(1 - self.beta2**t) / (np.sqrt(v) + self.eps)
        return theta - learning_rate * step, {"exp_avg": m, "exp_avg_sq": v, "t": t}


RULES: dict[str, tuple[Any, Any]] = {
    "adam by logs": (AdamByLogs(), torch.optim.Adam),
    "adam by running products": (AdamByProducts(), torch.optim.Adam),
    "adam unrolled": (AdamUnrolled(), torch.optim.Adam),
    "nadam, its product in float64": (NAdam(), torch.optim.NAdam),
    "rmsprop by powers": (RMSpropByPowers(), torch.optim.RMSprop),
    "momentum unrolled": (MomentumUnrolled(), torch.optim.SGD),
    "adamw factored": (AdamWFactored(), torch.optim.AdamW),
    "adam by logs, long": (AdamByLogs(0.99, 0.9999, 1e-6), torch.optim.Adam),
    "adam by running products, long": (AdamByProducts(0.99, 0.9999, 1e-6), torch.optim.Adam),
    "adamax by logs": (AdamaxByLogs(), torch.optim.Adamax),
    "adagrad by powers": (AdagradByPowers(), torch.optim.Adagrad),
    "adadelta by a ratio": (AdadeltaByRatio(), torch.optim.Adadelta),
    "radam folded": (RAdamFolded(), torch.optim.RAdam),
}
