"""The learning rate of a step, judged: a closed form beside torch's multiplication from step to step."""

from __future__ import annotations

from typing import Any

import numpy as np

import manual
from compare.agreement import Disagreement, StageRow, judge
from compare.rounding import Bounded, Precision


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

    def judge(self, run: Any, step: int, theirs: float) -> None:
        """Judge torch's learning rate of this step into the rows of the step's judge."""
        if not self.varies:
            return
        value = self.schedule(Bounded(np.asarray(float(step)), None, self.precision))  # type: ignore[arg-type]
        ours = value if isinstance(value, Bounded) else Bounded(np.asarray(value), None, self.precision)
        own = 0.0 if ours.error is None else float(ours.error)
        rate = float(ours.value)
        allowed = own
        if self.before is not None:
            last_rate, last_own, last_allowed = self.before
            ratio = abs(rate / last_rate) if last_rate else 1.0
            allowed = (last_allowed + last_own) * ratio + own
        self.before = rate, own, allowed
        stage = f"learning rate · {type(self.schedule).__name__}"
        verdict = judge(Bounded(ours.value, np.asarray(allowed), self.precision), np.asarray(theirs))
        run.rows.setdefault(stage, StageRow(stage)).add(step, "η", verdict)
        if not verdict.agrees and all(d.stage != stage for d in run.disagreements):
            run.disagreements.append(Disagreement(step, stage, "η", verdict))
