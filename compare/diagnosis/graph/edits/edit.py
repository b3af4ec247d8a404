"""An edit: one thing changed at one place. Its kind and its details are the same on every draw, and in every turn of a
loop; the sentence is made of them (`sentences`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from handgrad.compare.diagnosis.graph.details import Details, Key
from handgrad.compare.diagnosis.graph.edits.kinds_of_operations import OPERATIONS
from handgrad.compare.diagnosis.graph.record.node import Edge, Node, Replacement, Rule, Tensor
from handgrad.compare.diagnosis.graph.record.rerun import Changed, Made
from handgrad.compare.diagnosis.graph.record.trace import Trace

OTHER = "other"  # the detail that is another operation, whose result stands for a right one
RIGHT = "right"  # the kind of the right rule, which a factor is put before


class ReferenceEdit(NamedTuple):
    """The reference with another operation, or with several others that belong together."""

    kind: str
    complexity: int
    changes: dict[int, Changed]
    details: Details = ()
    number: tuple[Any, float] | None = None  # the place and the value of the number that is changed, for a fit

    @classmethod
    def of(cls, node: Node, kind: str, made: Made, /, *reads: int, more: int = 0, **details: Any) -> ReferenceEdit:
        """Of one operation; `more` makes it less likely than its kind says."""
        return cls(kind, OPERATIONS[kind].tier + more, {node.index: Changed(made, reads)}, tuple(details.items()))

    @property
    def key(self) -> Key:
        """What is the same in every turn of a loop."""
        return self.kind, self.details

    @property
    def at(self) -> int:
        """The operation, or the first of several."""
        return next(iter(self.changes))

    @property
    def reads(self) -> tuple[int, ...]:
        """The results that stand for others."""
        return self.changes[self.at].reads


class InForm(NamedTuple):
    """Where an edit of a step is an edit of the formula that its derivative is written with: the formula, and what is
    changed there.
    """

    form: Trace
    edits: tuple[ReferenceEdit, ...]


class StepEdit(NamedTuple):
    """Another rule for one step of the derivation, from an operation to one of its arguments."""

    edge: Edge
    kind: str
    complexity: int
    rule: Rule
    details: Details = ()
    borrowed: tuple[int, Tensor] | None = None  # see `Replacement`
    inside: InForm | None = None

    @property
    def key(self) -> Key:
        """What is the same at another edge."""
        return self.kind, self.details

    def with_factor(self, factor: float) -> Replacement:
        """In the place of the right rule."""
        return Replacement(self.rule, factor, self.borrowed)
