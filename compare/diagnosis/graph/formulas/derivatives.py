"""The derivatives of torch's fused functions as papers give them, in x or in y; see `recorded`.

Each takes δ, but for slopes, and the arguments of the aten operation that it belongs to, and returns δ of the first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch

from handgrad.compare.diagnosis.graph.formulas.parts import exponentials, widened
from handgrad.compare.diagnosis.graph.formulas.textbook import aten
from handgrad.compare.diagnosis.graph.labels import label, number

ROOT_2PI = math.sqrt(2 * math.pi)


def _wide(dy: Any, x: Any, axes: Iterable[int], keepdim: bool) -> Any:
    return widened(dy, (a % x.dim() for a in axes), keepdim)


def logsumexp(dy: Any, x: Any, dim: Any, keepdim: bool = False) -> Any:
    return _wide(dy, x, dim, keepdim) * exponentials(x, dim)


def logsumexp_shifted(dy: Any, x: Any, dim: Any, keepdim: bool = False) -> Any:
    e = label(torch.exp(x - x.amax(dim, keepdim=True)), "exp(x − max x)")
    return _wide(dy, x, dim, keepdim) * (e / e.sum(dim, keepdim=True))


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


def gelu(x: Any, *, approximate: str = "none") -> Any:
    if approximate == "tanh":
        c = math.sqrt(2 / math.pi)
        t = torch.tanh(c * (x + 0.044715 * (x * x * x)))
        return 0.5 * (number(1) + t) + 0.5 * x * (number(1) - t * t) * (c * (number(1) + 3 * 0.044715 * (x * x)))
    phi = label(torch.exp(-0.5 * (x * x)) / ROOT_2PI, "φ(x)")
    return label(0.5 * (number(1) + torch.erf(x / math.sqrt(2))), "Φ(x)") + x * phi


def sigmoid(x: Any) -> Any:
    s = label(torch.sigmoid(x), "σ")
    return s * (number(1) - s)


def tanh(x: Any) -> Any:
    t = label(torch.tanh(x), "tanh")
    return number(1) - t * t


def silu(x: Any) -> Any:
    s = label(torch.sigmoid(x), "σ(x)")
    return s + x * s * (number(1) - s)


def silu_by_y(x: Any) -> Any:
    s = label(torch.sigmoid(x), "σ(x)")
    y = label(x * s, "y")
    return y + s * (number(1) - y)


def softplus_by_y(x: Any, beta: float = 1, threshold: float = 20) -> Any:
    y = label(aten.softplus(x, beta, threshold), "y")
    return number(1) - torch.exp(-y if beta == 1 else -beta * y)


def mish(x: Any) -> Any:
    t, s = label(torch.tanh(aten.softplus(x)), "tanh(softplus(x))"), label(torch.sigmoid(x), "σ(x)")
    return t + x * s * (number(1) - t * t)


def elu(x: Any, alpha: float = 1, scale: float = 1, input_scale: float = 1) -> Any:
    return torch.where(x > 0, number(scale), scale * (alpha * torch.exp(x)))


def elu_by_y(x: Any, alpha: float = 1, scale: float = 1, input_scale: float = 1) -> Any:
    y = label(aten.elu(x, alpha, scale, input_scale), "y")
    return torch.where(x > 0, number(scale), y + scale * alpha)


# Of functions of one number: δ is multiplied with each.
SLOPES: dict[Any, tuple[Callable[..., Any], ...]] = {
    aten.gelu.default: (gelu,),
    aten.sigmoid.default: (sigmoid,),
    aten.tanh.default: (tanh,),
    aten.silu.default: (silu, silu_by_y),
    aten.softplus.default: (
        lambda x, beta=1, threshold=20: torch.sigmoid(x if beta == 1 else beta * x),
        softplus_by_y,
    ),
    aten.mish.default: (mish,),
    aten.elu.default: (elu, elu_by_y),
    aten.celu.default: (
        lambda x, alpha=1: torch.where(x > 0, number(1), torch.exp(x / alpha)),
        lambda x, alpha=1: torch.where(x > 0, number(1), label(aten.celu(x, alpha), "y") / alpha + 1),
    ),
    aten.leaky_relu.default: (lambda x, slope=0.01: torch.where(x > 0, number(1), number(slope)),),
    aten.hardswish.default: (lambda x: torch.where(x < -3, number(0), torch.where(x > 3, number(1), x / 3 + 0.5)),),
    aten.hardsigmoid.default: (lambda x: torch.where(x.abs() < 3, number(1 / 6), number(0)),),
}


def _times_up(slope: Callable[..., Any], dy: Any, *args: Any, **kwargs: Any) -> Any:
    return dy * slope(*args, **kwargs)


DERIVATIVES: dict[Any, tuple[Callable[..., Any], ...]] = {
    **{op: tuple(partial(_times_up, slope) for slope in slopes) for op, slopes in SLOPES.items()},
    aten.logsumexp.default: (logsumexp, logsumexp_shifted),
    aten.prod.dim_int: (product,),
    aten.std.correction: (deviation,),
    aten.linalg_vector_norm.default: (normed,),
}
