"""Another function: a term of a sum for its neighbour, a factor that reaches too far, a tie that counts."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch

from handgrad.compare.diagnosis.graph.edits.forward.arguments import is_like
from handgrad.compare.diagnosis.graph.record.notation import COMPARED, called, constant, formula, number, operation
from handgrad.compare.diagnosis.graph.record.rerun import Mutant, Swap, filled, node_value
from handgrad.compare.diagnosis.graph.record.trace import Node, Trace, is_ref

TIES = {"gt": "ge", "ge": "gt", "lt": "le", "le": "lt"}


def of_ties(trace: Trace, node: Node) -> Iterator[Mutant]:
    """≥ for >: equal numbers count where they should not, or the other way round."""
    name = operation(node)
    if name in TIES:
        words = f"{COMPARED[TIES[name]]} stands for {COMPARED[name]} in {formula(trace, node.index)}"
        yield Mutant(node.index, "ties", 12, words, partial(_compared, TIES[name], node))


def of_terms(trace: Trace, node: Node) -> Iterator[Mutant]:
    """One of two like terms taken twice; a factor of one term before both, or of both before one."""
    name, here, sources = operation(node), formula(trace, node.index), node.sources()
    if name in ("add", "sub") and len(sources) == 2 and node.flat:
        kinds = {_kind(trace, s) for s in sources}
        for p, s in enumerate(sources):
            other = sources[1 - p]
            if name == "add" and len(kinds) == 1 and is_like(trace.nodes[s].value, trace.nodes[other].value):
                words = f"{called(trace, s)} is taken twice, and {called(trace, other)} not at all, in {here}"
                yield Mutant(node.index, ("twice", p), 10, words, partial(_twice, p))
            yield from _before_both(trace, node, p, here)
    elif name in ("mul", "div") and len(sources) <= 2 and node.flat:
        for p, s in enumerate(sources if name == "mul" else sources[:1]):
            if operation(trace.nodes[s]) in ("add", "sub") and len(trace.nodes[s].sources()) == 2:
                yield from _before_one(trace, node, p, here)


def _kind(trace: Trace, index: int) -> str:
    node = trace.nodes[index]
    return operation(node if node.item is None else trace.nodes[node.sources()[0]])


def _before_both(trace: Trace, node: Node, p: int, here: str) -> Iterator[Mutant]:
    """A · a + b as A · (a + b)."""
    term = trace.nodes[node.sources()[p]]
    if operation(term) != "mul" or not term.flat:
        return
    for factor, what in _factors(trace, term):
        words = f"the factor {what} of {called(trace, term.index)} is put before the whole of {here}"
        made: Any = partial(_scaled, node, 1 - p, factor)
        if is_ref(factor):
            made = _Scaled(node, 1 - p, factor.index)
        yield Mutant(node.index, ("both", p, what), 11, words, made)


def _before_one(trace: Trace, node: Node, p: int, here: str) -> Iterator[Mutant]:
    """A · (a + b) as A · a + b."""
    total = trace.nodes[node.sources()[p]]
    for q, s in enumerate(total.sources()):
        if trace.nodes[s].value.shape != node.value.shape:
            continue
        sign = -1.0 if operation(total) == "sub" and q == 1 else 1.0
        what = next((constant(a) for a in node.args if not is_ref(a)), "")
        what = what or called(trace, node.sources()[1 - p])
        kind = "factor" if operation(node) == "mul" else "division by"
        words = f"the {kind} {what} is left out before {called(trace, s)} in {here}"
        yield Mutant(node.index, ("one", p, q), 12, words, _Unscaled(node, p, s, sign))


def _factors(trace: Trace, term: Node) -> Iterator[tuple[Any, str]]:
    """What a product multiplies its last factor with: a number, a weight, another quantity."""
    for a in term.args:
        if is_ref(a):
            yield a, called(trace, a.index)
        elif isinstance(a, (int, float)):
            yield float(a), number(float(a))


def _compared(name: str, node: Node, given: list[Any]) -> Any:
    args, _ = filled(node, given)
    return getattr(torch, name)(*args)


def _twice(place: int, given: list[Any]) -> Any:
    return given[place] + given[place]


def _scaled(node: Node, place: int, factor: Any, given: list[Any]) -> Any:
    return node_value(node, [factor * g if q == place else g for q, g in enumerate(given)])


class _Scaled(Swap):
    """The operation with an argument times another result."""

    def __call__(self, given: list[Any], other: Any = None) -> Any:
        return _scaled(self.node, self.place, other, given)


class _Unscaled(Swap):
    """A product with a term of its sum that it does not reach."""

    def __init__(self, node: Node, place: int, other: int, sign: float) -> None:
        super().__init__(node, place, other)
        self.sign = sign

    def __call__(self, given: list[Any], other: Any = None) -> Any:
        rest = [g - self.sign * other if q == self.place else g for q, g in enumerate(given)]
        return node_value(self.node, rest) + self.sign * other
