"""Torch's fused operations made of smaller ones, each of which rounds once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from handgrad.compare.foundation.torch_internals import decomposition_table, is_in_place
from handgrad.compare.foundation.torch_parts import addcdiv, addcmul, attention_scores, lerp

SIMPLE = ("add", "sub", "mul", "div", "sqrt")  # one rounding each, in place too
# The core operations of torch are one step each, but for these.
FUSED = ("gelu", "_softmax", "_log_softmax", "native_layer_norm", "native_group_norm", "_native_batch_norm_legit")
ATTENTION = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default


def _attention(q: Any, k: Any, v: Any, dropout_p: float = 0.0, is_causal: bool = False, **rest: Any) -> Any:
    """Torch's own parts give the probabilities for the second result; the backward pass needs what the operation gives,
    the logarithm of the sum.
    """
    output, _ = decomposition_table[ATTENTION](q, k, v, dropout_p, is_causal, **rest)
    return output, torch.logsumexp(attention_scores(q, k, is_causal, **rest), -1)


# What optimizers are made of; torch takes these apart too, but ten times as slowly.
PARTS: dict[str, Callable[..., Any]] = {
    "lerp": lerp,
    "addcmul": addcmul,
    "addcdiv": addcdiv,
    "_scaled_dot_product_flash_attention_for_cpu": _attention,
    "sigmoid": lambda z: 1 / (1 + torch.exp(-z)),
}


def in_parts(func: Any, name: str, args: Any, kwargs: Any) -> Any:
    """The operation made of smaller ones; NotImplemented where it is one step."""
    if name in PARTS:
        result = PARTS[name](*args, **kwargs)
        return args[0].copy_(result) if is_in_place(func) else result
    one_step = (name in SIMPLE and "alpha" not in kwargs) or (torch.Tag.core in func.tags and name not in FUSED)
    return NotImplemented if one_step or func not in decomposition_table else decomposition_table[func](*args, **kwargs)
