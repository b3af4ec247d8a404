"""What a tensor is called in a textbook, kept on the tensor itself."""

from __future__ import annotations

from typing import Any

import torch

LABEL = "_in_words"  # the attribute of a tensor that holds it


def label(x: Any, words: str) -> Any:
    """The tensor, with what it is called in a textbook."""
    setattr(x, LABEL, words)
    return x


def number(value: float) -> Any:
    """A constant as a tensor."""
    return label(torch.tensor(float(value), dtype=torch.float64), f"{value:g}")
