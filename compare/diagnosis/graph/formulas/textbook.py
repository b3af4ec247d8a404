"""Torch's fused operations as a person writes them down, so that each of their terms can be looked at alone.

Every function has the signature of the aten operation that it stands for.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from handgrad.compare.diagnosis.graph.formulas.parts import exponentials
from handgrad.compare.diagnosis.graph.formulas.textbook_losses import LOSSES
from handgrad.compare.diagnosis.graph.labels import label, number
from handgrad.compare.foundation import torch_parts

aten = torch.ops.aten


def gelu(x: Any, *, approximate: str = "none") -> Any:
    if approximate == "tanh":
        return 0.5 * x * (number(1) + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * (x * x * x))))
    return x * (0.5 * (number(1) + torch.erf(x * math.sqrt(0.5))))


def softplus(x: Any, beta: float = 1, threshold: float = 20) -> Any:
    if beta == 1:
        return torch.log1p(torch.exp(x))
    return torch.log1p(torch.exp(x * beta)) / beta


def elu(x: Any, alpha: float = 1, scale: float = 1, input_scale: float = 1) -> Any:
    z = x if input_scale == 1 else x * input_scale
    below = alpha * (torch.exp(z) - 1) if alpha != 1 else torch.exp(z) - 1
    y = torch.where(x > 0, x, below)
    return y if scale == 1 else scale * y


def glu(x: Any, dim: int = -1) -> Any:
    a, b = x.chunk(2, dim)
    return a * torch.sigmoid(b)


def _normalized(x: Any, axes: Any, eps: float) -> tuple[Any, Any, Any]:
    mean = label(x.mean(axes, keepdim=True), "the mean")
    centred = x - mean
    variance = label((centred * centred).mean(axes, keepdim=True), "the variance")
    sigma = label(torch.sqrt(variance + eps), "σ")
    return label(centred / sigma, "x̂"), mean, sigma


def layer_norm(x: Any, shape: Any, weight: Any, bias: Any, eps: float) -> Any:
    y, mean, sigma = _normalized(x, tuple(range(-len(shape), 0)), eps)
    y = y if weight is None else y * weight
    return (y if bias is None else y + bias), mean, 1 / sigma


def batch_norm(
    x: Any, weight: Any, bias: Any, mean: Any, variance: Any, training: bool, momentum: float, eps: float
) -> Any:
    shape = (1, -1) + (1,) * (x.dim() - 2)
    if training:
        y, mu, sigma = _normalized(x, [a for a in range(x.dim()) if a != 1], eps)
    else:
        mu = label(mean.view(shape), "the running mean")
        sigma = label(torch.sqrt(label(variance.view(shape), "the running variance") + eps), "σ")
        y = (x - mu) / sigma
    y = y if weight is None else y * weight.view(shape)
    return (y if bias is None else y + bias.view(shape)), mu.view(-1), 1 / sigma.view(-1)


def group_norm(x: Any, weight: Any, bias: Any, n: int, c: int, hw: int, groups: int, eps: float) -> Any:
    shape = (1, c) + (1,) * (x.dim() - 2)
    y, mean, sigma = _normalized(x.reshape(n, groups, c // groups, hw), [-2, -1], eps)
    y = y.reshape(x.shape)
    y = y if weight is None else y * weight.view(shape)
    return (y if bias is None else y + bias.view(shape)), mean.view(n, groups), 1 / sigma.view(n, groups)


def variance(x: Any, dim: Any = None, *, correction: float | None = None, keepdim: bool = False) -> Any:
    axes = tuple(range(x.dim())) if dim is None or dim == [] else dim
    centred = x - label(x.mean(axes, keepdim=True), "the mean")
    size = math.prod(x.shape[a] for a in axes)
    return (centred * centred).sum(axes, keepdim=keepdim) / (size - (1 if correction is None else correction))


def vector_norm(x: Any, ord: float = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    axes = tuple(range(x.dim())) if dim is None else dim
    if ord == 2:
        return torch.sqrt((x * x).sum(axes, keepdim=keepdim))
    if ord == 1:
        return x.abs().sum(axes, keepdim=keepdim)
    return NotImplemented


def weight_norm(v: Any, g: Any, dim: int = 0) -> Any:
    axes = [a for a in range(v.dim()) if a != dim % v.dim()]
    norm = label(torch.sqrt((v * v).sum(axes, keepdim=True)), "‖v‖")
    return g * label(v / norm, "v / ‖v‖"), norm


def attention(
    q: Any, k: Any, v: Any, dropout_p: float = 0.0, is_causal: bool = False, *,
    attn_mask: Any = None, scale: float | None = None,
) -> Any:  # fmt: skip
    scores = torch_parts.attention_scores(q, k, is_causal, attn_mask, scale)
    return torch.matmul(torch.softmax(scores, -1), v), scores


def addmm(b: Any, x: Any, w: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    return (b if beta == 1 else beta * b) + (torch.matmul(x, w) if alpha == 1 else alpha * torch.matmul(x, w))


def trilinear(a: Any, b: Any, c: Any, of_a: Any, of_b: Any, of_c: Any, summed: Any, unroll: int = 1) -> Any:
    def wide(x: Any, axes: Any) -> Any:
        for axis in axes:
            x = x.unsqueeze(axis)
        return x

    return (wide(a, of_a) * wide(b, of_b) * wide(c, of_c)).sum(summed)


TEXTBOOK: dict[Any, Callable[..., Any]] = {
    **LOSSES,
    aten.gelu.default: gelu,
    aten.silu.default: lambda x: x * torch.sigmoid(x),
    aten.mish.default: lambda x: x * torch.tanh(aten.softplus(x)),
    aten.softplus.default: softplus,
    aten.log_sigmoid_forward.default: lambda x: (-aten.softplus(-x), x),
    aten.elu.default: elu,
    aten.celu.default: lambda x, alpha=1: torch.where(x > 0, x, alpha * (torch.exp(x / alpha) - 1)),
    aten.leaky_relu.default: lambda x, slope=0.01: torch.where(x > 0, x, slope * x),
    aten._prelu_kernel.default: lambda x, weight: torch.where(x > 0, x, weight * x),
    aten.hardswish.default: lambda x: x * aten.hardtanh(x + 3, 0.0, 6.0) / 6,
    aten.hardsigmoid.default: lambda x: aten.hardtanh(x + 3, 0.0, 6.0) / 6,
    aten.glu.default: glu,
    aten._softmax.default: lambda x, dim, half_to_float: exponentials(x, dim),
    aten._log_softmax.default: lambda x, dim, half_to_float: x - aten.logsumexp(x, [dim], True),
    aten.logsumexp.default: lambda x, dim, keepdim=False: torch.log(torch.exp(x).sum(dim, keepdim=keepdim)),
    aten.native_layer_norm.default: layer_norm,
    aten.native_batch_norm.default: batch_norm,
    aten._native_batch_norm_legit.no_stats: lambda x, w, b, *rest: batch_norm(x, w, b, None, None, *rest),
    aten.native_group_norm.default: group_norm,
    aten.var.correction: variance,
    aten.std.correction: lambda x, dim=None, **o: torch.sqrt(label(variance(x, dim, **o), "the variance")),
    aten.linalg_vector_norm.default: vector_norm,
    aten._weight_norm_interface.default: weight_norm,
    aten.addmm.default: addmm,
    aten.baddbmm.default: addmm,
    aten.addcmul.default: torch_parts.addcmul,
    aten.addcdiv.default: torch_parts.addcdiv,
    aten.lerp.Scalar: torch_parts.lerp,
    aten.lerp.Tensor: torch_parts.lerp,
    aten._scaled_dot_product_flash_attention_for_cpu.default: attention,
    aten._trilinear.default: trilinear,
    aten.rsub.Scalar: lambda x, other, alpha=1: number(other) - x,
}
