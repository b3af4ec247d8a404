"""Layers and normalisations with parameters, and objects that keep something from call to call."""

from __future__ import annotations

import math

import numpy as np
import torch

from handgrad import stateful
from tests.derivations.hidden.case import family

CASES = []

# --- cosines of inputs and classes ----------------------------------------------------------------------------


def cosines(switch):
    def unit(a):
        length = np.sqrt((a * a).sum(-1, keepdims=True))
        held = length if switch == "no_least" else np.maximum(length, 1e-3)
        return a / held, held, length > 1e-3

    def forward(x, weight, scale):
        return scale * (unit(x)[0] @ unit(weight)[0].T)

    def pull(d, a):
        u, length, long = unit(a)
        radial = u * (d * u).sum(-1, keepdims=True)
        if switch not in ("projected_when_short", "no_least"):
            radial = radial * long
        return (d - radial) / length

    def backward(dy, x, weight, scale):
        u, w = unit(x)[0], unit(weight)[0]
        dw = scale * dy.T @ u
        back = dw / unit(weight)[1] if switch == "weight_length_constant" else pull(dw, weight)
        return {"x": pull(scale * dy @ w, x), "weight": back, "scale": (dy * (u @ w.T)).sum()}

    return forward, backward


def cosines_reference(x, weight, scale):
    normal = torch.nn.functional.normalize
    return scale * (normal(x, dim=-1, eps=1e-3) @ normal(weight, dim=-1, eps=1e-3).T)


CASES += family(
    "cosine_classifier", cosines, lambda: cosines_reference,
    {"x": ("n", "d"), "params": {"weight": ("k", "d"), "scale": ()}},
    {
        "no_least": "A row of zeros is 0/0, where its length counts as at least 0.001.",
        "projected_when_short": "A row shorter than 0.001 loses a part along itself, though its divisor is fixed.",
        "weight_length_constant": "The lengths of the weight's rows are held constant in the gradient.",
    },
)  # fmt: skip

# --- normalised over what has come so far ---------------------------------------------------------------------


def so_far(switch):
    def parts(x):
        n, t, d = x.shape
        count = d * np.arange(1, t + 1, dtype=x.dtype)[:, None]
        if switch == "by_steps":
            count = np.arange(1, t + 1, dtype=x.dtype)[:, None]
        elif switch == "sixteen_steps":
            count = d * np.minimum(np.arange(1, t + 1, dtype=x.dtype), 16)[:, None]
        power = np.cumsum((x * x).sum(-1, keepdims=True), 1) / count
        return 1 / np.sqrt(power + 1e-3), count

    def forward(x, gain):
        return gain * x * parts(x)[0]

    def backward(dy, x, gain):
        s, count = parts(x)
        g = dy * gain
        pull = (g * x).sum(-1, keepdims=True) * s**3 / count
        if switch == "own_step_alone":
            later = pull
        elif switch == "from_before":
            later = np.cumsum(pull, 1)
        else:
            later = np.flip(np.cumsum(np.flip(pull, 1), 1), 1)
        return {"x": g * s - x * later, "gain": (dy * x * s).sum((0, 1))}

    def by_triangle(dy, x, gain):
        s, count = parts(x)
        g = dy * gain
        pull = (g * x).sum(-1) * (s**3 / count)[..., 0]
        return {"x": g * s - x * (pull @ np.tri(x.shape[1]))[..., None], "gain": np.einsum("ntd,ntd->d", dy, x * s)}

    return forward, by_triangle if switch == "by_triangle" else backward


def so_far_reference(x, gain):
    count = x.shape[2] * torch.arange(1, x.shape[1] + 1, dtype=x.dtype)[:, None]
    return gain * x / torch.sqrt((x * x).sum(-1, keepdim=True).cumsum(1) / count + 1e-3)


CASES += family(
    "norm_so_far", so_far, lambda: so_far_reference, {"x": ("n", "t", "d"), "params": {"gain": ("d",)}},
    {
        "by_steps": "The sum of squares is divided by the steps, not by the numbers in them.",
        "sixteen_steps": "From the 17th step on it is still divided by the numbers of 16 steps.",
        "own_step_alone": "The gradient goes to the step itself alone, not to what came before it.",
        "from_before": "The gradient is gathered from the steps before, where it is from those after.",
    },
    right=("right", "by_triangle"),
)  # fmt: skip

# --- a bias by the distance, in buckets -----------------------------------------------------------------------


def distances(switch):
    def bucket(t, s):
        d = np.maximum(np.arange(t)[:, None] - np.arange(s), 0)
        if switch == "by_thresholds":
            edges = [8 * 8 ** (k / 8) for k in range(1, 8)]
            return np.where(d < 8, d, 8 + np.searchsorted(edges, d, side="right"))
        far = 128 if switch == "up_to_128" else 64
        log = np.log(np.maximum(d, 8) / 8) / math.log(far / 8) * 8
        if switch == "exact_alone":
            return np.minimum(d, 15)
        if switch == "rounded":
            return np.where(d < 8, d, np.minimum(8 + np.rint(log).astype(int), 15))
        return np.where(d < 8, d, np.minimum(8 + log.astype(int), 15))

    def forward(score, table):
        return score / 4 + table[bucket(*score.shape)]

    def backward(dy, score, table):
        g = np.zeros_like(table)
        np.add.at(g, bucket(*score.shape), dy)
        return {"score": dy / 4, "table": g}

    return forward, backward


def distances_reference(score, table):
    t, s = score.shape
    rows = []
    for i in range(t):
        row = [max(i - j, 0) for j in range(s)]
        rows.append([d if d < 8 else min(8 + int(math.log(d / 8) / math.log(8) * 8), 15) for d in row])
    return score / 4 + table[torch.tensor(rows)]


CASES += family(
    "distance_buckets", distances, lambda: distances_reference,
    {"inputs": {"score": ("t", "s")}, "params": {"table": (16,)}},
    {
        "up_to_128": "The buckets reach up to a distance of 128, where they end at 64.",
        "exact_alone": "From a distance of 8 on each has a bucket of its own up to 15, where they widen.",
        "rounded": "The logarithm of a distance is rounded, where it is cut off.",
    },
    right=("right", "by_thresholds"),
)  # fmt: skip

# --- a queue of what was seen ---------------------------------------------------------------------------------

PLACES = 22


class Queue:
    """y = x queueᵀ w; afterwards the batch takes the oldest places of the queue."""

    def __init__(self, switch):
        self.switch = switch
        self.queue, self.at = np.zeros((PLACES, 3)), 0
        self.w = np.ones(PLACES)

    def forward(self, x):
        self.x = x
        if self.switch == "before_use":
            self.put(x)
        self.seen = self.queue.copy()
        y = x @ (self.seen * self.w[:, None]).T
        if self.switch != "before_use":
            self.put(x)
        return y

    def put(self, x):
        n = len(x)
        if self.switch == "starts_again" and self.at + n > PLACES:
            self.at = 0
        places = (self.at + np.arange(n)) % PLACES
        if self.switch == "end_dropped":
            places = np.arange(self.at, min(self.at + n, PLACES))
        self.queue = self.queue.copy()
        self.queue[places] = x[: len(places)]
        self.at = (self.at + n) % PLACES

    def backward(self, dy):
        self.dw = (dy * (self.x @ self.seen.T)).sum(0)
        return dy @ (self.seen * self.w[:, None])


class QueueOfTorch(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.w = torch.nn.Parameter(torch.ones(PLACES, dtype=torch.float64))
        self.register_buffer("queue", torch.zeros(PLACES, 3, dtype=torch.float64))
        self.at = 0

    def forward(self, x):
        y = x @ (self.queue * self.w[:, None]).T
        with torch.no_grad():
            places = (self.at + torch.arange(len(x))) % PLACES
            self.queue = self.queue.index_copy(0, places, x)
        self.at = (self.at + len(x)) % PLACES
        return y


CASES += family(
    "queue", lambda switch: stateful(lambda: Queue(switch), {"w": "dw"}, state=["queue"]), QueueOfTorch,
    {"x": (4, 3)},
    {
        "before_use": "The batch is put into the queue before it is compared, not afterwards.",
        "starts_again": "A batch that does not fit to the end goes to the front, where it is split.",
        "end_dropped": "What does not fit to the end of the queue is dropped, where it goes to the front.",
    },
)  # fmt: skip

# --- an average that is corrected for its start ---------------------------------------------------------------


class Corrected:
    """y = (x − m/(1 − 0.9ᵗ)) gain, with m the running mean before the batch's own, and y = x gain at first."""

    def __init__(self, switch):
        self.switch = switch
        self.m, self.t, self.gain = np.zeros(3), 0, np.ones(3)

    def forward(self, x):
        t = min(self.t, 12) if self.switch == "corrected_for_twelve" else self.t
        self.centre = np.zeros(3) if t == 0 else self.m / (1 - 0.9**t)
        if self.switch == "not_corrected":
            self.centre = self.m
        self.z = x - self.centre
        self.m, self.t = 0.9 * self.m + 0.1 * x.mean(0), self.t + 1
        if self.switch == "kept_corrected":
            self.m = self.m / (1 - 0.9**self.t)
        return self.z * self.gain

    def backward(self, dy):
        self.dgain = (dy * self.z).sum(0)
        return dy * self.gain


class CorrectedOfTorch(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.gain = torch.nn.Parameter(torch.ones(3, dtype=torch.float64))
        self.register_buffer("m", torch.zeros(3, dtype=torch.float64))
        self.t = 0

    def forward(self, x):
        y = x - self.m / (1 - 0.9**self.t) if self.t else x
        with torch.no_grad():
            self.m = 0.9 * self.m + 0.1 * x.mean(0)
        self.t += 1
        return y * self.gain


CASES += family(
    "corrected_mean", lambda switch: stateful(lambda: Corrected(switch), {"gain": "dgain"}, state=["m"]),
    CorrectedOfTorch, {"x": (5, 3)},
    {
        "corrected_for_twelve": "After the twelfth batch the correction stays at that of twelve.",
        "not_corrected": "The mean is not corrected for its start at 0.",
        "kept_corrected": "The corrected mean is what is kept, so that it is corrected again and again.",
    },
)  # fmt: skip

# --- a batch norm that leans on what it has seen --------------------------------------------------------------


class Leaning:
    """y = (x − mean)/σ · r, with r = σ/σ_kept within 1/c and c; c rises from 1 by 0.1 a batch up to 2.5."""

    def __init__(self, switch):
        self.switch = switch
        self.kept, self.t = np.ones(3), 0

    def forward(self, x):
        most = min(1 + 0.1 * self.t, 2.5)
        if self.switch == "goes_on_rising":
            most = 1 + 0.1 * self.t
        elif self.switch == "up_to_two":
            most = min(1 + 0.1 * self.t, 2.0)
        centred = x - x.mean(0)
        self.s = np.sqrt((centred * centred).mean(0) + 1e-3)
        self.z = centred / self.s
        ratio = self.s / self.kept
        self.r = np.clip(ratio, 1 / most, most)
        self.free = (ratio >= 1 / most) & (ratio <= most)
        self.kept, self.t = 0.95 * self.kept + 0.05 * self.s, self.t + 1
        return self.z * self.r

    def backward(self, dy):
        g = dy * self.r
        through = (g * self.z).mean(0)
        if self.switch == "ratio_differentiated":
            through = through * ~self.free
        return (g - g.mean(0) - self.z * through) / self.s


class LeaningOfTorch(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("kept", torch.ones(3, dtype=torch.float64))
        self.t = 0

    def forward(self, x):
        most = min(1 + 0.1 * self.t, 2.5)
        s = torch.sqrt(x.var(0, unbiased=False) + 1e-3)
        with torch.no_grad():
            r = (s / self.kept).clamp(1 / most, most)
            self.kept = 0.95 * self.kept + 0.05 * s
        self.t += 1
        return (x - x.mean(0)) / s * r


CASES += family(
    "leaning_batch_norm", lambda switch: stateful(lambda: Leaning(switch), state=["kept"]), LeaningOfTorch,
    {"x": (6, 3)},
    {
        "goes_on_rising": "After 15 batches the bound of the ratio goes on to rise, where it stays at 2.5.",
        "up_to_two": "The bound of the ratio stays at 2, where it rises to 2.5.",
        "ratio_differentiated": "The gradient passes through the ratio, which is held constant.",
    },
)  # fmt: skip
