"""δ of a pool, of a window's mean or its largest, put back at the wrong places or divided by something else."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from itertools import product
from typing import Any, cast

import torch

from handgrad.compare.diagnosis.graph.edits.backward.step import Place, Slip, path
from handgrad.compare.diagnosis.graph.record.notation import formula
from handgrad.compare.diagnosis.graph.record.trace import Edge, Node, Tensor, Trace

POOLS = {1: torch.nn.functional.avg_pool1d, 2: torch.nn.functional.avg_pool2d, 3: torch.nn.functional.avg_pool3d}
MOST_POSITIONS = 64  # of a window, that are put back one by one


def of_an_average(here: Place, size: list[int], steps: list[int]) -> Iterator[Slip]:
    """δ of a window's mean."""
    yield from _tiling(here, 1 / math.prod(size))
    yield from _counting(here)
    pads = list(here.node.args[3]) if len(here.node.args) > 3 else [0] * len(size)
    if any(s != 1 for s in steps) and math.prod(here.up.shape[2:]) <= MOST_POSITIONS:
        words = f"δ of {here.here} is put back as if the stride were 1, not {steps[-1]}"
        yield here.slip("stride", 11, words, partial(_side_by_side, here, size, steps, pads))


def _side_by_side(here: Place, size: list[int], steps: list[int], pads: list[int], up: Tensor) -> Tensor:
    """Every window's δ, at a stride of 1."""
    out = torch.zeros_like(here.x)
    for place in product(*(range(n) for n in up.shape[2:])):
        at: tuple[Any, ...] = (..., *place)
        alone = torch.zeros_like(up)
        alone[at] = up[at]
        there: list[Any] = [...]
        put: list[Any] = [...]
        for t, k, s, p, n in zip(place, size, steps, pads, here.x.shape[2:], strict=True):
            first, last, to = max(t * s - p, 0), min(t * s - p + k, n), max(t - p, 0)
            there.append(slice(first, last))
            put.append(slice(to, to + last - first))
        out[tuple(put)] += here.right(alone)[tuple(there)]
    return out


def _counting(here: Place) -> Iterator[Slip]:
    """δ divided by the whole window also where a part of it is padding, or the reverse."""
    size, step, pads, ceil, counted = [*here.node.args[1:], *(None, [], [0], False, True)[len(here.node.args) - 1 :]][
        :5
    ]
    if not any(pads):
        return
    how = "the numbers there are, not by the whole window" if counted else "the whole window, padding and all"

    def rule(up: Tensor) -> Tensor:
        with torch.enable_grad():
            leaf = here.x.detach().clone().requires_grad_()
            y = here.node.op(leaf, size, step, pads, ceil, not counted)
        return torch.autograd.grad(y, leaf, up)[0]

    yield here.slip("counted", 11, f"δ of {here.here} is divided by {how}, at the borders", rule)


def _tiling(here: Place, factor: float) -> Iterator[Slip]:
    times = [m // n for m, n in zip(here.x.shape, here.up.shape, strict=True)]
    exact = all(m == n * t for m, n, t in zip(here.x.shape, here.up.shape, times, strict=True))
    if exact and max(times) > 1:
        words = f"δ of {here.here} is repeated as a whole (tiled) where each of its numbers should be repeated"
        yield here.slip("tiled", 11, words, lambda up: factor * up.repeat(*times))


def of_a_pool(trace: Trace, node: Node) -> Iterator[Slip]:
    """δ of a window's largest element spread over the window."""
    edge: Edge = (node.index, 0, node.sources()[0])
    size, rest = node.args[1], node.args[2:4]
    value = trace.nodes[edge[2]].value

    def spread(up: Any, factor: float) -> Tensor:
        with torch.enable_grad():
            leaf = value.detach().clone().requires_grad_()
            y = POOLS[len(size)](leaf, size, *[r for r in rest if r])
        return factor * torch.autograd.grad(y, leaf, up[0])[0]

    def right(up: Any) -> Tensor:
        g = trace.pull(node.index, up)[0]
        return torch.zeros_like(value) if g is None else g

    here = formula(trace, node.index)
    yield Slip(edge, "true", 0, path(trace, edge), right)
    words = f"δ of {here} goes to every element of the window, not only to the largest"
    yield Slip(edge, "all", 11, words, partial(spread, factor=math.prod(size)))
    smallest = trace.at(node.index, {0: -value})
    words = f"δ of {here} goes to the smallest element of the window, not to the largest"
    yield Slip(edge, "min", 11, words, lambda up: cast(Tensor, trace.pull(node.index, up, smallest)[0]))
    for key, text, rule in _routed(node, value):
        yield Slip(edge, key, 11, f"δ of {here} {text}", rule)
    yield Slip(
        edge, "mean", 11, f"δ of {here} is spread evenly over the window, as for a mean", partial(spread, factor=1.0)
    )


def _routed(node: Node, value: Tensor) -> Iterator[tuple[str, str, Any]]:
    """(key, words, rule) of δ of a maximum sent to wrong places; of windows that are not padded or dilated."""
    size = list(node.args[1])
    step = list(node.args[2]) if len(node.args) > 2 and node.args[2] else size
    if any(any(a) for a in node.args[3:4]) or any(d != 1 for a in node.args[4:5] for d in a):
        return
    index, wide = node.value[1], value.shape[-len(size) :]
    # where in its window each maximum is, and where each window starts, along every axis
    flat, at = index, list[Tensor]()
    for n in reversed(wide):
        at.insert(0, flat % n)
        flat = flat // n
    starts = []
    for k, s in enumerate(step):
        shape = [1] * index.dim()
        shape[index.dim() - len(step) + k] = -1
        starts.append((torch.arange(index.shape[index.dim() - len(step) + k]) * s).reshape(shape))

    def sent(places: list[Tensor], up: Any, add: bool) -> Tensor:
        to = torch.zeros_like(index)
        for place, n in zip(places, wide, strict=True):
            to = to * n + (place + torch.zeros_like(index)).clamp(0, n - 1)
        out = torch.zeros_like(value).flatten(-len(size))
        to, up = to.flatten(-len(size)), up[0].flatten(-len(size))
        if add:
            return out.scatter_add(-1, to, up).reshape(value.shape)
        for k in range(to.shape[-1]):
            out = out.scatter(-1, to[..., k : k + 1], up[..., k : k + 1])
        return out.reshape(value.shape)

    text = "goes to the first element of each window, not to its largest"
    yield "first", text, lambda up: sent(starts, up, add=True)
    if any(s < k for s, k in zip(step, size, strict=True)):
        text = "overwrites that of another window where the two should add up"
        yield "overwrite", text, lambda up: sent(at, up, add=False)
    if any(s != 1 for s in step):
        moved = [a - s + s // t for a, s, t in zip(at, starts, step, strict=True)]
        text = f"is put back as if the stride were 1, not {step[-1]}"
        yield "stride", text, lambda up: sent(moved, up, add=True)
