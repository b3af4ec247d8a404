"""Torch's losses as a person writes them down; see `textbook`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from compare.diagnosis.graph.labels import number

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
    return _reduced(torch.where(size < beta, r * r / (2 * beta), size - beta / 2), reduction)


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
    chosen = torch.nn.functional.one_hot(target.clamp(min=0), x.shape[1]).to(x.dtype)
    chosen = chosen * (target != ignore_index).to(x.dtype)[:, None]
    if weight is not None:
        chosen = chosen * weight
    each = -(chosen * x).sum(1)
    total = chosen.sum()
    return (each if reduction == 0 else each.sum() / total if reduction == 1 else each.sum()), total


def soft_margin_loss(z: Any, t: Any, reduction: int = 1) -> Any:
    return _reduced(aten.softplus(-t * z), reduction)


LOSSES: dict[Any, Callable[..., Any]] = {
    aten.mse_loss.default: mse_loss,
    aten.huber_loss.default: huber_loss,
    aten.smooth_l1_loss.default: smooth_l1_loss,
    aten.binary_cross_entropy.default: binary_cross_entropy,
    aten.binary_cross_entropy_with_logits.default: binary_cross_entropy_with_logits,
    aten.nll_loss_forward.default: nll_loss,
    aten.soft_margin_loss.default: soft_margin_loss,
}
