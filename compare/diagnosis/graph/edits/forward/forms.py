"""An elementwise function too much, a reshape for a transpose, padding at the other end."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

from handgrad.compare.diagnosis.graph.edits.edit import ReferenceEdit
from handgrad.compare.diagnosis.graph.edits.forward.others import of_later_ones
from handgrad.compare.diagnosis.graph.record.node import Node, Tensor, is_float
from handgrad.compare.diagnosis.graph.record.operations import COMPARED, MOVES, TURNS
from handgrad.compare.diagnosis.graph.record.rerun import with_argument
from handgrad.compare.diagnosis.graph.record.trace import Trace

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
