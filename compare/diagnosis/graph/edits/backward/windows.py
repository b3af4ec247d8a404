"""Convolutions, pools, enlargements: δ of what looks through a window put back at the wrong places, or not added."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import product
from typing import Any

import torch

from handgrad.compare.diagnosis.graph.edits.backward.step import Step
from handgrad.compare.diagnosis.graph.edits.edit import RIGHT, StepEdit
from handgrad.compare.diagnosis.graph.record.node import Node, Tensor

SETTINGS = {"stride": 3, "padding": 4, "dilation": 5}  # a convolution's arguments, by their places
MOST_POSITIONS = 64  # of a window, that are put back one by one


def of_a_convolution(step: Step) -> Iterator[StepEdit]:
    """δ of a convolution put back with other settings, with other kernels, or at one position only."""
    args = step.node.args
    for name, k in SETTINGS.items():
        if not (args[6] and name == "padding"):
            yield from _of_a_setting(step, name, k)
    if args[6]:
        return
    groups = args[8] if len(args) > 8 else 1
    if groups > 1 and step.place == 0:
        w = step.arguments[1].detach()
        for by in dict.fromkeys((1, groups - 1)):
            yield step.edit("another group", step.with_other(1, w.roll(by * w.shape[0] // groups, 0)), by=by)
    kernel = step.arguments[1].shape[2:]
    if step.place == 0:
        reach = [d * (n - 1) + 1 for d, n in zip(args[5], kernel, strict=True)]
        yield from overwriting(step, args[3], reach)
    elif math.prod(step.up.shape[2:]) > 1:
        for which in ("last", "first"):
            yield step.edit("one position only", step.before(partial(_only, which)), which=which)


def _of_a_setting(step: Step, name: str, k: int) -> Iterator[StepEdit]:
    right = step.node.args[k]
    for other in range(3):
        if all(v == other for v in right) or (name != "padding" and other == 0):
            continue
        said = {"setting": name, "value": other, "right": right[0]}
        yield step.edit("other setting", partial(_as_if, step, k, other, cut=False), **said)
        if step.place == 1 and name == "padding":
            yield step.edit("padded and cut", partial(_as_if, step, k, other, cut=True), **said)


def _as_if(step: Step, k: int, other: int, up: Tensor, cut: bool) -> Tensor:
    """Put back with another stride, padding or dilation; what then lies beyond the input is cut off."""
    x, w, *bias = [a.detach() for a in step.arguments if isinstance(a, torch.Tensor)]
    others = list(step.node.args[3:])
    others[k - 3] = [other] * len(others[k - 3])
    stride, _, dilation, turned = others[:4]
    more = [0] * len(stride)
    if not turned and not cut:
        sizes = zip(up.shape[2:], stride, dilation, w.shape[2:], x.shape[2:], strict=True)
        more = [max(0, (n - 1) * s + d * (m - 1) + 1 - size) for n, s, d, m, size in sizes]
    wide = torch.nn.functional.pad(x, [v for m in reversed(more) for v in (0, m)])
    with torch.enable_grad():
        leaves = [wide.requires_grad_(), w.requires_grad_()]
        y = step.node.op(*leaves, bias[0] if bias else None, *others)
    full = torch.zeros_like(y)
    part = tuple(slice(0, min(a, b)) for a, b in zip(y.shape, up.shape, strict=True))
    full[part] = up[part]
    found = torch.autograd.grad(y, leaves[step.place], full)[0]
    return found[tuple(slice(0, n) for n in step.x.shape)]


def _only(which: str, up: Tensor) -> Tensor:
    """δ of the first or the last position of the window."""
    at: tuple[Any, ...] = (..., *(0 if which == "first" else -1 for _ in up.shape[2:]))
    kept = torch.zeros_like(up)
    kept[at] = up[at]
    return kept


def positions(up: Tensor) -> Iterator[tuple[tuple[int, ...], Tensor]]:
    """Every position of the window, and δ of that position alone."""
    for place in product(*(range(n) for n in up.shape[2:])):
        at: tuple[Any, ...] = (..., *place)
        alone = torch.zeros_like(up)
        alone[at] = up[at]
        yield place, alone


def overwriting(step: Step, strides: Any, reach: Any) -> Iterator[StepEdit]:
    """Windows that overlap, and overwrite each other."""
    if all(s >= n for s, n in zip(strides, reach, strict=True)) or math.prod(step.up.shape[2:]) > MOST_POSITIONS:
        return
    for order, which in ((1, "last"), (-1, "first")):
        yield step.edit("windows overwritten", partial(_overwritten, step, order), which=which)


def _overwritten(step: Step, order: int, up: Tensor) -> Tensor:
    covers = step.with_other(1, torch.ones_like(step.arguments[1])) if step.name == "convolution" else step.right
    out = torch.zeros_like(step.x)
    ones = [one for _, one in positions(torch.ones_like(up))]
    for one, (_, alone) in list(zip(ones, positions(up), strict=True))[::order]:
        out = torch.where(covers(one) != 0, step.right(alone), out)
    return out


def of_an_enlargement(step: Step) -> Iterator[StepEdit]:
    """δ of numbers that are repeated, not added up again."""
    times = [m // n for m, n in zip(step.up.shape, step.x.shape, strict=True)]
    if any(m != n * t for m, n, t in zip(step.up.shape, step.x.shape, times, strict=True)):
        return
    first = tuple(slice(None, None, t) for t in times)
    yield step.edit("first of a window", lambda up: up[first])
    yield step.edit("window averaged", lambda up: step.right(up) / math.prod(times))
    parts = [n for t, m in zip(times, step.x.shape, strict=True) for n in (t, m)]
    yield step.edit("summed as tiled", lambda up: up.reshape(parts).sum(tuple(range(0, len(parts), 2))))


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
