"""What agreement on a tensor is worth: whether numbers were compared at all, and how loose the tolerances were."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np

from handgrad.compare.checking.draws import Draw, Kind
from handgrad.compare.checking.evaluate import Evaluation
from handgrad.compare.checking.finding import by_two_precision, would_be_seen
from handgrad.compare.judge.agreement import TWO_PRECISION, WITHIN_REFERENCE
from handgrad.compare.judge.sides import is_float

Seen = list[tuple[Draw, Evaluation]]  # of one output
ORDINARY, FEW_ROUNDINGS = 2.0**-4, 2.0**10  # inputs that are not small, and a tolerance that is


def undecided_of(seen: Seen) -> str:
    """Why nothing was compared on any draw, in words: zeros alone, numbers that neither side has, too loose a bound."""
    cases = [e.case for _, e in seen if e.case is not None and e.case.torch.size]
    if cases and not any(np.any(side) for case in cases for side in (case.manual, case.torch)):
        return "every number is 0 on both sides, on every draw: nothing was compared"
    size = sum(e.verdict.size for _, e in seen)
    if size and sum(e.verdict.unseen for _, e in seen) == size:
        return "every number is NaN or ∞ on both sides, on every draw: nothing was compared"
    if all(e.verdict.vacuous for _, e in _compared(seen)) and not _is_zero(seen):
        _, e = min(_compared(seen), key=lambda item: item[1].verdict.looseness)
        return f"the tolerance is as large as the tensor, so that agreement says nothing: {_why_loose(e)}"
    return ""


def less_seen(seen: Seen) -> tuple[str, ...]:
    """The words for agreement that says less than it might: numbers that neither side has, a loose bound."""
    unseen, size = sum(e.verdict.unseen for _, e in seen), sum(e.verdict.size for _, e in seen)
    lost = (f"{unseen} of {size} elements, over all draws, are NaN or ∞ on both sides",) if unseen else ()
    return (*lost, *_loosely(seen))


def smallest_that_exceeds(seen: Seen) -> float:
    """The error, relative to the largest number, that exceeds the bound wherever it is.

    NaN where all is 0 but for rounding. On the draw that sees best, twice the largest tolerance: the rounding that is
    there may hide as much.
    """
    return math.nan if _is_zero(seen) else 2 * min(e.verdict.looseness for _, e in _compared(seen))


def nothing_seen(results: Iterable[tuple[Draw, Mapping[str, Evaluation]]]) -> tuple[str, ...]:
    """The sides that were reached where no tolerance tells right from wrong."""
    return tuple(
        f"{draw.label}: there the tolerance is as large as every tensor, so that agreement says nothing"
        for draw, found in results
        if draw.kind is Kind.STEERED and found and all(e.verdict.vacuous for e in found.values())
    )


def _is_zero(seen: Seen) -> bool:
    """Whether the numbers are all 0 but for rounding on every draw, as the gradient of a key's bias in attention.

    On one they come of inputs of ordinary size, and what is allowed is a few roundings of these, not of anything less.
    """
    if not all(e.case is not None and e.verdict.vacuous for _, e in _compared(seen)):
        return False
    for case in (e.case for _, e in seen if e.case is not None):
        sizes = [float(np.abs(v).max()) for v in case.inputs.values() if is_float(v) and v.size]
        few = FEW_ROUNDINGS * float(np.finfo(case.torch.dtype).eps) * max(sizes)
        if min(sizes) > ORDINARY and float(case.allowed.max(initial=0)) <= few:
            return True
    return False


def _compared(seen: Seen) -> Seen:
    """The draws on which a number was compared: not those where all is 0, as where an output has no part in J."""
    return [(d, e) for d, e in seen if e.case is None or np.any(e.case.torch) or np.any(e.case.manual)] or seen


def _loosely(seen: Seen) -> tuple[str, ...]:
    """The words for agreement that says less than it might: half of the digits, or nothing, and why."""
    asked_for = [(draw, e) for draw, e in _compared(seen) if draw.kind is not Kind.STEERED]
    draw, e = max(asked_for or _compared(seen), key=lambda item: item[1].verdict.looseness)
    kind, v = np.finfo(e.case.manual.dtype if e.case is not None else np.float64), e.verdict
    reason = next((by_two_precision(e.reason) for _, e in seen if e.reason), "")
    if v.looseness <= np.sqrt(kind.eps / 2):
        return (reason,) if reason else ()
    if _is_zero(seen):
        return ("both sides are 0 within rounding",)
    if v.vacuous:
        said = "the tolerance is as large as the tensor, so that agreement says nothing"
    else:
        said = f"it agrees to only {int(-np.log10(v.looseness))} digits ({would_be_seen(v)})"
    return (f"{draw.label}: {said}: {_why_loose(e)}",)


def _why_loose(e: Evaluation) -> str:
    """What makes a tolerance large, in words."""
    v, kind = e.verdict, np.finfo(e.case.manual.dtype if e.case is not None else np.float64)
    if v.rule == TWO_PRECISION:
        return by_two_precision(e.reason)
    if v.rule == WITHIN_REFERENCE:
        return "torch's own result is no more exact"
    return f"on the way rounding grows {2 * v.looseness / kind.eps:.0e} times, as where numbers cancel"
