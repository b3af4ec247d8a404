"""Where the reference is less exact than its tensors: casts inside, buffers made in float32, torch's softplus.

A reference that computes a mean of float64 numbers in float32 is off by a float32 rounding, and so is one whose buffer
holds 0.1 in float32, or that divides whole numbers: torch makes their quotient in its default dtype. Torch's softplus
is x beyond a threshold, off by log(1 + e⁻²⁰) = 2·10⁻⁹ there. Run without these, the reference shows what it would have
given.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from handgrad.compare.foundation.torch_internals import DispatchMode, operation_name, tree_leaves, tree_map
from handgrad.compare.judge.calls import CallSides, call_reference
from handgrad.compare.judge.derivations import Given
from handgrad.compare.judge.sides import Arrays, LayerSides, LossSides, Sides
from handgrad.compare.judge.torch_rounding import DefaultFloat64

LOWER = (torch.float32, torch.float16, torch.bfloat16)
WHOLE = {torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool}


def _softplus(x: torch.Tensor, beta: float = 1, threshold: float = 20) -> torch.Tensor:
    """log(1 + e^βx) / β, for every x."""
    return x.clamp(min=0) + torch.log1p(torch.exp(-(beta * x).abs())) / beta


def _softplus_backward(g: torch.Tensor, x: torch.Tensor, beta: float, threshold: float) -> torch.Tensor:
    return g * torch.sigmoid(beta * x)


EXACT: dict[str, Callable[..., torch.Tensor]] = {"softplus": _softplus, "softplus_backward": _softplus_backward}


class Casts(DispatchMode):  # type: ignore[no-untyped-call]
    """Notices where a reference is less exact than its float64 tensors; `kept`, it is as exact as they are."""

    def __init__(self, kept: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kept, self.seen, self.approximates = kept, False, False
        self.made = False  # numbers of a lower precision out of whole ones, or out of none

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        dtypes = {t.dtype for t in tree_leaves(args) if isinstance(t, torch.Tensor)}
        wide, lower = torch.float64 in dtypes, kwargs.get("dtype") in LOWER
        self.seen = self.seen or (wide and lower)
        made = lower and dtypes <= WHOLE
        self.made = self.made or made
        if self.kept and lower and (wide or made):
            kwargs["dtype"] = torch.float64
        exact = EXACT.get(operation_name(op)) if wide else None
        if exact is not None:
            self.approximates = True
            return exact(*args, **kwargs) if self.kept else op(*args, **kwargs)
        result = op(*args, **kwargs)
        if lower or not dtypes or not dtypes <= WHOLE or not _is_lower(result):
            return result
        self.made = True  # a quotient, a power, a root of whole numbers
        return op(*tree_map(_wide, args), **tree_map(_wide, kwargs)) if self.kept else result


def _is_lower(x: Any) -> bool:
    return isinstance(x, torch.Tensor) and x.dtype in LOWER


def _wide(x: Any) -> Any:
    """A tensor of whole numbers in float64; anything else as it is."""
    return x.double() if isinstance(x, torch.Tensor) and x.dtype in WHOLE else x


def casts_inside(sides: Sides, inputs: Arrays) -> bool:
    """Whether the reference casts to a lower precision on the way."""
    with Casts(kept=False) as mode:
        sides.torch(inputs)
    return mode.seen


def without_casts(sides: Sides) -> Sides:
    """The same two sides, their reference without its casts to a lower precision."""
    reference: Any = sides.module if isinstance(sides, LossSides) else getattr(sides, "reference", None)

    def wide(*arguments: Any, **params: Any) -> Any:
        with Casts(kept=True), DefaultFloat64():
            return call_reference(reference, Given({str(k): v for k, v in enumerate(arguments)}, params))

    if isinstance(sides, LossSides):
        return replace(sides, module=wide)
    return replace(sides, reference=wide) if isinstance(sides, (LayerSides, CallSides)) else sides


def in_full_precision(sides: Sides, inputs: Arrays) -> Iterator[Arrays]:
    """Torch's results without what is less exact, and with the numbers that its float32 buffers stand for."""
    with Casts(kept=True) as mode, DefaultFloat64():
        found = sides.torch(inputs)
    if mode.seen or mode.approximates or mode.made:
        yield found
    meant = _with_buffers_as_meant(sides)
    if meant is not None:
        yield meant.torch(inputs)


def _with_buffers_as_meant(sides: Sides) -> Sides | None:
    """The sides with a module whose buffers of float32 hold the decimal numbers that they stand for, 0.1 for 0.1f."""
    module = sides.module if isinstance(sides, LossSides) else getattr(sides, "reference", None)
    if not isinstance(module, nn.Module) or not any(b.dtype == torch.float32 for b in module.buffers()):
        return None
    module = copy.deepcopy(module)
    for owner in module.modules():
        for name, buffer in list(owner.named_buffers(recurse=False)):
            if buffer.dtype == torch.float32:
                decimal = [float(str(v)) for v in buffer.detach().cpu().numpy().ravel().astype(np.float32)]
                setattr(owner, name, torch.tensor(decimal, dtype=torch.float64).reshape(buffer.shape))
    if isinstance(sides, LossSides):
        return replace(sides, module=module)
    return replace(sides, reference=module) if isinstance(sides, (LayerSides, CallSides)) else None
