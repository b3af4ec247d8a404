"""Activations in other words: by absolute values, by tanh, by logs, with other constants."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)
from torch import nn

from tests.derivations.right.rewritten_parts import layer, side, sigmoid

# --- kinks and constants ----------------------------------------------------------------------------------------------

layer(
    "leaky relu by abs",
    lambda x: 0.55 * x + 0.45 * abs(x),
    lambda dy, x: dy * (0.55 + 0.45 * side(x)),
    nn.LeakyReLU(0.1),
)
layer(
    "leaky relu by abs, slope 0.01",
    lambda x: 0.505 * x + 0.495 * np.abs(x),
    lambda dy, x: dy * (0.505 + 0.495 * np.sign(x)),
    nn.LeakyReLU(0.01),
)
layer(
    "leaky relu, 1 - 0.99",
    lambda x: np.where(x > 0, x, x * (1 - 0.99)),
    lambda dy, x: np.where(x > 0, dy, dy * (1 - 0.99)),
    nn.LeakyReLU(0.01),
)
layer(
    "leaky relu by a mask",
    lambda x: x * ((x > 0) + 0.1 * (x <= 0)),
    lambda dy, x: dy * ((x > 0) + 0.1 * (x <= 0)),
    nn.LeakyReLU(0.1),
)
layer(
    "leaky relu, slope from 1",
    lambda x: x - 0.9 * np.minimum(x, 0),
    lambda dy, x: dy - 0.9 * dy * (x < 0),
    nn.LeakyReLU(0.1),
)
layer(
    "leaky relu divided",
    lambda x: np.where(x > 0, x, x / 10),
    lambda dy, x: dy / np.where(x > 0, 1, 10),
    nn.LeakyReLU(0.1),
)
layer(
    "hard sigmoid by clip", lambda x: np.clip(x / 6 + 0.5, 0, 1), lambda dy, x: dy * (abs(x) < 3) / 6, nn.Hardsigmoid()
)
layer(
    "hard sigmoid by relus",
    lambda x: (np.maximum(x + 3, 0) - np.maximum(x - 3, 0)) / 6,
    lambda dy, x: dy * ((x > -3).astype(float) - (x > 3)) / 6.0,
    nn.Hardsigmoid(),
    10.0,
)
layer(
    "hard swish thirds",
    lambda x: x * np.clip(x + 3, 0, 6) * (1 / 6),
    lambda dy, x: dy * np.where(x > 3, 1.0, np.where(x < -3, 0.0, x * (1 / 3) + 0.5)),
    nn.Hardswish(),
)
layer(
    "elu by expm1",
    lambda x: np.where(x > 0, x, 0.7 * np.expm1(np.minimum(x, 0))),
    lambda dy, x: dy * np.where(x > 0, 1.0, 0.7 * np.exp(np.minimum(x, 0))),
    nn.ELU(0.7),
)
layer(
    "selu with its constants",
    lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(np.minimum(x, 0))),
    lambda dy, x: dy * np.where(x > 0, 1.0507009873554805, 1.7580993408473766 * np.exp(np.minimum(x, 0))),
    nn.SELU(),
)

# --- sigmoids ---------------------------------------------------------------------------------------------------------

layer("sigmoid by tanh", sigmoid, lambda dy, x: dy * 0.25 * (1 - np.tanh(x / 2) ** 2), torch.sigmoid)
layer("sigmoid by cosh", lambda x: 1 / (1 + np.exp(-x)), lambda dy, x: dy / (2 + 2 * np.cosh(x)), torch.sigmoid, 10.0)
layer(
    "sigmoid by logs",
    lambda x: np.exp(-np.logaddexp(0, -x)),
    lambda dy, x: dy * np.exp(-np.logaddexp(0, x) - np.logaddexp(0, -x)),
    torch.sigmoid,
)
layer(
    "tanh by sigmoid",
    lambda x: 2 * sigmoid(2 * x) - 1,
    lambda dy, x: 4 * dy * sigmoid(2 * x) * sigmoid(-2 * x),
    torch.tanh,
)
layer(
    "tanh by expm1",
    lambda x: np.expm1(2 * x) / (np.expm1(2 * x) + 2),
    lambda dy, x: dy / np.cosh(x) ** 2,
    torch.tanh,
    10.0,
)
layer(
    "silu by tanh",
    lambda x: x / 2 + x / 2 * np.tanh(x / 2),
    lambda dy, x: dy * (sigmoid(x) + x * sigmoid(x) * sigmoid(-x)),
    F.silu,
)
layer(
    "softplus by log1p",
    lambda x: np.maximum(x, 0) + np.log1p(np.exp(-abs(x))),
    lambda dy, x: dy * sigmoid(x),
    nn.Softplus(threshold=1e9),
    10.0,
)
layer(
    "softplus, beta divided",
    lambda x: np.logaddexp(0, 3 * x) * (1 / 3),
    lambda dy, x: dy / (1 + np.exp(-3 * x)),
    nn.Softplus(3, threshold=1e9),
    10.0,
)
layer("log sigmoid", lambda x: -np.log1p(np.exp(-x)), lambda dy, x: dy * (1 - sigmoid(x)), F.logsigmoid, 10.0)
layer(
    "mish by powers",
    lambda x: x * ((1 + np.exp(x)) ** 2 - 1) / ((1 + np.exp(x)) ** 2 + 1),
    lambda dy, x: dy * (np.tanh(np.log1p(np.exp(x))) + x * sigmoid(x) / np.cosh(np.log1p(np.exp(x))) ** 2),
    F.mish,
    10.0,
)
_C = math.sqrt(2 / math.pi)
layer(
    "gelu by tanh, factored",
    lambda x: x * sigmoid(2 * _C * x * (1 + 0.044715 * x**2)),
    lambda dy, x: (
        dy
        * (
            sigmoid(2 * _C * (x + 0.044715 * x**3))
            + x
            * sigmoid(2 * _C * (x + 0.044715 * x**3))
            * sigmoid(-2 * _C * (x + 0.044715 * x**3))
            * 2
            * _C
            * (1 + 0.134145 * x * x)
        )
    ),
    nn.GELU("tanh"),
    1e3,
)
