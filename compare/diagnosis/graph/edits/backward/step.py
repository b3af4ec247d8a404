"""One edge of the derivation, from an operation to one of its arguments: what slips there are made of."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any, NamedTuple

import torch

from handgrad.compare.diagnosis.graph.record.notation import (
    MADE,
    called,
    formula,
    indices,
    operation,
    role,
    silent,
    spoken,
)
from handgrad.compare.diagnosis.graph.record.trace import Edge, Node, Rule, Tensor, Trace

MOST_VALUES = 20  # other quantities that are tried in a place
STEPS_BACK = 4  # to what a quantity is made of
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


class Borrowed:
    """A rule that takes δ of a later operation, as it is when this one is reached: what is wrong there stays wrong."""

    def __init__(self, rule: Rule, later: int, otherwise: Tensor, factor: float = 1.0) -> None:
        self.rule, self.later, self.otherwise, self.factor = rule, later, otherwise, factor

    def __call__(self, up: Tensor) -> Tensor:
        return self.factor * self.rule(self.otherwise)

    def among(self, flows: Mapping[int, Any]) -> Tensor:
        """The same where other flows are known."""
        return self.factor * self.rule(flows.get(self.later, self.otherwise))


def scaled(rule: Rule, factor: float) -> Rule:
    """The rule with a factor."""
    if factor == 1:
        return rule
    if isinstance(rule, Borrowed):
        return Borrowed(rule.rule, rule.later, rule.otherwise, factor * rule.factor)
    return lambda up: factor * rule(up) if factor else 0 * rule(up)


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

    def others_like(self, b: Tensor, source: int) -> Iterator[tuple[Node, Tensor]]:
        """Other quantities of the derivation in the place of one, the nearest first, or what it is made of.

        No numbers come twice.

        What only moves the numbers about before they are used (k, transposed) is done to the other quantity too.
        """
        moves: list[Node] = []
        while silent(self.trace.nodes[source]) and len(self.trace.nodes[source].sources()) == 1:
            moves.append(self.trace.nodes[source])
            source = moves[-1].sources()[0]
        shapes = {tuple(b.shape), tuple(self.trace.nodes[source].value.shape)}
        seen = [b]
        made_of = self._made_of(source)
        far = len(self.trace.nodes)
        nearest = sorted(self.trace.nodes, key=lambda n: min(made_of.get(n.index, far), abs(n.index - self.node.index)))
        for other in nearest:
            w = other.value
            if not isinstance(w, torch.Tensor) or tuple(w.shape) not in shapes or not w.is_floating_point():
                continue
            if operation(other) in MADE:
                continue
            if w.shape == b.shape and not any(torch.equal(w, s) for s in seen):
                seen.append(w)
                yield other, w
            elif moves and w.shape == self.trace.nodes[source].value.shape:
                moved = self._moved(w, moves)
                if moved.shape == b.shape and not any(torch.equal(moved, s) for s in seen):
                    seen.append(moved)
                    yield other, moved
            if len(seen) > MOST_VALUES:
                return

    def _made_of(self, source: int) -> dict[int, int]:
        """How many steps back what an operation is made of is, for a few steps."""
        found, last = {source: 0}, {source}
        for steps in range(1, STEPS_BACK + 1):
            last = {s for i in last for s in self.trace.nodes[i].sources()}
            for s in last:
                found.setdefault(s, steps)
        return found

    def _moved(self, w: Tensor, moves: list[Node]) -> Tensor:
        for node in reversed(moves):
            w = self.trace.run(node, lambda k, w=w: w)[0]  # type: ignore[misc]
        return w.detach()


def path(trace: Trace, edge: Edge) -> str:
    """The path along an edge, in words."""
    node = trace.nodes[edge[0]]
    index, names = indices(trace, node, edge[1]), [called(trace, s) for s in node.sources()]
    alike = not index and len(names) == 2 and names[0] == names[1] and edge[1] >= 0
    which = ("the first ", "the second ")[edge[1]] if alike else ""
    what = f"{which}{called(trace, edge[2])}{index}{role(node, edge[1])}"
    return f"the path through {what} in {formula(trace, edge[0])}"


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


def power_lost(trace: Trace, edge: Edge) -> str:
    """The words for a path left out of a product of equal factors: its derivative lacks a part of its number."""
    base, whole = _as_power(trace, edge[0])
    _, part = _as_power(trace, edge[2]) if edge[2] != base else (base, 1)
    if operation(trace.nodes[edge[0]]) != "mul" or whole < 2:
        return ""
    here, left = formula(trace, edge[0]), whole - part
    name = {2: "the square ", 3: "the cube "}.get(whole, "")
    if left == 1:
        return f"the factor {whole} of {name}{here} is lost in its derivative"
    return f"the factor {whole} of {name}{here} is {left} in its derivative"


def _as_power(trace: Trace, index: int) -> tuple[int, int]:
    """The quantity and the exponent that a product of equal factors is."""
    node = trace.nodes[index]
    if operation(node) != "mul" or len(node.sources()) != 2:
        return index, 1
    (a, m), (b, n) = (_as_power(trace, s) for s in node.sources())
    return (a, m + n) if a == b else (index, 1)


def rule_of(trace: Trace, edge: Edge) -> str:
    """Which rule of differentiation has a term for each argument of an operation."""
    return TERMS.get(operation(trace.nodes[edge[0]]), "")
