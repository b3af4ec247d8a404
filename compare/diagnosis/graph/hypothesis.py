"""A hypothesis: one or more edits of the derivation with their factors, to be tested on every draw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from handgrad.compare.diagnosis.graph.details import Key
from handgrad.compare.diagnosis.graph.edits.edit import RIGHT, StepEdit
from handgrad.compare.diagnosis.graph.factors import FITTED, MISSING, NONE, SIGN, Name
from handgrad.compare.diagnosis.graph.record.node import Edge
from handgrad.compare.diagnosis.likelihood import ALONG_A_PATH, Tier


class FactoredEdit(NamedTuple):
    """One edit as a hypothesis has it: at one edge or several, and with a factor. `key` is that of the whole."""

    edges: tuple[Edge, ...]
    keys: tuple[Key, ...]
    key: Key
    complexity: int
    factor: Name = NONE

    @classmethod
    def of(cls, edit: StepEdit, factor: Name = NONE, more: int = 0) -> FactoredEdit:
        """At one edge; `more` is how unlikely the factor is."""
        complexity = edit.complexity + more
        if edit.kind == RIGHT:
            complexity = Tier.LOST if factor in (MISSING, SIGN) else ALONG_A_PATH + more
        return cls((edit.edge,), (edit.key,), edit.key, complexity, factor)

    def at(self, edits: Sequence[StepEdit]) -> FactoredEdit:
        """The same in every turn of a loop."""
        return self._replace(edges=tuple(e.edge for e in edits), keys=tuple(e.key for e in edits))

    @property
    def kind(self) -> tuple[str, Name]:
        """What is wrong, wherever it is."""
        return self.key[0], self.factor

    @property
    def is_path(self) -> bool:
        """Whether it is a factor of the right rule and nothing else."""
        return self.key[0] == RIGHT


class Hypothesis(NamedTuple):
    """One edit or two, and perhaps a factor before the whole."""

    edits: tuple[FactoredEdit, ...]
    overall: Name = NONE
    more: int = 0

    @property
    def complexity(self) -> int:
        """Of all that went wrong."""
        return sum(edit.complexity for edit in self.edits) + self.more

    @property
    def kinds(self) -> tuple[tuple[str, Name], ...]:
        """What is wrong, wherever it is."""
        return tuple(edit.kind for edit in self.edits)

    @property
    def is_fitted(self) -> bool:
        """Whether it has a factor without a name."""
        return any(edit.factor == FITTED for edit in self.edits)
