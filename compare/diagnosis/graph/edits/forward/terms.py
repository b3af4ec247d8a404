"""Sums and their factors: a term for its neighbour, a factor that reaches too far or not far enough."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from handgrad.compare.diagnosis.graph.edits.edit import ReferenceEdit
from handgrad.compare.diagnosis.graph.record.node import Node, is_like, is_ref
from handgrad.compare.diagnosis.graph.record.notation import called, number
from handgrad.compare.diagnosis.graph.record.rerun import node_value
from handgrad.compare.diagnosis.graph.record.trace import Trace

SUMS = {"add", "sub"}


def of_terms(trace: Trace, node: Node) -> Iterator[ReferenceEdit]:
    """One of two like terms taken twice; a factor of one term before both, or of both before one."""
    name, sources = node.operation, node.sources()
    if not node.flat:
        return
    if name in SUMS and len(sources) == 2:
        kinds = {_kind(trace, s) for s in sources}
        like = len(kinds) == 1 and is_like(*(trace.nodes[s].value for s in sources))
        for p in range(2):
            if name == "add" and like:
                yield ReferenceEdit.of(node, "term twice", partial(_twice, p), argument=p)
            yield from _before_both(trace, node, p)
    elif name in ("mul", "div") and len(sources) <= 2:
        for p, s in enumerate(sources if name == "mul" else sources[:1]):
            total = trace.nodes[s]
            for q, term in enumerate(total.sources()) if total.operation in SUMS and len(total.sources()) == 2 else ():
                if trace.nodes[term].value.shape == node.value.shape:
                    sign = -1.0 if total.operation == "sub" and q == 1 else 1.0
                    made = partial(_before_one, node, p, sign)
                    yield ReferenceEdit.of(node, "factor before one", made, term, argument=p, term=q)


def _kind(trace: Trace, index: int) -> str:
    node = trace.nodes[index]
    return (node if node.item is None else trace.source(node)).operation


def _twice(place: int, given: list[Any]) -> Any:
    return given[place] + given[place]


def _before_both(trace: Trace, node: Node, p: int) -> Iterator[ReferenceEdit]:
    """A · a + b as A · (a + b), for each factor of a term: a number, a weight, another quantity."""
    term, other = trace.source(node, p), 1 - p
    for a in term.args if term.operation == "mul" and term.flat else ():
        if is_ref(a):
            made = partial(_scaled, node, other, None)
            what = called(trace, a.index)
            yield ReferenceEdit.of(node, "factor before both", made, a.index, argument=other, factor=what)
        elif isinstance(a, (int, float)):
            made = partial(_scaled, node, other, float(a))
            yield ReferenceEdit.of(node, "factor before both", made, argument=other, factor=number(float(a)))


def _scaled(node: Node, place: int, factor: float | None, given: list[Any]) -> Any:
    *given, factor = given if factor is None else (*given, factor)
    given[place] = factor * given[place]
    return node_value(node, given)


def _before_one(node: Node, place: int, sign: float, given: list[Any]) -> Any:
    """A · (a + b) as A · a + b."""
    *given, term = given
    given[place] = given[place] - sign * term
    return node_value(node, given) + sign * term
