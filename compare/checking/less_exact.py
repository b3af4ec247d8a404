"""Which side is the less exact one, where both agree to half of their digits and no rounding bound explains the rest.

Torch's own formulas are approximations at times: its trigamma is good to nine digits. A derivation that is more exact
than torch is right, and the numerical derivative of the forward pass says so.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from handgrad.compare.checking import referee
from handgrad.compare.checking.evaluate import Evaluation
from handgrad.compare.checking.referee import Side
from handgrad.compare.foundation.debug import swallowed
from handgrad.compare.judge.agreement import WITHIN_REFERENCE, judge
from handgrad.compare.judge.case import Case
from handgrad.compare.judge.names import differentiated, is_forward
from handgrad.compare.judge.sides import Sides
from handgrad.compare.rounding.bounded import Bounded, Precision

FEW = 32  # elements that the referee looks at, each by some thirty runs of the forward pass
REFEREE = (
    "torch's gradient is the less exact one: at every element that differs the numerical derivative of the forward "
    "pass, in which both sides agree, agrees with manual and not with torch"
)


def with_the_less_exact_side(sides: Sides, found: dict[str, Evaluation]) -> dict[str, Evaluation]:
    """The evaluations of a draw, which agree where torch is the one that is off; nothing manual decides that."""
    forward_agrees = all(e.verdict.agrees for name, e in found.items() if is_forward(name))
    settled = {}
    for name, e in found.items():
        settled[name] = e
        case = e.case
        if case is None or e.verdict.agrees or e.verdict.problem or not np.isfinite(e.verdict.fraction):
            continue
        with np.errstate(all="ignore"):
            beyond = np.maximum(np.abs(case.manual - case.torch) - case.allowed, 0)
            if not (beyond <= np.sqrt(np.finfo(case.torch.dtype).eps) * np.abs(case.torch)).all():
                continue  # by more than half of the digits
        try:
            if forward_agrees and _confirmed(sides, case):
                settled[name] = _wider(e, case, beyond)
        except Exception as problem:
            swallowed(problem, "the look for the less exact side")
    return settled


def _confirmed(sides: Sides, case: Case) -> bool:
    """Whether the referee agrees with manual alone at every element that differs."""
    wrt, where = differentiated(case.output), np.argwhere(case.where())
    if wrt is None or case.torch.dtype != np.float64 or len(where) > FEW:
        return False
    for row in where:
        index = tuple(int(i) for i in row)
        values = (float(side[index]) for side in (case.manual, case.torch, case.allowed))
        if referee.opinion(sides, case.inputs, wrt, index, *values).side() is not Side.MANUAL:
            return False
    return True


def _wider(e: Evaluation, case: Case, room: np.ndarray) -> Evaluation:
    allowed = case.allowed + room
    verdict = judge(Bounded(case.manual, allowed, Precision.of(case.torch.dtype)), case.torch)
    notes = f"{e.note}; {REFEREE}" if e.note else REFEREE
    return replace(e, verdict=verdict._replace(rule=WITHIN_REFERENCE), case=replace(case, allowed=allowed), note=notes)
