"""What stands where a derivative belongs: formulas in z, the argument of an elementwise function, and y, its value."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class Formula(NamedTuple):
    """The numbers of z and y, whether y is in it, and how much less likely than others it is."""

    of: Callable[[Tensor, Tensor], Tensor]
    of_y: bool = False
    less: int = 0


FORMULAS: dict[str, Formula] = {
    "y": Formula(lambda z, y: y, of_y=True),
    "y²": Formula(lambda z, y: y * y, of_y=True),
    "1 − y": Formula(lambda z, y: 1 - y, of_y=True),
    "1 − y²": Formula(lambda z, y: 1 - y * y, of_y=True),
    "y(1 − y)": Formula(lambda z, y: y * (1 - y), of_y=True),
    "z": Formula(lambda z, y: z),
    "z²": Formula(lambda z, y: z * z),
    "1 − z²": Formula(lambda z, y: 1 - z * z),
    "z(1 − z)": Formula(lambda z, y: z * (1 - z)),
    "1 / z": Formula(lambda z, y: 1 / z),
    "1 / y": Formula(lambda z, y: 1 / y, of_y=True),
    "1 / z²": Formula(lambda z, y: 1 / (z * z)),
    "√y": Formula(lambda z, y: y.abs().sqrt(), less=1, of_y=True),
    "1 + y": Formula(lambda z, y: 1 + y, less=1, of_y=True),
    "1 + y²": Formula(lambda z, y: 1 + y * y, less=1, of_y=True),
    "1 − z": Formula(lambda z, y: 1 - z, less=1),
    "1 + z": Formula(lambda z, y: 1 + z, less=1),
    "1 + z²": Formula(lambda z, y: 1 + z * z, less=1),
    "|z|": Formula(lambda z, y: z.abs(), less=1),
    "1 − |y|": Formula(lambda z, y: 1 - y.abs(), less=1, of_y=True),
    "the sign of z": Formula(lambda z, y: z.sign(), less=1),
    "σ(z)": Formula(lambda z, y: torch.sigmoid(z)),
    "σ(−z)": Formula(lambda z, y: 1 - torch.sigmoid(z), less=1),
    "σ(z)(1 − σ(z))": Formula(lambda z, y: torch.sigmoid(z) * (1 - torch.sigmoid(z))),
    "tanh z": Formula(lambda z, y: torch.tanh(z), less=1),
    "1 − tanh² z": Formula(lambda z, y: 1 - torch.tanh(z) ** 2),
    "exp(z)": Formula(lambda z, y: torch.exp(z)),
    "exp(−z)": Formula(lambda z, y: torch.exp(-z), less=1),
    "cos z": Formula(lambda z, y: torch.cos(z)),
    "sin z": Formula(lambda z, y: torch.sin(z)),
    "exp(−z²)": Formula(lambda z, y: torch.exp(-z * z)),
    "[z > 0]": Formula(lambda z, y: (z > 0).to(z)),
    "[z ≤ 0]": Formula(lambda z, y: (z <= 0).to(z), less=1),
}
