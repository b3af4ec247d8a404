"""Every draw of a check evaluated, and one finding a tensor gathered of them."""

from __future__ import annotations

import math
import time
from contextlib import nullcontext
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from torch import nn

from handgrad.compare.checking import kinks
from handgrad.compare.checking.accept import NOTHING, Accepted, as_convention, as_factor
from handgrad.compare.checking.behind_guards import behind_guards
from handgrad.compare.checking.carrying import CARRIED, OverCalls, carries, over_calls
from handgrad.compare.checking.causes import FULL, Question, answered
from handgrad.compare.checking.draws import Aside, Draw, Drawn, Kind
from handgrad.compare.checking.elements import describe_where
from handgrad.compare.checking.evaluate import Evaluation, Fault, evaluate
from handgrad.compare.checking.explain import missing
from handgrad.compare.checking.finding import Finding, by_two_precision
from handgrad.compare.checking.findings import Report
from handgrad.compare.checking.later import left_out
from handgrad.compare.checking.less_exact import with_the_less_exact_side
from handgrad.compare.checking.neutral import neutral
from handgrad.compare.checking.order import leak_of
from handgrad.compare.checking.smaller import Evaluated
from handgrad.compare.checking.worth import Seen, less_seen, nothing_seen, smallest_that_exceeds, undecided_of
from handgrad.compare.diagnosis.cause import Cause
from handgrad.compare.foundation.debug import swallowed
from handgrad.compare.foundation.errors import UsageError
from handgrad.compare.judge.agreement import Verdict
from handgrad.compare.judge.calls import CallSides
from handgrad.compare.judge.names import is_forward
from handgrad.compare.judge.sides import Sides

ANOTHER_BATCH = (Kind.OTHER_BATCH, Kind.SIZES, Kind.BATCHES, Kind.ROWS)
Evaluations = dict[str, Evaluation]  # by output
SHOWN = 3  # names of tensors that differ
TENSORS = "it shows over tensors of other shapes, numbers or norms than those that were given"


class _Gathering(NamedTuple):
    """What findings are made of."""

    sides: Sides
    allow: Accepted
    keep: bool


def run(title: str, drawn: Drawn, allow: Accepted = NOTHING, explain: str = FULL, keep: bool = False) -> Report:
    """Evaluate both sides on every draw and gather one finding a tensor.

    `explain` says how far causes are looked for: "off", "quick" or "full"; `keep`, whether findings keep arrays.
    """
    sides = drawn.sides
    gathering = _Gathering(sides, allow, keep)
    plain = [draw for draw in drawn.draws if draw.kind not in (Kind.KINKS, Kind.NOT_FINITE)]
    notes, gaps = list(drawn.notes), list(drawn.gaps)
    started = time.process_time()
    # what the code makes of numbers and batch sizes that nobody asked for is for us to judge
    with np.errstate(all="ignore") if len(plain) > 1 else nullcontext():
        results = [(draw, _evaluated(sides, draw)) for draw in plain]
        names = list(dict.fromkeys(name for _, found in results for name in found))
        findings = [_finding(gathering, name, results) for name in names]
        at_kinks: Evaluated = []
        for draw in drawn.draws:
            if draw.kind is Kind.KINKS:
                findings, at_kinks, gap = _at_kinks(gathering, findings, draw)
                gaps += [gap] if gap else []
        later = [draw for draw in drawn.draws if draw.kind is Kind.NOT_FINITE]
        if drawn.more is not None and not any(f.differs for f in findings):
            more = drawn.more()
            notes += more.notes
            gaps += more.gaps
            extra = more.draws[len(drawn.draws) :]
            drawn.draws.extend(extra)
            later += extra
        for draw in later:
            if draw.kind is not Kind.GUARD and not any(f.differs for f in findings):
                findings, (note, gap) = _later(gathering, findings, results, draw)
                notes += [note] if note else []
                gaps += [gap] if gap else []
        for aside in drawn.asides:
            if not any(f.differs for f in findings):
                findings, (note, gap) = _beside(gathering, findings, aside)
                notes += [note] if note else []
                gaps += [gap] if gap else []
        if not any(f.differs for f in findings):
            findings, seen = _in_other_orders(gathering, findings, drawn.draws)
            over = [*results, *seen.alike]
            findings = [_finding(gathering, f.tensor, over) if f.undecided and seen.alike else f for f in findings]
            choices, unknown = neutral(sides, drawn.draws[0].arrays, seen.moved)
            notes += (*seen.notes, *choices)
            gaps += seen.gaps
            gaps += unknown
        seconds = time.process_time() - started
        forward_differs = any(_forward_differs(found) for _, found in results)
        questions = [
            Question(f, at_kinks, _forward_differs(at_kinks[0][1]) and f.tensor in names, alone=True)
            if at_kinks and f.draw == at_kinks[0][0].label
            else Question(f, _plain(f, results), forward_differs)
            for f in findings
            if f.differs and not f.causes
        ]
        found = tuple(answered(sides, findings, questions, explain, seconds))
        gaps = [*behind_guards(sides, drawn.draws), *nothing_seen(results), *gaps] if not questions else []
        return settled(Report(title, found, notes=tuple(notes), gaps=tuple(gaps)), allow)


def settled(report: Report, allow: Accepted) -> Report:
    """The report, in which what was not decided is a note where that is accepted."""
    if not allow.undecided or not report.undecided:
        return report
    findings = tuple(replace(f, undecided="") for f in report.findings)
    said = tuple(f"accepted, not decided: {words}" for words in report.undecided)
    return replace(report, findings=findings, notes=(*report.notes, *said), gaps=())


def _evaluated(sides: Sides, draw: Draw) -> Evaluations:
    """What became of a draw; where torch is the less exact side, the two agree."""
    return with_the_less_exact_side(sides, evaluate(sides, draw.arrays, exact=draw.kind is Kind.DYADIC))


def _plain(f: Finding, results: Evaluated) -> Evaluated:
    """The draws on which a cause is looked for: of the steered ones none, where another one differs as well."""
    kinds = {draw.label: draw.kind for draw, _ in results}
    if kinds.get(f.draw) is Kind.STEERED:
        return results
    return [(draw, found) for draw, found in results if draw.kind is not Kind.STEERED]


def _forward_differs(found: Evaluations) -> bool:
    return any(is_forward(name) and not e.verdict.agrees for name, e in found.items())


def _at_kinks(gathering: _Gathering, findings: list[Finding], draw: Draw) -> tuple[list[Finding], Evaluated, str]:
    """The findings with what the draw at kinks adds to those that agree so far, its evaluation, and a gap.

    It adds nothing where torch has no finite answer there, or where rounding decides the manual code's choices.
    """
    sides = gathering.sides
    try:
        defined = all(np.isfinite(y).all() for y in sides.torch(draw.arrays).values())
        found = evaluate(sides, draw.arrays) if defined else {}
    except UsageError:
        return findings, [], ""
    if (said := left_out(draw, found)) is not None:
        return findings, [], said[1]
    results = [(draw, found)]
    added = [n for n in found if all(n != f.tensor for f in findings) and not any(f.differs for f in findings)]

    def beside(f: Finding) -> Finding:
        e = found.get(f.tensor)
        if e is None or f.differs or e.verdict.agrees or bool(e.reason) != bool(f.reason):
            return f
        here = _finding(gathering, f.tensor, results, f.draws + 1)
        if here.differs:
            return here
        return replace(f, draws=here.draws, notes=tuple(dict.fromkeys((*f.notes, *here.notes))))

    return [*map(beside, findings), *(_finding(gathering, n, results) for n in added)], results, ""


def _later(
    gathering: _Gathering, findings: list[Finding], results: Evaluated, draw: Draw
) -> tuple[list[Finding], tuple[str, str]]:
    """The findings with what a later draw adds to them, and to `results`; what it leaves out, in a note or a gap."""
    try:
        found = _evaluated(gathering.sides, draw)
    except UsageError as problem:
        swallowed(problem, "a later draw")
        return findings, ("", "")
    told_of = {k: e for k, e in found.items() if as_factor([(e.verdict, e.case)], gathering.allow) is None}
    if (said := left_out(draw, told_of)) is not None:
        return findings, said
    results.append((draw, found))
    wrong = {name for name, e in found.items() if not e.verdict.agrees}
    told = {f.tensor: f for f in findings}
    for name in found:
        if name in wrong or name not in told or told[name].undecided:
            told[name] = _finding(gathering, name, results)
        else:
            told[name] = replace(told[name], draws=told[name].draws + 1)
    return list(told.values()), ("", "")


def _beside(gathering: _Gathering, findings: list[Finding], aside: Aside) -> tuple[list[Finding], tuple[str, str]]:
    """The findings with what differs over other tensors than were given; a note, or a gap where it decides nothing."""
    draw = aside.draw
    try:
        found = _evaluated(aside.sides, draw)
    except UsageError as problem:
        swallowed(problem, "other tensors")
        return findings, ("", "")
    wrong = {name: e for name, e in found.items() if not e.verdict.agrees}
    raised = next((e for e in wrong.values() if e.fault is not None), None)
    if raised is not None:
        return findings, (f"{draw.label}: not compared, {raised.verdict.problem}", "")
    if wrong and not aside.fair:
        names = ", ".join(list(wrong)[:SHOWN])
        return findings, ("", f"{draw.label}: {names} differ, but the rule knows its tensors by their names")
    for name in wrong:
        findings = [*findings, _because(gathering, name, draw, found, "other tensors", TENSORS)]
    return findings, ("", "")


def _in_other_orders(
    gathering: _Gathering, findings: list[Finding], draws: list[Draw]
) -> tuple[list[Finding], OverCalls]:
    """The findings of what differs over several calls, or where the passes come in another order; what else is seen."""
    sides, seen = gathering.sides, OverCalls()
    if isinstance(sides, CallSides) and carries(sides, draws):
        seen = over_calls(sides, draws)
        if seen.differing is not None:
            draw, found = seen.differing
            return _with_the_order(gathering, findings, draw, found, CARRIED), seen
        if isinstance(sides.reference, nn.Module):
            return findings, seen
    other = next((draw for draw in draws if draw.kind in ANOTHER_BATCH), draws[-1])
    leak, notes = leak_of(sides, draws[0].arrays, other.arrays)
    seen = seen._replace(notes=(*seen.notes, *notes))
    if leak is None:
        return findings, seen
    draw = draws[0]._replace(label=leak.label)
    return _with_the_order(gathering, findings, draw, evaluate(leak.sides, draw.arrays), leak.phrase), seen


def _with_the_order(
    gathering: _Gathering, findings: list[Finding], draw: Draw, found: Evaluations, phrase: str
) -> list[Finding]:
    """The findings with those that differ in an order of calls."""
    told = {f.tensor: f for f in findings}
    for name, e in found.items():
        if not e.verdict.agrees:
            told[name] = _because(gathering, name, draw, found, "order of calls", phrase)
    return list(told.values())


def _because(gathering: _Gathering, name: str, draw: Draw, found: Evaluations, kind: str, phrase: str) -> Finding:
    """The finding on a draw whose making says what is wrong."""
    made = _finding(gathering, name, [(draw, found)])
    return replace(made, causes=(Cause(kind, phrase, draw.label),), notes=(phrase, *made.notes))


def _finding(gathering: _Gathering, name: str, results: Evaluated, draws: int = 0) -> Finding:
    """The worst verdict on a tensor; its cause where that needs no search."""
    seen = [(draw, found[name]) for draw, found in results if name in found]
    draw, worst = max(
        seen, key=lambda item: (not item[1].verdict.agrees, item[0].kind is not Kind.STEERED, item[1].verdict.fraction)
    )
    draws = draws or len(seen)
    verdict, notes = worst.verdict, _of_dtype(seen)
    causes: tuple[Cause, ...] = ()
    undecided, sees = "", math.inf
    if not verdict.agrees and (found := _as_accepted(gathering, seen, worst)) is not None:
        verdict, notes = found[0], (found[1], *notes)
    elif verdict.agrees:
        undecided = undecided_of(seen)
        sees = smallest_that_exceeds(seen)
        notes = (*(() if undecided else less_seen(seen)), *notes)
    else:
        if all(e.case is None or e.verdict.agrees for _, e in seen):
            absent = worst.fault is Fault.MISSING
            causes = (missing(name) if absent else Cause("no result", verdict.problem, name),)
        notes = (*((by_two_precision(worst.reason),) if worst.reason else ()), *notes)
    made = Finding(name, verdict, draw.label, draws, causes, notes, worst.reason, undecided=undecided, sees=sees)
    if not verdict.agrees:
        made = replace(made, elements=_elements(worst))
    if gathering.keep and worst.case is not None:
        made = replace(made, manual=worst.case.manual, torch=worst.case.torch, allowed=worst.case.allowed)
    return made


def _as_accepted(gathering: _Gathering, seen: Seen, worst: Evaluation) -> tuple[Verdict, str] | None:
    """The verdict and the note where the difference is of an accepted kind."""
    allow = gathering.allow
    if found := as_factor([(e.verdict, e.case) for _, e in seen], allow):
        return found
    if worst.case is None or not allow.subgradients:
        return None
    causes = [place.cause() for place in kinks.places(gathering.sides, worst.case)]
    return as_convention(worst.verdict, worst.case, causes, allow)


def _elements(e: Evaluation) -> str:
    """Which elements differ, in words; nothing where the verdict looked at none."""
    return "" if e.case is None or e.verdict.problem else describe_where(e.case.where())


def _of_dtype(seen: Seen) -> tuple[str, ...]:
    """The words for results of another dtype than torch's, and for a torch that is the less exact side."""
    return tuple(dict.fromkeys(e.note for _, e in seen if e.note))
