"""Any operation: δ with its numbers in other places, reduced once too often, times a quantity, or that of another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch

from handgrad.compare.diagnosis.graph.edits.backward.step import MOST_VALUES, Step
from handgrad.compare.diagnosis.graph.edits.edit import StepEdit
from handgrad.compare.diagnosis.graph.record.node import Tensor, fits_into, is_float
from handgrad.compare.diagnosis.graph.record.notation import called, formula
from handgrad.compare.diagnosis.graph.record.operations import ELEMENTWISE, MADE

MEETING = {"slice", "select", "split", "chunk", "expand", "stack", "cat"}
NOTHING_MIXED = ELEMENTWISE | {"add", "sub", "mul"}
# A quantity too much, or lacking, as what flows on is multiplied with it.
OF_A_QUANTITY: dict[str, Callable[[Tensor], Tensor]] = {
    "quantity too much": lambda q: q,
    "quantity lacking": lambda q: 1 / q,
    "root too much": lambda q: q.abs().sqrt(),
    "root lacking": lambda q: 1 / q.abs().sqrt(),
}


def of_a_reshape(step: Step) -> Iterator[StepEdit]:
    """δ of what only moves numbers about, or copies them."""
    yield step.edit("only reshaped", lambda up: up.reshape(step.x.shape))


def of_a_sequence(step: Step) -> Iterator[StepEdit]:
    """δ of a running sum, or of numbers put in another order."""
    yield step.edit("not reversed", lambda up: step.node.op(up, *step.node.args[1:]))


def of_places(step: Step) -> Iterator[StepEdit]:
    """δ, or what flows on, with its numbers in other places."""
    x, up = step.x, step.up
    if x.dim() >= 2 and x.shape[-1] == x.shape[-2]:
        yield step.edit("transposed", step.after(_turned))
    if up.dim() >= 2 and up.shape[-1] == up.shape[-2] and step.name not in NOTHING_MIXED:
        yield step.edit("δ not transposed", step.before(_turned))
        yield step.edit("both not transposed", lambda up: _turned(step.right(_turned(up))))
    for axis, size in enumerate(x.shape) if step.name not in ELEMENTWISE else ():
        for kind, change, by in _moves(axis, size):
            yield step.edit(kind, step.after(change), by=by, axis=axis)
        if size > 1 and axis == 2 and step.name == "convolution" and x.dim() > 3:
            yield step.edit("taps flipped", step.after(partial(torch.flip, dims=tuple(range(2, x.dim())))))
        if size > 1 and step.name not in ("add", "sub"):
            yield step.edit("summed too", step.after(_reduced(torch.sum, axis)), axis=axis)
            yield step.edit("averaged too", step.after(_reduced(torch.mean, axis)), axis=axis)


def of_quantities(step: Step) -> Iterator[StepEdit]:
    """What flows on with a quantity of the derivation too much, or without it, where it is not the rule's own."""
    for index in _quantities(step):
        q = step.trace.nodes[index].value.detach()
        for kind, change in OF_A_QUANTITY.items():
            if bool(torch.isfinite(change(q)).all()):
                yield step.edit(kind, step.after(partial(torch.mul, change(q))), other=index)


def _quantities(step: Step) -> Iterator[int]:
    """The arguments and the result of the operation, and, where several paths meet, what is near."""
    found = dict.fromkeys([*step.node.sources(), step.node.index])
    if sum(step.source in n.sources() for n in step.trace.nodes) > 1 or step.name in MEETING:
        found |= dict.fromkeys(n.index for n in step.nearest()[: 2 * MOST_VALUES])
    for index in found:
        node = step.trace.nodes[index]
        q = node.value
        if is_float(q) and node.operation not in MADE and q.numel() > 1 and fits_into(q, step.x.shape):
            yield index


def _turned(g: Tensor) -> Tensor:
    return g.transpose(-1, -2)


def _moves(axis: int, size: int) -> Iterator[tuple[str, Callable[[Tensor], Tensor], int]]:
    """(the kind of edit, the change, by how many places)."""
    if size > 2:
        for by in (1, -1):
            yield "rolled", partial(torch.roll, shifts=by, dims=axis), by
            yield "shifted", partial(_shifted, by, axis), by
    if size > 1:
        yield "reversed", partial(torch.flip, dims=(axis,)), 0
    if size > 3 and size % 2 == 0:
        yield "halves exchanged", partial(torch.roll, shifts=size // 2, dims=axis), 0


def _shifted(by: int, axis: int, x: Tensor) -> Tensor:
    """Moved along an axis, with zeros where nothing comes from."""
    moved = x.roll(by, axis)
    moved.select(axis, 0 if by > 0 else -1).zero_()
    return moved


def _only(axis: int, k: int, up: Tensor) -> Tensor:
    kept = torch.zeros_like(up)
    kept.select(axis, k).copy_(up.select(axis, k))
    return kept


def _reduced(reduce: Callable[..., Tensor], axis: int) -> Callable[[Tensor], Tensor]:
    return lambda g: reduce(g, axis, keepdim=True).expand_as(g)


def of_upstream(step: Step) -> Iterator[StepEdit]:
    """Another δ where that of the operation belongs."""
    up, here = step.up, step.node.index
    yield step.edit("δ as 1", step.before(torch.ones_like))
    for axis, size in enumerate(up.shape):
        for which, k in (("first", 0), ("last", size - 1)) if size > 1 and step.name not in NOTHING_MIXED else ():
            yield step.edit("δ at one place", step.before(partial(_only, axis, k)), which=which, axis=axis)
        if size > 1:
            yield step.edit("mean of δ", step.before(_reduced(torch.mean, axis)), axis=axis)
            yield step.edit("sum of δ", step.before(_reduced(torch.sum, axis)), axis=axis)
    tried = 0
    for other in step.nearest():
        w = step.flows.get(other.index)
        if not isinstance(w, Tensor) or w.shape != up.shape or torch.equal(w, up):
            continue
        if tried < MOST_VALUES and called(step.trace, other.index) != formula(step.trace, here):
            tried += 1
            yield step.another_upstream(other.index)
