"""Softmax and normalisations in other words: in one pass and in two, by matrices, by powers, by logs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)
from torch import nn

from tests.derivations.right.rewritten_parts import layer, softmax

# --- softmax and its kin ----------------------------------------------------------------------------------------------

layer(
    "softmax by logs",
    lambda x: np.exp(x - np.log(np.exp(x).sum(axis=1, keepdims=True))),
    lambda dy, x: softmax(x) * (dy - (dy * softmax(x)).sum(axis=1, keepdims=True)),
    nn.Softmax(1),
    10.0,
)
layer(
    "softmax by its Jacobian",
    softmax,
    lambda dy, x: np.einsum("nij,nj->ni", softmax(x)[:, :, None] * (np.eye(x.shape[1]) - softmax(x)[:, None, :]), dy),
    nn.Softmax(1),
)
layer(
    "softmax in base 2",
    lambda x: (
        np.exp2((x - x.max(axis=1, keepdims=True)) / math.log(2))
        / np.exp2((x - x.max(axis=1, keepdims=True)) / math.log(2)).sum(axis=1, keepdims=True)
    ),
    lambda dy, x: softmax(x) * dy - softmax(x) * (dy * softmax(x)).sum(axis=1, keepdims=True),
    nn.Softmax(1),
)
layer(
    "softmax at temperature, reciprocal",
    lambda x: softmax(x * (1 / 0.7)),
    lambda dy, x: 1 / 0.7 * softmax(x / 0.7) * (dy - (dy * softmax(x / 0.7)).sum(axis=1, keepdims=True)),
    lambda x: torch.softmax(x / 0.7, 1),
)
layer(
    "log-softmax",
    lambda x: np.log(softmax(x)),
    lambda dy, x: dy - dy.sum(axis=1, keepdims=True) * softmax(x),
    nn.LogSoftmax(1),
    10.0,
)
layer(
    "logsumexp by the mean",
    lambda x: np.log(np.exp(x - x.mean(axis=1, keepdims=True)).sum(axis=1)) + x.mean(axis=1),
    lambda dy, x: dy[:, None] * softmax(x),
    lambda x: torch.logsumexp(x, 1),
    10.0,
)

# --- normalisations ---------------------------------------------------------------------------------------------------


def _two_pass(x: Any) -> tuple[Any, Any]:
    c = x - x.mean(axis=1, keepdims=True)
    return c, (c * c).mean(axis=1, keepdims=True)


def _one_pass(x: Any) -> tuple[Any, Any]:
    m = x.mean(axis=1, keepdims=True)
    return x - m, (x * x).mean(axis=1, keepdims=True) - m**2


def _normalized(moments: Any, how: Any, eps: float) -> tuple[Any, Any]:
    def forward(x: Any) -> Any:
        c, v = moments(x)
        return c * how(v + eps)

    def backward(dy: Any, x: Any) -> Any:
        c, v = moments(x)
        r = how(v + eps)
        return r * dy - r * dy.mean(axis=1, keepdims=True) - r**3 * c * (dy * c).mean(axis=1, keepdims=True)

    return forward, backward


_NORM = lambda x: F.layer_norm(x, x.shape[1:], None, None, 1e-5)  # noqa: E731
layer("layer norm, one pass", *_normalized(_one_pass, lambda v: 1 / np.sqrt(v), 1e-5), _NORM)
layer("layer norm by a power", *_normalized(_two_pass, lambda v: v**-0.5, 1e-5), _NORM)
layer("layer norm by logs", *_normalized(_two_pass, lambda v: np.exp(-0.5 * np.log(v)), 1e-5), _NORM)
layer(
    "layer norm by np.var",
    *_normalized(
        lambda x: (x - x.mean(axis=1, keepdims=True), x.var(axis=1, keepdims=True)), lambda v: np.sqrt(1 / v), 1e-5
    ),
    _NORM,
)
layer(
    "layer norm by a matrix",
    *_normalized(
        lambda x: (x @ (np.eye(6) - 1 / 6), ((x @ (np.eye(6) - 1 / 6)) ** 2).sum(axis=1, keepdims=True) / 6),
        lambda v: v**-0.5,
        1e-5,
    ),
    _NORM,
)
layer(
    "rms norm, sums",
    lambda x: x * np.sqrt(6 / ((x**2).sum(axis=1, keepdims=True) + 6e-5)),
    lambda dy, x: (
        (dy - x * (x * dy).sum(axis=1, keepdims=True) / ((x * x).sum(axis=1, keepdims=True) + 6e-5))
        * np.sqrt(6 / ((x**2).sum(axis=1, keepdims=True) + 6e-5))
    ),
    lambda x: F.rms_norm(x, x.shape[1:], None, 1e-5),
)
layer(
    "unit length by a norm",
    lambda x: x / np.linalg.norm(x, axis=1, keepdims=True),
    lambda dy, x: (
        (dy * (x * x).sum(axis=1, keepdims=True) - x * (x * dy).sum(axis=1, keepdims=True))
        / np.linalg.norm(x, axis=1, keepdims=True) ** 3
    ),
    lambda x: x / (x * x).sum(1, keepdim=True).sqrt(),
)
layer(
    "variance in one pass",
    lambda x: (x**2).mean(axis=1) - x.mean(axis=1) ** 2,
    lambda dy, x: dy[:, None] * (2 / 6) * (x - x.mean(axis=1, keepdims=True)),
    lambda x: x.var(1, correction=0),
)
layer(
    "variance by pairs",
    lambda x: ((x[:, :, None] - x[:, None, :]) ** 2).sum(axis=(1, 2)) / (2 * 30),
    lambda dy, x: dy[:, None] * (x[:, :, None] - x[:, None, :]).sum(axis=2) / 15,
    lambda x: x.var(1),
)
