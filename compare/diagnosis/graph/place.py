"""Where an edit is, as a phrase asks for it: fields are worked out when they are named."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from handgrad.compare.diagnosis.graph.record.node import Edge, Node
from handgrad.compare.diagnosis.graph.record.notation import beside, called, formula, spoken
from handgrad.compare.diagnosis.graph.record.trace import Trace


@dataclass
class Place:
    """Where an edit is: an operation, and for a step of the derivation its edge. Its details are fields, too."""

    trace: Trace
    node: Node
    details: Mapping[str, Any]
    edge: Edge = (0, 0, 0)
    inside: str = ""  # of an edit of a formula of the derivative, what is changed there
    changed: list[int] = field(default_factory=list)  # the operations of an edit of several

    def filled(self, phrase: str, fields: Fields) -> str:
        """A phrase with its fields."""
        return phrase.format_map(_Filled(self, {**COMMON, **fields}))

    @property
    def here(self) -> str:
        """The operation as a formula."""
        return formula(self.trace, self.node.index)

    @property
    def source(self) -> int:
        """The operation that the argument in question is; of a step, otherwise the one that δ flows to."""
        p = self.details.get("argument")
        return self.edge[2] if p is None else self.node.sources()[p]

    @property
    def what(self) -> str:
        """What it is called."""
        return self.called(self.source)

    @property
    def at(self) -> str:
        """What δ flows to."""
        return self.called(self.edge[2])

    def called(self, index: int) -> str:
        """What an operation is called."""
        return called(self.trace, index)

    def argument(self, place: int) -> str:
        """What one of the operation's arguments is called."""
        return self.called(self.node.sources()[place])


Fields = Mapping[str, Callable[[Place], Any]]


class _Filled:
    """The fields, and the details, by name."""

    def __init__(self, place: Place, fields: Fields) -> None:
        self.place, self.fields = place, fields

    def __getitem__(self, name: str) -> Any:
        return self.fields[name](self.place) if name in self.fields else self.place.details[name]


COMMON: Fields = {
    "here": lambda p: p.here,
    "f": lambda p: spoken(p.node),
    "what": lambda p: p.what,
    "other": lambda p: beside(p.trace, p.details["other"], p.source),
    "quantity": lambda p: p.called(p.details["other"]),
}
