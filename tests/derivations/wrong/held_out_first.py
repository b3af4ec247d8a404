"""Planted faults written after the causes were, to see how far these reach beyond the catalogue.

Of the first set 16 of 29 were named when it was first run, and two were named wrongly; those two were mended (a
factor of its own in every slice now has to be in every slice, and a parameter may be halved), nothing else was.
The second set was written after that, and nothing was changed because of it.
"""

from __future__ import annotations

import numpy as np
from torch import nn, optim

from handgrad.manual import SGD, Adam, AdamW, ReLU, RMSprop, Sigmoid, Tanh
from tests.derivations.case import RULE, Derivation
from tests.derivations.wrong.breaking import planted
from tests.derivations.wrong.linear import DB, DW, DX, OUT, activation, linear
from tests.derivations.wrong.losses import G, J, hot, softmax
from tests.derivations.wrong.losses import broken as broken_loss
from tests.derivations.wrong.norms import broken
from tests.derivations.wrong.optimizers import ARGUMENTS, BrokenRule, torch_rule


def first() -> list[Derivation]:
    """Written after the causes; see above."""
    rate = {**ARGUMENTS, "learning_rate": 0.02}
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
        activation(ReLU(), nn.ReLU(), "derivative 2 where on", lambda v, s: 2 * v, "factor 2 too much"),
        activation(Tanh(), nn.Tanh(), "half the derivative", lambda v, s: v / 2, "factor ½ too much"),
        activation(Sigmoid(), nn.Sigmoid(), "a(1 + a)", lambda v, s: s.dy * s.y * (1 + s.y), "1 + y"),
        activation(Tanh(), nn.Tanh(), "1 − tanh z", lambda v, s: s.dy * (1 - np.tanh(s.x)), "1 − y"),
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
        planted(
            "SGD: a tenth of the step",
            RULE,
            BrokenRule(SGD(0.9), lambda r, w, g, s, lr: r.right.update(w, g, s, lr / 10)),
            torch_rule(optim.SGD, momentum=0.9),
            rate,
            {"theta": ("lr is 0.002, not 0.02",)},
        ),
        planted(
            "Adam: β₂ 0.99 for 0.999",
            RULE,
            Adam(0.9, 0.99),
            torch_rule(optim.Adam),
            rate,
            {"theta": ("β₂",), "exp_avg_sq": ("β₂",)},
        ),
        planted(
            "AdamW: a third of the decay",
            RULE,
            AdamW(weight_decay=0.1),
            torch_rule(optim.AdamW, weight_decay=0.3),
            rate,
            {"theta": ("decay",)},
        ),
        planted(
            "RMSprop: momentum missing, ε missing",
            RULE,
            RMSprop(0.9, 0.0),
            torch_rule(optim.RMSprop, alpha=0.9, eps=1e-3, momentum=0.9),
            rate,
            {"theta": ("momentum", "ε is left out")},
        ),
        planted(
            "SGD: clipped gradients",
            RULE,
            BrokenRule(SGD(), lambda r, w, g, s, lr: r.right.update(w, np.clip(g, -1, 1), s, lr)),
            torch_rule(optim.SGD),
            rate,
            {"theta": ("clipped",)},
        ),
    ]


def second() -> list[Derivation]:
    """Written last; nothing was changed because of them."""
    slices = np.array([0.5, 1.0, 1.0, 1.5, 1.0])[:, np.newaxis]
    return [
        linear("two rows of dW scaled", {DW: lambda v, s: v * slices}, {DW: ("row|slice|index",)}),
        linear("first column of dx zero", {DX: lambda v, s: v * (np.arange(7) > 0)}, {DX: ("is zero",)}),
        linear(
            "sign of one row of dx",
            {DX: lambda v, s: v * np.where(np.arange(len(v)) == 1, -1, 1)[:, np.newaxis]},
            {DX: ("sign is flipped",)},
        ),
        linear("bias three times", {OUT: lambda v, s: v + 2 * s.params["bias"]}, {OUT: ("bias",)}),
        linear("weight doubled", {OUT: lambda v, s: 2 * v - s.params["bias"]}, {OUT: ("weight is doubled",)}),
        linear("dW − db", {DW: lambda v, s: v - s.dy.sum(axis=0)[:, np.newaxis]}, {DW: ("none",)}),
        linear("dx plus δ, square", {DX: lambda v, s: v + s.dy}, {DX: ("none",)}, square=True),
        activation(Tanh(), nn.Tanh(), "1 − |a|", lambda v, s: s.dy * (1 - np.abs(s.y)), "none"),
        activation(Sigmoid(), nn.Sigmoid(), "√g'", lambda v, s: s.dy * np.sqrt(s.y * (1 - s.y)), "none"),
        activation(ReLU(), nn.ReLU(), "threshold at ½", lambda v, s: s.dy * (s.x > 0.5), "none"),
        activation(
            Sigmoid(), nn.Sigmoid(), "minus g' and 1/N", lambda v, s: -v / len(s.x), "sign is", "N times too small"
        ),
        broken(
            "RMSNorm",
            "mean of x for mean of x²",
            {DX: lambda v, s: v * s.x.mean(axis=-1, keepdims=True)},
            {DX: ("slice",)},
        ),
        broken(
            "LayerNorm",
            "twice the centring",
            {DX: lambda v, s: v - v.mean() - (s.dy * s.params["weight"]).mean(axis=-1, keepdims=True)},
            {DX: ("centring",)},
        ),
        broken_loss("half squared", "N − 1 for N", {G: lambda g, z, y: g * len(z) / (len(z) - 1)}, {G: ("N − 1",)}),
        broken_loss("cross-entropy", "cube", {G: lambda g, z, y: g**3}, {G: ("none",)}),
    ]
