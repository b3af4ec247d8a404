"""One derivation against its torch counterpart, in one line: is it right, and if not, what is wrong with it?"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np

from handgrad.compare.checking import kinks
from handgrad.compare.checking import schedules as rate
from handgrad.compare.checking.evaluate import Evaluation, evaluate
from handgrad.compare.checking.explain import explain, missing, rounding_size, second_opinion
from handgrad.compare.checking.findings import CheckFailed, Finding, Report
from handgrad.compare.checking.inputs import (
    describe,
    describe_reference,
    layer_inputs,
    loss_inputs,
    require_reference,
    require_steps,
    rule_inputs,
)
from handgrad.compare.checking.kinks import KINKS
from handgrad.compare.checking.listeners import LISTENERS, RAISES
from handgrad.compare.checking.more_draws import evaluate_more
from handgrad.compare.checking.reproducer import reproduce
from handgrad.compare.diagnosis.cause import Cause, Diagnosis
from handgrad.compare.diagnosis.graph.search import Clues
from handgrad.compare.foundation.errors import UsageError
from handgrad.compare.foundation.validation import DTYPES, choose, require_seed
from handgrad.compare.judge.agreement import TWO_PRECISION, WITHIN_REFERENCE
from handgrad.compare.judge.case import Case
from handgrad.compare.judge.sides import Arrays, Sides


def check(
    ours: Any,
    reference: Any,
    *,
    x: Any = None,
    output: Any = None,
    target: Any = None,
    theta: Any = None,
    params: Mapping[str, Any] | None = None,
    dy: Any = None,
    learning_rate: float = 0.01,
    steps: int = 10,
    dtype: str = "float64",
    seed: int = 0,
    name: str = "",
) -> Report:
    """Check a hand-derived layer, loss or update rule against torch; return the report, or raise it.

    Give `x` for a layer, `output` and `target` for a loss, `theta` for an update rule, and none of them for a
    schedule. Each is a shape, from which several inputs are drawn, an array, or a function of a NumPy generator.
    A target may also be "class": integers below the number of outputs.

    ours    a layer (manual/layer.py), a loss or an optimizer (by their methods; no subclass is needed), or, for a
            layer, a pair (forward, backward) of functions: see `handgrad.compare.judge.sides.FunctionSides`
    reference    an nn.Module, which is given the manual side's parameters by name; or a function of tensors,
            reference(x, **params) or reference(output, target); for an update rule, an optimizer class, which is given
            the rule's hyperparameters by name, or a function (parameters, lr) that makes an optimizer; for a schedule
            a function of an optimizer that makes the scheduler
    params  the parameters' shapes or values, for a pair of functions; for a layer its `init` says
    dy      the upstream gradient; random unless given
    steps   of an update rule, each with a random gradient

    Raises CheckFailed, an AssertionError whose text is the report, where the two sides differ, and UsageError
    where there is nothing to compare: no inputs, or a reference that does not fit.
    """
    if x is None and output is None and theta is None and callable(ours) and not hasattr(ours, "forward"):
        require_steps(steps)
        require_reference("a schedule", ours, reference)
        return _deliver(rate.check_schedule(ours, reference, steps, name or f"{describe(ours)} beside torch"))
    require_seed(seed)
    what = [k for k, v in {"x": x, "output": output, "theta": theta}.items() if v is not None]
    if len(what) != 1:
        raise UsageError(
            "check takes exactly one of x= (a layer), output= (a loss) and theta= (an update rule), "
            f"got {', '.join(what) or 'none'}"
        )
    for extra, value, place in (("target", target, "output"), ("params", params, "x"), ("dy", dy, "x")):
        if value is not None and what != [place]:
            raise UsageError(f"{extra}= goes with {place}=, got it beside {what[0]}=: leave it out, or give {place}=")
    if params is not None and not isinstance(params, Mapping):
        raise UsageError(
            f"params must be a dictionary of shapes or arrays by name, got {type(params).__name__}: "
            "write {'gain': (8,)}"
        )
    require_reference({"x": "a layer", "output": "a loss", "theta": "an update rule"}[what[0]], ours, reference)
    real = choose("dtype", dtype, DTYPES)
    title = name or f"{describe(ours)} beside {describe_reference(ours, reference)}"
    try:
        if x is not None:
            sides, inputs = layer_inputs(ours, reference, x, params, dy, real, seed)
        elif output is not None:
            sides, inputs = loss_inputs(ours, reference, output, target, real, seed)
        else:
            sides, inputs = rule_inputs(ours, reference, theta, learning_rate, steps, real, seed)
    except (TypeError, ValueError) as problem:
        raise problem if isinstance(problem, UsageError) else UsageError(str(problem)) from problem
    report = run(title, sides, inputs)
    if not report.agrees:
        report = dataclasses.replace(report, reproducer=reproduce(sides, ours, reference, report, inputs))
    return _deliver(report)


def _deliver(report: Report) -> Report:
    for listener in LISTENERS:
        listener(report)
    if RAISES[0] and not report.agrees:
        raise CheckFailed(report)
    return report


def run(title: str, sides: Sides, inputs: dict[str, Arrays]) -> Report:
    """Evaluate both sides on every draw and gather one finding a tensor."""
    plain = {label: arrays for label, arrays in inputs.items() if label != KINKS}
    with warnings.catch_warnings():
        if len(plain) > 1:  # what the code makes of numbers and batch sizes that nobody asked for is for us to judge
            warnings.simplefilter("ignore", RuntimeWarning)
        results = {label: evaluate(sides, arrays, exact=label == "dyadic") for label, arrays in plain.items()}
        names = list(dict.fromkeys(name for found in results.values() for name in found))
        forward_differs = any(
            not found[n].verdict.agrees for found in results.values() for n in ("output", "loss") if n in found
        )
        right = {n for n in names if all(found[n].verdict.agrees for found in results.values() if n in found)}
        more = cache(lambda: evaluate_more(sides, inputs, right))
        clues = Clues()
        findings = [_finding(sides, name, results, forward_differs, more=more, clues=clues) for name in names]
        if KINKS in inputs:
            findings = _at_kinks(sides, findings, inputs[KINKS])
    return Report(title, tuple(findings))


def _at_kinks(sides: Sides, findings: list[Finding], inputs: Arrays) -> list[Finding]:
    """The findings with what the draw at kinks adds to those that agree so far.

    It adds nothing where torch has no finite answer there, or where rounding decides the manual code's choices.
    """
    try:
        defined = all(np.isfinite(y).all() for y in sides.torch(inputs).values())
        found = evaluate(sides, inputs) if defined else {}
    except UsageError:
        return findings
    forward_differs = any(not found[n].verdict.agrees for n in ("output", "loss") if n in found)
    added = [n for n in found if all(n != f.tensor for f in findings) and all(f.agrees for f in findings)]
    return [
        *(
            _finding(sides, f.tensor, {KINKS: found}, forward_differs, f.draws + 1)
            if f.agrees and f.tensor in found and not found[f.tensor].verdict.agrees
            and bool(found[f.tensor].reason) == bool(f.reason)
            else f
            for f in findings
        ),
        *(_finding(sides, n, {KINKS: found}, False) for n in added),
    ]  # fmt: skip


def _finding(
    sides: Sides, name: str, results: dict[str, dict[str, Evaluation]], forward_differs: bool, draws: int = 0,
    more: Callable[[], list[dict[str, Evaluation]]] = list, clues: Clues | None = None,
) -> Finding:  # fmt: skip
    seen = {label: found[name] for label, found in results.items() if name in found}
    draw, worst = max(seen.items(), key=lambda item: (not item[1].verdict.agrees, item[1].verdict.fraction))
    if worst.verdict.agrees:
        notes = _unseen(name, seen) + _loosely(seen)
        return Finding(name, worst.verdict, draw, len(seen), notes=notes, reason=worst.reason)
    draws = draws or len(seen)
    if worst.case is not None and (said := _at_special_points(sides, worst.case, draw, worst.verdict.at)):
        return Finding(name, worst.verdict, draw, draws, *said, worst.reason)
    asked = [worst, *(e for e in seen.values() if e is not worst)]
    if any(e.case is not None and not e.verdict.agrees for e in asked):
        further = [found[name] for found in more() if name in found]
        diagnosis = Diagnosis()
        # Code that has a size of the given shape written into it has another fault at other sizes.
        for ordered in ([*asked, *further], asked)[: 2 if further else 1]:
            cases = [e.case for e in ordered if e.case is not None and not e.verdict.agrees]
            agreeing = [e.case for e in reversed(ordered) if e.case is not None and e.verdict.agrees]
            with np.errstate(all="ignore"):  # a diagnosis tries divisors that may be tiny
                diagnosis, lines = explain(
                    sides, cases, forward_differs and name not in ("output", "loss"), agreeing, worst.verdict.at, clues
                )
            if diagnosis.causes:
                break
        causes = diagnosis.causes
    else:
        problem = worst.verdict.problem
        causes, lines = (missing(name) if worst.missing else Cause("no result", problem, name),), []
    if worst.reason:
        lines = [*lines, f"judged by the two-precision tolerance: {worst.reason}"]
    return Finding(name, worst.verdict, draw, draws, causes, tuple(lines), worst.reason)


def _unseen(name: str, seen: dict[str, Evaluation]) -> tuple[str, ...]:
    """The words for numbers that neither side has. UsageError where there is no other, so that nothing was compared."""
    unseen, size = sum(e.verdict.unseen for e in seen.values()), sum(e.verdict.size for e in seen.values())
    if size and unseen == size:
        raise UsageError(
            f"there must be numbers to compare, but every element of {name} is NaN or ∞ on both sides: "
            "give inputs for which the function is defined"
        )
    return (f"{unseen} of {size} elements, over all draws, are NaN or ∞ on both sides",) if unseen else ()


def _loosely(seen: dict[str, Evaluation]) -> tuple[str, ...]:
    """The words for agreement that says less than it might: half of the digits, or nothing, and why."""
    draw, e = max(seen.items(), key=lambda item: item[1].verdict.looseness)
    kind, v = np.finfo(e.case.manual.dtype if e.case is not None else np.float64), e.verdict
    by_two_precision = next(
        (f"judged by the two-precision tolerance: {e.reason}" for e in seen.values() if e.reason), ""
    )
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
    return (f"{draw}: {said}: {why}",)


def _at_special_points(
    sides: Sides, case: Case, draw: str, at: tuple[int, ...]
) -> tuple[tuple[Cause, ...], tuple[str, ...]] | None:
    """(causes, lines) of a difference at kinks, or of forward passes at a few points; None where it is no such."""
    if rounding_size([case]):
        return None
    found = kinks.places(sides, case)
    if not found:
        jumps = Diagnosis(tuple(kinks.jumps(case))) if draw == KINKS else Diagnosis()
        return (jumps.causes, tuple(jumps.lines())) if jumps.causes else None
    diagnosis = Diagnosis(tuple(place.cause() for place in found), facts=tuple(place.advice() for place in found))
    opinion = second_opinion(sides, case, at)
    return diagnosis.causes, (*diagnosis.lines(), *([str(opinion)] if opinion is not None else []))
