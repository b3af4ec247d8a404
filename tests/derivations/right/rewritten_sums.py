"""Sums, products and polynomials in other words: expanded and factored, by logs, as recurrences."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from tests.derivations.right.rewritten_parts import layer, side


def _running(x: Any) -> Any:
    mean = x[:, 0]
    for k in range(1, 6):
        mean = mean + (x[:, k] - mean) / (k + 1)
    return mean


def _welford(x: Any) -> Any:
    mean, total = x[:, 0], 0 * x[:, 0]
    for k in range(1, 6):
        before, mean = mean, mean + (x[:, k] - mean) / (k + 1)
        total = total + (x[:, k] - before) * (x[:, k] - mean)
    return total / 5


# --- sums and products ------------------------------------------------------------------------------------------------

layer(
    "running sum by a matrix",
    lambda x: x @ np.tril(np.ones((6, 6))).T,
    lambda dy, x: dy @ np.tril(np.ones((6, 6))),
    lambda x: torch.cumsum(x, 1),
)
layer(
    "running product",
    lambda x: np.stack([np.prod(x[:, : i + 1], axis=1) for i in range(6)], axis=1),
    lambda dy, x: np.stack(
        [sum(dy[:, i] * np.prod(np.delete(x[:, : i + 1], k, axis=1), axis=1) for i in range(k, 6)) for k in range(6)],
        axis=1,
    ),
    lambda x: torch.cumprod(x, 1),
)
layer(
    "product by logs",
    lambda x: np.exp(np.log(abs(x)).sum(axis=1)),
    lambda dy, x: (dy * np.exp(np.log(abs(x)).sum(axis=1)))[:, None] / x,
    lambda x: x.abs().prod(1),
)
layer(
    "mean of weighted parts",
    lambda x: 0.1 * x[:, :3].sum(axis=1) + 0.9 * x[:, 3:].mean(axis=1),
    lambda dy, x: dy[:, None] * np.array([0.1, 0.1, 0.1, 0.9 / 3, 0.9 / 3, 0.9 / 3]),
    lambda x: x @ torch.tensor([0.1, 0.1, 0.1, 0.3, 0.3, 0.3], dtype=x.dtype),
)
layer("square expanded", lambda x: x * x - 0.6 * x + 0.09, lambda dy, x: dy * (2 * x - 0.6), lambda x: (x - 0.3) ** 2)
layer(
    "cube by Horner",
    lambda x: ((0.1 * x - 0.7) * x + 0.3) * x,
    lambda dy, x: dy * (0.3 - 1.4 * x + 0.3 * x * x),
    lambda x: 0.1 * x**3 - 0.7 * x**2 + 0.3 * x,
)
layer("difference of squares", lambda x: (x - 0.3) * (x + 0.3), lambda dy, x: 2 * x * dy, lambda x: x**2 - 0.09)
layer(
    "mixed by 1 - p",
    lambda x: (1 - 0.999) * x + 0.999 * np.tanh(x),
    lambda dy, x: dy * (1 - 0.999 * np.tanh(x) ** 2),
    lambda x: torch.lerp(x, torch.tanh(x), 0.999),
)
layer(
    "scale by a power", lambda x: x * 0.9**10, lambda dy, x: dy * np.prod(np.full(10, 0.9)), lambda x: x * 0.3486784401
)
layer(
    "scale by logs",
    lambda x: x * np.exp(10 * np.log(0.9)),
    lambda dy, x: dy * math.exp(10 * math.log(0.9)),
    lambda x: x * 0.3486784401,
)
layer(
    "positions precomputed",
    lambda x: x * np.sin(np.arange(6) * 0.3),
    lambda dy, x: dy * np.sin(0.3 * np.arange(6.0)),
    lambda x: x * torch.sin(torch.arange(6, dtype=x.dtype) * 0.3),
)

layer(
    "centred by pairs",
    lambda x: (x[:, :, None] - x[:, None, :]).mean(axis=2),
    lambda dy, x: dy - dy.mean(axis=1, keepdims=True),
    lambda x: x - x.mean(1, keepdim=True),
)
layer(
    "cosine by the law",
    lambda x: (
        ((x[:, :3] ** 2).sum(axis=1) + (x[:, 3:] ** 2).sum(axis=1) - ((x[:, :3] - x[:, 3:]) ** 2).sum(axis=1)) / 2
    ),
    lambda dy, x: dy[:, None] * np.concatenate([x[:, 3:], x[:, :3]], axis=1),
    lambda x: (x[:, :3] * x[:, 3:]).sum(1),
)
layer(
    "geometric mean by logs",
    lambda x: np.exp(np.log(x * x).mean(axis=1) / 2),
    lambda dy, x: (dy * np.exp(np.log(x * x).mean(axis=1) / 2))[:, None] / 6 / x,
    lambda x: x.abs().prod(1) ** (1 / 6),
    10.0,
)
layer(
    "harmonic mean",
    lambda x: 6 / (1 / abs(x)).sum(axis=1),
    lambda dy, x: (dy / (1 / abs(x)).sum(axis=1) ** 2)[:, None] * 6 / x**2 * np.sign(x),
    lambda x: 1 / (1 / x.abs()).mean(1),
)
layer(
    "swish by tanh, β",
    lambda x: 0.5 * x * (1 + np.tanh(0.85 * x)),
    lambda dy, x: 0.5 * dy * (1 + np.tanh(0.85 * x) + 0.85 * x * (1 - np.tanh(0.85 * x) ** 2)),
    lambda x: x * torch.sigmoid(1.7 * x),
)
layer(
    "arctan by the other angle",
    lambda x: side(x) * (math.pi / 2) - np.arctan(1 / x),
    lambda dy, x: dy / x**2 / (1 + 1 / x**2),
    torch.atan,
)
layer(
    "square root by logs",
    lambda x: np.exp(0.5 * np.log(abs(x))),
    lambda dy, x: dy * 0.5 * np.exp(-0.5 * np.log(abs(x))) * np.sign(x),
    lambda x: x.abs().sqrt(),
)
layer(
    "power by logs",
    lambda x: np.exp(1.7 * np.log(abs(x))),
    lambda dy, x: dy * 1.7 * np.exp(1.7 * np.log(abs(x))) / x,
    lambda x: x.abs() ** 1.7,
)
layer(
    "sinc, reciprocal",
    lambda x: np.sin(math.pi * x) * (1 / (math.pi * x)),
    lambda dy, x: dy * (math.pi * x * np.cos(math.pi * x) - np.sin(math.pi * x)) / (math.pi * x**2),
    torch.sinc,
    1.0,
)
layer(
    "sine doubled",
    lambda x: 2 * np.sin(x) * np.cos(x),
    lambda dy, x: dy * (2 - 4 * np.sin(x) ** 2),
    lambda x: torch.sin(2 * x),
    1e3,
)
layer(
    "log of a quotient",
    lambda x: np.log(abs(x[:, :3] / x[:, 3:])),
    lambda dy, x: np.concatenate([dy / x[:, :3], -dy / x[:, 3:]], axis=1),
    lambda x: x[:, :3].abs().log() - x[:, 3:].abs().log(),
)
layer(
    "linear, recentred",
    lambda x: (x - 0.4) @ np.full((6, 2), 0.3) + 0.72,
    lambda dy, x: dy @ np.full((2, 6), 0.3),
    lambda x: x @ torch.full((6, 2), 0.3, dtype=x.dtype),
)
layer(
    "average by a running mean",
    lambda x: _running(x),
    lambda dy, x: dy[:, None] * np.full(6, 1 / 6),
    lambda x: x.mean(1),
)
layer(
    "variance by Welford",
    lambda x: _welford(x),
    lambda dy, x: dy[:, None] * (x - x.mean(axis=1, keepdims=True)) / 2.5,
    lambda x: x.var(1),
)
