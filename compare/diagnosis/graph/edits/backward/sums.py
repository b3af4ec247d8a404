"""δ of what reduces or looks up: over other axes, to every element, overwritten where it should add up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import combinations

import torch

from handgrad.compare.diagnosis.graph.edits.backward.step import Place, Slip
from handgrad.compare.diagnosis.graph.record.notation import operation
from handgrad.compare.diagnosis.graph.record.trace import Tensor


def of_a_sum(here: Place) -> Iterator[Slip]:
    """δ of a sum tiled; or, where the sum was broadcast again, itself summed over other axes than the sum runs over."""
    right = _axes(here)
    if len(right) == 1 and right[0] > 0 and here.x.shape[right[0] - 1] > 1 < here.x.shape[right[0]]:
        words = f"δ of {here.here} is repeated as a whole (tiled) where each of its numbers should be repeated"
        yield here.slip("tiled", 11, words, partial(_tiled_back, here, right[0]))
    full = next((f for k in _broadcasts(here) if isinstance(f := here.flows.get(k), torch.Tensor)), None)
    if full is None:
        return
    size = here.x.dim()
    for count in range(1, size + 1):
        for axes in combinations(range(size), count):
            if axes == right or here.x.shape[axes[0]] < 2:
                continue
            where = f"axis {', '.join(map(str, axes))}" if count < size else "everything"
            words = f"on the way back through {here.here} the sum of δ runs over {where}, not over its axis"
            yield here.slip(("axes", axes), 12, words, partial(_reduced, here, full, axes))


def _tiled_back(here: Place, axis: int, up: Tensor) -> Tensor:
    g = here.right(up)
    return g.transpose(axis - 1, axis).reshape(g.shape)


def _axes(here: Place) -> tuple[int, ...]:
    size, args = here.x.dim(), here.node.args
    given = args[1] if len(args) > 1 and args[1] not in (None, []) else range(size)
    return tuple(sorted(a % size for a in ([given] if isinstance(given, int) else given)))


def _reduced(here: Place, full: Tensor, axes: tuple[int, ...], up: Tensor) -> Tensor:
    reduced = full.mean(axes, keepdim=True) if here.name == "mean" else full.sum(axes, keepdim=True)
    return reduced.expand_as(here.x)


def _broadcasts(here: Place) -> Iterator[int]:
    """Where the sum is broadcast to the shape of its argument again."""
    same = {here.node.index}
    for n in here.trace.nodes[here.node.index + 1 :]:
        if operation(n) in ("unsqueeze", "expand", "view") and n.sources()[0] in same:
            same.add(n.index)
            if n.value.shape == here.x.shape:
                yield n.index


def of_an_extreme(here: Place) -> Iterator[Slip]:
    """δ of a maximum to every element."""
    args = here.node.args
    keep = len(args) > 2 and args[2]

    def everywhere(up: Tensor) -> Tensor:
        for axis in () if keep else _axes(here):
            up = up.unsqueeze(axis)
        return up.expand_as(here.x)

    words = f"δ of {here.here} goes to every element, not only where the largest or smallest stands"
    yield here.slip("all", 11, words, everywhere)
    axes = _axes(here)
    if len(axes) == 1:
        for k, which in ((0, "first"), (-1, "last")):
            only = torch.zeros_like(here.x)
            only.select(axes[0], k).fill_(1)
            words = f"δ of {here.here} goes to the {which} element, not to where the largest or smallest stands"
            yield here.slip(which, 11, words, partial(_sent, everywhere, only))


def _sent(everywhere: Callable[[Tensor], Tensor], only: Tensor, up: Tensor) -> Tensor:
    return everywhere(up) * only


def of_a_logsumexp(here: Place) -> Iterator[Slip]:
    """δ of the logarithm of a sum of exponentials to the largest only."""
    args = here.node.args

    def largest(up: Tensor) -> Tensor:
        axes = _axes(here)
        for axis in () if len(args) > 2 and args[2] else axes:
            up = up.unsqueeze(axis)
        return torch.where(here.x == here.x.amax(axes, keepdim=True), up, torch.zeros_like(up))

    words = f"δ of {here.here} goes to the largest element only: 1 at the maximum stands for the softmax"
    yield here.slip("largest", 11, words, largest)


def of_a_lookup(here: Place) -> Iterator[Slip]:
    """Rows that were looked up several times."""
    padding = here.node.args[2] if here.name == "embedding" and len(here.node.args) > 2 else -1
    if padding >= 0:
        words = f"row {padding} of {here.at}, the padding, gets a gradient too"
        yield here.slip("padding", 11, words, partial(_with_padding, here))
    words = f"what belongs to the same row of {here.at} overwrites each other where it should add up (accumulate)"
    for order, last in ((1, "last"), (-1, "first")):
        text = f"{words}: only the {last} is left"
        yield here.slip(f"overwrite {last}", 11, text, partial(_overwritten, here, order))


def _with_padding(here: Place, up: Tensor) -> Tensor:
    index = next(v for v in here.arguments if isinstance(v, torch.Tensor) and not v.is_floating_point())
    return torch.zeros_like(here.x).index_add_(0, index.reshape(-1), up.reshape(-1, here.x.shape[1]))


def _overwritten(here: Place, order: int, up: Tensor) -> Tensor:
    """The gradient of a look-up, assigned and not added."""
    places = [v for v in here.arguments if isinstance(v, torch.Tensor) and not v.is_floating_point()]
    index = places[0].reshape(-1)
    rows = up.reshape(len(index), *here.x.shape[1:])
    out = torch.zeros_like(here.x)
    for k in range(len(index))[::order]:
        out[index[k]] = rows[k]
    return out
