"""What a check found: every tensor, with its verdict, and the causes, the referee and a reproducer where it differs."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from handgrad.compare.checking import page
from handgrad.compare.checking.finding import Finding, by_two_precision, smallest_seen
from handgrad.compare.checking.outcome import WAYS_ON, Outcome
from handgrad.compare.checking.places import calling_line
from handgrad.compare.foundation.errors import UsageError
from handgrad.compare.foundation.json_values import finite
from handgrad.compare.judge.names import is_theta


@dataclass(frozen=True, repr=False)
class Report:
    """The result of a check: its truth is the verdict, str() is what a person reads, report["output"] is one finding.

    where   FILE:LINE of the call of `check`; empty where a command made it
    gaps    what no draw reached, or nothing compared, in sentences: a report that has any does not agree
    """

    name: str
    findings: tuple[Finding, ...]
    reproducer: str = ""
    where: str = field(default_factory=calling_line)
    notes: tuple[str, ...] = ()  # of the check as a whole
    gaps: tuple[str, ...] = ()

    @property
    def outcome(self) -> Outcome:
        """Whether every tensor agreed on every draw, one differed, or something was not compared."""
        if self.differing:
            return Outcome.DIFFERS
        return Outcome.UNDECIDED if self.undecided else Outcome.AGREES

    @property
    def agrees(self) -> bool:
        """Whether every tensor agreed on every draw, and all that could be was compared."""
        return self.outcome is Outcome.AGREES

    @property
    def undecided(self) -> tuple[str, ...]:
        """What was not decided, in sentences: the tensors of which it is said, and the gaps."""
        tensors: dict[str, list[str]] = {}
        for f in self.findings:
            if f.outcome is Outcome.UNDECIDED:
                tensors.setdefault(f.undecided, []).append(f.tensor)
        return (*(f"{', '.join(names)}: {why}" for why, names in tensors.items()), *self.gaps)

    def __bool__(self) -> bool:
        return self.agrees

    def __getitem__(self, tensor: str) -> Finding:
        """The finding of a tensor, by the name that the report calls it; KeyError where there is no such."""
        for f in self.findings:
            if f.tensor == tensor:
                return f
        raise KeyError(f"no tensor {tensor!r} was compared: take one of {', '.join(map(repr, self))}")

    def __iter__(self) -> Iterator[str]:
        """The names of the tensors that were compared."""
        return (f.tensor for f in self.findings)

    @property
    def closest_call(self) -> float:
        """The largest fraction of a bound used."""
        return max((f.verdict.fraction for f in self.findings), default=0.0)

    @property
    def causes(self) -> tuple[str, ...]:
        """Every named cause, each with its tensor."""
        return tuple(f"{f.tensor}: {phrase}" for f in self.findings for phrase in f.phrases)

    @property
    def differing(self) -> tuple[Finding, ...]:
        """The findings that differ."""
        return tuple(f for f in self.findings if f.differs)

    @property
    def verdict(self) -> str:
        """The verdict in a few words, and if it is agreement, what that is worth."""
        if self.differing:
            return f"{len(self.differing)} of {len(self.findings)} tensors differ"
        if self.undecided:
            return f"{Outcome.UNDECIDED}, although nothing differs"
        return f"agrees, closest call {self.closest_call:.3f} of its bound: {smallest_seen(self.findings)}"

    @property
    def headline(self) -> str:
        """One line: the name, the line of the check, the verdict, or the first tensor that differs and its cause."""
        said = self.verdict
        if self.differing:
            first, *others = self.differing
            why = "; ".join(first.phrases) or first.verdict.problem or "no known cause"
            said = f"{first.tensor} differs: {why}" + (f" (and {len(others)} more)" if others else "")
        elif self.undecided:
            said = f"{Outcome.UNDECIDED}: {self.undecided[0]}"
            said += f" (and {len(self.undecided) - 1} more)" if self.undecided[1:] else ""
        return ", ".join(part for part in (self.name, self.where) if part) + f": {said}"

    def as_json(self) -> dict[str, Any]:
        """A dictionary for JSON."""
        return {
            "name": self.name,
            "where": self.where,
            "agrees": self.agrees,
            "outcome": self.outcome.value,
            "undecided": list(self.undecided),
            "closest_call": finite(self.closest_call),
            "findings": [f.as_json() for f in self.findings],
            "reproducer": self.reproducer,
            "notes": list(self.notes),
        }

    def plot(self, tensor: str | None = None) -> Any:
        """A matplotlib Figure of where a tensor differs: log10(|Δ| ÷ allowed) over its last two axes, and a scatter.

        Of the first tensor that differs, or the closest call, unless one is named. UsageError where the check did not
        keep its arrays, where their shapes differ, and where matplotlib is not installed.
        """
        try:
            from handgrad.compare.checking import plot
        except ImportError:
            raise UsageError("plot needs matplotlib, which is not installed: pip install 'handgrad[plot]'") from None
        if tensor is not None:
            return plot.figure(self.name, self[tensor])
        return plot.figure(self.name, max(self.findings, key=lambda f: (f.differs, f.verdict.fraction)))

    def __repr__(self) -> str:
        if self.differing:
            return f"Report: {self.verdict} ({', '.join(f.tensor for f in self.differing)})"
        if self.undecided:
            return f"Report: {self.headline.partition(': ')[2]}"
        return f"Report: agrees, {len(self.findings)} tensors, closest call {self.closest_call:.3f}"

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        shared = self._shared_notes()
        agreeing = [(f.tensor, said) for f in self.findings if not f.differs and (said := _but(shared, f.notes))]
        return page.html(
            self.name,
            self.verdict,
            self.findings,
            [*agreeing, *self._differences(shared), *self._not_decided()],
            shared,
            self.reproducer,
        )

    def __str__(self) -> str:
        width = max((len(f.tensor) for f in self.findings), default=0)
        shared = self._shared_notes()
        lines = [f"{self.name}: {self.verdict}"]
        for f in self.findings:
            lines.append(f"  {f.tensor:<{width}}  {f.line()}")
            lines += [f"  {'':<{width}}  {note}" for note in _but(shared, f.notes) if not f.differs]
        for head, notes in [*self._differences(shared), *self._not_decided()]:
            lines += ["", head, *(f"  {note}" for note in notes)]
        said = [*(f"{', '.join(tensors)}: {note}" for note, tensors in shared.items()), *self.notes]
        if said:
            lines += [""] * (self.outcome is not Outcome.AGREES)
            lines += [f"  {note}" for note in said]
        if self.reproducer:
            lines += ["", "To reproduce:", *(f"    {line}".rstrip() for line in self.reproducer.splitlines())]
        return "\n".join(lines)

    def _differences(self, shared: Container[str]) -> list[tuple[str, list[str]]]:
        """(where and by how much it differs, its notes) of every difference, but later steps told as the first was."""
        told: list[tuple[str, list[str]]] = []
        before: tuple[str, ...] = ()
        for f in self.differing:
            if not (is_theta(f.tensor) and f.notes == before):
                told.append((f.described(), _but(shared, f.notes)))
            before = f.notes
        return told

    def _not_decided(self) -> list[tuple[str, list[str]]]:
        """What was not decided, and what to do about it; nothing where there is no such thing."""
        return [(f"{Outcome.UNDECIDED.capitalize()} ({WAYS_ON}):", list(self.undecided))] if self.undecided else []

    def _shared_notes(self) -> dict[str, list[str]]:
        """The notes of several tensors, each said once, with their names. What explains a difference stays with it."""
        tensors: dict[str, list[str]] = {}
        for f in self.findings:
            for note in f.notes:
                tensors.setdefault(note, []).append(f.tensor)
        explain_nothing = {note for f in self.findings if not f.differs for note in f.notes}
        explain_nothing |= {by_two_precision(f.reason) for f in self.findings if f.reason}
        return {note: names for note, names in tensors.items() if len(names) > 1 and note in explain_nothing}


def _but(shared: Container[str], notes: Iterable[str]) -> list[str]:
    """The notes that are not said elsewhere."""
    return [note for note in notes if note not in shared]


class CheckFailed(AssertionError):
    """A check that found a difference, or did not decide; `report` is the whole of it, and str() the words."""

    def __init__(self, report: Report) -> None:
        super().__init__(str(report))
        self.report = report
