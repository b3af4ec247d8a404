"""The step as a whole: what the two sides really did, without any reset between the stages.

`handgrad.compare.judge.stages` judges the manual code at torch's numbers. This judges the manual side's own run:
its record of a step against torch's, within what the difference of the two sides' weights, as measured before the
step, and the rounding of the whole step explain. The bound comes from the manual step on `Bounded` weights that
start with that difference; it grows through the layers, so it locates nothing, but code that behaves in another way
when it is not being judged cannot hide from it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from handgrad.compare.judge.agreement import judge
from handgrad.compare.judge.ledger import Disagreement
from handgrad.compare.judge.sides import exact
from handgrad.compare.judge.stages import StepJudge
from handgrad.compare.judge.torch_step import TorchStep
from handgrad.compare.rounding.bounded import Bounded, NoRoundingRule, Precision
from handgrad.manual.training import StepRecord, step

STAGE = "the whole step, as it ran"


def judge_whole_step(
    run: StepJudge,
    number: int,
    theta: np.ndarray,
    state: dict[str, Any],
    rate: float,
    ours: StepRecord,
    theirs: TorchStep,
) -> None:
    """Judge the manual record of a step that began with this θ, state and η against torch's record of its own."""
    if any(d.stage != STAGE for d in run.disagreements):
        return  # a stage's fault has been told at its own place, and would only be told again here
    if not run.finite:
        return  # nothing can be said of what is made of ∞ and NaN
    p = run.precision
    with np.errstate(all="ignore"):
        start = {name: _apart(value, theirs.state.get(name), p) for name, value in state.items()}
        try:
            bounds = step(
                run.network, run.loss_sides.loss, run.optimizer_sides.rule, _apart(theta, theirs.theta, p), start,
                exact(theirs.x, p), exact(theirs.target, p), _rates_apart(rate, theirs.learning_rate, p),
            )  # fmt: skip
        except (NoRoundingRule, FloatingPointError):
            run.ledger.row(STAGE).unjudged += 1  # no bound reaches through; the stages are judged one by one
            return
    for name, value, bound, torch in _tensors(ours, bounds, theirs):
        error = bound.error if isinstance(bound, Bounded) else None
        verdict = judge(Bounded(np.asarray(value), error, p), torch)
        if run.ledger.add(number, STAGE, name, verdict):
            note = "the judged stages run the same code at torch's numbers: does it behave differently there?"
            run.ledger.remember(Disagreement(number, STAGE, name, verdict, (note,)))


def _apart(ours: Any, theirs: Any, p: Precision) -> Any:
    """The manual side's array, its error being its distance from torch's; anything else as it is."""
    if not isinstance(ours, np.ndarray) or not isinstance(theirs, np.ndarray):
        return ours
    view = ours.view()
    view.flags.writeable = False
    return Bounded(view, np.abs(np.subtract(ours, theirs, dtype=np.float64)), p)


def _rates_apart(ours: float, theirs: float, p: Precision) -> Any:
    """η, its error being its distance from torch's, which is judged by itself; a plain number where they are equal."""
    if ours == theirs:
        return ours
    rounding = 2 * p.unit * abs(ours)  # of a number that is no float32, as for any constant
    return Bounded(np.asarray(ours, p.dtype), np.asarray(abs(ours - theirs) + rounding), p)


def _tensors(ours: StepRecord, bounds: Any, theirs: TorchStep) -> list[tuple[str, Any, Any, np.ndarray]]:
    """(name, manual value, its bound, torch's value) of everything a step computes."""
    found = [
        (f"{i}.output", *arrays)
        for i, arrays in enumerate(zip(ours.outputs, bounds.outputs, theirs.outputs, strict=True))
    ]
    found.append(("J", ours.loss, bounds.loss, theirs.loss))
    found += [
        (f"∂J/∂{i}.output", *arrays)
        for i, arrays in enumerate(zip(ours.deltas, bounds.deltas, theirs.deltas, strict=True))
    ]
    found.append(("grad", ours.grad, bounds.grad, theirs.grad))
    found.append(("theta", ours.theta, bounds.theta, theirs.theta_after))
    return found
