"""Limits on computed numbers, limits by feature, special parameters, shapes that meet, several outputs."""

import numpy as np
import torch

from tests.derivations.hidden.case import family

CASES = []


# --- no longer than a radius ---------------------------------------------------------------------------------

RADIUS = 100.0


def shortened(switch):
    def forward(x):
        n = np.sqrt((x * x).sum(-1, keepdims=True))
        y = x * (RADIUS / np.maximum(n, RADIUS))
        return y, (x, n)

    def backward(dy, cache):
        x, n = cache
        scale = RADIUS / np.maximum(n, RADIUS)
        if switch == "scale_constant":
            return dy * scale
        if switch == "straight_through":
            return dy
        u = x / np.maximum(n, RADIUS)
        if switch == "not_squared":  # the unit vector once
            return scale * (dy - np.where(n >= RADIUS, u * dy, 0))
        return scale * (dy - np.where(n >= RADIUS, u * (u * dy).sum(-1, keepdims=True), 0))

    return forward, backward


def shortened_reference():
    return lambda x: x * (RADIUS / torch.linalg.vector_norm(x, dim=-1, keepdim=True).clamp(min=RADIUS))


CASES += family(
    "no_longer_than", shortened, shortened_reference, {"x": ("n", 8)},
    {
        "scale_constant": "Vectors longer than 100 are shortened, but the factor is held constant in backward.",
        "straight_through": "The gradient of a vector longer than 100 passes as if it were not shortened.",
        "not_squared": "Beyond the radius u ⊙ dy is taken off where u (u·dy) belongs.",
    },
)  # fmt: skip


# --- limits of their own for each feature --------------------------------------------------------------------

LOW, HIGH = np.array([-90.0, -60.0, -45.0, -30.0]), np.array([90.0, 120.0, 45.0, 60.0])


def joints(switch):
    def forward(x, gain):
        y = np.minimum(x, HIGH.astype(x.dtype))
        return gain * (y if switch == "upper_only" else np.maximum(y, LOW.astype(x.dtype)))

    def backward(dy, x, gain):
        inside = (x >= LOW) & (x <= HIGH)
        y = np.clip(x, LOW.astype(x.dtype), HIGH.astype(x.dtype))
        if switch == "upper_only":
            inside, y = x <= HIGH, np.minimum(x, HIGH.astype(x.dtype))
        dx = gain * dy
        return {"x": dx if switch == "straight_through" else dx * inside,
                "gain": (dy * (x if switch == "gain_of_raw" else y)).sum(0)}  # fmt: skip

    return forward, backward


def joints_reference():
    def reference(x, gain):
        low, high = (torch.tensor(limit, dtype=x.dtype) for limit in (LOW, HIGH))
        return gain * torch.where(x < low, low, torch.where(x > high, high, x))

    return reference


CASES += family(
    "limits_by_feature", joints, joints_reference, {"inputs": {"x": ("n", 4)}, "params": {"gain": (4,)}},
    {
        "straight_through": "Beyond a feature's limits the gradient passes as if it were not held there.",
        "upper_only": "The lower limits are forgotten in both passes.",
        "gain_of_raw": "The gain's gradient uses x where the limited x was multiplied.",
    },
)  # fmt: skip


# --- piecewise linear, by knots ------------------------------------------------------------------------------

KNOTS = np.array([-60.0, -30.0, 0.0, 30.0, 60.0])


def spline(switch):
    def cell(x):
        c = np.searchsorted(KNOTS, x, "right") - 1
        return np.minimum(np.maximum(c, 0), len(KNOTS) - 2)

    def forward(x, heights):
        c = cell(x)
        s = ((x - KNOTS[c]) / (KNOTS[c + 1] - KNOTS[c])).astype(x.dtype)
        if switch == "flat_ends":
            s = np.minimum(np.maximum(s, 0), 1)
        return heights[c] * (1 - s) + heights[c + 1] * s, (x, heights, c, s)

    def backward(dy, cache):
        x, heights, c, s = cache
        slope = (heights[c + 1] - heights[c]) / (KNOTS[c + 1] - KNOTS[c])
        if switch == "flat_ends":
            slope = np.where((x >= KNOTS[0]) & (x <= KNOTS[-1]), slope, 0)
        elif switch == "slope_outside":
            slope = np.where((x >= KNOTS[0]) & (x <= KNOTS[-1]), slope, 0)
        dh = np.zeros_like(heights)
        w = np.minimum(np.maximum(s, 0), 1) if switch == "weights_held" else s
        np.add.at(dh, c, dy * (1 - w))
        np.add.at(dh, c + 1, dy * w)
        return {"x": (dy * slope).astype(x.dtype), "heights": dh}

    return forward, backward


def spline_reference():
    def reference(x, heights):
        knots = torch.tensor(KNOTS, dtype=x.dtype)
        c = (torch.bucketize(x.detach(), knots, right=True) - 1).clamp(0, len(KNOTS) - 2)
        s = (x - knots[c]) / (knots[c + 1] - knots[c])
        return torch.lerp(heights[c], heights[c + 1], s)

    return reference


CASES += family(
    "by_knots", spline, spline_reference, {"inputs": {"x": ("n", 5)}, "params": {"heights": (5,)}},
    {
        "flat_ends": "Beyond the outermost knots, ±60, the function is flat where it goes on in a straight line.",
        "slope_outside": "Beyond the outermost knots the slope is 0 although the function goes on.",
        "weights_held": "Beyond the outermost knots the heights' gradients use weights that are held within 0 and 1.",
    },
)  # fmt: skip


# --- a product of parameters ---------------------------------------------------------------------------------


def chained(switch):
    def forward(x, scales):
        return x * np.prod(scales)

    def backward(dy, x, scales):
        p, total = np.prod(scales), (dy * x).sum()
        if switch == "ratio":
            each = p / scales
        elif switch == "zero_where_zero":
            each = np.where(scales == 0, 0, p / np.where(scales == 0, 1, scales))
        elif switch == "left_out":
            each = np.array([np.prod(np.delete(scales, i)) for i in range(len(scales))])
        else:
            before = np.concatenate([np.ones(1, x.dtype), np.cumprod(scales[:-1])])
            after = np.concatenate([np.cumprod(scales[:0:-1])[::-1], np.ones(1, x.dtype)])
            each = before * after
        return {"x": dy * p, "scales": total * each}

    return forward, backward


CASES += family(
    "product_of_scales", chained, lambda: lambda x, scales: x * scales.prod(),
    {"inputs": {"x": ("n", 4)}, "params": {"scales": (5,)}},
    {
        "ratio": "The product over a scale divides by it: NaN where a scale is 0.",
        "zero_where_zero": "A scale of 0 gets the gradient 0 where it is the product of the others.",
    },
    right=("right", "left_out"),
)  # fmt: skip


# --- branches that begin at zero -----------------------------------------------------------------------------


def rezero(switch):
    def forward(x, weight, alpha):
        if switch == "skipped_at_zero" and not np.any(alpha):
            return x.copy()
        return x + alpha * np.tanh(x @ weight)

    def backward(dy, x, weight, alpha):
        if switch == "skipped_at_zero" and not np.any(alpha):
            return {"x": dy.copy(), "weight": np.zeros_like(weight), "alpha": np.zeros_like(alpha)}
        h = np.tanh(x @ weight)
        if switch == "from_the_output":  # h again, from y − x
            h = (x + alpha * h - x) / alpha
        da = alpha * dy * (1 - h * h)
        return {"x": dy + da @ weight.T, "weight": x.T @ da, "alpha": (dy * h).sum(0)}

    return forward, backward


CASES += family(
    "gated_branch", rezero, lambda: lambda x, weight, alpha: x + alpha * torch.tanh(x @ weight),
    {"inputs": {"x": ("n", 5)}, "params": {"weight": (5, 5), "alpha": (5,)}},
    {
        "skipped_at_zero": "Where all gates are 0, as at the start, they get no gradient and never open.",
        "from_the_output": "Backward divides by the gate to have the branch again: NaN for a gate of 0.",
    },
)  # fmt: skip


def low_rank(switch):
    def forward(x, weight, down, up):
        y = x @ weight
        if switch == "not_begun" and not up.any():
            return y
        return y + 2.0 * (x @ down) @ up

    def backward(dy, x, weight, down, up):
        found = {"x": dy @ weight.T, "weight": x.T @ dy, "down": np.zeros_like(down), "up": np.zeros_like(up)}
        if switch == "not_begun" and not up.any():
            return found
        du = 2.0 * dy @ up.T
        found["x"] = found["x"] + du @ down.T
        found["down"], found["up"] = x.T @ du, 2.0 * (x @ down).T @ dy
        return found

    return forward, backward


CASES += family(
    "low_rank_addition", low_rank, lambda: lambda x, weight, down, up: x @ weight + 2.0 * (x @ down) @ up,
    {"inputs": {"x": ("n", 6)}, "params": {"weight": (6, 4), "down": (6, 2), "up": (2, 4)}},
    {"not_begun": "While `up` is all 0, as it begins, it gets no gradient and stays 0 for ever."},
)  # fmt: skip


# --- softplus of a parameter ---------------------------------------------------------------------------------


def step_sizes(switch):
    def rate_of(raw):
        rate = np.maximum(raw, 0) + np.log1p(np.exp(-np.abs(raw)))
        return np.where(raw > 8, raw, rate) if switch == "linear_above_8" else rate

    def forward(x, raw):
        return x * rate_of(raw)

    def backward(dy, x, raw):
        slope = 0.5 * (1 + np.tanh(0.5 * raw))
        if switch == "linear_above_8":
            slope = np.where(raw > 8, 1.0, slope)
        elif switch == "saturates":
            slope = np.where(raw < -6, 0.0, slope)
        return {"x": dy * rate_of(raw), "raw": (dy * x).sum(0) * slope}

    return forward, backward


CASES += family(
    "learned_rates", step_sizes, lambda: lambda x, raw: x * torch.logaddexp(raw, torch.zeros_like(raw)),
    {"inputs": {"x": ("n", 5)}, "params": {"raw": (5,)}},
    {
        "linear_above_8": "A parameter above 8 is its own rate, with the slope 1: off by e⁻⁸.",
        "saturates": "A parameter below −6 gets no gradient, so that it never comes back.",
    },
)  # fmt: skip


# --- the same size in and out --------------------------------------------------------------------------------


def shortcut(switch):
    def forward(x, weight):
        h = x @ weight
        if x.shape[-1] != h.shape[-1]:
            return np.maximum(h, 0)
        return np.maximum(h + x, 0) if switch == "added_before" else np.maximum(h, 0) + x

    def backward(dy, x, weight):
        h = x @ weight
        if switch == "added_before" and x.shape[-1] == h.shape[-1]:
            h = h + x
        dh = dy * (h > 0)
        dx = dh @ weight.T
        if x.shape[-1] == h.shape[-1] and switch != "not_passed_on":
            dx = dx + (dh if switch == "added_before" else dy)
        return dx, x.T @ dh

    return forward, backward


def shortcut_reference():
    def reference(x, weight):
        h = torch.relu(x @ weight)
        return h + x if h.shape == x.shape else h

    return reference


CASES += family(
    "shortcut", shortcut, shortcut_reference, {"inputs": {"x": ("n", "d")}, "params": {"weight": ("d", "e")}},
    {
        "not_passed_on": "As wide out as in, dx lacks the gradient that comes by the shortcut.",
        "added_before": "As wide out as in, x is added before the ReLU where it is added after it.",
    },
)  # fmt: skip


def oriented(switch):
    def forward(x, weight):
        if switch == "guessed":
            return x @ weight if weight.shape[0] == x.shape[-1] else x @ weight.T
        return x @ weight.T

    def backward(dy, x, weight):
        if switch == "guessed":
            turned = weight.shape[0] != x.shape[-1]
            return (dy @ weight, dy.T @ x) if turned else (dy @ weight.T, x.T @ dy)
        dw = x.T @ dy
        if switch == "turned_to_fit":
            return dy @ weight, dw if dw.shape == weight.shape else dw.T
        return dy @ weight, dw.T

    return forward, backward


CASES += family(
    "linear_map", oriented, lambda: torch.nn.functional.linear,
    {"inputs": {"x": ("n", "d")}, "params": {"weight": ("e", "d")}},
    {
        "guessed": "Whether the weights are transposed is told by their shape: square ones are not, and should be.",
        "turned_to_fit": "dW is transposed where its shape does not fit: for square weights it stays transposed.",
    },
)  # fmt: skip


# --- several outputs -----------------------------------------------------------------------------------------


def moments(switch):
    def forward(x):
        mean = x.mean(1)
        c = x - mean[:, None]
        return {"mean": mean, "spread": np.sqrt((c * c).mean(1)), "top": x.max(1)}

    def backward(d, x):
        n = x.shape[1]
        c = x - x.mean(1, keepdims=True)
        spread = np.sqrt((c * c).mean(1, keepdims=True))
        over = spread if switch == "alike" else np.where(spread == 0, 1.0, spread)
        hit = x == x.max(1, keepdims=True)
        share = (hit / hit.sum(1, keepdims=True)).astype(x.dtype)
        return d["mean"][:, None] / n + d["spread"][:, None] * c / over / n + d["top"][:, None] * share

    return forward, backward


def moments_reference():
    return lambda x: {"mean": x.mean(1), "spread": x.std(1, correction=0), "top": x.amax(1)}


CASES += family(
    "three_outputs", moments, moments_reference, {"x": (4, 5)},
    {"alike": "Where all elements are alike the spread's gradient is 0/0, NaN, and not 0."},
)  # fmt: skip
