"""What a check found: every tensor, with its verdict, and the causes, the referee and a reproducer where it differs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from handgrad.compare.diagnosis.cause import Cause
from handgrad.compare.foundation.json_values import finite
from handgrad.compare.judge.agreement import Verdict
from handgrad.compare.judge.names import is_theta


@dataclass(frozen=True)
class Finding:
    """One tensor over all draws: the worst verdict, and what explains it."""

    tensor: str
    verdict: Verdict
    draw: str  # the draw of the worst verdict
    draws: int
    causes: tuple[Cause, ...] = ()
    notes: tuple[str, ...] = ()
    reason: str = ""

    @property
    def agrees(self) -> bool:
        """Whether the tensor agreed on every draw."""
        return self.verdict.agrees

    @property
    def phrases(self) -> tuple[str, ...]:
        """Its causes in words."""
        return tuple(cause.phrase for cause in self.causes)

    def as_json(self) -> dict[str, Any]:
        """A dictionary for JSON; numbers that are not finite become None."""
        v = self.verdict
        return finite(
            {
                "tensor": self.tensor,
                "agrees": v.agrees,
                "problem": v.problem,
                "difference": v.largest_difference,
                "index": list(v.at),
                "manual": v.manual,
                "torch": v.torch,
                "allowed": v.allowed,
                "fraction": v.fraction,
                "rule": v.rule,
                "vacuous": v.vacuous,
                "elements": v.beyond,
                "of": v.size,
                "draw": self.draw,
                "causes": list(self.phrases),
                "notes": list(self.notes),
            }
        )


@dataclass(frozen=True)
class Report:
    """The result of a check; str() is what a person reads."""

    name: str
    findings: tuple[Finding, ...]
    reproducer: str = field(default="", repr=False)
    notes: tuple[str, ...] = ()  # of the check as a whole

    @property
    def agrees(self) -> bool:
        """Whether every tensor agreed on every draw."""
        return all(f.agrees for f in self.findings)

    @property
    def closest_call(self) -> float:
        """The largest fraction of a bound used."""
        return max((f.verdict.fraction for f in self.findings), default=0.0)

    @property
    def causes(self) -> tuple[str, ...]:
        """Every named cause, each with its tensor."""
        return tuple(f"{f.tensor}: {phrase}" for f in self.findings for phrase in f.phrases)

    def as_json(self) -> dict[str, Any]:
        """A dictionary for JSON."""
        return {
            "name": self.name,
            "agrees": self.agrees,
            "closest_call": finite(self.closest_call),
            "findings": [f.as_json() for f in self.findings],
            "reproducer": self.reproducer,
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        width = max((len(f.tensor) for f in self.findings), default=0)
        wrong = [f for f in self.findings if not f.agrees]
        if wrong:
            lines = [f"{self.name}: {len(wrong)} of {len(self.findings)} tensors differ"]
        else:
            lines = [f"{self.name}: agrees, closest call {self.closest_call:.3f} of its bound"]
        for f in self.findings:
            lines.append(f"  {f.tensor:<{width}}  {_line(f)}")
            lines += [f"  {'':<{width}}  {note}" for note in f.notes if f.agrees]
        lines += [f"  {note}" for note in self.notes]
        before: tuple[str, ...] = ()
        for f in wrong:
            if is_theta(f.tensor) and f.notes == before:
                continue  # a later step of the same trajectory, for the same reason
            lines += ["", f"{f.tensor}, {f.draw}: {f.verdict.describe()}"]
            lines += [f"  {note}" for note in f.notes]
            before = f.notes
        if self.reproducer:
            lines += ["", "To reproduce:", *(f"    {line}".rstrip() for line in self.reproducer.splitlines())]
        return "\n".join(lines)


def _line(f: Finding) -> str:
    v = f.verdict
    if v.problem:
        return f"differs   {v.problem}"
    word = "agrees " if v.agrees else "differs"
    used = "∞" if np.isinf(v.fraction) else f"{v.fraction:.3f}" if v.fraction < 1000 else f"{v.fraction:.1e}"
    share = "   must equal torch's" if v.no_rounding and not v.agrees else f"{used:>7} of its bound"
    return f"{word}   max |Δ| {v.largest_difference:8.1e}   {share}   {v.rule}"


class CheckFailed(AssertionError):
    """A check that found a difference; `report` is the whole of it, and str() the words."""

    def __init__(self, report: Report) -> None:
        super().__init__(str(report))
        self.report = report
