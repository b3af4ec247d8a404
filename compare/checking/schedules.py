"""The learning rate of a step, judged: a closed form beside torch's multiplication from step to step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from handgrad import manual
from handgrad.compare.checking.findings import Finding, Report
from handgrad.compare.foundation.debug import swallowed
from handgrad.compare.foundation.errors import UsageError
from handgrad.compare.judge.agreement import BOUND, TWO_PRECISION, Verdict, judge, mismatched
from handgrad.compare.judge.ledger import Disagreement, Ledger
from handgrad.compare.judge.names import learning_rate_stage
from handgrad.compare.judge.two_precision import UNIT_RATIO
from handgrad.compare.rounding.bounded import Bounded, NoRoundingRule, Precision


class RateJudge:
    """Judges the schedule as a stage of its own.

    torch's schedulers may multiply their way: η_k = η_{k−1} f_k, where f_k is the ratio of two closed-form values.
    So the rounding allowed at step k is that of step k − 1, scaled by this ratio, and that of the closed forms
    at both ends: A_k = (A_{k−1} + e_{k−1}) η_k / η_{k−1} + e_k, with e from the closed form on `Bounded` numbers.
    """

    def __init__(self, schedule: manual.Schedule, varies: bool) -> None:
        self.schedule, self.varies = schedule, varies
        self.precision = Precision.of(np.float64)
        self.before: tuple[float, float, float] | None = None  # η, e and A of the step before

    def judge(self, ledger: Ledger, step: int, theirs: float) -> None:
        """Judge torch's learning rate of this step into the ledger of the step's judge."""
        if not self.varies:
            return
        stage, verdict = learning_rate_stage(self.schedule), self.verdict(step, theirs)
        if ledger.add(step, stage, "η", verdict):
            ledger.remember(Disagreement(step, stage, "η", verdict))

    def verdict(self, step: int, theirs: float) -> Verdict:
        """Judge torch's learning rate of this step; the steps must come in order."""
        rate, own, rule = self._bounded(step)
        allowed = own
        if self.before is not None:
            last_rate, last_own, last_allowed = self.before
            ratio = abs(rate / last_rate) if last_rate else 1.0
            allowed = (last_allowed + last_own) * ratio + own
        self.before = rate, own, allowed
        verdict = judge(Bounded(np.asarray(rate), np.asarray(allowed), self.precision), np.asarray(theirs))
        return verdict._replace(rule=rule)

    @np.errstate(all="ignore")
    def _bounded(self, step: int) -> tuple[float, float, str]:
        """η of the step, the rounding of its closed form, and the rule that this follows."""
        try:
            value: Any = self.schedule(Bounded(np.asarray(float(step)), None, self.precision))  # type: ignore[arg-type]
        except (NoRoundingRule, FloatingPointError):  # the schedule branches on the step, or uses the math module
            rate, single = float(self.schedule(step)), Precision.of(np.float32)
            in_float32 = float(self.schedule(np.float32(step)))  # type: ignore[arg-type]
            own = (abs(rate - in_float32) + single.unit * abs(rate)) / np.sqrt(UNIT_RATIO)  # as two_precision.tolerance
            return rate, own, TWO_PRECISION
        if not isinstance(value, Bounded):
            return float(value), 0.0, BOUND
        return float(value.value), 0.0 if value.error is None else float(value.error), BOUND


def _not_a_schedule(schedule: Callable[..., Any], steps: int) -> str:
    """Why a schedule gives no learning rates, or nothing where it does."""
    for step in range(steps):
        try:
            rate = float(schedule(step))
        except Exception as error:
            swallowed(error, "the schedule")
            return f"the schedule raises {type(error).__name__} at step {step}: {' '.join(str(error).split())}"
        if not 0 <= rate < np.inf:
            return f"the schedule must give a finite number of at least 0, but gives {rate} at step {step}"
    return ""


def check_schedule(schedule: manual.Schedule, make: Callable[..., Any], steps: int, name: str) -> Report:
    """Judge a schedule against the scheduler `make(optimizer)` over so many steps."""
    problem = _not_a_schedule(schedule, steps)
    if problem:
        return Report(name, (Finding("learning rate", mismatched(problem, steps), "step 0", steps),))
    start = float(getattr(schedule, "learning_rate", None) or schedule(0))
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))], lr=start)
    try:
        scheduler = make(optimizer)
    except Exception as error:
        raise UsageError(
            f"the torch reference must make a scheduler of an optimizer, but it raised {type(error).__name__}: "
            f"{' '.join(str(error).split())}: write a function of the optimizer"
        ) from error
    judge_of_rate = RateJudge(schedule, varies=True)
    worst, at = None, 0
    for step in range(steps):
        verdict = judge_of_rate.verdict(step, float(optimizer.param_groups[0]["lr"]))
        if worst is None or verdict.fraction > worst.fraction:
            worst, at = verdict, step
        optimizer.step()
        try:
            scheduler.step()
        except Exception as error:
            raise UsageError(
                f"the torch reference must make a scheduler that takes {steps} steps, but after {step + 1} it raised "
                f"{type(error).__name__}: {' '.join(str(error).split())}: give fewer steps=, or a longer schedule"
            ) from error
    assert worst is not None
    return Report(name, (Finding("learning rate", worst, f"step {at}", steps),))
