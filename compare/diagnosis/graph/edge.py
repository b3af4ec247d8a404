"""One edge of the derivation, from an operation to one of its arguments: what slips there are made of."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from typing import Any, NamedTuple

import torch

from compare.diagnosis.graph.trace import Edge, Node, Rule, Tensor, Trace
from compare.diagnosis.graph.words import MADE, called, formula, operation, role, spoken

MOST_VALUES = 16  # other quantities that are tried in a place
ROOTS = {"sqrt", "linalg_vector_norm", "std", "norm"}
MOVES = {"expand", "unsqueeze", "view", "clamp_min"}
TERMS = {
    "mul": " (a term of the product rule)",
    "mm": " (a term of the product rule)",
    "bmm": " (a term of the product rule)",
    "div": " (a term of the quotient rule)",
    "add": " (a term of the sum)",
    "sub": " (a term of the sum)",
}


class Slip(NamedTuple):
    """Another rule for one edge."""

    edge: Edge
    key: Hashable  # the same for the same slip at another edge
    complexity: int
    words: str
    rule: Rule


class Place:
    """One edge, with what stands there."""

    def __init__(self, trace: Trace, flows: dict[int, Any], node: Node, place: int, source: int) -> None:
        self.trace, self.flows, self.node, self.place = trace, flows, node, place
        self.edge: Edge = (node.index, place, source)
        self.name = operation(node)
        self.here, self.at = formula(trace, node.index), called(trace, source)
        self.x, self.y, self.up = trace.nodes[source].value, node.value, flows[node.index]
        of = self.here if self.here != self.at else f"{spoken(node)}({self.at})"
        self.of = f"in the derivative of {of} by {self.at}"
        self.arguments, _ = trace.local(node.index)

    def slip(self, key: Hashable, complexity: int, words: str, rule: Rule) -> Slip:
        """A slip at this edge."""
        return Slip(self.edge, key, complexity, words, rule)

    def right(self, up: Tensor) -> Tensor:
        """The right rule."""
        g = self.trace.pull(self.node.index, up)[self.place]
        return torch.zeros_like(self.x) if g is None else g

    def before(self, change: Callable[[Tensor], Tensor]) -> Rule:
        """The right rule for a changed δ."""
        return lambda up: self.right(change(up))

    def after(self, change: Callable[[Tensor], Tensor]) -> Rule:
        """The right rule, and then a change."""
        return lambda up: change(self.right(up))

    def with_other(self, p: int, value: Tensor) -> Rule:
        """The right rule, but for other numbers in the place of an argument."""

        def rule(up: Tensor) -> Tensor:
            g = self.trace.pull(self.node.index, up, self.trace.at(self.node.index, {p: value}))[self.place]
            return torch.zeros_like(self.x) if g is None else g

        return rule

    def others_like(self, b: Tensor, source: int) -> Iterator[Node]:
        """Other quantities of the derivation of the same shape, the nearest first."""
        tried = 0
        for other in sorted(self.trace.nodes, key=lambda n: abs(n.index - self.node.index)):
            w = other.value
            if not isinstance(w, torch.Tensor) or w.shape != b.shape or not w.is_floating_point():
                continue
            if operation(other) in MADE:
                continue
            if other.index != source and not torch.equal(w, b):
                tried += 1
                yield other
                if tried == MOST_VALUES:
                    return


def path(trace: Trace, edge: Edge) -> str:
    """The path along an edge, in words."""
    node = trace.nodes[edge[0]]
    return f"the path through {called(trace, edge[2])}{role(node, edge[1])} in {formula(trace, edge[0])}"


def named_term(trace: Trace, edge: Edge) -> str:
    """What papers call the term of an edge; empty where they do not."""
    name, source = operation(trace.nodes[edge[0]]), edge[2]
    while operation(trace.nodes[source]) in MOVES:
        source = trace.nodes[source].sources()[0]
    inside = trace.nodes[source]
    if name == "sub" and operation(inside) == "mean" and edge[1] == 1:
        return "the centring term"
    if name == "div" and edge[1] == 1:
        of_softmax = operation(inside) == "sum" and operation(trace.nodes[inside.sources()[0]]) == "exp"
        return "the projection term" if operation(inside) in ROOTS or of_softmax else ""
    return "the projection term" if name == "mul" and operation(inside) in ("rsqrt", "reciprocal") else ""


def rule_of(trace: Trace, edge: Edge) -> str:
    """Which rule of differentiation has a term for each argument of an operation."""
    return TERMS.get(operation(trace.nodes[edge[0]]), "")
