"""The same edit in several places at once: τ and 1 − τ swapped, a number left out everywhere, 1 − t for t."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import combinations
from typing import Any

import torch

from handgrad.compare.diagnosis.graph.edits.edit import ReferenceEdit
from handgrad.compare.diagnosis.graph.edits.forward.kinds import OPERATIONS
from handgrad.compare.diagnosis.graph.edits.forward.numbers import AXES, plain
from handgrad.compare.diagnosis.graph.edits.forward.operations import SHAPES
from handgrad.compare.diagnosis.graph.record.rerun import Changed, with_number
from handgrad.compare.diagnosis.graph.record.trace import Trace

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
