"""What a tensor is called in a textbook, kept on the tensor itself."""

from __future__ import annotations

from typing import Any

import torch

LABEL = "_in_words"  # the attribute of a tensor that holds it
QUANTITY = "_is_a_quantity"  # that of a constant whose operations are written down, too
DECOY = "_is_a_decoy"  # that of what a person takes for something else: kept in a trace, though the result needs it not

UP = "δ"  # what the upstream gradient is called in every formula of a derivative


def label(x: Any, words: str) -> Any:
    """The tensor, with what it is called in a textbook."""
    setattr(x, LABEL, words)
    return x


def number(value: float) -> Any:
    """A constant as a tensor."""
    return label(torch.tensor(float(value), dtype=torch.float64), f"{value:g}")


def quantity(value: Any, words: str) -> Any:
    """A number or a tensor of the formula with a name, α or w: what is made of it is written down as of an input."""
    found = value if isinstance(value, torch.Tensor) else torch.tensor(float(value), dtype=torch.float64)
    setattr(label(found, words), QUANTITY, True)
    return found


def decoy(x: Any, words: str) -> Any:
    """What a person may write in the place of something else of its shape."""
    setattr(label(x, words), DECOY, True)
    return x


def weights(w: Any, shape: Any) -> Any:
    """The weights of classes as a quantity of the formula, and their sum for comparison."""
    w = quantity(w.reshape(shape).clone(), "w")
    decoy(w.sum(), "the sum of w")
    return w
