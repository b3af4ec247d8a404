"""Update rules."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from tests.derivations.hidden.case import family

CASES = []

# --- momentum where it agrees with the gradient ---------------------------------------------------------------


class CautiousSGD(torch.optim.Optimizer):
    """θ ← θ − η v c/max(mean(c), 1/1000) with c = 1 where v g > 0, for every tensor."""

    def __init__(self, parameters, lr):
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                state["v"] = 0.9 * state.get("v", torch.zeros_like(p)) + p.grad
                agrees = (state["v"] * p.grad > 0).to(p.dtype)
                p -= group["lr"] * state["v"] * agrees / agrees.mean().clamp(min=1e-3)


@dataclass(frozen=True)
class Cautious:
    switch: str

    def init(self, theta):
        return {name: np.zeros_like(t) for name, t in theta.items()}

    def update(self, theta, grad, state, learning_rate):
        new, kept, agrees = {}, {}, {}
        for name, g in grad.items():
            kept[name] = 0.9 * state[name] + g
            agrees[name] = (kept[name] * g > 0).astype(g.dtype)
            if self.switch == "by_sign":
                agrees[name] = np.maximum(np.sign(kept[name]) * np.sign(g), 0)
        total = sum(a.sum() for a in agrees.values()) / sum(a.size for a in agrees.values())
        for name, a in agrees.items():
            mean = total if self.switch == "mean_of_all" else a.mean()
            if self.switch == "nowhere":
                scale = a / mean
            elif self.switch == "floor_added":
                scale = a / (mean + 1e-3)
            else:
                scale = a / np.maximum(mean, 1e-3)
            new[name] = theta[name] - learning_rate * kept[name] * scale
        return new, kept


CASES += family(
    "cautious_momentum", Cautious, lambda: CautiousSGD, {"theta": {"W": (3, 2), "b": (2,)}},
    {
        "nowhere": "Where momentum and gradient agree nowhere in a tensor it is 0/0, NaN, where the tensor stays.",
        "mean_of_all": "The share that agrees is over all tensors, not of each tensor.",
        "floor_added": "0.001 is added to the share, where the share is at least 0.001.",
    },
    right=("right", "by_sign"),
)  # fmt: skip

# --- a rate that backs off after a gradient that is not finite -------------------------------------------------


class BackingOff(torch.optim.Optimizer):
    """A step whose gradient is not finite is left out, and halves the scale; five good steps double it, up to 1."""

    def __init__(self, parameters, lr):
        super().__init__(parameters, {"lr": lr})
        self.scale, self.good = 1.0, 0

    @torch.no_grad()
    def step(self, closure=None):
        parameters = [p for group in self.param_groups for p in group["params"]]
        if not all(bool(torch.isfinite(p.grad).all()) for p in parameters):
            self.scale, self.good = self.scale / 2, 0
            return
        for group in self.param_groups:
            for p in group["params"]:
                p -= group["lr"] * self.scale * p.grad
        self.good += 1
        if self.good == 5:
            self.scale, self.good = min(1.0, 2 * self.scale), 0


@dataclass(frozen=True)
class Backs:
    switch: str

    def init(self, theta):
        return {"scale": 1.0, "good": 0}

    def update(self, theta, grad, state, learning_rate):
        scale, good = state["scale"], state["good"]
        bad = np.isnan(grad) if self.switch == "nan_alone" else ~np.isfinite(grad)
        if bad.any():
            kept = good if self.switch == "count_goes_on" else 0
            return theta, {"scale": scale / 2, "good": kept}
        new = theta - learning_rate * scale * grad
        good = good + 1
        if good == 5:
            scale, good = 2 * scale, 0
            if self.switch != "above_one":
                scale = min(1.0, scale)
        return new, {"scale": scale, "good": good}


CASES += family(
    "backing_off", Backs, lambda: BackingOff, {"theta": (5,)},
    {
        "nan_alone": "Infinite gradients are taken as any other, where such a step is left out.",
        "count_goes_on": "A gradient that is not finite does not set the count of good steps back to 0.",
        "above_one": "The scale is doubled beyond 1.",
    },
)  # fmt: skip

# --- weights that are drawn to 0, and kept there --------------------------------------------------------------


class Shrinking(torch.optim.Optimizer):
    """v ← 0.9 v + g; θ ← soft(θ − η v, η/10), but vectors are not shrunk."""

    def __init__(self, parameters, lr):
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                state["v"] = 0.9 * state.get("v", torch.zeros_like(p)) + p.grad
                z = p - group["lr"] * state["v"]
                if p.ndim > 1:
                    z = torch.sign(z) * torch.relu(z.abs() - 0.1 * group["lr"])
                p.copy_(z)


@dataclass(frozen=True)
class Shrinks:
    switch: str

    def init(self, theta):
        return {name: np.zeros_like(t) for name, t in theta.items()}

    def update(self, theta, grad, state, learning_rate):
        new, kept = {}, {}
        for name, g in grad.items():
            kept[name] = 0.9 * state[name] + g
            z = theta[name] - learning_rate * kept[name]
            limit = 0.1 * learning_rate
            if theta[name].ndim < 2:
                new[name] = z
            elif self.switch == "penalty_on_old":
                new[name] = z - limit * np.sign(theta[name])
            elif self.switch == "penalty_steps_over":
                new[name] = z - limit * np.sign(z)
            elif self.switch == "by_clip":
                new[name] = z - np.clip(z, -limit, limit)
            else:
                new[name] = np.sign(z) * np.maximum(np.abs(z) - limit, 0)
        return new, kept


CASES += family(
    "shrinking", Shrinks, lambda: Shrinking, {"theta": {"W": (4, 3), "b": (3,)}},
    {
        "penalty_on_old": "The penalty goes by the sign of the old weight, and steps over 0.",
        "penalty_steps_over": "A weight nearer to 0 than the penalty steps over it, where it is to become 0.",
    },
    right=("right", "by_clip"),
)  # fmt: skip

# --- a warm-up within the rule --------------------------------------------------------------------------------


class WarmSGD(torch.optim.Optimizer):
    """θ ← θ − η s g with s = min(t/300, √(300/t)), on a gradient held within ten times its average size."""

    def __init__(self, parameters, lr):
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                if not state:
                    state["t"], state["size"] = torch.zeros((), dtype=p.dtype), torch.zeros((), dtype=p.dtype)
                state["t"] += 1
                share = torch.minimum(state["t"] / 300, torch.sqrt(300 / state["t"]))
                size = torch.sqrt((p.grad**2).mean())
                first = state["t"] == 1
                limit = 10 * torch.where(first, size, state["size"])
                scale = torch.where(size > limit, limit / torch.where(size > 0, size, 1.0), 1.0)
                p -= group["lr"] * share * scale * p.grad
                state["size"] = torch.where(first, size, 0.99 * state["size"] + 0.01 * scale * size)


@dataclass(frozen=True)
class Warm:
    switch: str

    def init(self, theta):
        return {"t": np.zeros(()), "size": np.zeros(())}

    def update(self, theta, grad, state, learning_rate):
        t = state["t"] + 1
        share = np.minimum(t / 300, 1.0 if self.switch == "stays_warm" else np.sqrt(300 / t))
        if self.switch == "falls_as_one_over_t":
            share = np.minimum(t / 300, 300 / t)
        size = np.sqrt((grad * grad).mean())
        first = t == 1
        limit = 10 * np.where(first, size, state["size"])
        if self.switch == "never_held":
            scale = 1.0
        else:
            scale = np.where(size > limit, limit / np.where(size > 0, size, 1.0), 1.0)
        kept = size if self.switch == "average_of_raw" else scale * size
        average = np.where(first, size, 0.99 * state["size"] + 0.01 * kept)
        return theta - learning_rate * share * scale * grad, {"t": t, "size": average}


CASES += family(
    "warm_up_within", Warm, lambda: WarmSGD, {"theta": (6,)},
    {
        "stays_warm": "After 300 steps the share stays at 1, where it falls with the root of the step.",
        "falls_as_one_over_t": "After 300 steps the share falls as 1/t, not as 1/√t.",
        "never_held": "A gradient beyond ten times the average size is not held back.",
        "average_of_raw": "The average size takes in what a gradient was before it was held back.",
    },
)  # fmt: skip

# --- the largest second moment, forgotten now and then --------------------------------------------------------


class Restarted(torch.optim.Optimizer):
    """Adagrad whose sum starts again every 40 steps from its own mean over them."""

    def __init__(self, parameters, lr):
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                if not state:
                    state["t"], state["s"] = 0, torch.zeros_like(p)
                state["t"] += 1
                state["s"] += p.grad**2
                p -= group["lr"] * p.grad / (torch.sqrt(state["s"]) + 1e-8)
                if state["t"] % 40 == 0:
                    state["s"] /= 40


@dataclass(frozen=True)
class Restarts:
    switch: str

    def init(self, theta):
        return {"t": 0, "s": np.zeros_like(theta)}

    def update(self, theta, grad, state, learning_rate):
        t, s = state["t"] + 1, state["s"] + grad * grad
        new = theta - learning_rate * grad / (np.sqrt(s) + 1e-8)
        if t % 40 == 0:
            s = np.zeros_like(s) if self.switch == "from_zero" else s / (t if self.switch == "mean_of_all" else 40)
        return new, {"t": t, "s": s}


CASES += family(
    "adagrad_restarted", Restarts, lambda: Restarted, {"theta": (4,)},
    {
        "from_zero": "Every 40 steps the sum starts again from 0, where it starts from its mean.",
        "mean_of_all": "The sum is divided by all steps so far: the second time by 80, where 40 are in it.",
    },
)  # fmt: skip

# --- a sign of two averages -----------------------------------------------------------------------------------


class SignOfTwo(torch.optim.Optimizer):
    """θ ← θ(1 − η/10) − η sign(0.9 m + 0.1 g); m ← 0.99 m + 0.01 g; scaled by √(last axis) for matrices."""

    def __init__(self, parameters, lr):
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                m = state.get("m", torch.zeros_like(p))
                scale = 1 / p[0].numel() ** 0.5 if p.ndim > 1 else 1.0
                p *= 1 - 0.1 * group["lr"]
                p -= group["lr"] * scale * torch.sign(0.9 * m + 0.1 * p.grad)
                state["m"] = 0.99 * m + 0.01 * p.grad


@dataclass(frozen=True)
class Signs:
    switch: str

    def init(self, theta):
        return {name: np.zeros_like(t) for name, t in theta.items()}

    def update(self, theta, grad, state, learning_rate):
        new, kept = {}, {}
        for name, g in grad.items():
            c = 0.9 * state[name] + 0.1 * g
            sign = np.where(c >= 0, 1.0, -1.0) if self.switch == "zero_is_positive" else np.sign(c)
            fan = g[0].size if g.ndim > 1 else 1
            if self.switch == "last_axis":
                fan = g.shape[-1] if g.ndim > 1 else 1
            if self.switch == "vectors_too":
                fan = g.size // (len(g) if g.ndim > 1 else 1)
            scale = learning_rate / np.sqrt(float(fan))
            new[name] = theta[name] * (1 - 0.1 * learning_rate) - scale * sign
            kept[name] = 0.99 * state[name] + 0.01 * g
        return new, kept


CASES += family(
    "sign_of_two", Signs, lambda: SignOfTwo, {"theta": {"K": (4, 3, 2), "b": (3,)}},
    {
        "zero_is_positive": "Where gradient and average are 0, as of a token that does not occur, the weight falls.",
        "last_axis": "The scale of a kernel with more than two axes goes by its last axis, not by all but the first.",
        "vectors_too": "Vectors are scaled by their length, where they are not scaled.",
    },
)  # fmt: skip

# --- clipped by what is usual ---------------------------------------------------------------------------------


class UsualNorm(torch.optim.Optimizer):
    """The gradient is scaled down to the median (the lower one) of the last 25 norms, its own among them."""

    def __init__(self, parameters, lr):
        super().__init__(parameters, {"lr": lr})
        self.norms = []

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            (p,) = group["params"]
            norm = torch.sqrt((p.grad**2).sum())
            self.norms = [*self.norms, norm][-25:]
            usual = torch.stack(self.norms).median()
            p -= group["lr"] * p.grad * torch.where(norm > usual, usual / torch.where(norm > 0, norm, 1.0), 1.0)


@dataclass(frozen=True)
class Usual:
    switch: str

    def init(self, theta):
        return {"norms": []}

    def update(self, theta, grad, state, learning_rate):
        norm = np.sqrt((grad * grad).sum())
        norms = [*state["norms"], norm]
        if self.switch != "all_norms":
            norms = norms[-25:]
        if self.switch == "without_its_own":
            norms_used = norms[:-1] or norms
        else:
            norms_used = norms
        ordered = np.sort(np.stack(norms_used))
        usual = ordered[(len(ordered) - 1) // 2]
        if self.switch == "upper":
            usual = ordered[len(ordered) // 2]
        scale = np.where(norm > usual, usual / np.where(norm > 0, norm, 1.0), 1.0)
        return theta - learning_rate * scale * grad, {"norms": norms}


CASES += family(
    "usual_norm", Usual, lambda: UsualNorm, {"theta": (5,)},
    {
        "all_norms": "The median is of all norms so far, not of the last 25.",
        "upper": "Of an even number of norms the upper one of the middle is taken, not the lower one.",
        "without_its_own": "The median leaves the gradient's own norm out.",
    },
)  # fmt: skip
