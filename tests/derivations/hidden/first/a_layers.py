"""Layers with parameters."""

from __future__ import annotations

import numpy as np
import torch

from handgrad import indices, mask
from tests.derivations.hidden.case import family

CASES = []

# --- a piecewise linear calibration ---------------------------------------------------------------------------

KNOTS = np.array([0.0, 10.0, 20.0, 50.0, 100.0])


def calibrated(switch):
    """Linear between values at the knots, and constant outside of them."""

    def place(x):
        k = np.clip(np.searchsorted(KNOTS, x, side="right") - 1, 0, len(KNOTS) - 2)
        wide = KNOTS[1] - KNOTS[0] if switch == "even_knots" else KNOTS[k + 1] - KNOTS[k]
        share = (x - KNOTS[k]) / wide
        low, high = 0.0, np.inf if switch == "goes_on" else 1.0
        return k, wide, np.clip(share, low, high), (share >= low) & (share <= high)

    def forward(x, values):
        k, _, share, _ = place(x)
        return values[k] + share * (values[k + 1] - values[k])

    def backward(dy, x, values):
        k, wide, share, inside = place(x)
        if switch == "passes_above":
            inside = x >= KNOTS[0]
        by_width = KNOTS[1] - KNOTS[0] if switch == "gradient_with_even_knots" else wide
        g = np.zeros_like(values)
        np.add.at(g, k, dy * (1 - share))
        np.add.at(g, k + 1, dy * share)
        return {"x": dy * inside * (values[k + 1] - values[k]) / by_width, "values": g}

    def forward_by_hats(x, values):
        return hats(x) @ values

    def hats(x):
        c = np.clip(x, KNOTS[0], KNOTS[-1])[..., None]
        before, after = np.append(KNOTS[0] - 1, KNOTS[:-1]), np.append(KNOTS[1:], KNOTS[-1] + 1)
        up, down = (c - before) / (KNOTS - before), (after - c) / (after - KNOTS)
        return np.maximum(np.minimum(up, down), 0)

    def backward_by_hats(dy, x, values):
        slopes = np.append(0.0, np.append(np.diff(values) / np.diff(KNOTS), 0.0))
        k = np.searchsorted(KNOTS, x, side="right")
        k = np.where(x == KNOTS[-1], len(KNOTS) - 1, k)
        return {"x": dy * slopes[k], "values": np.tensordot(dy, hats(x), dy.ndim)}

    return (forward_by_hats, backward_by_hats) if switch == "by_hats" else (forward, backward)


def calibrated_reference(x, values):
    knots = torch.as_tensor(KNOTS, dtype=x.dtype)
    x = torch.where(x < KNOTS[0], KNOTS[0], torch.where(x > KNOTS[-1], KNOTS[-1], x))
    k = (torch.searchsorted(knots, x.detach().contiguous(), right=True) - 1).clamp(0, len(KNOTS) - 2)
    share = (x - knots[k]) / (knots[k + 1] - knots[k])
    return values[k] + share * (values[k + 1] - values[k])


CASES += family(
    "calibration", calibrated, lambda: calibrated_reference, {"x": (4, 5), "params": {"values": (len(KNOTS),)}},
    {
        "even_knots": "All intervals are taken to be 10 wide, where the later ones are 30 and 50.",
        "gradient_with_even_knots": "The slope is over 10 in every interval, where the later ones are 30 and 50 wide.",
        "goes_on": "Above the last knot the last line goes on, where the value stays.",
        "passes_above": "Above the last knot the gradient passes, where the value stays.",
    },
    right=("right", "by_hats"),
)  # fmt: skip

# --- PReLU by channel -----------------------------------------------------------------------------------------


def prelu(switch):
    def slopes(x, weight):
        if switch == "last_axis":
            return weight
        return weight.reshape(1, -1, *[1] * (x.ndim - 2))

    def forward(x, weight):
        return np.where(x > 0, x, slopes(x, weight) * x)

    def backward(dy, x, weight):
        axes = (0,) if switch == "batch_alone" else tuple(i for i in range(x.ndim) if i != 1)
        if switch == "last_axis":
            axes = tuple(range(x.ndim - 1))
        return {"x": np.where(x > 0, dy, slopes(x, weight) * dy), "weight": (dy * np.minimum(x, 0)).sum(axes)}

    def backward_by_signs(dy, x, weight):
        below = np.where(x > 0, 0.0, 1.0)
        g = np.moveaxis(dy * below * x, 1, 0).reshape(len(weight), -1).sum(1)
        return {"x": dy * (1 - below) + dy * below * slopes(x, weight), "weight": g}

    return forward, backward_by_signs if switch == "by_signs" else backward


CASES += family(
    "prelu", prelu, lambda: torch.nn.functional.prelu, {"x": (4, 5), "params": {"weight": (5,)}},
    {
        "last_axis": "The slopes lie along the last axis: of pictures (N, C, H, W) they belong to the channels.",
        "batch_alone": "The slopes' gradient is summed over the batch alone, not over the places of a picture too.",
    },
    right=("right", "by_signs"),
)  # fmt: skip

# --- a linear layer of rows or of sequences -------------------------------------------------------------------


def linear(switch):
    def forward(x, weight, bias):
        return x @ weight.T + bias

    def backward(dy, x, weight, bias):
        rows, inputs = dy.reshape(-1, dy.shape[-1]), x.reshape(-1, x.shape[-1])
        gradient = {"x": dy @ weight, "weight": rows.T @ inputs, "bias": rows.sum(0)}
        if switch == "bias_over_batch":
            gradient["bias"] = dy.sum(0)
        if switch == "first_of_sequence":
            gradient["weight"] = np.einsum("bo,bi->oi", dy.reshape(len(dy), -1, dy.shape[-1])[:, 0],
                                           x.reshape(len(x), -1, x.shape[-1])[:, 0])  # fmt: skip
        return gradient

    return forward, backward


CASES += family(
    "linear", linear, lambda: torch.nn.functional.linear,
    {"x": ("n", 4), "params": {"weight": (3, 4), "bias": (3,)}},
    {
        "bias_over_batch": "The bias's gradient is summed over the first axis alone, of sequences not over the steps.",
        "first_of_sequence": "Of a sequence only the first step gives a gradient of the weight.",
    },
)  # fmt: skip

# --- embedding with a padding token ---------------------------------------------------------------------------

PADDING, WORDS = 1, 2000


def embedded(switch):
    def forward(ids, table):
        return table[ids]

    def backward(dy, ids, table):
        kept = (ids != PADDING).astype(dy.dtype)
        if switch == "padding_learns":
            kept = np.ones(ids.shape)
        if switch == "start_for_padding":
            kept = (ids != 2).astype(dy.dtype)
        g = np.zeros_like(table)
        np.add.at(g, ids, dy * kept[..., None])
        return {"table": g}

    def backward_sorted(dy, ids, table):
        flat, rows = ids.ravel(), dy.reshape(-1, dy.shape[-1])
        g = np.zeros_like(table)
        for token in np.unique(flat):
            if token != PADDING:
                g[token] = rows[flat == token].sum(0)
        return {"table": g}

    return forward, backward_sorted if switch == "by_token" else backward


def embedded_reference(ids, table):
    return torch.nn.functional.embedding(ids, table, padding_idx=PADDING)


CASES += family(
    "embedding", embedded, lambda: embedded_reference, {"inputs": {"ids": indices(WORDS, (2, 3)), "table": (WORDS, 2)}},
    {
        "padding_learns": "The padding token's row gets a gradient.",
        "start_for_padding": "Token 2 is kept from learning, where the padding token is 1.",
    },
    right=("right", "by_token"),
)  # fmt: skip

# --- average over the valid steps, then a linear layer --------------------------------------------------------


def pooled(switch):
    def parts(x, valid):
        v = valid.astype(x.dtype)[..., None]
        count = v.sum(1)
        held = count if switch == "no_least" else np.maximum(count, 1)
        if switch == "mean_of_all":
            v = np.where(count[:, None] == 0, 1.0, v)
            held = v.sum(1)
        return v, held, (v * x).sum(1) / held

    def forward(x, valid, weight):
        return parts(x, valid)[2] @ weight.T

    def backward(dy, x, valid, weight):
        v, held, mean = parts(x, valid)
        return {"x": v * (dy @ weight / held)[:, None], "weight": dy.T @ mean}

    return forward, backward


def pooled_reference(x, valid, weight):
    v = valid.to(x.dtype)[..., None]
    return ((v * x).sum(1) / v.sum(1).clamp(min=1)) @ weight.T


CASES += family(
    "pooled_steps", pooled, lambda: pooled_reference,
    {"inputs": {"x": ("n", "t", 4), "valid": mask(("n", "t"))}, "params": {"weight": (3, 4)}},
    {
        "no_least": "A sequence without a valid step divides 0 by 0.",
        "mean_of_all": "A sequence without a valid step is averaged over all of its steps, where it gives 0.",
    },
)  # fmt: skip

# --- rows of a weight held below a norm -----------------------------------------------------------------------

MOST = 30.0


def held(switch):
    """A linear layer, each row of whose weight is scaled down to norm 30 where it is longer."""

    def parts(weight):
        norm = np.sqrt((weight * weight).sum(1, keepdims=True))
        return norm, np.minimum(1.0, MOST / norm)

    def forward(x, weight):
        _, scale = parts(weight)
        if switch == "not_held":
            return x @ weight.T
        return x @ (weight * scale).T

    def backward(dy, x, weight):
        norm, scale = parts(weight)
        g = dy.T @ x
        if switch == "not_held":
            return {"x": dy @ weight, "weight": g}
        dx = dy @ (weight * scale)
        if switch == "norm_constant":
            return {"x": dx, "weight": g * scale}
        unit = weight / norm
        across = g - unit * (unit * g).sum(1, keepdims=True)
        if switch == "unscaled":
            return {"x": dx, "weight": np.where(norm > MOST, across, g)}
        return {"x": dx, "weight": np.where(norm > MOST, scale * across, g)}

    return forward, backward


def held_reference(x, weight):
    norm = torch.sqrt((weight * weight).sum(1, keepdim=True))
    return x @ (weight * torch.clamp(MOST / norm, max=1.0)).T


CASES += family(
    "max_norm_linear", held, lambda: held_reference, {"x": ("n", 4), "params": {"weight": (3, 4)}},
    {
        "not_held": "Rows of the weight longer than 30 are not scaled down.",
        "norm_constant": "In the gradient of a row longer than 30 its norm is held constant.",
        "unscaled": "The gradient of a row longer than 30 is not scaled by 30 over its norm.",
    },
)  # fmt: skip
