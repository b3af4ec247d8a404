"""Pools: δ of a window's mean or largest element put back at the wrong places, or divided by something else."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import torch

from handgrad.compare.diagnosis.graph.edits.backward.step import Step
from handgrad.compare.diagnosis.graph.edits.backward.windows import MOST_POSITIONS, overwriting, positions
from handgrad.compare.diagnosis.graph.edits.edit import RIGHT, StepEdit
from handgrad.compare.diagnosis.graph.record.node import Node, Tensor

POOLS = {1: torch.nn.functional.avg_pool1d, 2: torch.nn.functional.avg_pool2d, 3: torch.nn.functional.avg_pool3d}


def _window(node: Node) -> tuple[list[int], list[int]]:
    """Its sizes, and the strides, which are the same where none are given."""
    size = list(node.args[1])
    return size, list(node.args[2]) if len(node.args) > 2 and node.args[2] else size


def of_an_average(step: Step) -> Iterator[StepEdit]:
    """δ of a window's mean."""
    size, strides = _window(step.node)
    yield from overwriting(step, strides, size)
    times = [m // n for m, n in zip(step.x.shape, step.up.shape, strict=True)]
    if max(times) > 1 and all(m == n * t for m, n, t in zip(step.x.shape, step.up.shape, times, strict=True)):
        yield step.edit("tiled", lambda up: up.repeat(*times) / math.prod(size))
    args = step.node.args
    _, _, pads, ceil, counted = [*args[1:], *(None, [], [0], False, True)[len(args) - 1 :]][:5]
    if any(pads):

        def otherwise_counted(up: Tensor) -> Tensor:
            with torch.enable_grad():
                leaf = step.x.detach().clone().requires_grad_()
                y = step.node.op(leaf, *args[1:3], pads, ceil, not counted)
            return torch.autograd.grad(y, leaf, up)[0]

        yield step.edit("padding not counted" if counted else "padding counted", otherwise_counted)
    if any(s != 1 for s in strides) and math.prod(step.up.shape[2:]) <= MOST_POSITIONS:
        pads = list(args[3]) if len(args) > 3 else [0] * len(size)
        yield step.edit("stride of 1", partial(_side_by_side, step, size, strides, pads), right=strides[-1])


def _side_by_side(step: Step, size: list[int], strides: list[int], pads: list[int], up: Tensor) -> Tensor:
    """Every window's δ, at a stride of 1."""
    out = torch.zeros_like(step.x)
    for place, alone in positions(up):
        there: list[Any] = [...]
        put: list[Any] = [...]
        for t, k, s, p, n in zip(place, size, strides, pads, step.x.shape[2:], strict=True):
            first, last, to = max(t * s - p, 0), min(t * s - p + k, n), max(t - p, 0)
            there.append(slice(first, last))
            put.append(slice(to, to + last - first))
        out[tuple(put)] += step.right(alone)[tuple(there)]
    return out


def of_a_maximum(step: Step) -> Iterator[StepEdit]:
    """δ of a window's largest element spread over the window, or sent elsewhere. The operation's δ is a dictionary."""
    size, rest = step.node.args[1], step.node.args[2:4]

    def spread(factor: float, up: Any) -> Tensor:
        with torch.enable_grad():
            leaf = step.x.detach().clone().requires_grad_()
            y = POOLS[len(size)](leaf, size, *[r for r in rest if r])
        return factor * torch.autograd.grad(y, leaf, up[0])[0]

    yield StepEdit(step.edge, RIGHT, 0, step.right)
    yield step.edit("to the whole window", partial(spread, math.prod(size)))
    yield step.edit("to the smallest", step.with_other(0, -step.x))
    yield from _routed(step)
    yield step.edit("evenly over the window", partial(spread, 1.0))


def _routed(step: Step) -> Iterator[StepEdit]:
    """δ of a maximum sent to wrong places; of windows that are not padded or dilated."""
    node, x = step.node, step.x
    size, strides = _window(node)
    if any(any(a) for a in node.args[3:4]) or any(d != 1 for a in node.args[4:5] for d in a):
        return
    index, wide = node.value[1], x.shape[-len(size) :]
    # where in its window each maximum is, and where each window starts, along every axis
    flat, at = index, list[Tensor]()
    for n in reversed(wide):
        at.insert(0, flat % n)
        flat = flat // n
    starts = []
    for axis, s in enumerate(strides, index.dim() - len(size)):
        shape = [-1 if k == axis else 1 for k in range(index.dim())]
        starts.append((torch.arange(index.shape[axis]) * s).reshape(shape))

    def sent(places: list[Tensor], add: bool, ups: Mapping[int, Tensor]) -> Tensor:
        to = torch.zeros_like(index)
        for place, n in zip(places, wide, strict=True):
            to = to * n + (place + torch.zeros_like(index)).clamp(0, n - 1)
        out = torch.zeros_like(x).flatten(-len(size))
        to, up = to.flatten(-len(size)), ups[0].flatten(-len(size))
        if add:
            return out.scatter_add(-1, to, up).reshape(x.shape)
        for k in range(to.shape[-1]):
            out = out.scatter(-1, to[..., k : k + 1], up[..., k : k + 1])
        return out.reshape(x.shape)

    yield step.edit("to the first", partial(sent, starts, True))
    if any(s < k for s, k in zip(strides, size, strict=True)):
        yield step.edit("maxima overwritten", partial(sent, at, False))
    if any(s != 1 for s in strides):
        moved = [a - s + s // t for a, s, t in zip(at, starts, strides, strict=True)]
        yield step.edit("stride of 1", partial(sent, moved, True), right=strides[-1])
