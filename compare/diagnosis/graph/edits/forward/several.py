"""One mistake of a person that edits several operations: a mask put later, a number that is another one everywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import combinations
from typing import Any

import torch

from handgrad.compare.diagnosis.graph.edits.edit import ReferenceEdit
from handgrad.compare.diagnosis.graph.edits.forward.numbers import AXES, plain
from handgrad.compare.diagnosis.graph.edits.forward.operations import SHAPES
from handgrad.compare.diagnosis.graph.edits.kinds_of_operations import OPERATIONS
from handgrad.compare.diagnosis.graph.record.node import Node, is_like
from handgrad.compare.diagnosis.graph.record.operations import MOVES
from handgrad.compare.diagnosis.graph.record.rerun import Changed, Made, node_value, with_argument, with_number
from handgrad.compare.diagnosis.graph.record.trace import Trace

REDUCTIONS = {"sum", "mean", "amax", "amin", "linalg_vector_norm", "logsumexp"}
GATES = {"silu", "sigmoid", "tanh", "relu", "gelu", "exp", "softplus", "elu", "leaky_relu", "sqrt", "log"}
STEPS = 4  # between a root and the square inside


def several(trace: Trace, values: Mapping[int, Any]) -> Iterator[ReferenceEdit]:
    """All of them; the values are those that the trace is run again with."""
    yield from _inputs_exchanged(trace, values)
    yield from _other_axes(trace)
    for node in trace.nodes:
        if node.index in trace.variable and node.operation in OF_AN_OPERATION:
            for edits in OF_AN_OPERATION[node.operation]:
                yield from edits(trace, node)


def _edit(kind: str, made: Mapping[int, Made], /, **details: Any) -> ReferenceEdit:
    return ReferenceEdit(kind, OPERATIONS[kind].tier, {k: Changed(m) for k, m in made.items()}, tuple(details.items()))


def _argument(given: list[Any]) -> Any:
    return given[0]


def _value(values: Mapping[int, Any], index: int, given: list[Any]) -> Any:
    return values[index]


def _inputs_exchanged(trace: Trace, values: Mapping[int, Any]) -> Iterator[ReferenceEdit]:
    """Two parameters of one shape in one another's place."""
    named = [(n, i) for n, i in trace.inputs.items() if n not in ("x", "ŷ", "target") and i not in trace.still]
    for (a, i), (b, j) in combinations(named, 2):
        if is_like(trace.nodes[i].value, trace.nodes[j].value):
            yield _edit(
                "inputs exchanged", {i: partial(_value, values, j), j: partial(_value, values, i)}, one=a, two=b
            )


def _other_axes(trace: Trace) -> Iterator[ReferenceEdit]:
    """A mean and a variance, and whatever else runs over the same axes of the same shape, over other ones."""
    alike: dict[Any, list[Node]] = {}
    for node in trace.nodes:
        axes = node.args[1] if node.operation in REDUCTIONS and len(node.args) > 1 else None
        if isinstance(axes, (list, tuple)) and axes and node.index in trace.variable:
            shape = tuple(trace.source(node).value.shape)
            alike.setdefault((shape, tuple(sorted(a % len(shape) for a in axes))), []).append(node)
    for (shape, right), nodes in alike.items():
        every = [axes for count in range(1, len(shape)) for axes in combinations(range(len(shape)), count)]
        for axes in every if len(nodes) > 1 else ():
            nested = len(axes) == 1 or set(axes) < set(right) or set(right) < set(axes)
            if axes != right and nested:
                made = {n.index: with_number(n, 1, list(axes)) for n in nodes}
                yield _edit("other axes of several", made, axes=axes, right=right, shape=shape)


def _neither_root_nor_square(trace: Trace, root: Node) -> Iterator[ReferenceEdit]:
    """1 − a for √(1 − a²): the root and the square inside it both left out."""
    found, waiting = set[int](), [root.sources()[0]]
    for _ in range(STEPS):
        waiting = [s for i in waiting for s in ([i] if _squares(trace.nodes[i]) else trace.nodes[i].sources())]
        found |= {i for i in waiting if _squares(trace.nodes[i])}
    for i in found:
        yield _edit("no root no square", {root.index: _argument, i: _argument}, square=i)


def _squares(node: Node) -> bool:
    name, args = node.operation, node.args
    return name == "square" or (name == "pow" and args[1] == 2) or (name == "mul" and args[0] == args[1])


def _mask_after(trace: Trace, node: Node) -> Iterator[ReferenceEdit]:
    """softmax(s) ⊙ mask for the softmax of masked scores."""
    masked = trace.source(node)
    while masked.operation in MOVES and masked.sources():
        masked = trace.source(masked)
    values = [trace.nodes[s].value for s in masked.sources()]
    hidden = torch.isneginf(masked.value)
    scores = [p for p, v in enumerate(values) if is_like(v, masked.value) and bool(torch.isfinite(v).all())]
    if masked.operation in ("where", "masked_fill") and len(scores) == 1 and bool(hidden.any()):
        allowed = (~hidden).to(node.value).reshape(node.value.shape)
        made: dict[int, Made] = {
            masked.index: lambda given: given[scores[0]],
            node.index: lambda given: node_value(node, given) * allowed,
        }
        yield _edit("mask after the softmax", made)


def _chosen_after(trace: Trace, node: Node) -> Iterator[ReferenceEdit]:
    """The softmax over all, of which the largest are taken, for the softmax over these."""
    part = trace.source(node)
    chosen = trace.source(part) if part.item == 0 else None
    if chosen is not None and chosen.operation in ("topk", "sort") and chosen.flat:
        over_all = with_argument(chosen, 0, partial(torch.softmax, dim=node.args[1]))
        yield _edit("chosen after the softmax", {chosen.index: over_all, node.index: _argument})


def _of_the_other_factor(trace: Trace, node: Node) -> Iterator[ReferenceEdit]:
    """a · f(b) for f(a) · b."""
    sources = node.sources()
    for p, s in enumerate(sources) if len(sources) == 2 and sources[0] != sources[1] else ():
        function, other = trace.nodes[s], trace.nodes[sources[1 - p]]
        once = sum(s in n.sources() for n in trace.nodes) == 1
        if function.operation not in GATES or len(function.sources()) != 1 or not once:
            continue
        if is_like(function.value, other.value) and other.index in trace.variable:
            made = partial(_function_at, function, 1 - p)
            yield _edit("function of the other factor", {s: _argument, node.index: made}, argument=p)


def _function_at(function: Node, place: int, given: list[Any]) -> Any:
    return given[1 - place] * node_value(function, [given[place]])


OF_AN_OPERATION = {
    "sqrt": (_neither_root_nor_square,),
    "_softmax": (_mask_after, _chosen_after),
    "mul": (_of_the_other_factor,),
}


MOST = 8  # different numbers of a reference that are looked at
EVERYWHERE: dict[str, Callable[[float], float]] = {
    "as 1 everywhere": lambda a: 1.0,
    "doubled everywhere": lambda a: 2 * a,
    "halved everywhere": lambda a: a / 2,
}
OF_AN_INPUT: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "1 − {}": lambda v: 1 - v,
    "−{}": torch.neg,
    "{}²": lambda v: v * v,
}


def of_numbers_everywhere(trace: Trace) -> Iterator[ReferenceEdit]:
    """Numbers swapped, a ↔ 1 − a, or another one everywhere; signs stay."""
    places = []
    for node in trace.nodes:
        for place, name, value in plain(node) if node.op is not None and node.operation not in SHAPES else ():
            if isinstance(value, float) and value not in (0.0, 1.0, -1.0) and name not in AXES:
                places.append((node, place, value))
    some = list(dict.fromkeys(abs(value) for _, _, value in places))[:MOST]
    tried: list[tuple[str, dict[str, Any], Callable[[float], float | None]]] = [
        ("numbers swapped", {"a": a, "b": b}, {a: b, b: a}.get) for a, b in combinations(some, 2)
    ]
    tried += [("complements swapped", {"a": a}, partial(_complement, a)) for a in some if a < 1]
    tried += [(kind, {"a": a}, {a: f(a)}.get) for a in some for kind, f in EVERYWHERE.items()]
    for kind, details, other in tried:
        changes: dict[int, Changed] = {}
        for node, place, value in places:
            size = other(abs(value))
            if size is not None and node.index not in changes:
                changes[node.index] = Changed(with_number(node, place, size if value > 0 else -size))
        if len(changes) > (kind in EVERYWHERE):
            yield ReferenceEdit(kind, OPERATIONS[kind].tier, changes, tuple(details.items()))


def _complement(a: float, size: float) -> float | None:
    return 1 - size if size == a or abs(size - (1 - a)) < 1e-12 else None


def of_inputs(trace: Trace, target: str) -> Iterator[ReferenceEdit]:
    """Another number for an input that is not differentiated by: the target of a loss, another parameter."""
    for name, index in trace.inputs.items():
        v = trace.nodes[index].value
        for form, f in OF_AN_INPUT.items() if name != target and v.is_floating_point() else ():
            made = partial(_instead, f(v))
            yield ReferenceEdit.of(trace.nodes[index], "input everywhere", made, name=name, form=form)


def _instead(other: torch.Tensor, given: list[Any]) -> torch.Tensor:
    return other
