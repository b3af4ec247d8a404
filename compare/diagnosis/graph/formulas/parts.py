"""Parts that several formulas have in common."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from handgrad.compare.diagnosis.graph.labels import label


def exponentials(x: Any, axes: Any) -> Any:
    """The softmax along some axes. The maximum is not subtracted: it only guards against overflow."""
    e = torch.exp(x)
    return label(e / e.sum(axes, keepdim=True), "p")


def softmax_derivative(dy: Any, p: Any, axes: Any) -> Any:
    """δ of what p is the softmax of."""
    return p * (dy - (dy * p).sum(axes, keepdim=True))


def widened(dy: Any, axes: Iterable[int], keepdim: bool = False) -> Any:
    """δ of what was reduced along axes, with these axes again; they count from the front."""
    for axis in () if keepdim else sorted(axes):
        dy = dy.unsqueeze(axis)
    return dy
