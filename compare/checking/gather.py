"""Every draw of a check evaluated, and one finding a tensor gathered of them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np

from handgrad.compare.checking import kinks
from handgrad.compare.checking.accept import NOTHING, Accepted, as_convention, as_factor
from handgrad.compare.checking.beyond import within_jumps
from handgrad.compare.checking.draws import Draw, Drawn, Kind
from handgrad.compare.checking.elements import describe_where
from handgrad.compare.checking.evaluate import Evaluation, Fault, evaluate, written_into
from handgrad.compare.checking.explain import explain, missing, rounding_size, second_opinion
from handgrad.compare.checking.finding import Finding, by_two_precision, would_be_seen
from handgrad.compare.checking.findings import Report
from handgrad.compare.checking.more_draws import evaluate_more
from handgrad.compare.diagnosis.cause import Cause, Diagnosis
from handgrad.compare.diagnosis.graph.search import Clues
from handgrad.compare.foundation.debug import swallowed
from handgrad.compare.foundation.errors import UsageError
from handgrad.compare.judge.agreement import TWO_PRECISION, WITHIN_REFERENCE, judge
from handgrad.compare.judge.case import Case
from handgrad.compare.judge.names import input_symbol, is_forward
from handgrad.compare.judge.sides import Sides
from handgrad.compare.rounding.bounded import Bounded, Precision

Evaluations = dict[str, Evaluation]  # by output
Evaluated = list[tuple[Draw, Evaluations]]
Seen = list[tuple[Draw, Evaluation]]  # of one output


def on_copies(drawn: Drawn) -> Drawn:
    """The same, and where the derivation writes into what it is given, on copies, which is said."""
    names = written_into(drawn.sides, drawn.draws[0].arrays)
    if not names:
        return drawn
    said = (
        f"the derivation writes into {', '.join(map(input_symbol, names))} in place: it was judged on copies, but "
        "whoever uses these arrays after it gets other numbers"
    )
    return Drawn(replace(drawn.sides, copies=True), drawn.draws, (*drawn.notes, said))  # type: ignore[type-var]


def run(title: str, drawn: Drawn, allow: Accepted = NOTHING) -> Report:
    """Evaluate both sides on every draw and gather one finding a tensor."""
    sides, draws = drawn.sides, drawn.draws
    plain = [draw for draw in draws if draw.kind is not Kind.KINKS]
    with warnings.catch_warnings():
        if len(plain) > 1:  # what the code makes of numbers and batch sizes that nobody asked for is for us to judge
            warnings.simplefilter("ignore", RuntimeWarning)
        results = [(draw, _evaluated(sides, draw)) for draw in plain]
        names = list(dict.fromkeys(name for _, found in results for name in found))
        forward_differs = any(_forward_differs(found) for _, found in results)
        right = {n for n in names if all(found[n].verdict.agrees for _, found in results if n in found)}
        more = cache(lambda: evaluate_more(sides, plain, right))
        clues = Clues()
        findings = [_finding(sides, name, results, forward_differs, allow, more=more, clues=clues) for name in names]
        for draw in draws:
            if draw.kind is Kind.KINKS:
                findings = _at_kinks(sides, findings, draw, allow)
    return Report(title, tuple(findings), notes=drawn.notes)


def _evaluated(sides: Sides, draw: Draw) -> Evaluations:
    """What became of a draw; what lies within the jumps of torch's own formula agrees."""
    found = evaluate(sides, draw.arrays, exact=draw.kind is Kind.DYADIC)
    for name, e in found.items():
        case = e.case
        if case is None or e.verdict.agrees or e.verdict.problem or not np.isfinite(e.verdict.fraction):
            continue
        with np.errstate(all="ignore"):
            left = np.maximum(np.abs(case.manual - case.torch) - case.allowed, 0)
            half_of_the_digits = left <= np.sqrt(np.finfo(case.torch.dtype).eps) * np.abs(case.torch)
        if not half_of_the_digits.all():
            continue
        try:
            room = within_jumps(sides, draw.arrays, name, left)
        except Exception as problem:
            swallowed(problem, "the look for jumps of the reference")
            continue
        if room is not None:
            precision = Precision.of(case.torch.dtype)
            verdict = judge(Bounded(case.manual, case.allowed + room, precision), case.torch)
            wider = replace(case, allowed=case.allowed + room)
            found[name] = replace(e, verdict=verdict._replace(rule=WITHIN_REFERENCE), case=wider)
    return found


def _forward_differs(found: Evaluations) -> bool:
    return any(is_forward(name) and not e.verdict.agrees for name, e in found.items())


def _at_kinks(sides: Sides, findings: list[Finding], draw: Draw, allow: Accepted) -> list[Finding]:
    """The findings with what the draw at kinks adds to those that agree so far.

    It adds nothing where torch has no finite answer there, or where rounding decides the manual code's choices.
    """
    try:
        defined = all(np.isfinite(y).all() for y in sides.torch(draw.arrays).values())
        found = evaluate(sides, draw.arrays) if defined else {}
    except UsageError:
        return findings
    forward_differs = _forward_differs(found)
    added = [n for n in found if all(n != f.tensor for f in findings) and all(f.agrees for f in findings)]

    def beside(f: Finding) -> Finding:
        e = found.get(f.tensor)
        if e is None or not f.agrees or e.verdict.agrees or bool(e.reason) != bool(f.reason):
            return f
        here = _finding(sides, f.tensor, [(draw, found)], forward_differs, allow, f.draws + 1)
        return (
            replace(f, draws=here.draws, notes=tuple(dict.fromkeys((*f.notes, *here.notes)))) if here.agrees else here
        )

    return [*map(beside, findings), *(_finding(sides, n, [(draw, found)], False, allow) for n in added)]


def _finding(
    sides: Sides, name: str, results: Evaluated, forward_differs: bool, allow: Accepted, draws: int = 0,
    more: Callable[[], list[Evaluations]] = list, clues: Clues | None = None,
) -> Finding:  # fmt: skip
    seen = [(draw, found[name]) for draw, found in results if name in found]
    draw, worst = max(seen, key=lambda item: (not item[1].verdict.agrees, item[1].verdict.fraction))
    if worst.verdict.agrees:
        notes = _unseen(name, seen) + _loosely(seen) + _of_dtype(seen)
        return Finding(name, worst.verdict, draw.label, len(seen), notes=notes, reason=worst.reason)
    draws = draws or len(seen)
    if as_accepted := as_factor([(e.verdict, e.case) for _, e in seen], allow):
        return Finding(name, as_accepted[0], draw.label, draws, notes=(as_accepted[1],), reason=worst.reason)
    if worst.case is not None and (said := _at_special_points(sides, worst.case, draw, worst.verdict.at)):
        if convention := as_convention(worst.verdict, worst.case, said[0], allow):
            return Finding(name, convention[0], draw.label, draws, notes=(convention[1],), reason=worst.reason)
        return Finding(name, worst.verdict, draw.label, draws, *said, worst.reason, _elements(worst))
    asked = [worst, *(e for _, e in seen if e is not worst)]
    if any(e.case is not None and not e.verdict.agrees for e in asked):
        causes, lines = _explained(sides, name, asked, forward_differs, more, clues)
    else:
        absent = worst.fault is Fault.MISSING
        causes = (missing(name) if absent else Cause("no result", worst.verdict.problem, name),)
        lines = []
    if worst.reason:
        lines = [*lines, by_two_precision(worst.reason)]
    lines = [*lines, *_of_dtype(seen)]
    return Finding(name, worst.verdict, draw.label, draws, causes, tuple(lines), worst.reason, _elements(worst))


def _elements(e: Evaluation) -> str:
    """Which elements differ, in words; nothing where the verdict looked at none."""
    return "" if e.case is None or e.verdict.problem else describe_where(e.case.where())


def _explained(
    sides: Sides, name: str, asked: list[Evaluation], forward_differs: bool,
    more: Callable[[], list[Evaluations]], clues: Clues | None,
) -> tuple[tuple[Cause, ...], list[str]]:  # fmt: skip
    """The causes and lines of a difference; `asked` are all evaluations of the tensor, the worst one first."""
    further = [found[name] for found in more() if name in found]
    diagnosis, lines = Diagnosis(), list[str]()
    # Code that has a size of the given shape written into it has another fault at other sizes.
    for ordered in ([*asked, *further], asked)[: 2 if further else 1]:
        cases = [e.case for e in ordered if e.case is not None and not e.verdict.agrees]
        agreeing = [e.case for e in reversed(ordered) if e.case is not None and e.verdict.agrees]
        with np.errstate(all="ignore"):  # a diagnosis tries divisors that may be tiny
            diagnosis, lines = explain(
                sides, cases, forward_differs and not is_forward(name), agreeing, asked[0].verdict.at, clues
            )
        if diagnosis.causes:
            break
    return diagnosis.causes, lines


def _of_dtype(seen: Seen) -> tuple[str, ...]:
    """The words for results of another dtype than torch's."""
    return tuple(dict.fromkeys(e.note for _, e in seen if e.note))


def _unseen(name: str, seen: Seen) -> tuple[str, ...]:
    """The words for numbers that neither side has. UsageError where there is no other, so that nothing was compared."""
    cases = [e.case for _, e in seen if e.case is not None]
    nothing = bool(cases) and not any(np.any(side) for case in cases for side in (case.manual, case.torch))
    if nothing and any(case.torch.size for case in cases):
        return ("every number is 0 on both sides, on every draw: nothing was compared",)
    unseen, size = sum(e.verdict.unseen for _, e in seen), sum(e.verdict.size for _, e in seen)
    if size and unseen == size:
        raise UsageError(
            f"there must be numbers to compare, but every element of {name} is NaN or ∞ on both sides: "
            "give inputs for which the function is defined"
        )
    return (f"{unseen} of {size} elements, over all draws, are NaN or ∞ on both sides",) if unseen else ()


def _loosely(seen: Seen) -> tuple[str, ...]:
    """The words for agreement that says less than it might: half of the digits, or nothing, and why."""
    draw, e = max(seen, key=lambda item: item[1].verdict.looseness)
    kind, v = np.finfo(e.case.manual.dtype if e.case is not None else np.float64), e.verdict
    reason = next((by_two_precision(e.reason) for _, e in seen if e.reason), "")
    if v.looseness <= np.sqrt(kind.eps / 2):
        return (reason,) if reason else ()
    if v.vacuous:
        said = "the tolerance is as large as the tensor, so that agreement says nothing"
    else:
        said = f"it agrees to only {int(-np.log10(v.looseness))} digits ({would_be_seen(v)})"
    if v.rule == TWO_PRECISION:
        why = reason
    elif v.rule == WITHIN_REFERENCE:
        why = "torch's own result is no more exact"
    else:
        why = f"on the way rounding grows {2 * v.looseness / kind.eps:.0e} times, as where numbers cancel"
    return (f"{draw.label}: {said}: {why}",)


def _at_special_points(
    sides: Sides, case: Case, draw: Draw, at: tuple[int, ...]
) -> tuple[tuple[Cause, ...], tuple[str, ...]] | None:
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
