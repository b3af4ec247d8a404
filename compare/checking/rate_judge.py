"""The learning rate of a step, judged: a closed form beside torch's multiplication from step to step."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from handgrad import manual
from handgrad.compare.foundation.debug import swallowed
from handgrad.compare.foundation.patience import Endless, as_long_as, counted
from handgrad.compare.judge.agreement import BOUND, TWO_PRECISION, WITHIN_REFERENCE, Verdict, judge
from handgrad.compare.judge.ledger import Disagreement, Ledger
from handgrad.compare.judge.names import learning_rate_stage
from handgrad.compare.judge.two_precision import UNIT_RATIO
from handgrad.compare.rounding.bounded import Bounded, NoRoundingRule, Precision


class RateJudge:
    """Judges the schedule as a stage of its own.

    torch's schedulers may multiply their way: η_k = f_k(η_{k−1}), where f_k comes of two closed-form values. So the
    rounding allowed at step k is that of step k − 1, times f_k', and that of the closed forms at both ends:
    A_k = (A_{k−1} + e_{k−1}) f_k' + e_k, with e from the closed form on `Bounded` numbers. A_{k−1} is no more than
    what torch's rate was seen to be off by. f_k' is η_k / η_{k−1} where nobody measured it on torch.

    The step is a whole number, and nobody else rounds what is made of it: floors and branches are what they are.
    """

    def __init__(self, schedule: manual.Schedule, varies: bool) -> None:
        self.schedule, self.varies = schedule, varies
        self.precision = replace(Precision.of(np.float64), decided=True)
        self.before: tuple[float, float, float] | None = None  # η, e and A of the step before

    def judge(self, ledger: Ledger, step: int, theirs: float) -> None:
        """Judge torch's learning rate of this step into the ledger of the step's judge."""
        if not self.varies:
            return
        stage, verdict = learning_rate_stage(self.schedule), self.verdict(step, theirs)
        if ledger.add(step, stage, "η", verdict):
            ledger.remember(Disagreement(step, stage, "η", verdict))

    def verdict(self, step: int, theirs: float, passed_on: float | None = None, largest: float = 0.0) -> Verdict:
        """Judge torch's learning rate of this step; the steps must come in order.

        `passed_on` is the share of a change of torch's rate before that is left in this one. `largest` is torch's
        largest rate: what is added up to a small one may be as large, and rounds as such, once a step.
        """
        rate, own, rule = self._bounded(step)
        allowed = own
        if self.before is not None:
            last_rate, last_own, last_allowed = self.before
            ratio = passed_on
            if ratio is None:
                ratio = abs(rate / last_rate) if last_rate else 1.0
            allowed = (last_allowed + last_own) * ratio + own
        apart = abs(rate - theirs)
        self.before = rate, own, min(allowed, apart)
        rounding = 2 * self.precision.unit * (step + 1) * largest
        if allowed < apart <= rounding:
            allowed, rule = rounding, WITHIN_REFERENCE
        verdict = judge(Bounded(np.asarray(rate), np.asarray(allowed), self.precision), np.asarray(theirs))
        return verdict._replace(rule=rule)

    @np.errstate(all="ignore")
    def _bounded(self, step: int) -> tuple[float, float, str]:
        """η of the step, the rounding of its closed form, and the rule that this follows.

        It is at least that of a plain number, which each side had to round once, and of torch's factor to it.
        """
        try:
            value: Any = self.schedule(Bounded(np.asarray(float(step)), None, self.precision))  # type: ignore[arg-type]
        except Exception as problem:  # a table, the math module, the bits of a whole number
            if not isinstance(problem, NoRoundingRule):
                swallowed(problem, "the bound of a schedule")
            return self._by_two_precision(step)
        unit = 4 * self.precision.unit
        if not isinstance(value, Bounded):
            return float(value), unit * abs(float(value)), BOUND
        rate = float(value.value)
        return rate, max(0.0 if value.error is None else float(value.error), unit * abs(rate)), BOUND

    def _by_two_precision(self, step: int) -> tuple[float, float, str]:
        """As two_precision.tolerance."""
        single, (rate, lines) = Precision.of(np.float32), counted(lambda: float(self.schedule(step)))
        try:
            in_float32, _ = counted(lambda: float(self.schedule(np.float32(step))), as_long_as(lines))  # type: ignore[arg-type]
        except (Exception, Endless) as problem:  # a table, which a whole number alone can be looked up in
            swallowed(problem, "the schedule in float32")
            in_float32 = rate
        return rate, (abs(rate - in_float32) + single.unit * abs(rate)) / np.sqrt(UNIT_RATIO), TWO_PRECISION
