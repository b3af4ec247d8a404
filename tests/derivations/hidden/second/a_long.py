"""What shows in long rows, large batches and long runs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from handgrad import indices
from tests.derivations.hidden.case import family

CASES = []

# --- cross-entropy over a vocabulary in parts -----------------------------------------------------------------

PART = 64


def vocabulary(switch):
    def parts(v):
        if switch == "full_parts_alone" and v >= PART:
            return [slice(i * PART, (i + 1) * PART) for i in range(v // PART)]
        return [slice(i, min(i + PART, v)) for i in range(0, v, PART)]

    def normaliser(logit):
        total = None
        for part in parts(logit.shape[1]):
            z = logit[:, part]
            top = z.max(1)
            here = top + np.log(np.exp(z - top[:, None]).sum(1))
            if total is None:
                total = here
            elif switch == "added":
                total = total + here
            else:
                high, low = np.maximum(total, here), np.minimum(total, here)
                total = high + np.log1p(np.exp(low - high))
        return total

    def both(logit, label):
        n = len(label)
        norm = normaliser(logit)
        g = np.zeros_like(logit)
        for part in parts(logit.shape[1]):
            g[:, part] = np.exp(logit[:, part] - norm[:, None]) / n
            if switch == "place_in_the_part":
                inside = np.flatnonzero((label >= part.start) & (label < part.stop))
                g[inside, label[inside] - part.start] -= 1 / n
        if switch != "place_in_the_part":
            g[np.arange(n), label] -= 1 / n
        return (norm - logit[np.arange(n), label]).mean(), {"logit": g}

    return both


def vocabulary_reference(logit, label):
    return torch.nn.functional.cross_entropy(logit, label)


CASES += family(
    "vocabulary_in_parts", vocabulary, lambda: vocabulary_reference,
    {"inputs": {"logit": ("n", "v"), "label": indices("v", ("n",))}},
    {
        "full_parts_alone": "What a vocabulary has beyond its last full part of 64 is left out.",
        "added": "The log-sums of the parts of 64 are added, where their exponentials are.",
        "place_in_the_part": "The label's 1 is taken off at its place within the part, not within the vocabulary.",
    },
)  # fmt: skip

# --- batch normalisation in ghost batches ---------------------------------------------------------------------

GHOST = 50


def ghosts(switch):
    def slices(n):
        if switch == "whole_batch":
            return [slice(0, n)]
        if switch == "rest_to_the_last" and n > GHOST:
            full = n // GHOST
            return [slice(GHOST * i, GHOST * (i + 1) if i < full - 1 else n) for i in range(full)]
        return [slice(i, i + GHOST) for i in range(0, n, GHOST)]

    def parts(x):
        centred = x - x.mean(0)
        scale = 1 / np.sqrt((centred * centred).mean(0) + 1e-3)
        return centred * scale, scale

    def forward(x, gain):
        return gain * np.concatenate([parts(x[s])[0] for s in slices(len(x))])

    def backward(dy, x, gain):
        g, by_gain = [], 0.0
        for s in slices(len(x)):
            z, scale = parts(x[s])
            d = dy[s] * gain
            if switch == "gain_of_the_last":
                by_gain = (dy[s] * z).sum(0)
            else:
                by_gain = by_gain + (dy[s] * z).sum(0)
            g.append(scale * (d - d.mean(0) - z * (d * z).mean(0)))
        return {"x": np.concatenate(g), "gain": by_gain}

    return forward, backward


def ghosts_reference(x, gain):
    made = [(p - p.mean(0)) / torch.sqrt(p.var(0, unbiased=False) + 1e-3) for p in x.split(GHOST)]
    return gain * torch.cat(made)


CASES += family(
    "ghost_batches", ghosts, lambda: ghosts_reference, {"x": ("n", 3), "params": {"gain": (3,)}},
    {
        "whole_batch": "Mean and variance are those of the whole batch, not of every 50 rows.",
        "rest_to_the_last": "The rows beyond the last full 50 are taken into it, where they stand alone.",
        "gain_of_the_last": "The gain's gradient is that of the last 50 rows, not the sum over all.",
    },
)  # fmt: skip

# --- an average whose decay rises -----------------------------------------------------------------------------


class Rising(torch.optim.Optimizer):
    """z ← z − η g; θ ← d θ + (1 − d) z with d = min(0.999, (1 + t)/(10 + t))."""

    def __init__(self, parameters, lr):
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                if not state:
                    state["t"], state["z"] = 0, p.clone()
                state["t"] += 1
                state["z"] -= group["lr"] * p.grad
                decay = min(0.999, (1 + state["t"]) / (10 + state["t"]))
                p.copy_(decay * p + (1 - decay) * state["z"])


@dataclass(frozen=True)
class Rises:
    switch: str

    def init(self, theta):
        return {"t": 0, "z": theta}

    def update(self, theta, grad, state, learning_rate):
        t, z = state["t"] + 1, state["z"] - learning_rate * grad
        decay = (1 + t) / (10 + t)
        if self.switch != "never_held":
            decay = min(0.9995 if self.switch == "held_later" else 0.999, decay)
        if self.switch == "by_difference":
            return z + decay * (theta - z), {"t": t, "z": z}
        return decay * theta + (1 - decay) * z, {"t": t, "z": z}


CASES += family(
    "rising_decay", Rises, lambda: Rising, {"theta": (3,)},
    {
        "never_held": "The decay rises on beyond 0.999, where it is held.",
        "held_later": "The decay is held at 0.9995, where it is held at 0.999.",
    },
    right=("right", "by_difference"),
)  # fmt: skip

# --- rectified Adam -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rectified:
    switch: str

    def init(self, theta):
        return {"t": 0, "m": np.zeros_like(theta), "v": np.zeros_like(theta)}

    def update(self, theta, grad, state, learning_rate):
        t = state["t"] + 1
        m, v = 0.9 * state["m"] + 0.1 * grad, 0.999 * state["v"] + 0.001 * grad * grad
        if self.switch == "starts_with_rectified" and t < 6:
            v = state["v"]
        most = 2 / (1 - 0.999) - 1
        length = most - 2 * t * 0.999**t / (1 - 0.999**t)
        step = m / (1 - 0.9**t)
        if length > (4 if self.switch == "from_four" else 5):
            share = ((length - 4) * (length - 2) * most / ((most - 4) * (most - 2) * length)) ** 0.5
            if self.switch == "fully_after_long" and length > 500:
                share = 1.0
            root = np.sqrt(v) / (1 - 0.999**t) ** 0.5
            step = step * share / (np.sqrt(v) + 1e-8) * (1 - 0.999**t) ** 0.5
            if self.switch == "epsilon_after":
                step = m / (1 - 0.9**t) * share / (root + 1e-8)
        return theta - learning_rate * step, {"t": t, "m": m, "v": v}


CASES += family(
    "rectified_adam", Rectified, lambda: torch.optim.RAdam, {"theta": (4,)},
    {
        "from_four": "The adaptive step begins where the length is above 4, where it begins above 5.",
        "fully_after_long": "The rectification is left out once the length is above 500, where it goes on to rise.",
        "starts_with_rectified": "The second moment gathers nothing in the first five steps.",
        "epsilon_after": "1e-8 is added to the root of the corrected moment, not to that of the raw one.",
    },
)  # fmt: skip

# --- a slow exponential, and a least rate ---------------------------------------------------------------------


def slow(switch):
    def rate(step):
        if switch == "no_least":
            return 0.1 * 0.999**step
        if switch == "least_of_all":
            return max(0.1 * 0.999**step, 0.01)
        if switch == "flat_share":
            return 0.1 * (0.01 + 0.99 * 0.999**step)
        return 0.1 * max(0.999**step, 0.01)

    return rate


CASES += family(
    "slow_decay", slow,
    lambda: lambda optimizer: torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: max(0.999**step, 0.01)),
    {"learning_rate": 0.1},
    {
        "no_least": "The rate falls on below a hundredth of its start.",
        "least_of_all": "The least rate is 0.01 itself, not a hundredth of the start.",
        "flat_share": "A hundredth of the rate is kept apart from the decay, where it is a least value.",
    },
)  # fmt: skip
