"""What stands where a derivative belongs: formulas in z, the argument of an elementwise function, and y, its value."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from handgrad.compare.diagnosis.graph.record.trace import Tensor


def formulas(z: Tensor, y: Tensor) -> Iterator[tuple[int, str, Tensor]]:
    """(how unlikely, the words, the numbers)."""
    s, t = torch.sigmoid(z), torch.tanh(z)
    yield from (
        (0, "y", y),
        (0, "y²", y * y),
        (0, "1 − y", 1 - y),
        (0, "1 − y²", 1 - y * y),
        (0, "y(1 − y)", y * (1 - y)),
        (0, "z", z),
        (0, "z²", z * z),
        (0, "1 − z²", 1 - z * z),
        (0, "z(1 − z)", z * (1 - z)),
        (0, "1 / z", 1 / z),
        (0, "1 / y", 1 / y),
        (0, "1 / z²", 1 / (z * z)),
        (1, "√y", y.abs().sqrt()),
        (1, "1 + y", 1 + y),
        (1, "1 + y²", 1 + y * y),
        (1, "1 − z", 1 - z),
        (1, "1 + z", 1 + z),
        (1, "1 + z²", 1 + z * z),
        (1, "|z|", z.abs()),
        (1, "1 − |y|", 1 - y.abs()),
        (1, "the sign of z", z.sign()),
        (0, "σ(z)", s),
        (1, "σ(−z)", 1 - s),
        (0, "σ(z)(1 − σ(z))", s * (1 - s)),
        (1, "tanh z", t),
        (0, "1 − tanh² z", 1 - t * t),
        (0, "exp(z)", torch.exp(z)),
        (1, "exp(−z)", torch.exp(-z)),
        (0, "cos z", torch.cos(z)),
        (0, "sin z", torch.sin(z)),
        (0, "exp(−z²)", torch.exp(-z * z)),
        (0, "[z > 0]", (z > 0).to(z)),
        (1, "[z ≤ 0]", (z <= 0).to(z)),
    )
