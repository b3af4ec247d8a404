"""Torch's losses as a person writes them down; see `textbook`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from handgrad.compare.diagnosis.graph.labels import decoy, label, number, quantity, weights

aten = torch.ops.aten


def _reduced(value: Any, reduction: int) -> Any:
    return value if reduction == 0 else value.mean() if reduction == 1 else value.sum()


def mse_loss(z: Any, t: Any, reduction: int = 1) -> Any:
    r = z - t
    return _reduced(r * r, reduction)


def huber_loss(z: Any, t: Any, reduction: int = 1, delta: float = 1.0) -> Any:
    r = z - t
    size = r.abs()
    return _reduced(torch.where(size < delta, r * r / 2, delta * (size - delta / 2)), reduction)


def smooth_l1_loss(z: Any, t: Any, reduction: int = 1, beta: float = 1.0) -> Any:
    r = z - t
    size = r.abs()
    return _reduced(torch.where(size < beta, r * r / 2 / beta, size - beta / 2), reduction)


def binary_cross_entropy(p: Any, t: Any, weight: Any = None, reduction: int = 1) -> Any:
    value = -(t * torch.log(p) + (number(1) - t) * torch.log(number(1) - p))
    return _reduced(value if weight is None else weight * value, reduction)


def binary_cross_entropy_with_logits(
    z: Any, t: Any, weight: Any = None, pos_weight: Any = None, reduction: int = 1
) -> Any:
    ones, zeros = t * aten.softplus(-z), (number(1) - t) * aten.softplus(z)
    value = (ones if pos_weight is None else pos_weight * ones) + zeros
    return _reduced(value if weight is None else weight * value, reduction)


def nll_loss(x: Any, target: Any, weight: Any, reduction: int, ignore_index: int) -> Any:
    if x.dim() != 2:
        return NotImplemented
    y, count = one_hot(target, x.shape[1], x.dtype), "N"
    if bool((target == ignore_index).any()):
        decoy(label(y, "y of all rows").sum(), "N, with the rows that do not count,")
        y = y * label((target != ignore_index).to(x.dtype), "the mask of the rows that count")[:, None]
        count = "the number of rows that count"
    y = label(y, "y")
    if weight is None:
        each, total = -(y * x).sum(1), label(y.sum(), count)
    else:
        decoy(y.sum(), count)
        own = label((y * weights(weight, (-1,))).sum(1), "w_y")
        each, total = -(own * (y * x).sum(1)), label(own.sum(), "the sum of w_y")
    return (each if reduction == 0 else each.sum() / total if reduction == 1 else each.sum()), total


def soft_margin_loss(z: Any, t: Any, reduction: int = 1) -> Any:
    return _reduced(aten.softplus(-t * z), reduction)


def one_hot(target: Any, classes: int, kind: torch.dtype) -> Any:
    """Rows of zeros with a one; the classes run along axis 1."""
    rows = torch.nn.functional.one_hot(target.clamp(min=0), classes).to(kind)
    return rows.movedim(-1, 1) if rows.dim() > 1 else rows


def smoothed_target(y: Any, smoothing: float, classes: int) -> Any:
    """(1 − α) y + α / K, Szegedy et al. 2016; and, for comparison, what spreads α over the other classes only."""
    one, a, k = number(1), quantity(smoothing, "α"), quantity(classes, "K")
    if classes > 1:
        decoy(a / (k - 1) * (one - y), "α / (K − 1) · (1 − y)")
    return label((one - a) * y + a / k, "q")


def smoothed_cross_entropy(
    input: Any, target: Any, weight: Any, reduction: str, label_smoothing: float, ignore_index: int, **_: Any
) -> Any:
    weighed = weight is not None and input.dim() != 2
    if not label_smoothing or weighed or target.is_floating_point() or bool((target == ignore_index).any()):
        return NotImplemented
    axis = min(1, input.dim() - 1)
    y = label(one_hot(target, input.shape[axis], input.dtype), "y")
    q = smoothed_target(y, label_smoothing, input.shape[axis])
    if weight is None:
        each = -(q * torch.log_softmax(input, axis)).sum(axis)
        return _reduced(each, {"none": 0, "mean": 1, "sum": 2}[reduction])
    w = weights(weight, (-1,))
    each = -(q * w * torch.log_softmax(input, axis)).sum(axis)
    if reduction == "mean":
        decoy(y.sum(), "N")
        return each.sum() / label((y * w).sum(), "the sum of w_y")
    return _reduced(each, {"none": 0, "sum": 2}[reduction])


def multi_margin_loss(
    z: Any, target: Any, p: float = 1, margin: float = 1, weight: Any = None, reduction: int = 1
) -> Any:
    if z.dim() != 2 or p not in (1, 2):
        return NotImplemented
    y = label(one_hot(target, z.shape[1], z.dtype), "y")
    excess = torch.relu(margin - (z * y).sum(1, keepdim=True) + z)
    value = (number(1) - y) * (excess if p == 1 else excess * excess)
    if weight is not None:
        value = value * label((weights(weight, (-1,)) * y).sum(1, keepdim=True), "w_y")
    return _reduced(value.sum(1) / z.shape[1], reduction)


LOSSES: dict[Any, Callable[..., Any]] = {
    aten.mse_loss.default: mse_loss,
    aten.huber_loss.default: huber_loss,
    aten.smooth_l1_loss.default: smooth_l1_loss,
    aten.binary_cross_entropy.default: binary_cross_entropy,
    aten.binary_cross_entropy_with_logits.default: binary_cross_entropy_with_logits,
    aten.nll_loss_forward.default: nll_loss,
    aten.soft_margin_loss.default: soft_margin_loss,
    aten.multi_margin_loss.default: multi_margin_loss,
}
