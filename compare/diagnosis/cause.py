"""A cause as a structure: which edit of the right derivation, where, with which constant, and what it leaves.

Its sentence is made last, for people; no logic reads it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

ALSO = 4  # other names for the same numbers are listed up to so much more complexity
LISTED = 3  # and so many of them at most


@dataclass(frozen=True)
class Cause:
    """What is wrong with one output, so far as it was worked out.

    edit          the name of the edit, a key of the table of likelihoods
    phrase        the edit in words, with its place: what a person reads
    where         the operation, line, setting or tensor that is edited, as a formula or a name; empty for the whole
    constant      the name of the factor that comes with the edit; empty where there is none
    residual      what is left of the difference once the edit has been applied, as a fraction of the bound; None where
                  nothing was applied, because the cause was observed and not tried
    alternatives  other causes that give the same numbers
    """

    edit: str
    phrase: str
    where: str = ""
    constant: str = ""
    residual: float | None = None
    alternatives: tuple[Cause, ...] = ()

    def __str__(self) -> str:
        if self.residual is None:
            return self.phrase
        return f"{self.phrase} (applying it leaves {self.residual:.2g} of the bound)"


class Explanation(NamedTuple):
    """Edits that together give the manual numbers in every case, and how unlikely they are, in tens for each."""

    complexity: int
    causes: tuple[Cause, ...]
    residual: float | None = None  # what they leave together

    @classmethod
    def of(cls, complexity: int, causes: Sequence[Cause], residual: float) -> Explanation:
        """Causes that were found together."""
        return cls(complexity, tuple(causes), residual)

    @property
    def phrases(self) -> tuple[str, ...]:
        """Its causes as a person reads them: two that read alike are the same one."""
        return tuple(cause.phrase for cause in self.causes)


def joined(causes: Sequence[Cause]) -> Cause:
    """Several causes that explain a difference together, as one."""
    if len(causes) == 1:
        return causes[0]
    parts = ([c.edit for c in causes], [c.phrase for c in causes], [c.where for c in causes if c.where])
    edit, phrase, where = (" and ".join(part) for part in parts)
    return Cause(edit, phrase, where, residual=causes[0].residual)


@dataclass(frozen=True)
class Diagnosis:
    """The causes of one tensor's difference, where it is, and what else is known of it."""

    causes: tuple[Cause, ...] = ()
    pattern: str = ""
    facts: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """For the report."""
        out = [f"cause: {cause}" for cause in self.causes]
        others = dict.fromkeys(other.phrase for cause in self.causes for other in cause.alternatives)
        if others:
            out.append("       the same numbers also come from: " + "; ".join(others))
        if self.pattern:
            out.append(f"where: {self.pattern}")
        if not self.causes:
            out.append("cause: none of the known ones makes these numbers")
        return [*out, *self.facts]


def least(found: Sequence[Explanation]) -> int:
    """The complexity of the likeliest; a large number where there is none."""
    return min((e.complexity for e in found), default=99)


def best(found: Sequence[Explanation], where: str = "") -> Diagnosis | None:
    """The causes of the likeliest explanation, and those that are about as likely; None where there is none."""
    if not found:
        return None
    likeliest, *others = sorted(found, key=lambda e: e.complexity)
    said = joined(likeliest.causes).phrase
    also: dict[str, Cause] = {}
    for e in others:
        if e.complexity <= likeliest.complexity + ALSO and len(e.causes) <= len(likeliest.causes):
            other = joined(e.causes)
            also.setdefault(other.phrase, other)
    also.pop(said, None)
    alternatives = tuple(also.values())[:LISTED]
    return Diagnosis(tuple(replace(cause, alternatives=alternatives) for cause in likeliest.causes), where)
