"""Where explanations come from: each source says what explains the cases of one output, or None."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TypeVar

import numpy as np

from handgrad.compare.diagnosis import noise
from handgrad.compare.diagnosis.cause import Cause, Diagnosis, Explanation, best, least
from handgrad.compare.diagnosis.graph.search import Clues, TheReference
from handgrad.compare.diagnosis.regions import Region, ratio_facts, region, region_name, single_element
from handgrad.compare.diagnosis.whole.explanations import FEW, FITTED, SIMPLE, explanations
from handgrad.compare.diagnosis.whole.factors import Labelled, constants
from handgrad.compare.diagnosis.whole.order import FIRST, PLAIN, THEN, Source, hypotheses
from handgrad.compare.foundation.debug import swallowed
from handgrad.compare.judge.case import Case
from handgrad.compare.judge.sides import Sides

PART = 5  # the complexity of what explains a part of the tensor only
OBVIOUS = 10  # what needs no look at the reference's operations
LIKELY = 11  # what needs no look at what other inputs would give
AGREEING = 2  # agreeing draws that are looked at
# Some 20,000 edits are tried. Where the bound is more than 1 / 20,000 of the largest number, the chance that one of
# them comes that near to it is no longer small, and the other numbers of the tensor, mostly smaller, tell even less.
LOOSE = 2.0**-14.5
TOO_LOOSE = "the bound is too large a part of these numbers for a cause to be told from others"
EARLY = "of two mistakes together only the likeliest were tried: the search stopped early"

T = TypeVar("T")


class Sources:
    """The cases of one output, and what may explain them."""

    def __init__(self, sides: Sides, cases: list[Case], agreeing: Sequence[Case], clues: Clues | None) -> None:
        self.sides, self.cases, self.agreeing, self.clues = sides, cases, agreeing, clues
        self.first = cases[0]

    @cached_property
    def reference(self) -> TheReference:
        """The reference, taken apart."""
        return TheReference(self.sides, self.cases, self.agreeing[:AGREEING], self.clues)

    @cached_property
    def single(self) -> Cause | None:
        """The one element that is off in every case."""
        return single_element(self.cases)

    @cached_property
    def factors(self) -> list[list[Labelled]]:
        """The named factors of every case, the reference's own constants first."""
        own = _guarded(lambda: self.reference.own())[: len(self.cases)] or [[]] * len(self.cases)
        return [[*its, *constants(case)] for case, its in zip(self.cases, own, strict=True)]

    def observed(self) -> Diagnosis | None:
        """What is seen of the manual side without any edit of the reference."""
        sides, first = self.sides, self.first
        seen = noise.impurity(sides, first) or noise.widened(first) or noise.changed_in_place(sides, first)
        return None if seen is None else Diagnosis((seen,))

    def cannot_be_told(self) -> Diagnosis | None:
        """The facts about numbers that are none, or that are known too loosely."""
        for side, arrays in (
            ("torch's", [c.torch for c in self.cases]),
            ("the manual side's", [c.manual for c in self.cases]),
        ):
            lost = sum(int(np.count_nonzero(~np.isfinite(a))) for a in arrays)
            if lost:
                return Diagnosis(facts=(f"{side} result is infinite or undefined in {lost:,} elements",))
        if all(_is_loose(case) for case in self.cases):
            return Diagnosis((), region_name(self.first), (ratio_facts(self.first), TOO_LOOSE))
        return None

    def one_edit(self) -> Diagnosis | None:
        """The least complex explanation of the whole tensor, or of the part that differs."""
        found = self._whole(FIRST)
        # what changes the output is looked for all the same: its gradients may be of that function
        if self.single is None and (least(found) > OBVIOUS or self.first.output == "output"):
            found += _guarded(lambda: self.reference.one_edit())
        if least(found) > LIKELY:
            found += self._whole(THEN)
        if least(found) <= FITTED + PART:
            return best(found)
        part, where = self._part()
        return best(part, where) if least(part) + PART < least(found) else best(found)

    def single_element(self) -> Diagnosis | None:
        """The same element of every case, which alone differs."""
        return None if self.single is None else Diagnosis((self.single,), self.single.where)

    def lower_precision(self) -> Diagnosis | None:
        """Rounding of a lower precision."""
        lower = noise.lower_precision(self.sides, self.cases)
        return None if lower is None else Diagnosis((lower,))

    def wrong_values(self) -> Diagnosis | None:
        """The values of a wrong forward pass, put into the reference's own derivative."""
        return best(_guarded(lambda: self.reference.wrong_values()))

    def two_edits(self) -> Diagnosis | None:
        """Two edits of the reference's operations."""
        return best(_guarded(lambda: self.reference.two_edits()))

    def nothing(self) -> Diagnosis:
        """What is known of a difference without a cause."""
        early = _guarded(lambda: [EARLY] if self.reference.stopped_early else [])
        return Diagnosis((), region_name(self.first), (ratio_facts(self.first), *early))

    def _whole(self, sources: tuple[Source, ...]) -> list[Explanation]:
        return explanations(self.cases, hypotheses(sources, self.sides, self.first), self.factors)

    def _part(self) -> tuple[list[Explanation], str]:
        """The simple explanations of the part that differs, where that is an orderly one; and where it is."""
        regions: list[Region] = [r for case in self.cases if (r := region(case)) is not None and r.orderly]
        if len(regions) < len(self.cases):
            return [], ""
        parts = [r.of(case) for r, case in zip(regions, self.cases, strict=True)]
        simple = [h for h in hypotheses(PLAIN, self.sides, parts[0]) if h.complexity <= SIMPLE]
        found = explanations(parts, simple, self.factors, fitted=all(p.manual.size >= FEW for p in parts))
        return found, " or ".join(sorted({r.name for r in regions}))


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
        with np.errstate(all="ignore"):
            return look()
    except Exception as error:
        swallowed(error, "a part of the diagnosis")
        return []
