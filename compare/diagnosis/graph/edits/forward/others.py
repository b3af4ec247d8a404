"""Another quantity, or a function of it, where an argument belongs; and numbers brought to the wrong place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from handgrad.compare.diagnosis.graph.edits.edit import ReferenceEdit
from handgrad.compare.diagnosis.graph.labels import UP
from handgrad.compare.diagnosis.graph.record.node import Node, Tensor, is_float, is_like
from handgrad.compare.diagnosis.graph.record.notation import called
from handgrad.compare.diagnosis.graph.record.operations import COMPARED, MADE, MOVES, TURNS
from handgrad.compare.diagnosis.graph.record.rerun import Made, node_value, with_argument
from handgrad.compare.diagnosis.graph.record.trace import Trace

MOST_VALUES = 8  # other quantities that are tried in a place
REACH = 12  # operations that are looked ahead
GATHERING = {"stack", "cat", "slice", "select"}


def instead(node: Node, place: int, wide: Any = None) -> Made:
    """The operation with another result, which is read besides, for an argument; broadcast like this one, if it is."""

    def made(given: list[Any]) -> Any:
        *given, other = given
        given[place] = other if wide is None else other.expand(wide)
        return node_value(node, given)

    return made


def of_others(trace: Trace, node: Node) -> Iterator[ReferenceEdit]:
    """Another quantity where an argument belongs; for what was broadcast, another that is broadcast likewise."""
    before = trace.nodes[: node.index][::-1]
    for p, s in enumerate(node.sources()):
        source = trace.nodes[s]
        wide = source.value.shape if source.operation == "expand" else None
        narrow = source if wide is None else trace.source(source)
        b, tried = narrow.value, 0
        if not is_float(b):
            continue
        for other in before:
            alike = is_like(other.value, b) and other.index not in (s, narrow.index) and other.operation not in MADE
            scalar_up = b.dim() == 0 and other.index == trace.inputs.get(UP)
            if tried < MOST_VALUES and alike and not scalar_up and not torch.equal(other.value, b):
                tried += 1
                # N for the sum of the weights
                kind = "another count" if b.dim() == 0 and other.name and source.name else "another quantity"
                made = instead(node, p, wide)
                yield ReferenceEdit.of(node, kind, made, other.index, argument=p, other=other.index)
        for other in _as_wide(trace, node, s) if wide is not None else ():
            made = instead(node, p)
            yield ReferenceEdit.of(node, "another quantity", made, other.index, argument=p, other=other.index)


def _as_wide(trace: Trace, node: Node, right: int) -> list[Node]:
    """What is not broadcast, but has the shape all the same."""
    found = []
    for other in trace.nodes[: node.index][::-1]:
        alike = is_like(other.value, trace.nodes[right].value) and other.operation not in MADE
        if alike and other.index not in node.sources() and called(trace, other.index) != called(trace, right):
            found.append(other)
    return found[:MOST_VALUES]


def of_later_ones(trace: Trace, node: Node) -> Iterator[ReferenceEdit]:
    """A quantity that the reference works out only later, without this one, where an argument belongs."""
    if not node.flat or node.operation in GATHERING | MOVES:
        return
    after = {node.index}
    for other in trace.nodes[node.index + 1 :]:
        if any(s in after for s in other.sources()):
            after.add(other.index)
        elif other.index in trace.variable and other.operation not in MOVES and other.index <= node.index + REACH:
            for p, s in enumerate(node.sources()):
                v = trace.nodes[s].value
                if s in trace.variable and is_like(other.value, v) and not torch.equal(other.value, v):
                    made = instead(node, p)
                    yield ReferenceEdit.of(node, "later quantity", made, other.index, argument=p, other=other.index)


BIG = 20.0  # numbers whose exponential nobody takes by mistake without seeing it
FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "√({})": torch.sqrt,
    "({})²": torch.square,
    "exp({})": torch.exp,
    "log({})": torch.log,
}


def of_forms(trace: Trace) -> Iterator[ReferenceEdit]:
    """All of them, from the output backwards: for a reference, not for the closed form of a derivative."""
    for node in reversed(trace.nodes):
        if node.op is not None and node.index in trace.variable and isinstance(node.value, Tensor):
            yield from _of_moves(node)
            yield from _of_functions(trace, node)
            yield from of_later_ones(trace, node)


def _of_functions(trace: Trace, node: Node) -> Iterator[ReferenceEdit]:
    """√, a square, exp or log of an argument where the argument itself belongs."""
    if node.operation in COMPARED or node.operation in MOVES:
        return
    for p, s in enumerate(node.sources()):
        v, source = trace.nodes[s].value, trace.nodes[s]
        if s not in trace.variable or not is_float(v) or v.numel() < 2:
            continue
        while source.operation in MOVES and source.sources():
            source = trace.source(source)
        for name in _sensible(v, node.operation, source.operation):
            made = with_argument(node, p, FUNCTIONS[name])
            yield ReferenceEdit.of(node, "function of an argument", made, argument=p, function=name)


def _sensible(v: Tensor, above: str, below: str) -> Iterator[str]:
    """What is not undone, or said better, by the operation above or below it."""
    if bool((v >= 0).all()) and below not in ("pow", "square") and above not in ("pow", "square", "log"):
        yield "√({})"
    if below != "sqrt" and above not in ("sqrt", "rsqrt"):
        yield "({})²"
    if bool((v.abs() < BIG).all()) and below != "log" and above != "log":
        yield "exp({})"
    if bool((v > 0).all()) and "exp" not in (above, below):
        yield "log({})"


def _of_moves(node: Node) -> Iterator[ReferenceEdit]:
    """Numbers brought to the wrong place: reshaped, not transposed; padded at the other end."""
    shape = node.value.shape
    if node.operation in TURNS and sum(n > 1 for n in shape) > 1:
        yield ReferenceEdit.of(node, "only reshaped", lambda given: given[0].reshape(shape))
    elif node.operation == "constant_pad_nd":
        pads, rest = list(node.args[1]), node.args[2:]
        other = [k for left, right in zip(pads[::2], pads[1::2], strict=True) for k in (right, left)]
        if other != pads:
            yield ReferenceEdit.of(node, "padded at the other end", lambda given: node.op(given[0], other, *rest))
