"""What shows only in longer rows, in rows of zeros, or beside an equal row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from handgrad import constant
from tests.derivations.hidden.case import family

CASES = []

# --- a mean without the highest and the lowest tenth ----------------------------------------------------------


def trimmed(switch):
    def kept(x):
        t = x.shape[-1]
        k = t // 10
        order = np.argsort(x, axis=-1)
        return order[..., k:] if switch == "highest_stay" else order[..., k : t - k]

    def number(x):
        return x.shape[-1] if switch == "all_counted" else kept(x).shape[-1]

    def forward(x):
        return np.take_along_axis(x, kept(x), -1).sum(-1) / number(x)

    def backward(dy, x):
        share = (dy / number(x))[..., None]
        if switch == "all_pulled":
            return share * np.ones_like(x)
        g = np.zeros_like(x)
        np.put_along_axis(g, kept(x), share * np.ones(kept(x).shape), -1)
        return g

    return forward, backward


def trimmed_reference(x):
    k = x.shape[-1] // 10
    return torch.sort(x, -1).values[..., k : x.shape[-1] - k].mean(-1)


CASES += family(
    "trimmed_mean", trimmed, lambda: trimmed_reference, {"inputs": {"x": ("n", "t")}},
    {
        "all_counted": "The sum of the middle is divided by all numbers, not by those of the middle.",
        "all_pulled": "The gradient goes to the numbers that were left out, too.",
        "highest_stay": "The lowest tenth is left out, but not the highest.",
    },
)  # fmt: skip

# --- the hardest tenth of a batch -----------------------------------------------------------------------------


def hardest(switch):
    def parts(output, target):
        z = output - output.max(-1, keepdims=True)
        log_p = z - np.log(np.exp(z).sum(-1, keepdims=True))
        each = -log_p[np.arange(len(output)), target]
        k = -(-len(each) // 10) if switch == "rounded_up" else max(1, len(each) // 10)
        return log_p, each, np.argsort(-each)[:k]

    def loss(output, target):
        _, each, chosen = parts(output, target)
        return each[chosen].sum() / (1 if switch == "summed" else len(chosen))

    def gradient(output, target):
        log_p, _, chosen = parts(output, target)
        number = 1 if switch == "summed" else len(chosen)
        if switch == "first_alone":
            chosen = chosen[:1]
        g = np.zeros_like(output)
        g[chosen] = np.exp(log_p[chosen])
        g[chosen, target[chosen]] -= 1
        return g / number

    return loss, gradient


def hardest_reference(output, target):
    each = torch.nn.functional.cross_entropy(output, target, reduction="none")
    return torch.topk(each, max(1, len(each) // 10)).values.mean()


CASES += family(
    "hardest_examples", hardest, lambda: hardest_reference, {"output": (6, 5), "target": "class"},
    {
        "summed": "The losses of the hardest tenth are summed, not averaged.",
        "first_alone": "Of the hardest tenth only the very hardest has a gradient.",
        "rounded_up": "A tenth of the batch is rounded up, where it is rounded down, to 1 at least.",
    },
)  # fmt: skip

# --- a series beside its season, 24 steps before --------------------------------------------------------------

SEASON, STRENGTH = 24, 0.1


def seasonal(switch):
    def both(predicted, wanted):
        d, n = predicted - wanted, predicted.size
        change = predicted[:, SEASON:] - predicted[:, :-SEASON]
        j = ((d * d).sum() + STRENGTH * (change * change).sum()) / n
        g = 2 * d / n
        pull = 2 * STRENGTH * change / n
        if switch == "summed_twice":
            pull = 2 * pull
        g[:, SEASON:] += pull
        if switch != "later_alone":
            g[:, :-SEASON] += pull if switch == "same_sign" else -pull
        return j, {"predicted": g}

    def by_padding(predicted, wanted):
        d, n = predicted - wanted, predicted.size
        before = np.pad(predicted, ((0, 0), (SEASON, 0)))[:, : predicted.shape[1]]
        change = (predicted - before) * (np.arange(predicted.shape[1]) >= SEASON)
        after = np.pad(change, ((0, 0), (0, SEASON)))[:, SEASON:]
        return (np.vdot(d, d) + STRENGTH * np.vdot(change, change)) / n, {
            "predicted": 2 / n * (d + STRENGTH * (change - after))
        }

    return by_padding if switch == "by_padding" else both


def seasonal_reference(predicted, wanted):
    change = predicted[:, SEASON:] - predicted[:, :-SEASON]
    return ((predicted - wanted) ** 2).mean() + STRENGTH * (change**2).sum() / predicted.numel()


CASES += family(
    "seasonal", seasonal, lambda: seasonal_reference,
    {"inputs": {"predicted": ("n", "t"), "wanted": constant(("n", "t"))}},
    {
        "later_alone": "The change over a season has a gradient by its later step alone.",
        "same_sign": "The gradient by the earlier step has the sign of the later one's.",
        "summed_twice": "The change over a season has twice its gradient.",
    },
    right=("right", "by_padding"),
)  # fmt: skip

# --- errors of far steps count less ---------------------------------------------------------------------------

HORIZON = 24


def discounted(switch):
    def weights(t):
        if switch == "by_products":
            return np.cumprod(np.where(np.arange(t) > HORIZON, 0.9, 1.0))
        far = np.arange(t) - HORIZON
        if switch == "from_the_start":
            return 0.9 ** np.where(far > 0, far + HORIZON, 0)
        if switch == "linear":
            return 1 / (1 + 0.1 * np.maximum(far, 0))
        return 0.9 ** np.maximum(far, 0)

    def both(predicted, wanted):
        w, d = weights(predicted.shape[1]), predicted - wanted
        return (w * d * d).mean(), {"predicted": 2 * w * d / d.size}

    return both


def discounted_reference(predicted, wanted):
    w = 0.9 ** (torch.arange(predicted.shape[1]) - HORIZON).clamp(min=0).to(predicted.dtype)
    return (w * (predicted - wanted) ** 2).mean()


CASES += family(
    "discounted_steps", discounted, lambda: discounted_reference,
    {"inputs": {"predicted": ("n", "t"), "wanted": constant(("n", "t"))}},
    {
        "from_the_start": "Beyond step 24 the weight is 0.9 to the number of steps from the start, not from there.",
        "linear": "Beyond step 24 the weight falls as 1/(1 + 0.1 k), not as 0.9 to the power k.",
    },
    right=("right", "by_products"),
)  # fmt: skip

# --- distances of rows, some of which are the same ------------------------------------------------------------


def distances(switch):
    def forward(x):
        i, j = np.triu_indices(len(x), 1)
        d = x[i] - x[j]
        return np.sqrt((d * d).sum(-1))

    def backward(dy, x):
        i, j = np.triu_indices(len(x), 1)
        d = x[i] - x[j]
        size = np.sqrt((d * d).sum(-1))
        if switch == "no_zero":
            unit = d / size[:, None]
        else:
            unit = d / np.where(size > 0, size, 1.0)[:, None]
        g = np.zeros_like(x)
        np.add.at(g, i, dy[:, None] * unit)
        np.subtract.at(g, j, dy[:, None] * unit)
        return g

    def backward_by_matrix(dy, x):
        n = len(x)
        pull = np.zeros((n, n))
        size = forward(x)
        pull[np.triu_indices(n, 1)] = dy * (size > 0) / (size + (size == 0))
        pull = pull + pull.T
        return pull.sum(1, keepdims=True) * x - pull @ x

    return forward, backward_by_matrix if switch == "by_matrix" else backward


CASES += family(
    "distances", distances, lambda: torch.nn.functional.pdist, {"inputs": {"x": ("n", 4)}},
    {"no_zero": "Two rows that are the same, as copies in a batch, give NaN where torch's gradient is 0."},
)  # fmt: skip

# --- lengths of groups ----------------------------------------------------------------------------------------


def lengths(switch):
    def forward(x):
        return np.sqrt((x * x).sum(-1))

    def backward(dy, x):
        size = forward(x)[..., None]
        if switch == "no_zero":
            return dy[..., None] * x / size
        return dy[..., None] * x / np.where(size == 0, 1.0, size)

    return forward, backward


CASES += family(
    "group_lengths", lengths, lambda: lambda x: torch.linalg.vector_norm(x, dim=-1), {"inputs": {"x": ("n", 6)}},
    {"no_zero": "A group of zeros, which is what this penalty makes, gives NaN where torch's gradient is 0."},
)  # fmt: skip

# --- rows of length 1 -----------------------------------------------------------------------------------------

SHORT = 1e-3


def directions(switch):
    def parts(x):
        size = np.sqrt((x * x).sum(-1, keepdims=True))
        if switch == "no_least":
            return size, 1 / size
        return size, 1 / np.maximum(size, SHORT)

    def forward(x):
        return x * parts(x)[1]

    def backward(dy, x):
        size, scale = parts(x)
        y = x * scale
        along = y * (dy * y).sum(-1, keepdims=True)
        if switch == "projected_when_short":
            return scale * (dy - along)
        return scale * (dy - along * (size >= SHORT))

    return forward, backward


def directions_reference(x):
    long = torch.linalg.vector_norm(x.detach(), dim=-1, keepdim=True) >= SHORT
    size = torch.where(long, x * x, 1.0).sum(-1, keepdim=True).sqrt()
    return x / torch.where(long, size, SHORT)


CASES += family(
    "directions", directions, lambda: directions_reference, {"inputs": {"x": ("n", 6)}},
    {
        "no_least": "A row of zeros, as of padding, gives NaN; one shorter than 0.001 is stretched to length 1.",
        "projected_when_short": "A row shorter than 0.001 still loses a part of the gradient along itself.",
    },
)  # fmt: skip

# --- powers, and the logarithm for a power of 0 ---------------------------------------------------------------


def powered(switch):
    def forward(x, power):
        size = np.log1p(np.abs(x))
        if switch == "no_limit":
            return np.sign(x) * np.expm1(power * size) / power
        safe = np.where(power == 0, 1.0, power)
        limit = np.abs(x) if switch == "first_power" else size
        return np.sign(x) * np.where(power == 0, limit, np.expm1(safe * size) / safe)

    def backward(dy, x, power):
        slope = np.exp((power - 1) * np.log1p(np.abs(x)))
        if switch == "first_power":
            slope = np.where(power == 0, 1.0, slope)
        return {"x": dy * slope * np.sign(x) ** 2}

    return forward, backward


def powered_reference(x, power):
    size, safe = torch.log1p(x.abs()), torch.where(power == 0, 1.0, power)
    return torch.sign(x) * torch.where(power == 0, size, torch.expm1(safe * size) / safe)


CASES += family(
    "signed_power", powered, lambda: powered_reference, {"inputs": {"x": ("n", "d"), "power": constant(("d",))}},
    {
        "no_limit": "A power of 0 gives 0/0, where its limit is the logarithm.",
        "first_power": "A power of 0 is taken as 1, where its limit is the logarithm.",
    },
)  # fmt: skip

# --- momentum by shape ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Momentum:
    """Keeps a velocity for every tensor; in place."""

    switch: str
    momentum: float = 0.9

    def init(self, theta):
        keys = [self.key(name, t) for name, t in theta.items()]
        return {key: np.zeros_like(t) for key, t in zip(keys, theta.values(), strict=True)}

    def key(self, name, tensor):
        if self.switch == "by_shape":
            return tensor.shape
        return tensor.ndim if self.switch == "by_axes" else name

    def update(self, theta, grad, state, learning_rate):
        new, kept = {}, dict(state)
        for name, g in grad.items():
            key = self.key(name, g)
            kept[key] = self.momentum * kept[key] + g
            new[name] = theta[name] - learning_rate * kept[key]
        return new, kept


CASES += family(
    "momentum_of_tensors", Momentum, lambda: torch.optim.SGD, {"theta": {"W": (4, 3), "b": (3,)}},
    {
        "by_shape": "Velocities are kept by the tensor's shape: two layers of the same shape share one.",
        "by_axes": "Velocities are kept by the number of axes: the matrices of two layers share one.",
    },
)  # fmt: skip
