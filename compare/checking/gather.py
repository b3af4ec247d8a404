"""Every draw of a check evaluated, and one finding a tensor gathered of them."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence

import numpy as np

from handgrad.compare.checking.causes import FULL, Question, answered
from handgrad.compare.checking.draws import Draw, Kind
from handgrad.compare.checking.evaluate import Evaluation, Fault, evaluate
from handgrad.compare.checking.explain import missing
from handgrad.compare.checking.findings import Finding, Report
from handgrad.compare.checking.smaller import Evaluated
from handgrad.compare.diagnosis.cause import Cause
from handgrad.compare.foundation.errors import UsageError
from handgrad.compare.judge.agreement import TWO_PRECISION, WITHIN_REFERENCE
from handgrad.compare.judge.names import is_forward
from handgrad.compare.judge.sides import Sides

Evaluations = dict[str, Evaluation]  # by output
Seen = list[tuple[Draw, Evaluation]]  # of one output


def run(title: str, sides: Sides, draws: Sequence[Draw], explain: str = FULL) -> Report:
    """Evaluate both sides on every draw and gather one finding a tensor.

    `explain` says how far causes are looked for: "off", "quick" or "full".
    """
    plain = [draw for draw in draws if draw.kind is not Kind.KINKS]
    started = time.process_time()
    with warnings.catch_warnings():
        if len(plain) > 1:  # what the code makes of numbers and batch sizes that nobody asked for is for us to judge
            warnings.simplefilter("ignore", RuntimeWarning)
        results = [(draw, evaluate(sides, draw.arrays, exact=draw.kind is Kind.DYADIC)) for draw in plain]
        names = list(dict.fromkeys(name for _, found in results for name in found))
        findings = [_finding(name, results) for name in names]
        kinks: Evaluated = []
        for draw in draws:
            if draw.kind is Kind.KINKS:
                findings, kinks = _at_kinks(sides, findings, draw)
        seconds = time.process_time() - started
        forward_differs = any(_forward_differs(found) for _, found in results)
        questions = [
            Question(f, kinks, _forward_differs(kinks[0][1]) and f.tensor in names, alone=True)
            if kinks and f.draw == kinks[0][0].label
            else Question(f, results, forward_differs)
            for f in findings
            if not f.agrees and not f.causes
        ]
        return Report(title, tuple(answered(sides, findings, questions, explain, seconds)))


def _forward_differs(found: Evaluations) -> bool:
    return any(is_forward(name) and not e.verdict.agrees for name, e in found.items())


def _at_kinks(sides: Sides, findings: list[Finding], draw: Draw) -> tuple[list[Finding], Evaluated]:
    """The findings with what the draw at kinks adds to those that agree so far, and its evaluation.

    It adds nothing where torch has no finite answer there, or where rounding decides the manual code's choices.
    """
    try:
        defined = all(np.isfinite(y).all() for y in sides.torch(draw.arrays).values())
        found = evaluate(sides, draw.arrays) if defined else {}
    except UsageError:
        return findings, []
    results = [(draw, found)]
    added = [n for n in found if all(n != f.tensor for f in findings) and all(f.agrees for f in findings)]
    return [
        *(
            _finding(f.tensor, results, f.draws + 1)
            if f.agrees and f.tensor in found and not found[f.tensor].verdict.agrees
            and bool(found[f.tensor].reason) == bool(f.reason)
            else f
            for f in findings
        ),
        *(_finding(n, results) for n in added),
    ], results  # fmt: skip


def _finding(name: str, results: Evaluated, draws: int = 0) -> Finding:
    """The worst verdict on a tensor; its cause where that needs no search."""
    seen = [(draw, found[name]) for draw, found in results if name in found]
    draw, worst = max(seen, key=lambda item: (not item[1].verdict.agrees, item[1].verdict.fraction))
    if worst.verdict.agrees:
        notes = _unseen(name, seen) + _loosely(seen)
        return Finding(name, worst.verdict, draw.label, len(seen), notes=notes, reason=worst.reason)
    causes: tuple[Cause, ...] = ()
    if all(e.case is None or e.verdict.agrees for _, e in seen):
        absent = worst.fault is Fault.MISSING
        causes = (missing(name) if absent else Cause("no result", worst.verdict.problem, name),)
    notes = (f"judged by the two-precision tolerance: {worst.reason}",) if worst.reason else ()
    return Finding(name, worst.verdict, draw.label, draws or len(seen), causes, notes, worst.reason)


def _unseen(name: str, seen: Seen) -> tuple[str, ...]:
    """The words for numbers that neither side has. UsageError where there is no other, so that nothing was compared."""
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
    by_two_precision = next((f"judged by the two-precision tolerance: {e.reason}" for _, e in seen if e.reason), "")
    if v.looseness <= np.sqrt(kind.eps / 2):
        return (by_two_precision,) if by_two_precision else ()
    if v.vacuous:
        said = "the tolerance is as large as the tensor, so that agreement says nothing"
    else:
        said = f"it agrees to only {int(-np.log10(v.looseness))} digits"
    if v.rule == TWO_PRECISION:
        why = by_two_precision
    elif v.rule == WITHIN_REFERENCE:
        why = "torch's own result is no more exact"
    else:
        why = f"on the way rounding grows {2 * v.looseness / kind.eps:.0e} times, as where numbers cancel"
    return (f"{draw.label}: {said}: {why}",)
