"""Another function: an elementwise function too much, a reshape for a transpose, padding at the other end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch

from handgrad.compare.diagnosis.graph.edits.forward.arguments import is_like
from handgrad.compare.diagnosis.graph.record.notation import COMPARED, called, formula, operation, silent
from handgrad.compare.diagnosis.graph.record.rerun import Mutant, Swap, node_value
from handgrad.compare.diagnosis.graph.record.trace import Node, Tensor, Trace

REACH = 12  # operations that are looked ahead
MOVING = {"stack", "cat", "slice", "select"}
BIG = 20.0  # numbers whose exponential nobody takes by mistake without seeing it


def of_forms(trace: Trace) -> Iterator[Mutant]:
    """All of this room, from the output backwards: for a reference, not for the closed form of a derivative."""
    for node in reversed(trace.nodes):
        if node.op is not None and node.index in trace.variable and isinstance(node.value, torch.Tensor):
            yield from of_moves(trace, node)
            yield from of_functions(trace, node)
            yield from of_later_ones(trace, node)


def of_functions(trace: Trace, node: Node) -> Iterator[Mutant]:
    """√, a square, exp or log of an argument where the argument itself belongs."""
    here, name = formula(trace, node.index), operation(node)
    for p, s in enumerate(node.sources()):
        v, source = trace.nodes[s].value, trace.nodes[s]
        if s not in trace.variable or not isinstance(v, torch.Tensor) or not v.is_floating_point() or v.numel() < 2:
            continue
        if name in COMPARED or silent(node):
            continue
        what = called(trace, s)
        while silent(source) and source.sources():
            source = trace.nodes[source.sources()[0]]
        for words, f in _functions(v, name, operation(source)):
            made = partial(_with_function, node, p, f)
            yield Mutant(
                node.index, ("function", p, words), 13, f"{words.format(what)} stands for {what} in {here}", made
            )


def _functions(v: Tensor, above: str, below: str) -> Iterator[tuple[str, Callable[[Tensor], Tensor]]]:
    """What is not undone, or said better, by the operation above or below it."""
    if bool((v >= 0).all()) and below not in ("pow", "square") and above not in ("pow", "square", "log"):
        yield "√({})", torch.sqrt
    if below != "sqrt" and above not in ("sqrt", "rsqrt"):
        yield "({})²", torch.square
    if bool((v.abs() < BIG).all()) and below != "log" and above != "log":
        yield "exp({})", torch.exp
    if bool((v > 0).all()) and "exp" not in (above, below):
        yield "log({})", torch.log


def _with_function(node: Node, place: int, f: Callable[[Tensor], Tensor], given: list[Any]) -> Any:
    return node_value(node, [f(g) if q == place else g for q, g in enumerate(given)])


def of_moves(trace: Trace, node: Node) -> Iterator[Mutant]:
    """Numbers brought to the wrong place: reshaped, not transposed; padded at the other end."""
    name, here, v = operation(node), formula(trace, node.index), node.value
    if name in ("permute", "transpose", "t") and sum(n > 1 for n in v.shape) > 1:
        words = f"{called(trace, node.sources()[0])}: its axes are only reshaped where they should be transposed"
        yield Mutant(node.index, "reshaped", 12, words, lambda given: given[0].reshape(v.shape))
    elif name == "constant_pad_nd":
        pads = list(node.args[1])
        other = [k for left, right in zip(pads[::2], pads[1::2], strict=True) for k in (right, left)]
        if other != pads:
            words = f"the padding is at the other end, in {here}"
            rest = node.args[2:]
            yield Mutant(node.index, "other end", 11, words, lambda given: node.op(given[0], other, *rest))


def of_later_ones(trace: Trace, node: Node) -> Iterator[Mutant]:
    """A quantity that the reference works out only later, without this one, where an argument belongs."""
    if not node.flat or operation(node) in MOVING or silent(node):
        return
    after = {node.index}
    for other in trace.nodes[node.index + 1 :]:
        if any(s in after for s in other.sources()):
            after.add(other.index)
        elif other.index in trace.variable and not silent(other) and other.index <= node.index + REACH:
            for p, s in enumerate(node.sources()):
                v = trace.nodes[s].value
                if s in trace.variable and is_like(other.value, v) and not torch.equal(other.value, v):
                    words = (
                        f"{called(trace, other.index)} stands for {called(trace, s)} in {formula(trace, node.index)}"
                    )
                    yield Mutant(node.index, ("later", p, other.index), 13, words, Swap(node, p, other.index))
