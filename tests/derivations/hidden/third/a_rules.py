"""Update rules."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from tests.derivations.hidden.case import family

CASES = []


class Rule(torch.optim.Optimizer):
    """The common part of the rules beside."""

    def __init__(self, parameters, lr):
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                self.one(p, p.grad, self.state[p], group["lr"])


# --- clipped unit by unit -------------------------------------------------------------------------------------


class UnitClipped(Rule):
    """A unit's gradient is at most a tenth of max(‖w‖, 0.001); a unit is a row, or all of a vector."""

    def one(self, p, g, state, lr):
        rows = (1, -1) if p.ndim < 2 else (len(p), -1)
        w, d = p.reshape(rows), g.reshape(rows)
        most = 0.1 * w.norm(dim=1, keepdim=True).clamp(min=1e-3)
        size = d.norm(dim=1, keepdim=True)
        p -= lr * torch.where(size > most, d * (most / size.clamp(min=1e-6)), d).reshape(p.shape)


@dataclass(frozen=True)
class Units:
    switch: str

    def init(self, theta):
        return ()

    def update(self, theta, grad, state, learning_rate):
        new = {}
        for name, g in grad.items():
            p = theta[name]
            axes = tuple(range(1, p.ndim)) if p.ndim > 1 else (0,)
            if self.switch == "last_axis":
                axes = (p.ndim - 1,)
            elif self.switch == "whole_tensor":
                axes = tuple(range(p.ndim))
            length = np.sqrt((p * p).sum(axes, keepdims=True))
            most = 0.1 * (length if self.switch == "no_least" else np.maximum(length, 1e-3))
            size = np.sqrt((g * g).sum(axes, keepdims=True))
            new[name] = p - learning_rate * np.where(size > most, g * (most / np.maximum(size, 1e-6)), g)
        return new, state


CASES += family(
    "clipped_by_unit", Units, lambda: UnitClipped, {"theta": {"K": (3, 2, 2), "W": (4, 3), "b": (3,)}},
    {
        "no_least": "A unit that is 0 never moves, where its norm counts as at least 0.001.",
        "last_axis": "The units of a kernel are taken along its last axis, not by all but the first.",
        "whole_tensor": "All of a tensor is clipped together, not each of its rows.",
    },
)  # fmt: skip

# --- bounds that close in -------------------------------------------------------------------------------------


class Closing(Rule):
    """Adam whose rate per number is held within bounds that close in on 0.1."""

    def one(self, p, g, state, lr):
        t = state["t"] = state.get("t", 0) + 1
        m = state["m"] = 0.9 * state.get("m", torch.zeros_like(p)) + 0.1 * g
        v = state["v"] = 0.99 * state.get("v", torch.zeros_like(p)) + 0.01 * g * g
        low, high = 0.1 * (1 - 1 / (0.1 * t + 1)), 0.1 * (1 + 1 / (0.1 * t))
        rate = lr * math.sqrt(1 - 0.99**t) / (1 - 0.9**t) / (v.sqrt() + 1e-8)
        p -= rate.clamp(low, high) * m


@dataclass(frozen=True)
class Bounds:
    switch: str

    def init(self, theta):
        return 0, np.zeros_like(theta), np.zeros_like(theta)

    def update(self, theta, grad, state, learning_rate):
        t, m, v = state
        t, m, v = t + 1, 0.9 * m + 0.1 * grad, 0.99 * v + 0.01 * grad**2
        low, high = 0.1 - 0.1 / (0.1 * t + 1), 0.1 + 0.1 / (0.1 * t)
        if self.switch == "no_upper":
            high = math.inf
        elif self.switch == "upper_stays":
            high = 0.1 + 0.1 / (0.1 * min(t, 25))
        elif self.switch == "final_rate_of_adam":
            low, high = low * learning_rate / 0.01, high * learning_rate / 0.01
        rate = learning_rate * math.sqrt(1 - 0.99**t) / (1 - 0.9**t) / (np.sqrt(v) + 1e-8)
        return theta - np.clip(rate, low, high) * m, (t, m, v)


CASES += family(
    "closing_bounds", Bounds, lambda: Closing, {"theta": (6,)},
    {
        "no_upper": "There is no upper bound.",
        "upper_stays": "After 25 steps the upper bound stays, where it goes on to close in.",
        "final_rate_of_adam": "The bounds are scaled with the learning rate, where they are of 0.1.",
    },
)  # fmt: skip

# --- a second moment that moves by its sign -------------------------------------------------------------------


class BySign(Rule):
    """v ← v − 0.001 sign(v − g²) g², from the first gradient's square on; θ ← θ − η m/(√v + 0.001)."""

    def one(self, p, g, state, lr):
        if "v" not in state:
            state["m"], state["v"] = torch.zeros_like(p), g * g
        m = state["m"] = 0.9 * state["m"] + 0.1 * g
        v = state["v"] = state["v"] - 0.001 * torch.sign(state["v"] - g * g) * g * g
        p -= lr * m / (v.sqrt() + 1e-3)


@dataclass(frozen=True)
class Yields:
    switch: str

    def init(self, theta):
        return None

    def update(self, theta, grad, state, learning_rate):
        square = grad * grad
        m, v = (np.zeros_like(theta), square) if state is None else state
        if state is None and self.switch == "from_zero":
            v = np.zeros_like(theta)
        m = 0.9 * m + 0.1 * grad
        if self.switch == "by_difference":
            v = v - 0.001 * (v - square)
        elif self.switch == "equal_falls":
            v = v - 0.001 * np.where(v >= square, 1, -1) * square
        elif self.switch == "by_cases":
            v = np.where(v > square, v - 0.001 * square, np.where(v < square, v + 0.001 * square, v))
        else:
            v = v - 0.001 * np.sign(v - square) * square
        return theta - learning_rate * m / (np.sqrt(v) + 1e-3), (m, v)


CASES += family(
    "moment_by_sign", Yields, lambda: BySign, {"theta": (5,)},
    {
        "from_zero": "The second moment starts at 0, where it starts at the first gradient's square.",
        "by_difference": "The second moment moves by the difference, where it moves by the square with its sign.",
        "equal_falls": "Where the second moment equals the square, as at the start, it falls, where it stays.",
    },
    right=("right", "by_cases"),
)  # fmt: skip

# --- the radial part taken off the step -----------------------------------------------------------------------


class Tangential(Rule):
    """Momentum; where |cos(θ, g)| < 0.1/√d over a tensor its step loses the part along θ."""

    def one(self, p, g, state, lr):
        m = state["m"] = 0.9 * state.get("m", torch.zeros_like(p)) + g
        step = m
        if p.ndim > 1:
            cosine = (p * g).sum().abs() / (p.norm().clamp(min=1e-8) * g.norm().clamp(min=1e-8))
            if cosine < 0.1 / math.sqrt(p.numel()):
                u = p / p.norm().clamp(min=1e-8)
                step = m - u * (u * m).sum()
        p -= lr * step


@dataclass(frozen=True)
class Tangents:
    switch: str

    def init(self, theta):
        return {name: np.zeros_like(p) for name, p in theta.items()}

    def update(self, theta, grad, state, learning_rate):
        new, kept = {}, {}
        for name, g in grad.items():
            p = theta[name]
            m = 0.9 * state[name] + g
            step = m
            length = max(float(np.sqrt((p * p).sum())), 1e-8)
            other = max(float(np.sqrt((g * g).sum())), 1e-8)
            inner = (p * g).sum()
            cosine = abs(inner) / (length * other)
            if self.switch == "sign_kept":
                cosine = inner / (length * other)
            size = p.shape[-1] if self.switch == "root_of_width" else p.size
            if p.ndim > 1 and cosine < 0.1 / math.sqrt(size) and self.switch != "never":
                u = p / length
                step = m - u * (u * m).sum()
            if self.switch == "moment_too":
                m = step
            new[name], kept[name] = p - learning_rate * step, m
        return new, kept


CASES += family(
    "tangential_momentum", Tangents, lambda: Tangential, {"theta": {"W": (4, 5), "b": (4,)}},
    {
        "never": "The part along the weight is never taken off.",
        "sign_kept": "The cosine's sign is kept: a gradient against the weight is always projected.",
        "root_of_width": "The bound is by the root of the width, where it is by that of all numbers.",
        "moment_too": "The part along the weight is taken off the momentum that is kept, too.",
    },
)  # fmt: skip

# --- factored second moments ----------------------------------------------------------------------------------


class Factored(Rule):
    """Second moments by rows and columns of a matrix; steps of RMS above 1 are scaled down; relative to the weight."""

    def one(self, p, g, state, lr):
        t = state["t"] = state.get("t", 0) + 1
        keep = 1 - t**-0.8
        square = g * g + 1e-12
        if p.ndim == 2:
            r = state["r"] = keep * state.get("r", torch.zeros_like(p[:, 0])) + (1 - keep) * square.mean(1)
            c = state["c"] = keep * state.get("c", torch.zeros_like(p[0])) + (1 - keep) * square.mean(0)
            u = g / torch.sqrt(r[:, None] * c / r.mean())
        else:
            v = state["v"] = keep * state.get("v", torch.zeros_like(p)) + (1 - keep) * square
            u = g / torch.sqrt(v)
        u = u / (u * u).mean().sqrt().clamp(min=1)
        p -= lr * (p * p).mean().sqrt().clamp(min=1e-3) * u


@dataclass(frozen=True)
class Factors:
    switch: str

    def init(self, theta):
        return {"t": 0}

    def update(self, theta, grad, state, learning_rate):
        t = state["t"] + 1
        keep = 1 - min(t, 60) ** -0.8 if self.switch == "decay_stays" else 1 - t**-0.8
        new, kept = {}, {"t": t}
        for name, g in grad.items():
            p = theta[name]
            square = g * g + 1e-12
            parts = (square.mean(1), square.mean(0)) if p.ndim == 2 else (square,)
            old = state.get(name, tuple(np.zeros_like(part) for part in parts))
            kept[name] = tuple(keep * a + (1 - keep) * b for a, b in zip(old, parts, strict=True))
            if p.ndim == 2:
                r, c = kept[name]
                u = g / (np.sqrt(r / r.mean())[:, None] * np.sqrt(c))
            else:
                u = g / np.sqrt(kept[name][0])
            if self.switch != "not_held":
                u = u / np.maximum(np.sqrt((u * u).mean()), 1)
            size = np.sqrt((p * p).mean())
            if self.switch != "no_least":
                size = np.maximum(size, 1e-3)
            new[name] = p - learning_rate * size * u
        return new, kept


CASES += family(
    "factored_moments", Factors, lambda: Factored, {"theta": {"W": (4, 3), "b": (3,)}},
    {
        "no_least": "A tensor that starts at 0 never moves, where its size counts as at least 0.001.",
        "not_held": "A step of root mean square above 1 is not scaled down.",
        "decay_stays": "After 60 steps the decay stays, where it goes on to rise.",
    },
)  # fmt: skip
