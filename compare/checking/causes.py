"""The search for the causes of all tensors of a check that differ.

It runs apart and on a budget, and on smaller inputs where these are large. Whatever becomes of it, the verdicts stand;
and what was not searched to the end is said.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from handgrad.compare.checking import kinks
from handgrad.compare.checking.draws import Draw, Kind
from handgrad.compare.checking.evaluate import Evaluation
from handgrad.compare.checking.explain import explain, rounding_size, second_opinion
from handgrad.compare.checking.finding import Finding
from handgrad.compare.checking.more_draws import evaluate_more
from handgrad.compare.checking.shown import shown
from handgrad.compare.checking.smaller import Evaluated, evaluate_smaller, of_all_sizes, of_rows
from handgrad.compare.diagnosis.cause import Cause, Diagnosis
from handgrad.compare.diagnosis.graph.search import Clues
from handgrad.compare.foundation.apart import apart
from handgrad.compare.foundation.jobs import Ending, Job, Outcome, SoFar
from handgrad.compare.foundation.validation import choose
from handgrad.compare.judge.case import Case
from handgrad.compare.judge.names import is_forward
from handgrad.compare.judge.sides import Sides, is_large

OFF, QUICK, FULL = "off", "quick", "full"
EFFORTS = {OFF: 0.0, QUICK: 0.5, FULL: 1.0}  # the share of the budget
# A search for the causes of all tensors that differ may take so many seconds of CPU, and once more what the verdicts
# took. Verdicts on what differs take up to one and a half times as long as on what agrees, and the script its half
# second: so a check that fails costs no more than three times one that passes, and two seconds.
LEAST, OF_THE_VERDICTS = 1.5, 1.0
FURTHER, SMALLER, ROWS = "further inputs", "smaller inputs", "fewer examples"
Answer = tuple[tuple[Cause, ...], tuple[str, ...]]  # the causes and the lines of a tensor


class Question(NamedTuple):
    """A tensor that differs: what is its cause?"""

    finding: Finding  # without any
    results: Evaluated  # where it is looked for
    forward_differs: bool
    alone: bool = False  # on these draws only

    @property
    def seen(self) -> list[tuple[Draw, Evaluation]]:
        """The evaluations of the tensor."""
        return [(draw, found[self.finding.tensor]) for draw, found in self.results if self.finding.tensor in found]

    @property
    def asked(self) -> list[Evaluation]:
        """The same, the worst one first; those beyond the constants only where nothing else differs.

        There functions saturate, and torch's own are approximations: causes are told apart better elsewhere.
        """
        near = [item for item in self.seen if item[0].kind is not Kind.BEYOND]
        seen = near if any(not e.verdict.agrees for _, e in near) else self.seen
        worst = max(seen, key=lambda item: (not item[1].verdict.agrees, item[1].verdict.fraction))[1]
        return [worst, *(e for _, e in seen if e is not worst)]

    @property
    def worst(self) -> tuple[Draw, Evaluation]:
        """The draw that the report shows."""
        return next(item for item in self.seen if item[0].label == self.finding.draw)


def seconds_for(effort: str, verdicts: float) -> float:
    """The budget of a search, where the verdicts took so many seconds of CPU."""
    return float(choose("explain", effort, EFFORTS)) * (LEAST + OF_THE_VERDICTS * verdicts)


def answered(
    sides: Sides, findings: Sequence[Finding], questions: Sequence[Question], effort: str, verdicts: float
) -> list[Finding]:
    """The findings with the causes that were found for them, and what else is known."""
    seconds = seconds_for(effort, verdicts) if questions else 0.0
    if not seconds:
        return list(findings)
    search = Search(sides, next((q.results for q in questions if not q.alone), []))
    jobs = [*search.jobs(), *(Job(q.finding.tensor, partial(search.answer, q)) for q in questions)]
    with shown(seconds) as show:
        outcome = apart(jobs, seconds, show)
    told = {q.finding.tensor: _told(outcome, q.finding.tensor, effort) for q in questions}
    died = [n for n in (FURTHER, SMALLER) if outcome.ended.get(n, ("",))[0] is Ending.DIED]
    said = tuple(f"{_ended(outcome, n, effort)} (on {n})" for n in died)
    found = []
    for f in findings:
        if f.tensor in told:
            causes, lines = told[f.tensor]
            f = dataclasses.replace(f, causes=causes, notes=(*lines, *said, *f.notes))
            said = ()  # once
        found.append(f)
    return found


def _told(outcome: Outcome, name: str, effort: str) -> Answer:
    causes, lines = outcome.best(name, ((), ()))
    return causes, (*lines, *([_ended(outcome, name, effort)] if name in outcome.ended else []))


def _ended(outcome: Outcome, name: str, effort: str) -> str:
    """The words for a search that did not come to its end."""
    ending, words = outcome.ended[name]
    if ending is Ending.SPENT and not words:
        more = f': explain="{FULL}" searches on' if effort == QUICK else ""
        words = f"after its share of {outcome.seconds:.3g} s of CPU for all tensors that differ{more}"
        return f"the search for a cause was stopped {words}"
    if ending is Ending.INTERRUPTED:
        return "the search for a cause was interrupted"
    return f"the search for a cause ended early: {words}"


@dataclass
class Search:
    """What the searches for all tensors share."""

    sides: Sides
    results: Evaluated  # of the draws of the check, but for the one at kinks
    clues: Clues = field(default_factory=Clues)

    def jobs(self) -> list[Job]:
        """The evaluations on inputs of our own making that all tensors share."""
        if not self.results:
            return []
        if self.is_large:
            return [Job(SMALLER, partial(self._smaller, of_all_sizes)), Job(ROWS, partial(self._smaller, of_rows))]
        return [Job(FURTHER, self._further)]

    @property
    def is_large(self) -> bool:
        """Whether causes are looked for on smaller inputs."""
        return is_large(self.results[0][0].arrays)

    @property
    def right(self) -> set[str]:
        """The tensors that agree on every draw."""
        names = {name for _, found in self.results for name in found}
        return {n for n in names if all(found[n].verdict.agrees for _, found in self.results if n in found)}

    def _further(self, found: dict[str, Any], so_far: SoFar) -> list[dict[str, Evaluation]]:
        return evaluate_more(self.sides, [draw for draw, _ in self.results], self.right)

    def _smaller(self, cut: Any, found: dict[str, Any], so_far: SoFar) -> Evaluated:
        if found.get(SMALLER):
            return []
        return evaluate_smaller(self.sides, self.results, cut, self.right)

    def answer(self, question: Question, found: dict[str, Any], so_far: SoFar) -> Answer:
        """The causes and lines of one tensor."""
        with np.errstate(all="ignore"):  # a diagnosis tries divisors that may be tiny
            draw, worst = question.worst
            if worst.case is not None and (
                said := _at_special_points(self.sides, worst.case, draw, question.finding.verdict.at)
            ):
                return said
            if question.alone:
                return self._explained(question, question.asked, [], so_far)
            name = question.finding.tensor
            further = [made[name] for made in found.get(FURTHER, []) if name in made]
            for ordered in self._ways(question, found):
                answer = self._explained(question, ordered, further, so_far)
                if answer[0]:
                    break
            return answer

    def _ways(self, question: Question, found: dict[str, Any]) -> list[list[Evaluation]]:
        """The evaluations in which a cause is looked for: on large inputs smaller ones, and the worst of the whole."""
        smaller: Evaluated = found.get(SMALLER) or found.get(ROWS) or []
        name = question.finding.tensor
        seen = [e for e in (made.get(name) for _, made in smaller) if e is not None]
        if not any(e.case is not None and not e.verdict.agrees for e in seen):
            return [question.asked]
        return [[*sorted(seen, key=lambda e: e.verdict.agrees), question.worst[1]]]

    def _explained(
        self, question: Question, asked: list[Evaluation], further: list[Evaluation], so_far: SoFar
    ) -> Answer:
        """The causes and lines of a difference; `asked` are evaluations of the tensor, the one to show first."""
        name = question.finding.tensor
        cut = asked[0] is not question.asked[0]
        at = question.finding.verdict.at if asked[0] is question.worst[1] else None
        where = [_on_a_cut(asked[0].case)] if cut and asked[0].case is not None else []
        diagnosis, lines = Diagnosis(), list[str]()
        # Code that has a size of the given shape written into it has another fault at other sizes.
        for ordered in ([*asked, *further], asked)[: 2 if further else 1]:
            cases = [e.case for e in ordered if e.case is not None and not e.verdict.agrees]
            agreeing = [e.case for e in reversed(ordered) if e.case is not None and e.verdict.agrees]
            diagnosis, lines = explain(
                self.sides, cases, question.forward_differs and not is_forward(name), agreeing, at, self.clues,
                lambda lines: so_far(((), (*where, *lines))),
            )  # fmt: skip
            if diagnosis.causes:
                break
        return diagnosis.causes, (*where, *lines)


def _on_a_cut(case: Case) -> str:
    sizes = ", ".join(f"{k} {v.shape}" for k, v in case.inputs.items() if isinstance(v, np.ndarray))
    return f"looked for on a cut of the inputs ({sizes}); what is named as a cause holds on the whole, too"


def _at_special_points(sides: Sides, case: Case, draw: Draw, at: tuple[int, ...]) -> Answer | None:
    """(causes, lines) of a difference at kinks, or of forward passes at a few points; None where it is no such."""
    if rounding_size([case]):
        return None
    found = kinks.places(sides, case)
    if not found:
        jumps = Diagnosis(tuple(kinks.jumps(case)) if draw.kind is Kind.KINKS else ())
        return (jumps.causes, tuple(jumps.lines())) if jumps.causes else None
    diagnosis = Diagnosis(tuple(place.cause() for place in found), facts=tuple(place.advice() for place in found))
    opinion = second_opinion(sides, case, at)
    return diagnosis.causes, (*diagnosis.lines(), *([str(opinion)] if opinion is not None else []))
