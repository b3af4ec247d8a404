"""What a judge remembers: a row of every stage, and the first disagreement of every tensor."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from handgrad.compare.judge.agreement import TWO_PRECISION, WITHIN_REFERENCE, Verdict, Worst, index


@dataclass(frozen=True)
class Disagreement:
    """A tensor of a stage that differs by more than it may."""

    step: int
    stage: str
    tensor: str
    verdict: Verdict
    notes: tuple[str, ...] = ()
    causes: tuple[str, ...] = ()

    def __str__(self) -> str:
        line = f"step {self.step}, {self.stage}, {self.tensor}: {self.verdict.describe()}"
        return "\n  ".join([line, *self.notes])

    def as_json(self) -> dict[str, Any]:
        """What report.json says of it."""
        v = self.verdict
        return {
            "step": self.step,
            "stage": self.stage,
            "tensor": self.tensor,
            "index": list(v.at),
            "manual": v.manual,
            "torch": v.torch,
            "difference": v.largest_difference,
            "allowed": v.allowed,
            "fraction": v.fraction,
            "elements": v.beyond,
            "of": v.size,
            "rule": v.rule,
            "problem": v.problem,
            "causes": list(self.causes),
            "notes": list(self.notes),
        }


@dataclass
class StageRow:
    """What a run remembers of one stage: one row of the final table."""

    name: str
    numbers: int = 0
    closest: float = 0.0
    at_step: int = -1
    tensor: str = ""
    index: tuple[int, ...] = ()
    largest_difference: float = 0.0
    loosest: float = 0.0
    vacuous: int = 0
    within_reference: int = 0  # beyond the bound, but no further than torch's own formula rounds
    by_two_precision: int = 0  # judged by the two-precision tolerance because no rounding rule applied
    unjudged: int = 0  # steps that nothing could judge as a whole, because no bound reaches through the network
    last_fraction: float = 0.0  # of the step judged last, and at its worst element |Δ| and what is allowed there
    last_difference: float = 0.0
    last_allowed: float = 0.0
    disagreements: int = 0

    def next_step(self) -> None:
        """Forget the step judged last."""
        self.last_fraction = self.last_difference = self.last_allowed = 0.0

    def add(self, step: int, tensor: str, verdict: Verdict) -> None:
        """Count one tensor of one step."""
        self.within_reference += verdict.rule == WITHIN_REFERENCE
        self.by_two_precision += verdict.rule == TWO_PRECISION
        self.disagreements += not verdict.agrees
        self.count(
            step, tensor, verdict.shape, verdict.fraction, verdict.largest_difference, verdict.looseness,
            lambda: (verdict.flat, abs(verdict.manual - verdict.torch), verdict.allowed),
        )  # fmt: skip

    def count(
        self,
        step: int,
        tensor: str,
        shape: tuple[int, ...],
        fraction: float,
        largest_difference: float,
        looseness: float,
        worst: Callable[[], Worst],
    ) -> None:
        """Count what every tensor has; its worst element only where it is the worst of the step."""
        self.numbers += math.prod(shape)
        self.vacuous += looseness >= 1
        self.loosest = max(self.loosest, looseness)
        self.largest_difference = max(self.largest_difference, largest_difference)
        closest = fraction > self.closest or self.at_step < 0
        if closest or fraction > self.last_fraction or not self.last_allowed:
            flat, difference, allowed = worst()
            if fraction > self.last_fraction or not self.last_allowed:
                self.last_fraction, self.last_difference, self.last_allowed = fraction, difference, allowed
            if closest:
                self.closest, self.at_step = fraction, step
                self.tensor, self.index = tensor, index(flat, shape)


class Ledger:
    """The rows by stage, and the disagreements in the order in which they were found."""

    def __init__(self, rows: Sequence[StageRow] = (), disagreements: Sequence[Disagreement] = ()) -> None:
        self.rows = {row.name: row for row in rows}
        self.disagreements = list(disagreements)
        self._at_fault = {(d.stage, d.tensor) for d in disagreements}

    def row(self, stage: str) -> StageRow:
        """What is remembered of a stage, from the first time that it is asked for."""
        if stage not in self.rows:
            self.rows[stage] = StageRow(stage)
        return self.rows[stage]

    def at_fault(self, stage: str, tensor: str) -> bool:
        """Whether a disagreement of this tensor is remembered."""
        return (stage, tensor) in self._at_fault

    def add(self, step: int, stage: str, tensor: str, verdict: Verdict) -> bool:
        """Count one tensor, and return whether it disagrees for the first time, which is to be remembered."""
        self.row(stage).add(step, tensor, verdict)
        return not verdict.agrees and not self.at_fault(stage, tensor)

    def remember(self, disagreement: Disagreement) -> None:
        """Keep the first disagreement of a tensor."""
        self._at_fault.add((disagreement.stage, disagreement.tensor))
        self.disagreements.append(disagreement)
