"""One step of the derivation, from an operation to one of its arguments: what its edits are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

from handgrad.compare.diagnosis.graph.edits.edit import InForm, StepEdit
from handgrad.compare.diagnosis.graph.edits.kinds_of_steps import STEPS
from handgrad.compare.diagnosis.graph.record.node import Edge, Node, Rule, Tensor, is_float
from handgrad.compare.diagnosis.graph.record.operations import MADE, MOVES
from handgrad.compare.diagnosis.graph.record.trace import Trace

MOST_VALUES = 20  # other quantities that are tried in a place
STEPS_BACK = 4  # to what a quantity is made of


class Step:
    """An edge with its operation, the argument x, the result y, and δ of the result."""

    def __init__(self, trace: Trace, flows: Mapping[int, Any], edge: Edge) -> None:
        self.trace, self.flows, self.edge = trace, flows, edge
        index, self.place, self.source = edge
        self.node = trace.nodes[index]
        self.name = self.node.operation
        self.x, self.y, self.up = trace.nodes[self.source].value, self.node.value, flows[index]
        self.arguments, _ = trace.local(index)

    def edit(self, kind: str, rule: Rule, /, more: int = 0, **details: Any) -> StepEdit:
        """An edit of this step; `more` makes it less likely than its kind says."""
        return StepEdit(self.edge, kind, STEPS[kind].tier + more, rule, tuple(details.items()))

    def in_form(self, kind: str, rule: Rule, inside: InForm, /, more: int = 0, **details: Any) -> StepEdit:
        """An edit of the formula that the derivative is written with."""
        complexity = inside.edits[0].complexity + more
        return StepEdit(self.edge, kind, complexity, rule, tuple(details.items()), inside=inside)

    def another_upstream(self, other: int) -> StepEdit:
        """δ of another operation where that of this one belongs."""
        borrowed = other if other > self.node.index else -1, self.flows[other]
        return self.edit("another δ", self.right, other=other)._replace(borrowed=borrowed)

    def right(self, up: Tensor) -> Tensor:
        """The right rule."""
        g = self.trace.pull(self.node.index, up, places=(self.place,))[self.place]
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
            at = self.trace.at(self.node.index, {p: value})
            g = self.trace.pull(self.node.index, up, at, (self.place,))[self.place]
            return torch.zeros_like(self.x) if g is None else g

        return rule

    def nearest(self) -> list[Node]:
        """All operations, the nearest first."""
        return sorted(self.trace.nodes, key=lambda n: abs(n.index - self.node.index))

    def broadcast_again(self, shape: torch.Size) -> Tensor | None:
        """δ where the result is brought to a shape again; None where it is not."""
        same = {self.node.index}
        for n in self.trace.nodes[self.node.index + 1 :]:
            if n.operation in ("unsqueeze", "expand", "view") and n.sources()[0] in same:
                same.add(n.index)
                flow = self.flows.get(n.index)
                if n.value.shape == shape and isinstance(flow, Tensor):
                    return flow
        return None

    def others_like(self, b: Tensor, source: int) -> Iterator[tuple[Node, Tensor]]:
        """Other quantities of the derivation in the place of one, the nearest first, or what it is made of.

        No numbers come twice. What only moves the numbers about before they are used (k, transposed) is done to the
        other quantity too.
        """
        moves: list[Node] = []
        while self.trace.nodes[source].operation in MOVES and len(self.trace.nodes[source].sources()) == 1:
            moves.append(self.trace.nodes[source])
            source = moves[-1].sources()[0]
        steps_to, far, seen = self._made_of(source), len(self.trace.nodes), [b]

        def distance(n: Node) -> int:
            return min(steps_to.get(n.index, far), abs(n.index - self.node.index))

        for other in sorted(self.trace.nodes, key=distance):
            w = other.value
            if not is_float(w) or other.operation in MADE:
                continue
            for v in self._as_used(w, moves if w.shape == self.trace.nodes[source].value.shape else []):
                if v.shape == b.shape and not any(torch.equal(v, s) for s in seen):
                    seen.append(v)
                    yield other, v
                    break
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

    def _as_used(self, w: Tensor, moves: list[Node]) -> Iterator[Tensor]:
        """As it is, and moved about."""
        yield w
        if moves:
            for node in reversed(moves):
                w = self.trace.run(node, lambda k, w=w: w)[0]  # type: ignore[misc]
            yield w.detach()
