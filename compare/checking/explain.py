"""The words for a tensor that differs: its causes, and the referee's opinion at the worst element."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from handgrad.compare.checking import referee
from handgrad.compare.checking.evaluate import evaluate
from handgrad.compare.checking.referee import Side
from handgrad.compare.diagnosis.cause import Cause, Diagnosis
from handgrad.compare.diagnosis.diagnose import diagnose
from handgrad.compare.diagnosis.graph.search import Clues
from handgrad.compare.diagnosis.regions import ratio_facts
from handgrad.compare.diagnosis.update_rule import diagnose_update
from handgrad.compare.foundation.debug import swallowed
from handgrad.compare.foundation.errors import UsageError
from handgrad.compare.foundation.threads import torch_threads
from handgrad.compare.judge.case import Case
from handgrad.compare.judge.casts import casts_inside, without_casts
from handgrad.compare.judge.explanation import Explanation
from handgrad.compare.judge.names import TARGET, differentiated
from handgrad.compare.judge.sides import OptimizerSides, Sides, is_float
from handgrad.compare.judge.torch_rounding import TorchRounding
from handgrad.compare.judge.trajectories import TrajectorySides
from handgrad.compare.judge.two_precision import DRAWS

# A wrong derivation is seldom wrong by so little; what is, rounding may have made in a way that no bound knows of.
FEW_BOUNDS = 2.0**10
FEW_ULPS = 2.0**12
NOT_OF_TORCH = (
    "this gradient is that of the forward pass, in which both sides agree, and torch's is not: it may have a path "
    "detached, a backward pass of its own, or a constant in float32"
)


@torch_threads(1)
def explain(
    sides: Sides,
    cases: Sequence[Case],
    forward_differs: bool | None = None,
    agreeing: Sequence[Case] = (),
    at: tuple[int, ...] | None = None,
    clues: Clues | None = None,
    so_far: Callable[[list[str]], None] = lambda lines: None,
) -> tuple[Diagnosis, list[str]]:
    """The diagnosis of one output over several cases, and the lines for the report; `agreeing` ones must stay so.

    `at` is the element of the first case that the report shows, where the referee looks. `forward_differs` may be
    unknown. `so_far` is told the lines that are known before the search begins.
    """
    if cases and casts_inside(sides, cases[0].inputs):
        sides = without_casts(sides)
        cases, agreeing = ([_beside_torch(sides, c) for c in some] for some in (cases, agreeing))
    by_rounding = next((cause for case in cases if (cause := _no_number_by_rounding(sides, case))), None)
    if by_rounding is not None:
        diagnosis = Diagnosis((by_rounding,))
        return diagnosis, diagnosis.lines()
    worst = next((c for c in cases if c.differs()), None)
    opinion = None if worst is None else second_opinion(sides, worst, at if worst is cases[0] else None)
    said = [] if opinion is None else [str(opinion)]
    undecided = opinion is not None and opinion.side() is Side.UNDECIDED
    if small := rounding_size(cases, undecided):
        return Diagnosis((), facts=(small,)), [small, *said]
    if forward_differs is False and opinion is not None and opinion.side() is Side.MANUAL:
        return Diagnosis((), facts=(NOT_OF_TORCH,)), [NOT_OF_TORCH, *said]
    if isinstance(sides, (TrajectorySides, OptimizerSides)):
        diagnosis = diagnose_update(sides, cases)
        return diagnosis, diagnosis.lines()
    narrower = next((c.manual.dtype for c in cases if c.manual.dtype.itemsize < c.torch.dtype.itemsize), None)
    if narrower is not None:
        phrase = f"the result is {narrower}, where torch's is {cases[0].torch.dtype}"
        cases = [_widened(c) for c in cases]
        if not any(c.differs() for c in cases):
            diagnosis = Diagnosis((Cause("narrower result", phrase, constant=str(narrower)),))
            return diagnosis, diagnosis.lines()
        said = [f"{phrase}, and its numbers are others, too", *said]
    if any(case.manual.size == 0 < case.torch.size for case in cases):
        diagnosis = Diagnosis((missing(cases[0].output),))
        return diagnosis, diagnosis.lines()
    confirmed = _with_another(sides, cases)
    if not confirmed:
        alone = "one number alone has no cause: any constant makes it, and other inputs did not confirm one"
        return Diagnosis((), facts=(alone,)), [alone, *said]
    if worst is not None and worst.manual.shape == worst.torch.shape:
        so_far([ratio_facts(worst), *said])
    diagnosis = diagnose(sides, confirmed, agreeing, clues)
    lines = [*diagnosis.lines(), *said]
    if forward_differs and opinion is not None and opinion.side() is Side.MANUAL:
        lines.append("the forward passes already differ: this gradient is right, for another function")
    elif forward_differs and opinion is None and worst is not None and differentiated(worst.output):
        lines.append("the forward passes already differ: this gradient may be right for another function")
    return diagnosis, lines


def _beside_torch(sides: Sides, case: Case) -> Case:
    """The case beside what torch gives now."""
    results = sides.torch(case.inputs)
    beside = {name: output._replace(torch=results[name]) for name, output in case.beside.items() if name in results}
    return replace(case, torch=results[case.output], results=results, beside=beside)


def _widened(case: Case) -> Case:
    """The case with a narrower result in the type that it should have, and what that type loses allowed."""
    manual = case.manual.astype(case.torch.dtype)
    with np.errstate(all="ignore"):
        lost = np.abs(manual) * float(np.finfo(case.manual.dtype).eps)
    return replace(case, manual=manual, allowed=case.allowed + lost)


def explain_stage(sides: Sides, case: Case, at: tuple[int, ...]) -> Explanation:
    """The judge's explainer: one case of a training step."""
    diagnosis, lines = explain(sides, [case], at=at)
    return Explanation(tuple(cause.phrase for cause in diagnosis.causes), tuple(lines))


def missing(output: str) -> Cause:
    """The derivation returns no such output."""
    return Cause("missing output", f"the {output} is missing", output)


def _with_another(sides: Sides, cases: Sequence[Case]) -> Sequence[Case]:
    """The cases, and where all of them hold one and the same number, another at inputs nearby; none if there is none.

    A constant can be found that makes one number of any other.
    """
    numbers = {(float(c.manual.flat[0]), float(c.torch.flat[0])) for c in cases if c.manual.size == c.torch.size == 1}
    if len(numbers) != 1 or any(c.manual.size != 1 for c in cases):
        return cases
    first = cases[0]
    nearby = {k: v * 0.8125 if is_float(v) and k != TARGET else v for k, v in first.inputs.items()}
    try:
        found = evaluate(sides, nearby).get(first.output)
    except UsageError:
        return ()
    if found is None or found.case is None or not found.case.differs():
        return ()
    return (*cases, found.case)


def rounding_size(cases: Sequence[Case], undecided: bool = False) -> str:
    """The words for a difference of the size of rounding, of which no cause can be told; nothing for a larger one.

    `undecided` says that the referee cannot tell the two sides apart.
    """
    times = digits = 0.0
    for case in cases:
        if case.manual.shape != case.torch.shape or case.manual.dtype != case.torch.dtype:
            return ""
        where, gap = case.where(), np.abs(case.manual - case.torch)
        with np.errstate(all="ignore"):
            times = max(times, float(np.max((gap / case.allowed)[where], initial=0)))
            digits = max(digits, float(np.max((gap / np.abs(case.torch))[where], initial=0)))
    unit = float(np.finfo(cases[0].torch.dtype).eps) if cases else 0.0
    if not 1 < times <= FEW_BOUNDS or not (digits <= FEW_ULPS * unit or (undecided and digits < 1)):
        return ""
    wider = "" if unit < 1e-10 else ': dtype="float64" can tell more'
    return (
        f"this is of the size of rounding, {times:.3g} times the bound: both sides are right to "
        f"{int(-np.log10(digits))} digits, and no cause can be told from so little{wider}"
    )


def _no_number_by_rounding(sides: Sides, case: Case) -> Cause | None:
    """Torch's ∞ or NaN beside a number, where rounding alone makes it; None where it does not."""
    if case.manual.shape != case.torch.shape or case.torch.dtype != np.float64:
        return None
    lost = np.flatnonzero(np.isfinite(case.manual) & ~np.isfinite(case.torch))
    if not lost.size:
        return None
    seen = TorchRounding(sides, case.inputs)
    seen.draw(DRAWS)
    if case.output not in seen.finite:
        return None
    numbers = int(seen.finite[case.output].flat[lost[0]])
    if not numbers:
        return None
    value = float(case.torch.flat[lost[0]])
    phrase = (
        f"torch's own formula gives {value} here by rounding alone: of {DRAWS} runs with every operation rounded up "
        f"or down at random, {numbers} give a number"
    )
    return Cause("rounding of the reference", phrase)


def second_opinion(sides: Sides, case: Case, at: tuple[int, ...] | None = None) -> referee.Opinion | None:
    """The referee's opinion at the element `at`, or at the worst; None where the output is no gradient of a forward."""
    if case.manual.shape != case.torch.shape:
        return None
    gradient = differentiated(case.output)
    if gradient is None:
        return None
    worst = np.unravel_index(int(_gap(case).argmax()), case.torch.shape)
    index = tuple(int(i) for i in worst) if at is None or len(at) != case.torch.ndim else at
    try:
        return referee.opinion(
            sides, case.inputs, gradient, index,
            float(case.manual[index]), float(case.torch[index]), float(case.allowed[index]),
        )  # fmt: skip
    except Exception as error:
        swallowed(error, "the referee")
        return None


def _gap(case: Case) -> np.ndarray:
    with np.errstate(all="ignore"):
        ratio = np.abs(case.manual - case.torch) / case.allowed
    return np.where(case.manual == case.torch, 0, np.where(np.isnan(ratio), np.inf, ratio))
