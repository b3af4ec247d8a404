"""What stands where a derivative belongs: formulas in u, the argument of an elementwise function, and f, its value."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from compare.diagnosis.graph.trace import Tensor


def formulas(u: Tensor, f: Tensor) -> Iterator[tuple[int, str, Tensor]]:
    """(how unlikely, the words, the numbers)."""
    s, t = torch.sigmoid(u), torch.tanh(u)
    yield from (
        (0, "f", f),
        (0, "f²", f * f),
        (0, "1 − f", 1 - f),
        (0, "1 − f²", 1 - f * f),
        (0, "f(1 − f)", f * (1 - f)),
        (0, "u", u),
        (0, "u²", u * u),
        (0, "1 − u²", 1 - u * u),
        (0, "u(1 − u)", u * (1 - u)),
        (0, "1 / u", 1 / u),
        (0, "1 / f", 1 / f),
        (0, "1 / u²", 1 / (u * u)),
        (1, "√f", f.abs().sqrt()),
        (1, "1 + f", 1 + f),
        (1, "1 + f²", 1 + f * f),
        (1, "1 − u", 1 - u),
        (1, "1 + u", 1 + u),
        (1, "1 + u²", 1 + u * u),
        (1, "|u|", u.abs()),
        (1, "1 − |f|", 1 - f.abs()),
        (1, "the sign of u", u.sign()),
        (0, "σ(u)", s),
        (1, "σ(−u)", 1 - s),
        (0, "σ(u)(1 − σ(u))", s * (1 - s)),
        (1, "tanh u", t),
        (0, "1 − tanh² u", 1 - t * t),
        (0, "exp(u)", torch.exp(u)),
        (1, "exp(−u)", torch.exp(-u)),
        (0, "cos u", torch.cos(u)),
        (0, "sin u", torch.sin(u)),
        (0, "exp(−u²)", torch.exp(-u * u)),
        (0, "[u > 0]", (u > 0).to(u)),
        (1, "[u ≤ 0]", (u <= 0).to(u)),
    )
