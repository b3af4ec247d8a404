"""More losses, a normalisation and rules that are widely copied."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from handgrad import indices
from tests.derivations.hidden.case import family

CASES = []

# --- triplets whose anchor and positive may change places ------------------------------------------------------


def triplets(switch):
    eps = 0.0 if switch == "no_epsilon" else 1e-6

    def both(anchor, positive, negative):
        def distance(a, b):
            d = a - b + eps
            size = np.sqrt((d * d).sum(-1, keepdims=True))
            return size, d / np.where(size > 0, size, 1)

        near, by_near = distance(anchor, positive)
        far, by_far = distance(anchor, negative)
        other, by_other = distance(positive, negative)
        own = np.where(far < other, 1.0, np.where(far > other, 0.0, 0.5))
        if switch == "larger":
            own = np.where(far < other, 0.0, np.where(far > other, 1.0, 0.5))
        hinge = 1 + near - np.where(own > 0, far, other)
        on = (hinge > 0) / len(anchor)
        da, dp, dn = by_near - own * by_far, -by_near - (1 - own) * by_other, own * by_far + (1 - own) * by_other
        if switch == "positive_not_pushed":
            dp = -by_near
        elif switch == "own_distance_alone":
            da, dp, dn = by_near - by_far, -by_near, by_far
        return np.maximum(hinge, 0).mean(), {"anchor": on * da, "positive": on * dp, "negative": on * dn}

    return both


def triplets_reference(anchor, positive, negative):
    return torch.nn.functional.triplet_margin_loss(anchor, positive, negative, swap=True)


CASES += family(
    "swapped_triplets", triplets, lambda: triplets_reference,
    {"inputs": {"anchor": ("n", "d"), "positive": ("n", "d"), "negative": ("n", "d")}},
    {
        "larger": "The larger of the two distances to the negative is taken, not the smaller.",
        "positive_not_pushed": "Where the positive is the nearer one to the negative, it has no gradient of that.",
        "own_distance_alone": "The gradient is of the anchor's distance to the negative, though it may be the larger.",
    },
)  # fmt: skip

# --- smoothed classes, some of which are ignored ---------------------------------------------------------------


def smoothed(switch):
    share = 0.1

    def both(logit, label):
        k = logit.shape[1]
        kept = label != 0
        n = kept.sum()
        if switch == "all_counted":
            n = len(label)
        top = logit.max(1, keepdims=True)
        log_p = logit - top - np.log(np.exp(logit - top).sum(1, keepdims=True))
        rest = share / (max(k - 1, 1) if switch == "over_the_others" else k)
        t = np.full(logit.shape, rest, logit.dtype)
        t[np.arange(len(label)), label] = 1 - share if switch == "over_the_others" else 1 - share + rest
        if switch == "ignored_not_smoothed":
            t[:, 0] = 0
        own = -(t * log_p).sum(1)
        g = np.exp(log_p) * t.sum(1, keepdims=True) - t
        least = max(int(n), 1)
        return np.where(kept, own, 0).sum() / least, {"logit": kept[:, None] * g / least}

    return both


def smoothed_reference(logit, label):
    loss = torch.nn.functional.cross_entropy(logit, label, ignore_index=0, label_smoothing=0.1, reduction="sum")
    return loss / (label != 0).sum().clamp(min=1)


CASES += family(
    "smoothed_classes", smoothed, lambda: smoothed_reference,
    {"inputs": {"logit": ("n", "k"), "label": indices("k", ("n",))}},
    {
        "all_counted": "It is divided by all rows, those of the ignored class 0 too.",
        "over_the_others": "The share is spread over the other classes, where it is over all.",
        "ignored_not_smoothed": "The ignored class has no share of the smoothing, where it has one like any other.",
    },
)  # fmt: skip

# --- margins between classes, squared -------------------------------------------------------------------------


def margins(switch):
    def both(logit, label):
        n, k = logit.shape
        rows = np.arange(n)
        d = np.maximum(1 - logit[rows, label][:, None] + logit, 0)
        if switch != "own_class_counted":
            d[rows, label] = 0
        count = max(k - 1, 1) if switch == "over_the_others" else k
        g = 2 * d
        if switch == "slope_of_one":
            g = np.sign(d)
        pull = g.max(1) if switch == "hardest_pulls" else g.sum(1)
        g[rows, label] -= pull
        return (d * d).sum() / (n * count), {"logit": g / (n * count)}

    return both


def margins_reference(logit, label):
    return torch.nn.functional.multi_margin_loss(logit, label, p=2)


CASES += family(
    "squared_margins", margins, lambda: margins_reference,
    {"inputs": {"logit": ("n", "k"), "label": indices("k", ("n",))}},
    {
        "own_class_counted": "The own class counts with a margin of 1, where it is left out.",
        "over_the_others": "It is divided by the number of other classes, where it is by that of all.",
        "slope_of_one": "The gradient is that of the margins themselves, not of their squares.",
        "hardest_pulls": "The own class is pulled by the hardest other one alone, not by the sum of all.",
    },
)  # fmt: skip

# --- a beta and a spread for each step: quasi-hyperbolic momentum ----------------------------------------------


class Quasi(torch.optim.Optimizer):
    """m ← β m + (1 − β) g, θ ← θ − η (0.7 m + 0.3 g), with β = min(0.95, t/(t + 9)) of the step t."""

    def __init__(self, parameters, lr):
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                t = state["t"] = state.get("t", 0) + 1
                beta = min(0.95, t / (t + 9))
                state["m"] = beta * state.get("m", torch.zeros_like(p)) + (1 - beta) * p.grad
                p -= group["lr"] * (0.7 * state["m"] + 0.3 * p.grad)


@dataclass(frozen=True)
class Hyperbolic:
    switch: str

    def init(self, theta):
        return 0, np.zeros_like(theta)

    def update(self, theta, grad, state, learning_rate):
        t, m = state
        t = t + 1
        beta = t / (t + 9)
        if self.switch != "never_held":
            beta = min(beta, 0.9 if self.switch == "held_at_nine_tenths" else 0.95)
        if self.switch == "step_from_zero":
            beta = min((t - 1) / (t + 8), 0.95)
        m = m + (1 - beta) * (grad - m)
        return theta - learning_rate * (grad + 0.7 * (m - grad)), (t, m)


CASES += family(
    "quasi_hyperbolic", Hyperbolic, lambda: Quasi, {"theta": (5,)},
    {
        "never_held": "β rises on beyond 0.95, where it is held from step 171 on.",
        "held_at_nine_tenths": "β is held at 0.9 from step 81 on, where it is held at 0.95.",
        "step_from_zero": "The steps are counted from 0 in β, where they are from 1.",
    },
)  # fmt: skip
