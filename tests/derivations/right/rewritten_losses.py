"""Losses in other words: squares multiplied out, by norms, by clipping, by logs."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)
from torch import nn

from tests.derivations.right.rewritten_parts import loss, sigmoid, softmax

loss(
    "squares expanded",
    lambda o, t: ((o * o).sum() - 2 * (o * t).sum() + (t * t).sum()) / o.size,
    lambda o, t: o * (2 / o.size) - t * (2 / o.size),
    nn.MSELoss(),
)
loss(
    "mse by a norm",
    lambda o, t: np.linalg.norm((o - t).ravel()) ** 2 / o.size,
    lambda o, t: (o - t) / (o.size / 2),
    nn.MSELoss(),
)
loss(
    "huber by clip",
    lambda o, t: (np.clip(o - t, -0.6, 0.6) * (o - t) - np.clip(o - t, -0.6, 0.6) ** 2 / 2).mean(),
    lambda o, t: np.clip(o - t, -0.6, 0.6) / o.size,
    nn.HuberLoss(delta=0.6),
)
loss(
    "smooth l1 by maxima",
    lambda o, t: (abs(o - t) - 0.15 + np.maximum(0.3 - abs(o - t), 0) ** 2 / 0.6).mean(),
    lambda o, t: np.clip((o - t) / 0.3, -1, 1) / o.size,
    nn.SmoothL1Loss(beta=0.3),
)
loss(
    "l1 by a sign",
    lambda o, t: ((o - t) * np.sign(o - t)).sum() / o.size,
    lambda o, t: np.where(o > t, 1, -1) / o.size,
    nn.L1Loss(),
)
loss(
    "log cosh by logs",
    lambda o, t: (abs(o - t) + np.log1p(np.exp(-2 * abs(o - t))) - math.log(2)).mean(),
    lambda o, t: np.tanh(o - t) / o.size,
    lambda o, t: torch.log(torch.cosh(o - t)).mean(),
    10.0,
)
loss(
    "pinball by abs",
    lambda o, t: (0.5 * abs(t - o) + 0.3 * (t - o)).mean(),
    lambda o, t: (-0.3 - 0.5 * np.sign(t - o)) / o.size,
    lambda o, t: torch.maximum(0.8 * (t - o), -0.2 * (t - o)).mean(),
)
loss(
    "cross-entropy, unshifted",
    lambda o, t: (np.log(np.exp(o).sum(axis=1)) - o[np.arange(3), t]).mean(),
    lambda o, t: (softmax(o) - np.eye(6)[t]) / 3,
    nn.CrossEntropyLoss(),
    10.0,
)
loss(
    "cross-entropy, smoothed",
    lambda o, t: -(np.log(softmax(o)) * (0.9 * np.eye(6)[t] + 0.1 / 6)).sum() / 3,
    lambda o, t: (softmax(o) - 0.9 * np.eye(6)[t] - 0.1 / 6) / 3,
    nn.CrossEntropyLoss(label_smoothing=0.1),
    10.0,
)
loss(
    "bce by log1p",
    lambda o, t: (np.maximum(o, 0) - o * t + np.log1p(np.exp(-abs(o)))).mean(),
    lambda o, t: (sigmoid(o) - t) / o.size,
    nn.BCEWithLogitsLoss(),
)
loss(
    "bce by tanh",
    lambda o, t: -(t * np.log(sigmoid(o)) + (1 - t) * np.log(sigmoid(-o))).mean(),
    lambda o, t: (0.5 * np.tanh(o / 2) + (0.5 - t)) / o.size,
    nn.BCEWithLogitsLoss(),
    1.0,
)
loss(
    "hinge squared by halves",
    lambda o, t: ((np.abs(1 - o * t) + 1 - o * t) ** 2 / 4).mean(),
    lambda o, t: -t * (np.abs(1 - o * t) + 1 - o * t) / o.size,
    lambda o, t: (torch.relu(1 - o * t) ** 2).mean(),
)
loss(
    "poisson expanded",
    lambda o, t: np.exp(o).mean() - (t * o).mean(),
    lambda o, t: (np.exp(o) - t) * (1 / o.size),
    nn.PoissonNLLLoss(),
    10.0,
)


loss(
    "cosine loss by a norm",
    lambda o, t: (1 - (o * t).sum(axis=1) / np.sqrt((o**2).sum(axis=1) * (t**2).sum(axis=1))).mean(),
    lambda o, t: (
        (o * ((o * t).sum(axis=1) / (o * o).sum(axis=1))[:, None] - t)
        / (3 * np.linalg.norm(o, axis=1) * np.linalg.norm(t, axis=1))[:, None]
    ),
    lambda o, t: 1 - F.cosine_similarity(o, t).mean(),
)
loss(
    "focal by powers",
    lambda o, t: (np.exp(2 * np.log(1 - softmax(o)[np.arange(3), t])) * -np.log(softmax(o)[np.arange(3), t])).mean(),
    lambda o, t: (lambda p, q: ((1 - q) * (2 * q * np.log(q) - (1 - q)) / 3)[:, None] * (np.eye(6)[t] - p))(
        softmax(o), softmax(o)[np.arange(3), t]
    ),
    lambda o, t: ((1 - F.softmax(o, 1)[range(3), t]) ** 2 * F.cross_entropy(o, t, reduction="none")).mean(),
    1.0,
)
loss(
    "gaussian likelihood",
    lambda o, t: 0.5 * np.log(2 * math.pi * 0.3) + ((o - t) ** 2).mean() / 0.6,
    lambda o, t: (o - t) / 0.3 / o.size,
    lambda o, t: -torch.distributions.Normal(o, 0.3**0.5).log_prob(t).mean(),
)
loss(
    "kl of softmaxes",
    lambda o, t: (softmax(t) * (np.log(softmax(t)) - np.log(softmax(o)))).sum() / 3,
    lambda o, t: (softmax(o) - softmax(t)) / 3,
    lambda o, t: F.kl_div(F.log_softmax(o, 1), F.softmax(t, 1), reduction="batchmean"),
    10.0,
)
loss(
    "soft margin by logaddexp",
    lambda o, t: np.logaddexp(0, -o * t).mean(),
    lambda o, t: -t * sigmoid(-o * t) / o.size,
    nn.SoftMarginLoss(),
    10.0,
)
