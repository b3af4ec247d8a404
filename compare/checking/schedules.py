"""The learning rate of a step, judged: a closed form beside torch's multiplication from step to step."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from handgrad import manual
from handgrad.compare.checking.findings import Finding, Report
from handgrad.compare.foundation.debug import swallowed
from handgrad.compare.foundation.errors import UsageError
from handgrad.compare.foundation.patience import Endless, as_long_as, counted
from handgrad.compare.foundation.signatures import required
from handgrad.compare.judge.agreement import BOUND, TWO_PRECISION, Verdict, judge, mismatched
from handgrad.compare.judge.ledger import Disagreement, Ledger
from handgrad.compare.judge.names import learning_rate_stage
from handgrad.compare.judge.two_precision import UNIT_RATIO
from handgrad.compare.rounding.bounded import Bounded, NoRoundingRule, Precision

DEFAULT_STEPS = 100


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
            single, (rate, lines) = Precision.of(np.float32), counted(lambda: float(self.schedule(step)))
            try:
                in_float32, _ = counted(lambda: float(self.schedule(np.float32(step))), as_long_as(lines))  # type: ignore[arg-type]
            except (Exception, Endless) as problem:  # a table, which a whole number alone can be looked up in
                swallowed(problem, "the schedule in float32")
                in_float32 = rate
            own = (abs(rate - in_float32) + single.unit * abs(rate)) / np.sqrt(UNIT_RATIO)  # as two_precision.tolerance
            return rate, own, TWO_PRECISION
        if not isinstance(value, Bounded):
            return float(value), 0.0, BOUND
        return float(value.value), 0.0 if value.error is None else float(value.error), BOUND


def check_schedule(
    schedule: Callable[..., Any],
    make: Callable[..., Any],
    name: str,
    steps: int | None = None,
    base: float | None = None,
    metrics: Sequence[float] | None = None,
) -> Report:
    """Judge a schedule against the scheduler `make(optimizer)` over so many steps; over 100, or as many as it has.

    `base` is the optimizer's learning rate; `metrics` is what a scheduler such as ReduceLROnPlateau is fed with.
    """
    count = DEFAULT_STEPS if steps is None else steps
    fed = _metrics(count) if metrics is None else _numbers(metrics)
    if len(fed) < count:
        raise UsageError(
            f"metrics must have a number for each of {count} steps, got {len(fed)}: give as many, or steps="
        )
    ours: Any = _Fed(schedule, fed) if required(schedule) == 2 else schedule
    problem = _not_a_schedule(ours, count if steps is not None else 1)
    if problem:
        return Report(name, (Finding("learning rate", mismatched(problem, count), "step 0", count),))
    start, said = _base_rate(schedule, ours, make) if base is None else (base, ())
    optimizer, scheduler = _made(make, start)
    judge_of_rate = RateJudge(ours, varies=True)
    verdicts: list[Verdict] = []
    for step in range(count):
        if problem := _not_a_schedule(ours, step + 1, step):
            return Report(name, (Finding("learning rate", mismatched(problem, count), f"step {step}", step + 1),))
        verdicts.append(judge_of_rate.verdict(step, float(optimizer.param_groups[0]["lr"])))
        optimizer.step()
        try:
            scheduler.step(fed[step]) if _wants_a_metric(scheduler) else scheduler.step()
        except Exception as error:
            if steps is None and step > 0 and isinstance(error, (ValueError, IndexError)):
                kind = type(error).__name__
                ended = f"torch's scheduler ended after {step + 1} steps ({kind}): more were not compared"
                said = (*said, ended)
                break
            raise UsageError(
                f"the torch reference must make a scheduler that takes {count} steps, but after {step + 1} it raised "
                f"{type(error).__name__}: {' '.join(str(error).split())}: give fewer steps=, or a longer schedule"
            ) from error
    differing = [k for k, verdict in enumerate(verdicts) if not verdict.agrees]
    at = differing[0] if differing else int(np.argmax([verdict.fraction for verdict in verdicts]))
    where = f"{len(differing)} of {len(verdicts)} steps, the first of them {at}" if differing else ""
    found = Finding("learning rate", verdicts[at], f"step {at}", len(verdicts), elements=where)
    return Report(name, (found,), notes=said)


def _numbers(metrics: Any) -> list[float]:
    try:
        return [float(m) for m in metrics]
    except (TypeError, ValueError):
        raise UsageError(f"metrics must be a sequence of numbers, got {metrics!r}: give one number a step") from None


class _Fed:
    """A schedule of the step and of the metrics up to it."""

    def __init__(self, schedule: Callable[..., Any], metrics: list[float]) -> None:
        self.schedule, self.metrics = schedule, metrics

    def __call__(self, step: Any) -> Any:
        return self.schedule(step, self.metrics[: int(getattr(step, "value", step))])


def _wants_a_metric(scheduler: Any) -> bool:
    """Whether a scheduler of torch must be fed with a metric at every step."""
    parameters = list(inspect.signature(scheduler.step).parameters.values())
    return bool(parameters) and parameters[0].default is inspect.Parameter.empty


def _metrics(steps: int) -> list[float]:
    """A loss that falls, and stands still for longer and longer: 1, 1/2, 1/2, 1/3, 1/3, 1/3, …"""
    found: list[float] = []
    while len(found) < steps:
        level = int(np.sqrt(2 * len(found) + 0.25) + 0.5)
        found += [1 / level] * level
    return found[:steps]


def _base_rate(schedule: Any, ours: Callable[..., Any], make: Callable[..., Any]) -> tuple[float, tuple[str, ...]]:
    """The learning rate of torch's optimizer where it is not given, and what is to be said of it.

    It is the schedule's own, or that of which torch makes the schedule's first one. UsageError where that is 0.
    """
    if own := getattr(schedule, "learning_rate", None):
        return float(own), ()
    first = float(ours(0))
    optimizer, _ = _made(make, 1.0)
    share = float(optimizer.param_groups[0]["lr"])
    if not first or not share:
        raise UsageError(
            "the base learning rate must be known where the first one is 0, which every one gives: give learning_rate="
        )
    if share == 1:
        return first, ()
    return first / share, (
        f"torch starts at {share:.6g} of the base rate, which was taken to be {first / share:.6g}, so that the "
        "first step agrees: learning_rate= says another",
    )


def _made(make: Callable[..., Any], rate: float) -> tuple[torch.optim.Optimizer, Any]:
    """An optimizer with this learning rate, and its scheduler."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))], lr=rate)
    try:
        return optimizer, make(optimizer)
    except Exception as error:
        raise UsageError(
            f"the torch reference must make a scheduler of an optimizer, but it raised {type(error).__name__}: "
            f"{' '.join(str(error).split())}: write a function of the optimizer"
        ) from error


def _not_a_schedule(schedule: Callable[..., Any], steps: int, start: int = 0) -> str:
    """Why a schedule gives no learning rates from step `start` on, or nothing where it does."""
    for step in range(start, steps):
        try:
            rate = float(schedule(step))
        except Exception as error:
            swallowed(error, "the schedule")
            return f"the schedule raises {type(error).__name__} at step {step}: {' '.join(str(error).split())}"
        if not 0 <= rate < np.inf:
            return f"the schedule must give a finite number of at least 0, but gives {rate} at step {step}"
    return ""
