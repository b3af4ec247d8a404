"""The update rules of torch.optim, each as the lines of its algorithm box, with what every line is for.

A line is Python; `lines` edits one at a time. theta, g and t are given, everything else is a
hyperparameter of torch's by its own name, a state array that starts at 0 (or as STARTS says), or made by a line above.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch


class Line(NamedTuple):
    """One assignment, and what it is for."""

    text: str
    purpose: str


class Recipe(NamedTuple):
    """A rule: its lines, the values of its hyperparameters, and its state with torch's names for it."""

    lines: tuple[Line, ...]
    hyper: dict[str, Any]
    state: dict[str, str]
    starts: dict[str, float]


Group = dict[str, Any]
DECAY = Line("g = g + weight_decay * theta", "weight decay")
DECOUPLED = Line("theta = theta - lr * weight_decay * theta", "decoupled weight decay")
FIRST = Line("m = beta1 * m + (1 - beta1) * g", "first moment")
SECOND = Line("v = beta2 * v + (1 - beta2) * g ** 2", "second moment")
M_HAT = Line("m_hat = m / (1 - beta1 ** t)", "bias correction of the first moment")
V_HAT = Line("v_hat = v / (1 - beta2 ** t)", "bias correction of the second moment")


def _decay(o: Group, decoupled: bool = False) -> list[Line]:
    lines = [Line("g = -g", "maximize")] if o.get("maximize") else []
    if not o.get("weight_decay"):
        return lines
    return [*lines, DECOUPLED if decoupled or o.get("decoupled_weight_decay") else DECAY]


def sgd(o: Group) -> list[Line]:
    """Sutskever et al. 2013, with torch's dampening: not in the first step."""
    lines = _decay(o)
    if not o["momentum"]:
        return [*lines, Line("theta = theta - lr * g", "step")]
    lines.append(Line("b = g if t == 1 else momentum * b + (1 - dampening) * g", "momentum"))
    if o["nesterov"]:
        lines.append(Line("d = g + momentum * b", "Nesterov's look-ahead"))
        return [*lines, Line("theta = theta - lr * d", "step")]
    return [*lines, Line("theta = theta - lr * b", "step")]


def adam(o: Group, decoupled: bool = False) -> list[Line]:
    """Kingma & Ba 2015, algorithm 1; AdamW: Loshchilov & Hutter 2019; AMSGrad: Reddi et al. 2018."""
    lines = [*_decay(o, decoupled), FIRST, SECOND, M_HAT]
    if o.get("amsgrad"):
        lines.append(Line("v_max = maximum(v_max, v)", "the largest second moment"))
        lines.append(Line("v_hat = v_max / (1 - beta2 ** t)", "bias correction of the second moment"))
    else:
        lines.append(V_HAT)
    return [*lines, Line("theta = theta - lr * m_hat / (sqrt(v_hat) + eps)", "step")]


def adamw(o: Group) -> list[Line]:
    """As adam, its decay apart from the gradient."""
    return adam(o, decoupled=True)


def nadam(o: Group) -> list[Line]:
    """Dozat 2016, with torch's momentum schedule."""
    return [
        *_decay(o),
        Line("mu = beta1 * (1 - 0.5 * 0.96 ** (t * momentum_decay))", "momentum schedule"),
        Line("mu_next = beta1 * (1 - 0.5 * 0.96 ** ((t + 1) * momentum_decay))", "momentum schedule of the next step"),
        Line("mu_product = mu_product * mu", "product of the momentum schedule"),
        FIRST,
        SECOND,
        V_HAT,
        Line("d = sqrt(v_hat) + eps", "denominator"),
        Line("theta = theta - lr * (1 - mu) / (1 - mu_product) * g / d", "step along the gradient"),
        Line("theta = theta - lr * mu_next / (1 - mu_product * mu_next) * m / d", "step along the first moment"),
    ]


def radam(o: Group) -> list[Line]:
    """Liu et al. 2020, algorithm 2."""
    return [
        *_decay(o),
        FIRST,
        SECOND,
        M_HAT,
        Line("rho_inf = 2 / (1 - beta2) - 1", "longest average"),
        Line("rho = rho_inf - 2 * t * beta2 ** t / (1 - beta2 ** t)", "length of the average"),
        Line("l = sqrt(1 - beta2 ** t) / (sqrt(v) + eps)", "adaptive learning rate"),
        Line(
            "r = sqrt((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho)) if rho > 5 else 0",
            "rectification",
        ),
        Line("theta = theta - lr * m_hat * (r * l if rho > 5 else 1)", "step"),
    ]


def adamax(o: Group) -> list[Line]:
    """Kingma & Ba 2015, algorithm 2."""
    return [
        *_decay(o),
        FIRST,
        Line("u = maximum(beta2 * u, abs(g) + eps)", "infinity norm"),
        M_HAT,
        Line("theta = theta - lr * m_hat / u", "step"),
    ]


def adadelta(o: Group) -> list[Line]:
    """Zeiler 2012, algorithm 1."""
    return [
        *_decay(o),
        Line("v = rho * v + (1 - rho) * g ** 2", "average of squared gradients"),
        Line("d = sqrt(u + eps) / sqrt(v + eps) * g", "step before the learning rate"),
        Line("u = rho * u + (1 - rho) * d ** 2", "average of squared steps"),
        Line("theta = theta - lr * d", "step"),
    ]


def adagrad(o: Group) -> list[Line]:
    """Duchi et al. 2011."""
    lines = [*_decay(o), Line("s = s + g ** 2", "sum of squared gradients")]
    if o["lr_decay"]:
        lines.append(Line("rate = lr / (1 + (t - 1) * lr_decay)", "learning rate decay"))
        return [*lines, Line("theta = theta - rate * g / (sqrt(s) + eps)", "step")]
    return [*lines, Line("theta = theta - lr * g / (sqrt(s) + eps)", "step")]


def rmsprop(o: Group) -> list[Line]:
    """Tieleman & Hinton 2012; centred: Graves 2013."""
    lines = [*_decay(o), Line("v = alpha * v + (1 - alpha) * g ** 2", "average of squared gradients")]
    spread = "v"
    if o["centered"]:
        lines.append(Line("a = alpha * a + (1 - alpha) * g", "average of gradients"))
        lines.append(Line("c = v - a ** 2", "centring"))
        spread = "c"
    lines.append(Line(f"d = g / (sqrt({spread}) + eps)", "scaled gradient"))
    if o["momentum"]:
        lines.append(Line("b = momentum * b + d", "momentum"))
        return [*lines, Line("theta = theta - lr * b", "step")]
    return [*lines, Line("theta = theta - lr * d", "step")]


def rprop(o: Group) -> list[Line]:
    """Riedmiller & Braun 1993, as torch has it."""
    return [
        *([Line("g = -g", "maximize")] if o.get("maximize") else []),
        Line("change = sign(g * before)", "sign change"),
        Line("factor = where(change > 0, eta_plus, where(change < 0, eta_minus, 1))", "growth or shrinkage"),
        Line("size = clip(size * factor, size_min, size_max)", "step size"),
        Line("g = where(change < 0, 0, g)", "zeroing of the gradient after a sign change"),
        Line("before = g", "gradient of the step before"),
        Line("theta = theta - size * sign(g)", "step"),
    ]


def asgd(o: Group) -> list[Line]:
    """Polyak & Juditsky 1992, as torch has it."""
    return [
        *_decay(o),
        Line("theta = theta - lambd * eta * theta - eta * g", "step"),
        Line("eta = lr / (1 + lambd * lr * t) ** alpha", "learning rate of the next step"),
    ]


def adafactor(o: Group) -> list[Line]:
    """Shazeer & Stern 2018, of a vector: its second moments are not factored."""
    return [
        *([Line("g = -g", "maximize")] if o.get("maximize") else []),
        Line("size = maximum(eps2, sqrt((theta ** 2).mean()))", "size of the weights"),
        Line("rate = size * minimum(lr, 1 / sqrt(t))", "relative step size"),
        *([DECOUPLED] if o.get("weight_decay") else []),
        Line("new = t ** beta2_decay", "share of the new square"),
        Line("v = (1 - new) * v + new * g ** 2", "second moment"),
        Line("d = g / sqrt(maximum(v, eps1 ** 2))", "step before its clipping"),
        Line("theta = theta - rate * d / maximum(1, sqrt((d ** 2).mean()) / d_max)", "step"),
    ]


ROUNDED = "narrow"  # the function of a recipe that rounds a number to float32
# Torch keeps these numbers in float32, whatever the parameters are; a rule that does so, too, is told by these lines.
NARROW = {
    "mu_product = mu_product * mu": "mu_product = narrow(narrow(mu_product) * narrow(mu))",
    "eta = lr / (1 + lambd * lr * t) ** alpha": "eta = narrow(lr / (1 + lambd * lr * t) ** alpha)",
}


def narrowed(recipe: Recipe) -> Recipe:
    """The recipe with torch's float32 numbers."""
    lines = tuple(line._replace(text=NARROW.get(line.text, line.text)) for line in recipe.lines)
    starts = (
        {**recipe.starts, "eta": float(np.float32(recipe.starts["eta"]))} if "eta" in recipe.starts else recipe.starts
    )
    return recipe._replace(lines=lines, starts=starts)


RECIPES: dict[str, tuple[Callable[[Group], list[Line]], dict[str, str]]] = {
    "SGD": (sgd, {"b": "momentum_buffer"}),
    "Adam": (adam, {"m": "exp_avg", "v": "exp_avg_sq", "v_max": "max_exp_avg_sq"}),
    "AdamW": (adamw, {"m": "exp_avg", "v": "exp_avg_sq", "v_max": "max_exp_avg_sq"}),
    "NAdam": (nadam, {"m": "exp_avg", "v": "exp_avg_sq", "mu_product": ""}),
    "RAdam": (radam, {"m": "exp_avg", "v": "exp_avg_sq"}),
    "Adamax": (adamax, {"m": "exp_avg", "u": "exp_inf"}),
    "Adadelta": (adadelta, {"v": "square_avg", "u": "acc_delta"}),
    "Adagrad": (adagrad, {"s": "sum"}),
    "RMSprop": (rmsprop, {"v": "square_avg", "a": "grad_avg", "b": "momentum_buffer"}),
    "Rprop": (rprop, {"before": "prev", "size": "step_size"}),
    "ASGD": (asgd, {"eta": ""}),
    "Adafactor": (adafactor, {"v": "variance"}),
}


def recipe_of(optimizer: torch.optim.Optimizer) -> Recipe | None:
    """The recipe of an optimizer with its own hyperparameters; None for a rule that has none here."""
    kind = type(optimizer).__name__
    if kind not in RECIPES or not type(optimizer).__module__.startswith("torch.optim"):
        return None
    lines, state = RECIPES[kind]
    o = optimizer.param_groups[0]
    hyper = {k: float(v) for k, v in o.items() if isinstance(v, (int, float)) and not isinstance(v, bool)}
    if "betas" in o:
        hyper["beta1"], hyper["beta2"] = o["betas"]
    starts = {"mu_product": 1.0, "s": float(o.get("initial_accumulator_value", 0.0)), "eta": hyper["lr"]}
    if kind == "Adafactor":
        hyper["d_max"] = hyper.pop("d")
        hyper["eps1"], hyper["eps2"] = (v or np.finfo(np.float64).eps for v in o["eps"])
    if kind == "Rprop":
        hyper["eta_minus"], hyper["eta_plus"] = o["etas"]
        hyper["size_min"], hyper["size_max"] = o["step_sizes"]
        starts["size"] = hyper["lr"]
    return Recipe(tuple(lines(o)), hyper, state, {k: starts.get(k, 0.0) for k in state})
