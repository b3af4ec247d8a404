"""What went wrong with one output, in words.

A cause is a statement about numbers: "if torch's derivation had this fault, it would give exactly what the manual
side gives". It is named only where applying it leaves nothing beyond the rounding bound, on every case at hand, so
nothing is ever guessed.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TypeVar

import numpy as np

from handgrad.compare.diagnosis import noise
from handgrad.compare.diagnosis.cause import Cause, Diagnosis, Explanation, joined
from handgrad.compare.diagnosis.graph.proof import Found
from handgrad.compare.diagnosis.graph.search import Clues, TheReference
from handgrad.compare.diagnosis.regions import Region, ratio_facts, region, region_name, single_element
from handgrad.compare.diagnosis.whole.explanations import FEW, FITTED, SIMPLE, explanations
from handgrad.compare.diagnosis.whole.factors import Labelled, constants
from handgrad.compare.diagnosis.whole.order import FIRST, PLAIN, THEN, Source, hypotheses
from handgrad.compare.judge.case import Case
from handgrad.compare.judge.sides import Sides

PART = 5  # the complexity of what explains a part of the tensor only
ALSO = 4  # other names for the same numbers are listed up to so much more complexity
OBVIOUS = 10  # what needs no look at the reference's operations
LIKELY = 11  # what needs no look at what other inputs would give
AGREEING = 2  # agreeing draws that are looked at
# Some 20,000 edits are tried. Where the bound is more than 1 / 20,000 of the largest number, the chance that one of
# them comes that near to it is no longer small, and the other numbers of the tensor, mostly smaller, tell even less.
LOOSE = 2.0**-14.5
TOO_LOOSE = "the bound is too large a part of these numbers for a cause to be told from others"
EARLY = "the search for a cause stopped early: the reference has many operations"

T = TypeVar("T")


def diagnose(
    sides: Sides, cases: Iterable[Case], agreeing: Sequence[Case] = (), clues: Clues | None = None
) -> Diagnosis:
    """Name the causes that explain the difference of one output on every one of the cases.

    All cases are of the same output; each holds the manual and the torch result and the bound of that case. An edit of
    the reference's own operations must also leave the agreeing ones as they are. The clues are what was found for other
    outputs of the same check.
    """
    cases = [case for case in cases if case.differs() or case.manual.dtype != case.torch.dtype]
    if not cases:
        return Diagnosis()
    observed = noise.impurity(sides, cases[0]) or noise.widened(cases[0]) or noise.changed_in_place(sides, cases[0])
    if observed is not None:
        return Diagnosis((observed,))
    if facts := _why_none_can_be_told(cases):
        return facts
    asked = Sources(sides, cases, agreeing, clues)
    for source in (
        asked.one_edit,  # of the whole, or of one operation of the reference: the least complex
        asked.single_element,
        asked.lower_precision,
        asked.wrong_values,  # of a wrong forward pass, in the right derivative
        asked.two_edits,
    ):
        if (found := source()) is not None:
            return found
    return asked.nothing()


class Sources:
    """What may explain the cases of one output: a diagnosis from each source, None where it explains nothing."""

    def __init__(self, sides: Sides, cases: list[Case], agreeing: Sequence[Case], clues: Clues | None) -> None:
        self.sides, self.cases, self.agreeing, self.clues = sides, cases, agreeing, clues
        self.single = single_element(cases)

    @cached_property
    def reference(self) -> TheReference:
        """The reference, taken apart."""
        return TheReference(self.sides, self.cases, self.agreeing[:AGREEING], self.clues)

    @cached_property
    def factors(self) -> list[list[Labelled]]:
        """The named factors of every case, the reference's own constants first."""
        own = _guarded(lambda: self.reference.own())[: len(self.cases)] or [[]] * len(self.cases)
        return [[*its, *constants(case)] for case, its in zip(self.cases, own, strict=True)]

    def one_edit(self) -> Diagnosis | None:
        """The least complex explanation of the whole tensor, or of the part that differs."""
        found = self._whole(FIRST)
        # what changes the output is looked for all the same: its gradients may be of that function
        if self.single is None and (_least(found) > OBVIOUS or self.cases[0].output == "output"):
            found += self._of(lambda: self.reference.one_slip())
        if _least(found) > LIKELY:
            found += self._whole(THEN)
        if found and _least(found) <= FITTED + PART:
            return Diagnosis(_best(found))
        part, where = self._part()
        if part and (not found or _least(part) + PART < _least(found)):
            return Diagnosis(_best(part), where)
        return Diagnosis(_best(found)) if found else None

    def single_element(self) -> Diagnosis | None:
        """The same element of every case, which alone differs."""
        return None if self.single is None else Diagnosis((self.single,), self.single.where)

    def lower_precision(self) -> Diagnosis | None:
        """Rounding of a lower precision."""
        lower = noise.lower_precision(self.sides, self.cases)
        return None if lower is None else Diagnosis((lower,))

    def wrong_values(self) -> Diagnosis | None:
        """The values of a wrong forward pass, put into the reference's own derivative."""
        found = self._of(lambda: self.reference.forward_slip())
        return Diagnosis(_best(found)) if found else None

    def two_edits(self) -> Diagnosis | None:
        """Two edits of the reference's operations."""
        found = self._of(lambda: self.reference.two_slips())
        return Diagnosis(_best(found)) if found else None

    def nothing(self) -> Diagnosis:
        """What is known of a difference without a cause."""
        early = _guarded(lambda: [EARLY] if self.reference.stopped_early else [])
        return Diagnosis((), region_name(self.cases[0]), (ratio_facts(self.cases[0]), *early))

    def _whole(self, sources: tuple[Source, ...]) -> list[Explanation]:
        return explanations(self.cases, hypotheses(sources, self.sides, self.cases[0]), self.factors)

    def _of(self, look: Callable[[], list[Found]]) -> list[Explanation]:
        """What was found in the reference, which has words only, so far."""
        found = _guarded(look)
        return [Explanation(f.complexity, tuple(Cause("edit", w, residual=f.residual) for w in f.words)) for f in found]

    def _part(self) -> tuple[list[Explanation], str]:
        """The simple explanations of the part that differs, where that is an orderly one; and where it is."""
        regions: list[Region] = [r for case in self.cases if (r := region(case)) is not None and r.orderly]
        if len(regions) < len(self.cases):
            return [], ""
        parts = [r.of(case) for r, case in zip(regions, self.cases, strict=True)]
        simple = [h for h in hypotheses(PLAIN, self.sides, parts[0]) if h.complexity <= SIMPLE]
        found = explanations(parts, simple, self.factors, fitted=all(p.manual.size >= FEW for p in parts))
        return found, " or ".join(sorted({r.name for r in regions}))


def _why_none_can_be_told(cases: list[Case]) -> Diagnosis | None:
    """The facts about numbers that are none, or that are known too loosely."""
    for side, arrays in (("torch's", [c.torch for c in cases]), ("the manual side's", [c.manual for c in cases])):
        lost = sum(int(np.count_nonzero(~np.isfinite(a))) for a in arrays)
        if lost:
            return Diagnosis(facts=(f"{side} result is infinite or undefined in {lost:,} elements",))
    if all(_is_loose(case) for case in cases):
        return Diagnosis((), region_name(cases[0]), (ratio_facts(cases[0]), TOO_LOOSE))
    return None


def _is_loose(case: Case) -> bool:
    if case.manual.shape != case.torch.shape or case.torch.dtype != np.float64:
        return False
    largest = max(np.abs(case.torch).max(initial=0), np.abs(case.manual).max(initial=0))
    return bool(np.max(case.allowed, initial=0) > LOOSE * largest)


def _guarded(look: Callable[[], list[T]]) -> list[T]:
    """What is found; nothing for a reference whose operations cannot be taken apart, which costs a name, not the
    check.
    """
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return look()
    except Exception:
        return []


def _least(found: list[Explanation]) -> int:
    return min((e.complexity for e in found), default=99)


def _best(found: list[Explanation]) -> tuple[Cause, ...]:
    """The causes of the least complex explanation, and others of about the same complexity as its alternatives."""
    best, *others = sorted(found, key=lambda e: e.complexity)
    said = joined(best.causes).phrase
    also: dict[str, Cause] = {}
    for e in others:
        other = joined(e.causes)
        if e.complexity <= best.complexity + ALSO and len(e.causes) <= len(best.causes) and other.phrase != said:
            also.setdefault(other.phrase, other)
    return tuple(replace(cause, alternatives=tuple(also.values())[:3]) for cause in best.causes)
