"""Planted faults written after the causes were, to see how far these reach; no cause was changed because of them."""

from __future__ import annotations

import numpy as np
from torch import nn, optim

from benchmarks.catalogue_base import OPTIMIZER, Fault
from benchmarks.catalogue_linear import DB, DW, DX, OUT, activation, linear
from benchmarks.catalogue_losses import G, J, hot, softmax
from benchmarks.catalogue_losses import broken as broken_loss
from benchmarks.catalogue_norms import broken
from benchmarks.catalogue_optimizers import RULE, BrokenRule, torch_rule
from manual import SGD, Adam, AdamW, ReLU, RMSprop, Sigmoid, Tanh


def faults() -> list[Fault]:
    """All of them."""
    rate = {**RULE, "learning_rate": 0.02}
    return [
        linear(
            "dW of the wrong sign, twice as large", {DW: lambda v, s: -2 * v}, {DW: ("sign is flipped", "factor 2")}
        ),
        linear("second half of the batch left out", {DW: lambda v, s: s.dy[:2].T @ s.x[:2]}, {DW: ("example",)}),
        linear("db from x", {DB: lambda v, s: s.x.sum(axis=0)[:5]}, {DB: ("x",)}),
        linear("dx by W / N", {DX: lambda v, s: s.dy @ s.params["weight"] / len(s.x)}, {DX: ("N times too small",)}),
        linear("columns of dW swapped", {DW: lambda v, s: v[:, [1, 0, 2, 3, 4, 5, 6]]}, {DW: ("permuted",)}),
        linear("last row of dx zero", {DX: lambda v, s: np.concatenate([v[:-1], 0 * v[-1:]])}, {DX: ("is zero",)}),
        linear("bias halved", {OUT: lambda v, s: v - s.params["bias"] / 2}, {OUT: ("bias",)}),
        linear("clipped dW", {DW: lambda v, s: np.clip(v, -1, 1)}, {DW: ("clipped",)}),
        linear("dW plus weight decay", {DW: lambda v, s: v + 0.1 * s.params["weight"]}, {DW: ("decay",)}),
        activation("derivative 2 where on", ReLU(), nn.ReLU(), lambda v, s: 2 * v, "factor 2 too much"),
        activation("half the derivative", Tanh(), nn.Tanh(), lambda v, s: v / 2, "factor ½ too much"),
        activation("a(1 + a)", Sigmoid(), nn.Sigmoid(), lambda v, s: s.dy * s.y * (1 + s.y), "1 + y"),
        activation("1 − tanh z", Tanh(), nn.Tanh(), lambda v, s: s.dy * (1 - np.tanh(s.x)), "1 − y"),
        broken("softmax", "y squared", {DX: lambda v, s: s.y * s.y * s.dy}, {DX: ("y²",)}),
        broken("LayerNorm", "bias gradient not summed", {DB: lambda v, s: s.dy * 1}, {DB: ("summed over nothing",)}),
        broken("BatchNorm", "dx over N", {DX: lambda v, s: v / len(s.x)}, {DX: ("N times too small",)}),
        broken("Conv1d", "dx rolled", {DX: lambda v, s: np.roll(v, 1, -1)}, {DX: ("rolled by 1 along axis 2",)}),
        broken(
            "attention scores",
            "dk transposed",
            {"gradient of key": lambda v, s: v.T},
            {"gradient of key": ("transposed",)},
        ),
        broken("SiLU", "z left out", {DX: lambda v, s: v / s.x}, {DX: ("factor z is missing",)}),
        broken_loss("MSE", "2/N for 2/NK", {G: lambda g, z, y: 2 * (z - y) / len(z)}, {G: ("K times too large",)}),
        broken_loss("MSE", "root of the value", {J: lambda v, z, y: np.sqrt(v)}, {J: ("root",)}),
        broken_loss(
            "cross-entropy",
            "temperature 2",
            {G: lambda g, z, y: (softmax(z / 2) - hot(z, y)) / len(z)},
            {G: ("temperature",)},
        ),
        broken_loss(
            "cross-entropy", "label smoothing", {G: lambda g, z, y: g + 0.02 * (hot(z, y) - 0.2)}, {G: ("smooth",)}
        ),
        broken_loss("BCE", "1 − y dropped", {G: lambda g, p, y: (p - y) / p / p.size}, {G: ("1 − ŷ is left out",)}),
        Fault(
            "SGD: a tenth of the step",
            OPTIMIZER,
            BrokenRule(SGD(0.9), lambda r, w, g, s, lr: r.right.update(w, g, s, lr / 10)),
            torch_rule(optim.SGD, momentum=0.9),
            rate,
            {"theta": ("factor of 0.1",)},
        ),
        Fault(
            "Adam: β₂ 0.99 for 0.999",
            OPTIMIZER,
            Adam(0.9, 0.99),
            torch_rule(optim.Adam),
            rate,
            {"theta": ("β₂",), "exp_avg_sq": ("β₂",)},
        ),
        Fault(
            "AdamW: a third of the decay",
            OPTIMIZER,
            AdamW(weight_decay=0.1),
            torch_rule(optim.AdamW, weight_decay=0.3),
            rate,
            {"theta": ("decay",)},
        ),
        Fault(
            "RMSprop: momentum missing, ε missing",
            OPTIMIZER,
            RMSprop(0.9, 0.0),
            torch_rule(optim.RMSprop, alpha=0.9, eps=1e-3, momentum=0.9),
            rate,
            {"theta": ("momentum", "ε is missing"), "momentum_buffer": ("missing",)},
        ),
        Fault(
            "SGD: clipped gradients",
            OPTIMIZER,
            BrokenRule(SGD(), lambda r, w, g, s, lr: r.right.update(w, np.clip(g, -1, 1), s, lr)),
            torch_rule(optim.SGD),
            rate,
            {"theta": ("clipped",)},
        ),
    ]
