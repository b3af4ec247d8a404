"""Fused operations of torch made of smaller ones, to measure their rounding and to look at their derivation."""

from __future__ import annotations

import math
from typing import Any

import torch


def lerp(a: Any, b: Any, weight: Any) -> Any:
    """a and b, weighed."""
    return a + weight * (b - a)


def addcmul(a: Any, b: Any, c: Any, value: float = 1) -> Any:
    """a + value · b · c."""
    return a + (b * c if value == 1 else value * (b * c))


def addcdiv(a: Any, b: Any, c: Any, value: float = 1) -> Any:
    """a + value · b / c."""
    return a + (b / c if value == 1 else value * (b / c))


def attention_scores(q: Any, k: Any, is_causal: bool = False, attn_mask: Any = None, scale: float | None = None) -> Any:
    """What the softmax of an attention is taken of."""
    scores = torch.matmul(q, k.transpose(-2, -1)) * (q.shape[-1] ** -0.5 if scale is None else scale)
    if is_causal:
        scores = torch.where(torch.ones_like(scores).tril().bool(), scores, torch.full_like(scores, -math.inf))
    return scores if attn_mask is None else scores + attn_mask
