"""A loss with a quantity read as another one everywhere: its two arguments exchanged, log σ for log σ², 1 − q for q.

And the order of two operations: the square of a sum for a sum of squares.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

from handgrad.compare.diagnosis.graph.edits.edit import ReferenceEdit
from handgrad.compare.diagnosis.graph.edits.kinds_of_operations import OPERATIONS
from handgrad.compare.diagnosis.graph.record.node import Node, Tensor, is_float
from handgrad.compare.diagnosis.graph.record.rerun import Changed, Made, node_value, with_argument
from handgrad.compare.diagnosis.graph.record.trace import Trace

PARTS = {"select", "slice"}  # operations whose results are parts of the output with a meaning each: μ, log σ²
FAR = 4  # operations that a square is moved over
READ_AS: dict[str, Callable[[Tensor], Tensor]] = {
    "2 · {}": lambda v: 2 * v,
    "½ · {}": lambda v: v / 2,
    "−{}": torch.neg,
    "({})²": torch.square,
    "√({})": torch.sqrt,
    "exp({})": torch.exp,
}


def of_losses(trace: Trace, values: Mapping[int, Any]) -> Iterator[ReferenceEdit]:
    """All of them, for a loss; the values are those that it is run again with."""
    if "ŷ" not in trace.inputs:
        return
    yield from _of_arguments(trace, values)
    for node in trace.nodes:
        if _is_part(trace, node):
            for form, read in READ_AS.items():
                yield ReferenceEdit.of(node, "read as", _read(node, read, values), form=form)
        elif _is_weight(trace, node):
            yield ReferenceEdit.of(node, "weights exchanged", _read(node, lambda v: 1 - v, values))
    yield from _of_powers(trace)


def _of_arguments(trace: Trace, values: Mapping[int, Any]) -> Iterator[ReferenceEdit]:
    """The loss of its arguments in the other order; and where one of them is a logarithm, its exponential."""
    a, b = trace.inputs["ŷ"], trace.inputs.get("target", -1)
    x, y = values[a], values.get(b)
    if is_float(y) and y.shape == x.shape:
        yield _edit("arguments exchanged", {a: lambda _: y, b: lambda _: x})
        yield _edit("logarithms exchanged", {a: lambda _: y.log(), b: lambda _: x.exp()})


def _edit(kind: str, made: Mapping[int, Made]) -> ReferenceEdit:
    return ReferenceEdit(kind, OPERATIONS[kind].tier, {k: Changed(m) for k, m in made.items()})


def _is_part(trace: Trace, node: Node) -> bool:
    """A part of the output, as cut out or split off."""
    if node.index not in trace.variable or not isinstance(node.value, Tensor) or len(node.sources()) != 1:
        return False
    source = trace.source(node)
    if node.item is not None:
        return bool(source.sources()) and source.sources()[0] == trace.inputs["ŷ"]
    cut = node.operation in PARTS and node.value.numel() < source.value.numel()
    return cut and not any(n.operation in PARTS for n in trace.nodes if node.index in n.sources())


def _is_weight(trace: Trace, node: Node) -> bool:
    """A table of the reference's own, which stands in several places."""
    inside = node.op is not None or node.item is not None or node.index in trace.inputs.values()
    if inside or not is_float(node.value) or node.value.dim() == 0:
        return False
    return sum(node.index in n.sources() for n in trace.nodes) > 1


def _read(node: Node, change: Callable[[Tensor], Tensor], values: Mapping[int, Any]) -> Made:
    """A part of the output, or a weight, on another scale."""

    def made(given: list[Any]) -> Any:
        if node.op is not None:
            return change(node_value(node, given))
        return change(given[0][node.item] if node.item is not None else values[node.index])

    return made


def _of_powers(trace: Trace) -> Iterator[ReferenceEdit]:
    """A power taken some operations earlier, f(x²) for f(x)²; or the other way round."""
    for node in trace.nodes:
        if not _is_power(node):
            continue
        early = node.sources()[0]
        for _ in range(FAR):
            inner = trace.nodes[early]
            ways = [s for s in inner.sources() if s in trace.variable]
            if inner.op is None or len(ways) != 1 or not inner.flat:
                break
            raised = with_argument(inner, inner.sources().index(ways[0]), _raised(node))
            yield _edit("power inside", {inner.index: raised, node.index: lambda given: given[0]})
            early = ways[0]
        last = node
        for _ in range(FAR):
            after = [n for n in trace.nodes if last.index in n.sources()]
            if len(after) != 1 or not after[0].flat or not isinstance(after[0].value, Tensor):
                break
            last = after[0]
            yield _edit("power outside", {node.index: lambda given: given[0], last.index: _then(last, _raised(node))})


def _is_power(node: Node) -> bool:
    """x², or another power, or x · x."""
    sources = node.sources()
    twice = node.operation == "mul" and len(sources) == 2 and sources[0] == sources[1]
    return node.op is not None and node.flat and (twice or (node.operation in ("pow", "square") and len(sources) == 1))


def _raised(power: Node) -> Callable[[Tensor], Any]:
    return lambda x: node_value(power, [x] * len(power.sources()))


def _then(node: Node, change: Callable[[Tensor], Any]) -> Made:
    return lambda given: change(node_value(node, given))
