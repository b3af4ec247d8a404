"""The derivatives of torch's fused functions as papers give them, in x or in y; see `recorded`.

Each takes δ and the arguments of the aten operation that it belongs to, and returns δ of the first of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch

from handgrad.compare.diagnosis.graph.forms.parts import exponentials, widened
from handgrad.compare.diagnosis.graph.forms.textbook import aten
from handgrad.compare.diagnosis.graph.record.labels import label, number

ROOT_2PI = math.sqrt(2 * math.pi)


def _wide(dy: Any, x: Any, axes: Iterable[int], keepdim: bool) -> Any:
    return widened(dy, (a % x.dim() for a in axes), keepdim)


def logsumexp(dy: Any, x: Any, dim: Any, keepdim: bool = False) -> Any:
    return _wide(dy, x, dim, keepdim) * exponentials(x, dim)


def logsumexp_shifted(dy: Any, x: Any, dim: Any, keepdim: bool = False) -> Any:
    e = label(torch.exp(x - x.amax(dim, keepdim=True)), "exp(x − max x)")
    return _wide(dy, x, dim, keepdim) * (e / e.sum(dim, keepdim=True))


def gelu(dy: Any, x: Any, *, approximate: str = "none") -> Any:
    if approximate == "tanh":
        c = math.sqrt(2 / math.pi)
        t = torch.tanh(c * (x + 0.044715 * (x * x * x)))
        return dy * (0.5 * (number(1) + t) + 0.5 * x * (number(1) - t * t) * (c * (number(1) + 3 * 0.044715 * (x * x))))
    phi = label(torch.exp(-0.5 * (x * x)) / ROOT_2PI, "φ(x)")
    return dy * (label(0.5 * (number(1) + torch.erf(x / math.sqrt(2))), "Φ(x)") + x * phi)


def sigmoid(dy: Any, x: Any) -> Any:
    s = label(torch.sigmoid(x), "σ")
    return dy * (s * (number(1) - s))


def tanh(dy: Any, x: Any) -> Any:
    t = label(torch.tanh(x), "tanh")
    return dy * (number(1) - t * t)


def silu(dy: Any, x: Any) -> Any:
    s = label(torch.sigmoid(x), "σ(x)")
    return dy * (s + x * s * (number(1) - s))


def silu_by_y(dy: Any, x: Any) -> Any:
    s = label(torch.sigmoid(x), "σ(x)")
    y = label(x * s, "y")
    return dy * (y + s * (number(1) - y))


def softplus(dy: Any, x: Any, beta: float = 1, threshold: float = 20) -> Any:
    return dy * torch.sigmoid(x if beta == 1 else beta * x)


def softplus_by_y(dy: Any, x: Any, beta: float = 1, threshold: float = 20) -> Any:
    y = label(aten.softplus(x, beta, threshold), "y")
    return dy * (number(1) - torch.exp(-y if beta == 1 else -beta * y))


def mish(dy: Any, x: Any) -> Any:
    t, s = label(torch.tanh(aten.softplus(x)), "tanh(softplus(x))"), label(torch.sigmoid(x), "σ(x)")
    return dy * (t + x * s * (number(1) - t * t))


def elu(dy: Any, x: Any, alpha: float = 1, scale: float = 1, input_scale: float = 1) -> Any:
    return dy * torch.where(x > 0, number(scale), scale * (alpha * torch.exp(x)))


def elu_by_y(dy: Any, x: Any, alpha: float = 1, scale: float = 1, input_scale: float = 1) -> Any:
    y = label(aten.elu(x, alpha, scale, input_scale), "y")
    return dy * torch.where(x > 0, number(scale), y + scale * alpha)


def celu(dy: Any, x: Any, alpha: float = 1) -> Any:
    return dy * torch.where(x > 0, number(1), torch.exp(x / alpha))


def celu_by_y(dy: Any, x: Any, alpha: float = 1) -> Any:
    return dy * torch.where(x > 0, number(1), label(aten.celu(x, alpha), "y") / alpha + 1)


def leaky_relu(dy: Any, x: Any, negative_slope: float = 0.01) -> Any:
    return dy * torch.where(x > 0, number(1), number(negative_slope))


def hardswish(dy: Any, x: Any) -> Any:
    return dy * torch.where(x < -3, number(0), torch.where(x > 3, number(1), x / 3 + 0.5))


def hardsigmoid(dy: Any, x: Any) -> Any:
    return dy * torch.where(x.abs() < 3, number(1 / 6), number(0))


def product(dy: Any, x: Any, dim: int, keepdim: bool = False) -> Any:
    p = label(x.prod(dim, keepdim=True), "the product")
    return _wide(dy, x, [dim], keepdim) * (p / x)


def deviation(dy: Any, x: Any, dim: Any = None, *, correction: float | None = None, keepdim: bool = False) -> Any:
    axes = list(range(x.dim())) if dim is None or dim == [] else list(dim)
    centred = label(x - x.mean(axes, keepdim=True), "x − mean")
    n = math.prod(x.shape[a] for a in axes) - (1 if correction is None else correction)
    s = label(torch.sqrt((centred * centred).sum(axes, keepdim=True) / n), "the deviation")
    return _wide(dy, x, axes, keepdim) * centred / (n * s)


def normed(dy: Any, x: Any, ord: float = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    if ord != 2:
        return NotImplemented
    axes = list(range(x.dim())) if dim is None else list(dim)
    return _wide(dy, x, axes, keepdim) * (x / label(torch.sqrt((x * x).sum(axes, keepdim=True)), "the norm"))


DERIVATIVES: dict[Any, tuple[Callable[..., Any], ...]] = {
    aten.logsumexp.default: (logsumexp, logsumexp_shifted),
    aten.gelu.default: (gelu,),
    aten.sigmoid.default: (sigmoid,),
    aten.tanh.default: (tanh,),
    aten.silu.default: (silu, silu_by_y),
    aten.softplus.default: (softplus, softplus_by_y),
    aten.mish.default: (mish,),
    aten.elu.default: (elu, elu_by_y),
    aten.celu.default: (celu, celu_by_y),
    aten.leaky_relu.default: (leaky_relu,),
    aten.hardswish.default: (hardswish,),
    aten.hardsigmoid.default: (hardsigmoid,),
    aten.prod.dim_int: (product,),
    aten.std.correction: (deviation,),
    aten.linalg_vector_norm.default: (normed,),
}
