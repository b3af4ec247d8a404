"""Normalisations and layers with parameters."""

from __future__ import annotations

import numpy as np
import torch

from handgrad import indices, mask
from tests.derivations.hidden.case import family

CASES = []

# --- rows between 0 and 1 -------------------------------------------------------------------------------------


def ranges(switch):
    def parts(x):
        low, high = x.min(-1, keepdims=True), x.max(-1, keepdims=True)
        width = high - low
        if switch == "flat_row":
            return low, high, width
        return low, high, np.where(width > 0, width, 1.0)

    def forward(x):
        low, _, width = parts(x)
        return (x - low) / width

    def backward(dy, x):
        low, high, width = parts(x)
        y = (x - low) / width
        down, up = (x == low).astype(x.dtype), (x == high).astype(x.dtype)
        if switch != "each_that_ties":
            down, up = down / down.sum(-1, keepdims=True), up / up.sum(-1, keepdims=True)
        by_low, by_high = (dy * (1 - y)).sum(-1, keepdims=True), (dy * y).sum(-1, keepdims=True)
        spread = np.ones_like(width) if switch == "flat_row" else (high > low).astype(x.dtype)
        if switch == "width_constant":
            return (dy - dy.sum(-1, keepdims=True) * down) / width
        if switch == "low_of_width_left_out":
            return (dy - down * dy.sum(-1, keepdims=True) - up * by_high * spread) / width
        flat = (1 - spread) * dy.sum(-1, keepdims=True)
        return (dy - down * (by_low * spread + flat) - up * by_high * spread) / width

    return forward, backward


def ranges_reference(x):
    low, high = x.amin(-1, keepdim=True), x.amax(-1, keepdim=True)
    return (x - low) / torch.where(high > low, high - low, 1.0)


CASES += family(
    "row_ranges", ranges, lambda: ranges_reference, {"x": (4, 6)},
    {
        "flat_row": "A row of one number throughout is 0/0, NaN, where it is divided by 1.",
        "each_that_ties": "Numbers that tie for the lowest or the highest each get all of its gradient.",
        "width_constant": "The width of a row is held constant in the gradient.",
        "low_of_width_left_out": "The lowest number's gradient leaves out what it has through the width.",
    },
)  # fmt: skip

# --- root mean square over the first quarter ------------------------------------------------------------------


def partial(switch):
    def count(d):
        if switch == "rounded_down":
            return max(d // 4, 1)
        return -(-d // 4)

    def parts(x):
        head = x[..., : count(x.shape[-1])]
        return head, 1 / np.sqrt((head * head).mean(-1, keepdims=True) + 1e-3)

    def forward(x, gain):
        return gain * x * parts(x)[1]

    def backward(dy, x, gain):
        head, scale = parts(x)
        pull = (dy * gain * x).sum(-1, keepdims=True) * scale**3
        g = dy * gain * scale
        if switch == "all_projected":
            g = g - x * pull / head.shape[-1]
        else:
            g[..., : head.shape[-1]] -= head * pull / (x.shape[-1] if switch == "mean_over_all" else head.shape[-1])
        return {"x": g, "gain": (dy * x * scale).sum(0)}

    return forward, backward


def partial_reference(x, gain):
    head = x[..., : -(-x.shape[-1] // 4)]
    return gain * x / torch.sqrt((head * head).mean(-1, keepdim=True) + 1e-3)


CASES += family(
    "partial_rms", partial, lambda: partial_reference, {"x": ("n", "d"), "params": {"gain": ("d",)}},
    {
        "rounded_down": "A quarter of the width is rounded down, where it is rounded up.",
        "all_projected": "The term through the root mean square goes to all of the row, not to its first quarter.",
        "mean_over_all": "That term is divided by the whole width, not by the quarter that the mean is over.",
    },
)  # fmt: skip

# --- a generalised mean ---------------------------------------------------------------------------------------


def general(switch):
    """(mean of |x|^p)^(1/p), p = 1 + p'²: the mean of sizes for p' = 0."""

    def parts(x, power):
        p = 1 + power**2
        size = np.abs(x)
        mean = (size**p).mean(-1)
        return p, size, mean

    def forward(x, power):
        p, _, mean = parts(x, power)
        return mean ** (1 / p)

    def backward(dy, x, power):
        p, size, mean = parts(x, power)
        safe = np.where(mean > 0, mean, 1.0)
        root = np.where(mean > 0, safe ** (1 / p), 0.0)
        ratio = size / np.where(mean > 0, root, 1.0)[..., None]
        g = np.sign(x) * ratio ** (p - 1) * dy[..., None] / x.shape[-1]
        logs = np.log(size) if switch == "log_of_zero" else np.log(np.where(size > 0, size, 1.0))
        inner = (size**p * logs).mean(-1) / (p * safe)
        outer = root * (inner - np.log(safe) / p**2)
        if switch == "exponent_alone":
            outer = -root * np.log(safe) / p**2
        slope = 2.0 if switch == "slope_at_one" else 2 * power
        return {"x": g, "power": (dy * outer).sum() * slope * np.ones(1)}

    return forward, backward


def general_reference(x, power):
    p = 1 + power**2
    return (x.abs() ** p).mean(-1) ** (1 / p)


CASES += family(
    "generalised_mean", general, lambda: general_reference, {"x": (4, 6), "params": {"power": (1,)}},
    {
        "log_of_zero": "A number that is 0 gives 0 times minus infinity, NaN, in the gradient of the power.",
        "exponent_alone": "The gradient of the power leaves out the power within the mean.",
        "slope_at_one": "The derivative of 1 + p² by p is taken as 2, not as 2p.",
    },
)  # fmt: skip

# --- x + sin²(a x)/a ------------------------------------------------------------------------------------------


def snake(switch):
    def forward(x, rate):
        if switch == "no_limit":
            return x + np.sin(rate * x) ** 2 / rate
        safe = np.where(rate == 0, 1.0, rate)
        return x + np.where(rate == 0, 0.0, np.sin(rate * x) ** 2 / safe)

    def backward(dy, x, rate):
        safe = rate if switch == "no_limit" else np.where(rate == 0, 1.0, rate)
        s2 = np.sin(2 * rate * x)
        g = x * s2 / safe - np.sin(rate * x) ** 2 / safe**2
        if switch == "rate_stays_at_zero":
            g = np.where(rate == 0, 0.0, g)
        elif switch != "no_limit":
            g = np.where(rate == 0, x * x, g)
        return {"x": dy * (1 + s2), "rate": (dy * g).sum(0)}

    def by_sinc(x, rate):
        return x + rate * x**2 * np.sinc(rate * x / np.pi) ** 2

    return (by_sinc if switch == "by_sinc" else forward), backward


def snake_reference(x, rate):
    return x + rate * x**2 * torch.sinc(rate * x / torch.pi) ** 2


CASES += family(
    "snake", snake, lambda: snake_reference, {"x": ("n", "d"), "params": {"rate": ("d",)}},
    {
        "no_limit": "A rate of 0 gives 0/0, where the limit is x.",
        "rate_stays_at_zero": "A rate of 0 gets no gradient, where it is x², and so it stays 0 for ever.",
    },
    right=("right", "by_sinc"),
)  # fmt: skip

# --- a linear layer with standardised weights ----------------------------------------------------------------


def standardised(switch):
    def parts(weight):
        n = weight.shape[1]
        centred = weight - weight.mean(1, keepdims=True)
        ddof = 0 if switch == "over_n" else 1
        scale = 1 / np.sqrt((centred * centred).sum(1, keepdims=True) / (n - ddof) + 1e-4)
        return centred * scale, scale, n - ddof

    def forward(x, weight, gain):
        return x @ parts(weight)[0].T * gain

    def backward(dy, x, weight, gain):
        w, scale, n = parts(weight)
        dw = (dy * gain).T @ x
        through = (dw * w).sum(1, keepdims=True) / (weight.shape[1] if switch == "projection_over_n" else n)
        centred = dw - dw.mean(1, keepdims=True)
        if switch == "not_centred":
            centred = dw
        return {"x": (dy * gain) @ w, "weight": scale * (centred - w * through), "gain": (dy * (x @ w.T)).sum(0)}

    def by_jacobian(dy, x, weight, gain):
        w, scale, n = parts(weight)
        d = weight.shape[1]
        dw = np.einsum("no,o,ni->oi", dy, gain, x)
        jacobian = (np.eye(d) - 1 / d)[None] - np.einsum("oi,oj->oij", w, w) / n
        g = scale * np.einsum("oi,oij->oj", dw, jacobian)
        return {"x": np.einsum("no,o,oi->ni", dy, gain, w), "weight": g, "gain": np.einsum("no,ni,oi->o", dy, x, w)}

    return forward, by_jacobian if switch == "by_jacobian" else backward


def standardised_reference(x, weight, gain):
    centred = weight - weight.mean(1, keepdim=True)
    return x @ (centred / torch.sqrt(weight.var(1, keepdim=True) + 1e-4)).T * gain


CASES += family(
    "standardised_weights", standardised, lambda: standardised_reference,
    {"x": ("n", 5), "params": {"weight": (3, 5), "gain": (3,)}},
    {
        "over_n": "The variance is over n, where it is over n − 1.",
        "projection_over_n": "The projection in the gradient is over n, where the variance is over n − 1.",
        "not_centred": "The gradient is not centred, as the mean is held constant.",
    },
    right=("right", "by_jacobian"),
)  # fmt: skip

# --- mean and deviation over the steps that are kept -----------------------------------------------------------


def statistics(switch):
    def parts(x, kept):
        k = kept.astype(x.dtype)[..., None]
        n = np.maximum(k.sum(1), 1)
        mean = (k * x).sum(1) / n
        d = k * (x - mean[:, None])
        raw = (d * d).sum(1) / n
        return k, n, mean, d, raw

    def forward(x, kept):
        _, _, mean, _, raw = parts(x, kept)
        if switch == "no_least":
            return np.concatenate([mean, np.sqrt(raw)], 1)
        return np.concatenate([mean, np.sqrt(np.maximum(raw, 1e-5))], 1)

    def backward(dy, x, kept):
        k, n, mean, d, raw = parts(x, kept)
        by_mean, by_deviation = np.split(dy, 2, 1)
        held = raw if switch == "no_least" else np.maximum(raw, 1e-5)
        pull = by_deviation / (n * np.sqrt(held))
        if switch not in ("no_least", "passes_below"):
            pull = pull * (raw > 1e-5)
        g = k * (by_mean / n)[:, None] + d * pull[:, None]
        if switch == "unkept_too":
            g = (by_mean / n)[:, None] + (x - mean[:, None]) * pull[:, None]
        return {"x": g}

    return forward, backward


def statistics_reference(x, kept):
    k = kept.to(x.dtype)[..., None]
    n = k.sum(1).clamp(min=1)
    mean = (k * x).sum(1) / n
    raw = (k * (x - mean[:, None]) ** 2).sum(1) / n
    return torch.cat([mean, raw.clamp(min=1e-5).sqrt()], 1)


CASES += family(
    "kept_statistics", statistics, lambda: statistics_reference,
    {"inputs": {"x": ("n", "t", 3), "kept": mask(("n", "t"))}},
    {
        "no_least": "Where one step is kept the deviation is 0, and its gradient 0/0; the variance is at least 1e-5.",
        "passes_below": "Where the variance is held at its least the gradient passes all the same.",
        "unkept_too": "Steps that are not kept get a gradient, too.",
    },
)  # fmt: skip

# --- a table whose token 0 is padding, averaged by counts -----------------------------------------------------


def bag(switch):
    def weights(ids, kind):
        shown = (ids != 0).astype(kind)
        n = shown.sum(1, keepdims=True)
        if switch == "all_counted":
            return shown / np.sqrt(ids.shape[1])
        if switch == "nothing_shown":
            return shown / np.sqrt(n)
        if switch == "padding_shown":
            return np.ones_like(shown) / np.sqrt(np.maximum(n, 1))
        return shown / np.sqrt(np.maximum(n, 1))

    def forward(ids, table):
        return np.einsum("nt,ntd->nd", weights(ids, table.dtype), table[ids])

    def backward(dy, ids, table):
        g = np.zeros_like(table)
        np.add.at(g, ids, weights(ids, table.dtype)[..., None] * dy[:, None])
        return {"table": g}

    return forward, backward


def bag_reference(ids, table):
    shown = (ids != 0).to(table.dtype)
    n = shown.sum(1, keepdim=True).clamp(min=1)
    return ((shown / n.sqrt())[..., None] * table[ids]).sum(1)


CASES += family(
    "bag_of_tokens", bag, lambda: bag_reference, {"inputs": {"ids": indices("v", ("n", "t")), "table": ("v", 4)}},
    {
        "nothing_shown": "A row of padding alone, all 0, is 0/0, NaN, where it gives 0.",
        "all_counted": "The sum is divided by the root of the number of places, not of that of tokens.",
        "padding_shown": "The padding token 0 is added like any other.",
    },
)  # fmt: skip

# --- a highway that is shut at first --------------------------------------------------------------------------


def highway(switch):
    def sigmoid(z):
        return 1 / (1 + np.exp(-z))

    def parts(x, weight, gate):
        return np.tanh(x @ weight.T), sigmoid(x @ gate.T - 2)

    def forward(x, weight, gate):
        h, t = parts(x, weight, gate)
        return x + t * (h - x)

    def backward(dy, x, weight, gate):
        h, t = parts(x, weight, gate)
        dh, dz = dy * t * (1 - h * h), dy * (h - x) * t * (1 - t)
        dx = dy * (1 - t) + dh @ weight + dz @ gate
        if switch == "carry_left_out":
            dx = dh @ weight + dz @ gate
        if switch == "gate_transposed":
            dx = dy * (1 - t) + dh @ weight + dz @ gate.T
        if switch == "both_transposed":
            dx = dy * (1 - t) + dh @ weight.T + dz @ gate
        return {"x": dx, "weight": dh.T @ x, "gate": dz.T @ x}

    return forward, backward


def highway_reference(x, weight, gate):
    t = torch.sigmoid(x @ gate.T - 2)
    return t * torch.tanh(x @ weight.T) + (1 - t) * x


CASES += family(
    "highway", highway, lambda: highway_reference, {"x": ("n", 4), "params": {"weight": (4, 4), "gate": (4, 4)}},
    {
        "carry_left_out": "The gradient that is carried past the layer is left out.",
        "gate_transposed": "The gradient through the gate multiplies by the matrix where its transpose belongs.",
    },
)  # fmt: skip
