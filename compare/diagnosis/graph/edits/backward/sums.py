"""What reduces or looks up: δ over other axes, to every element, overwritten where it should add up."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import combinations

import torch

from handgrad.compare.diagnosis.graph.edits.backward.step import Step
from handgrad.compare.diagnosis.graph.edits.edit import StepEdit
from handgrad.compare.diagnosis.graph.formulas.parts import widened
from handgrad.compare.diagnosis.graph.record.node import Node, Tensor, is_float, is_like


def of_a_sum(step: Step) -> Iterator[StepEdit]:
    """δ of a sum tiled; or, where the sum was broadcast again, itself summed over other axes than the sum runs over."""
    right, shape = _axes(step), step.x.shape
    if len(right) == 1 and right[0] > 0 and shape[right[0] - 1] > 1 < shape[right[0]]:
        axis = right[0]
        yield step.edit("tiled", step.after(lambda g: g.transpose(axis - 1, axis).reshape(g.shape)))
    full = step.broadcast_again(shape)
    if full is None:
        return
    reduce = torch.mean if step.name == "mean" else torch.sum

    def reduced(axes: tuple[int, ...], up: Tensor) -> Tensor:
        return reduce(full, axes, keepdim=True).expand_as(step.x)

    for count in range(1, len(shape) + 1):
        for axes in combinations(range(len(shape)), count):
            if axes != right and shape[axes[0]] > 1:
                yield step.edit("other axes", partial(reduced, axes), axes=axes)


def _axes(step: Step) -> tuple[int, ...]:
    size, args = step.x.dim(), step.node.args
    given = args[1] if len(args) > 1 and args[1] not in (None, []) else range(size)
    return tuple(sorted(a % size for a in ([given] if isinstance(given, int) else given)))


def _widened(step: Step, up: Tensor) -> Tensor:
    """δ of a reduction, with the axes that it has lost."""
    return widened(up, _axes(step), keepdim=len(step.node.args) > 2 and step.node.args[2])


def of_an_extreme(step: Step) -> Iterator[StepEdit]:
    """δ of a maximum to every element, or to one of a place."""
    axes = _axes(step)
    yield step.edit("to every element", lambda up: _widened(step, up).expand_as(step.x))
    for k, which in ((0, "first"), (-1, "last")) if len(axes) == 1 else ():
        only = torch.zeros_like(step.x)
        only.select(axes[0], k).fill_(1)
        yield step.edit("to one element", partial(lambda only, up: _widened(step, up) * only, only), which=which)


def of_a_softmax(step: Step) -> Iterator[StepEdit]:
    """p (δ − Σ δ p) with the plain mean of δ."""
    axis, p = step.node.args[1], step.y
    yield step.edit("plain mean", lambda up: p * (up - up.mean(axis, keepdim=True)))


def of_a_logsumexp(step: Step) -> Iterator[StepEdit]:
    """δ of the logarithm of a sum of exponentials to the largest only."""
    largest = step.x == step.x.amax(_axes(step), keepdim=True)
    yield step.edit("largest only", lambda up: torch.where(largest, wide := _widened(step, up), torch.zeros_like(wide)))


def of_a_lookup(step: Step) -> Iterator[StepEdit]:
    """Rows that were looked up several times, and the row of the padding."""
    x, given = step.x, [v for v in step.arguments if isinstance(v, Tensor) and not is_float(v)]
    if not given:
        return
    index = given[0].reshape(-1)
    padding = step.node.args[2] if step.name == "embedding" and len(step.node.args) > 2 else -1
    if padding >= 0:

        def with_padding(up: Tensor) -> Tensor:
            return torch.zeros_like(x).index_add_(0, index, up.reshape(-1, x.shape[1]))

        yield step.edit("padding row", with_padding, row=padding)

    def overwritten(order: int, up: Tensor) -> Tensor:
        rows, out = up.reshape(len(index), *x.shape[1:]), torch.zeros_like(x)
        for k in range(len(index))[::order]:
            out[index[k]] = rows[k]
        return out

    for order, which in ((1, "last"), (-1, "first")):
        yield step.edit("row overwritten", partial(overwritten, order), which=which)


def other_weights(step: Step, late: int, other: int, sign: int) -> StepEdit | None:
    """The right rule for δ with other weights than the softmax of the later logsumexp, and the sign of the sum."""
    found = weights_like(step.trace.nodes[other], step.trace.source(step.trace.nodes[late]))
    if found is None:
        return None
    up = step.flows[late]
    weighed = sign * (up if up.dim() == found.dim() else up.unsqueeze(-1)) * found
    return step.edit("weights of a mixture", step.before(lambda up: weighed), late=late, other=other, sign=sign)


def weights_like(node: Node, x: Node) -> Tensor | None:
    """What sums to one like softmax(x), or its exponential does, and is another."""
    if not is_like(node.value, x.value) or node.value.dim() == 0:
        return None
    v = node.value.detach()
    found = v if sums_to_one(v) else v.exp() if sums_to_one(v.exp()) else None
    return None if found is None or torch.allclose(found, torch.softmax(x.value.detach(), -1)) else found


def sums_to_one(v: Tensor) -> bool:
    """Whether it is a row of weights."""
    return bool((v > 0).all()) and torch.allclose(v.sum(-1), torch.ones_like(v.sum(-1)))
