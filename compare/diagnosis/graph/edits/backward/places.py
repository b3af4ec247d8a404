"""δ with its numbers in other places, reduced once too often, or the δ of something else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch

from handgrad.compare.diagnosis.graph.edits.backward.functions import PLAIN
from handgrad.compare.diagnosis.graph.edits.backward.step import MOST_VALUES, Borrowed, Place, Slip, path
from handgrad.compare.diagnosis.graph.record.notation import MADE, called, operation
from handgrad.compare.diagnosis.graph.record.trace import Node, Tensor

MEETING = {"slice", "select", "split", "chunk", "expand", "stack", "cat"}
ELEMENTWISE = PLAIN | {"add", "sub", "mul"}


def of_places(here: Place) -> Iterator[Slip]:
    """δ, or what flows on, with its numbers in other places."""
    x, up, what = here.x, here.up, f"the derivative of {here.here} by {here.at}"
    if x.dim() >= 2 and x.shape[-1] == x.shape[-2]:
        yield here.slip("gᵀ", 12, f"{what} is transposed", here.after(_turned))
    if up.dim() >= 2 and up.shape[-1] == up.shape[-2] and here.name not in ELEMENTWISE:
        yield here.slip("δᵀ", 12, f"δ of {here.here} is not transposed as it should be", here.before(_turned))
        words = f"in the derivative of {here.here} both factors around δ are not transposed"
        yield here.slip("δᵀᵀ", 12, words, lambda up: _turned(here.right(_turned(up))))
    if here.name in PLAIN:
        return
    for axis, size in enumerate(x.shape):
        for key, words, change in _moves(axis, size):
            yield here.slip(key, 13, f"{what} is {words} along axis {axis}", here.after(change))
        if size > 1 and axis == 2 and here.name == "convolution" and x.dim() > 3:
            taps = tuple(range(2, x.dim()))
            words = f"{what} is flipped (reversed along its taps)"
            yield here.slip(("reversed", *taps), 11, words, here.after(partial(torch.flip, dims=taps)))
        if size > 1 and here.name not in ("add", "sub"):
            for kind, reduce in (("summed", torch.sum), ("averaged", torch.mean)):
                words = f"{what} is {kind} over axis {axis} too"
                yield here.slip((kind, axis), 13, words, here.after(partial(_reduced, reduce, axis)))


def of_quantities(here: Place) -> Iterator[Slip]:
    """What flows on with a quantity of the derivation too much, or without it, where it is not the rule's own."""
    way = path(here.trace, here.edge)
    for index in _quantities(here):
        name, q = called(here.trace, index), here.trace.nodes[index].value.detach()
        for key, value, words in (
            ("×", q, f"{way} has a factor {name} too much"),
            ("÷", 1 / q, f"{way} lacks a factor {name}, or is divided by it"),
            ("×√", q.abs().sqrt(), f"{way} has a factor √({name}) too much"),
            ("÷√", 1 / q.abs().sqrt(), f"{way} lacks a factor √({name}), or is divided by it"),
        ):
            if bool(torch.isfinite(value).all()):
                yield here.slip((key, index), 14 + ("√" in key), words, here.after(partial(torch.mul, value)))


def _quantities(here: Place) -> Iterator[int]:
    """The arguments and the result of the operation, and, where several paths meet, what is near."""
    found = dict.fromkeys([*here.node.sources(), here.node.index])
    several = sum(here.edge[2] in n.sources() for n in here.trace.nodes) > 1 or here.name in MEETING
    if several:
        near = sorted(here.trace.nodes, key=lambda n: abs(n.index - here.node.index))
        found |= dict.fromkeys(n.index for n in near[: 2 * MOST_VALUES])
    for index in found:
        node = here.trace.nodes[index]
        q = node.value
        fits = isinstance(q, torch.Tensor) and q.is_floating_point() and q.dim() <= here.x.dim()
        if fits and operation(node) not in MADE and q.numel() > 1:
            sizes = zip(q.shape[::-1], here.x.shape[::-1], strict=False)
            if all(a in (1, b) for a, b in sizes):
                yield index


def _turned(g: Tensor) -> Tensor:
    return g.transpose(-1, -2)


def _moves(axis: int, size: int) -> Iterator[tuple[tuple[object, ...], str, Callable[[Tensor], Tensor]]]:
    if size > 2:
        for by in (1, -1):
            yield ("rolled", axis, by), f"rolled by {by}", partial(torch.roll, shifts=by, dims=axis)
            yield ("shifted", axis, by), f"shifted by {by}, with zeros,", partial(_shifted, by, axis)
    if size > 1:
        yield ("reversed", axis), "reversed", partial(torch.flip, dims=(axis,))
    if size > 3 and size % 2 == 0:
        yield (
            ("swapped", axis),
            "made of its two halves in the other order",
            partial(torch.roll, shifts=size // 2, dims=axis),
        )


def _shifted(by: int, axis: int, x: Tensor) -> Tensor:
    """Moved along an axis, with zeros where nothing comes from."""
    moved = x.roll(by, axis)
    moved.select(axis, 0 if by > 0 else -1).zero_()
    return moved


def _only(axis: int, k: int, up: Tensor) -> Tensor:
    kept = torch.zeros_like(up)
    kept.select(axis, k).copy_(up.select(axis, k))
    return kept


def _reduced(reduce: Callable[..., Tensor], axis: int, g: Tensor) -> Tensor:
    return reduce(g, axis, keepdim=True).expand_as(g)


def of_upstream(here: Place) -> Iterator[Slip]:
    """Another δ where that of the operation belongs."""
    up, of = here.up, here.of
    yield here.slip("δ one", 13, f"{of}, δ is left out (taken as 1)", here.before(torch.ones_like))
    for axis, size in enumerate(up.shape):
        if size > 1 and here.name not in ELEMENTWISE:
            for which, k in (("first", 0), ("last", size - 1)):
                words = f"{of}, only the {which} number of δ along axis {axis} counts"
                yield here.slip((f"δ {which}", axis), 13, words, here.before(partial(_only, axis, k)))
        if size > 1:
            for kind, reduce in (("mean", torch.mean), ("sum", torch.sum)):
                words = f"{of}, the {kind} of δ over axis {axis} stands for δ"
                yield here.slip((f"δ {kind}", axis), 14, words, here.before(partial(_reduced, reduce, axis)))
    tried = 0
    for other in sorted(here.trace.nodes, key=lambda n: abs(n.index - here.node.index)):
        w = here.flows.get(other.index)
        if not isinstance(w, torch.Tensor) or w.shape != up.shape or other.index == here.node.index:
            continue
        name = called(here.trace, other.index)
        if not torch.equal(w, up) and tried < MOST_VALUES and name != here.here:
            tried += 1
            words = f"{of}, δ of {name} stands where that of {here.here} belongs"
            if other.index > here.node.index and (factor := _factor_between(here, other)):
                words = f"{of}, δ lacks the factor {factor} (that of {name} stands for it)"
            rule = Borrowed(here.right, other.index if other.index > here.node.index else -1, w)
            yield here.slip(("δ of", other.index), 13, words, rule)


def _factor_between(here: Place, later: Node) -> str:
    """What the result is multiplied with to make the other one; empty where more is done with it."""
    if operation(later) != "mul" or here.node.index not in later.sources() or len(later.sources()) != 2:
        return ""
    first, second = later.sources()
    return called(here.trace, second if first == here.node.index else first)
