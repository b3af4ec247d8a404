"""One tensor of a check: its verdict, what explains it, and how that is said in a line."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from handgrad.compare.checking.outcome import Outcome
from handgrad.compare.diagnosis.cause import Cause
from handgrad.compare.foundation.json_values import finite
from handgrad.compare.judge.agreement import TWO_PRECISION, Verdict


@dataclass(frozen=True, repr=False)
class Finding:
    """One tensor over all draws: the worst verdict, and what explains it.

    manual, torch and allowed are the arrays of the worst draw, all of the tensor's shape: both results, and how far
    they may lie apart. They are None unless the check was asked to keep them.
    """

    tensor: str
    verdict: Verdict
    draw: str  # the draw of the worst verdict
    draws: int
    causes: tuple[Cause, ...] = ()
    notes: tuple[str, ...] = ()
    reason: str = ""
    elements: str = ""  # which elements differ on the worst draw, in words
    undecided: str = ""  # why nothing was compared, although nothing differs, in words
    # An error larger than this share of the tensor's largest number exceeds the bound wherever it is, on the draw that
    # sees best: twice the largest tolerance, because the rounding that is there may hide as much.
    # NaN where all of it is 0 but for rounding.
    sees: float = math.inf
    manual: np.ndarray | None = field(default=None, compare=False)
    torch: np.ndarray | None = field(default=None, compare=False)
    allowed: np.ndarray | None = field(default=None, compare=False)

    @property
    def outcome(self) -> Outcome:
        """Whether the tensor agreed on every draw, differed on one, or was not really compared on any."""
        if not self.verdict.agrees:
            return Outcome.DIFFERS
        return Outcome.UNDECIDED if self.undecided else Outcome.AGREES

    @property
    def agrees(self) -> bool:
        """Whether the tensor agreed on every draw, and would not have whatever it was."""
        return self.outcome is Outcome.AGREES

    @property
    def differs(self) -> bool:
        """Whether the tensor differed on a draw."""
        return self.outcome is Outcome.DIFFERS

    @property
    def phrases(self) -> tuple[str, ...]:
        """Its causes in words."""
        return tuple(cause.phrase for cause in self.causes)

    @property
    def must_equal(self) -> bool:
        """Whether it differs where nothing rounds, so that there is no bound to have a share of."""
        return self.verdict.no_rounding and self.differs

    @property
    def share(self) -> str:
        """The largest |Δ| ÷ what is allowed."""
        fraction = self.verdict.fraction
        return "∞" if math.isinf(fraction) else f"{fraction:.3f}" if fraction < 1000 else f"{fraction:.1e}"

    @property
    def rule(self) -> str:
        """What gave the tolerance; where it was not the arithmetic, also the smallest error that it does not hide."""
        if self.agrees and self.verdict.rule == TWO_PRECISION and 0 < self.verdict.looseness < 1:
            return f"{self.verdict.rule}: {would_be_seen(self.verdict)}"
        return self.verdict.rule

    def line(self) -> str:
        """Its row of the report's table, without its name."""
        v = self.verdict
        if v.problem:
            return f"differs   {v.problem}"
        if self.outcome is Outcome.UNDECIDED:
            return f"{self.outcome}: {self.undecided}"
        share = "   must equal torch's" if self.must_equal else f"{self.share:>7} of its bound"
        return f"{self.outcome:<7}   max |Δ| {v.largest_difference:8.1e}   {share}   {self.rule}"

    def described(self) -> str:
        """Where it differs, in one line: the draw, the worst element, and which elements besides."""
        return f"{self.tensor}, {self.draw}: {self.verdict.describe(self.elements)}"

    def __repr__(self) -> str:
        share = self.verdict.problem or self.undecided or f"{self.share} of its bound"
        return f"Finding: {self.tensor} {self.outcome}, {share}"

    def as_json(self) -> dict[str, Any]:
        """A dictionary for JSON; numbers that are not finite become None."""
        v = self.verdict
        return finite(
            {
                "tensor": self.tensor,
                "agrees": self.agrees,
                "outcome": self.outcome.value,
                "undecided": self.undecided,
                "problem": v.problem,
                "difference": v.largest_difference,
                "index": list(v.at),
                "manual": v.manual,
                "torch": v.torch,
                "allowed": v.allowed,
                "fraction": v.fraction,
                "rule": v.rule,
                "looseness": v.looseness,
                "sees": self.sees,
                "vacuous": v.vacuous,
                "elements": v.beyond,
                "of": v.size,
                "where": self.elements,
                "draw": self.draw,
                "causes": list(self.phrases),
                "explanations": [_structure(cause) for cause in self.causes],
                "notes": list(self.notes),
            }
        )


def by_two_precision(reason: str) -> str:
    """The note on a tensor that has no rounding bound, and why."""
    return f"judged by the two-precision tolerance: {reason}"


def would_be_seen(verdict: Verdict) -> str:
    """The words for the smallest error of the tensor's largest element that the tolerance would not have hidden."""
    return f"a relative error of 1e{math.ceil(math.log10(verdict.looseness)):+03d} would have been seen"


def smallest_seen(findings: Sequence[Finding]) -> str:
    """The words for the smallest error that exceeds the bound in whichever of these tensors; each was compared.

    Beyond the bound a difference is a fault, unless the reference was measured to round as much, which is then said.
    """
    sees = max((f.sees for f in findings if not math.isnan(f.sees)), default=0.0)
    if not sees:
        return "on an exact draw any error would have been seen"
    return f"an error of {sees:.0e} of the largest number exceeds it"


def _structure(cause: Cause) -> dict[str, Any]:
    """A cause for a program: the kind of the edit, where it is, the edit in words, its constant, what it leaves."""
    return {
        "kind": cause.edit,
        "where": cause.where,
        "edit": cause.phrase,
        "constant": cause.constant,
        "residual": cause.residual,
        "alternatives": [_structure(other) for other in cause.alternatives],
    }
