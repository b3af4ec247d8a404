"""A schedule beside torch's scheduler, over every step up to beyond what either of them counts to."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from handgrad.compare.checking.findings import Finding, Report
from handgrad.compare.checking.rate_judge import RateJudge
from handgrad.compare.checking.schedule_steps import MOST, counted_to, metrics_for, steps_beyond
from handgrad.compare.foundation.debug import swallowed
from handgrad.compare.foundation.errors import UsageError
from handgrad.compare.foundation.signatures import required
from handgrad.compare.judge.agreement import WITHIN_REFERENCE, Verdict, mismatched
from handgrad.compare.judge.two_precision import UNIT_RATIO
from handgrad.compare.rounding.model import Precision

NUDGE = 2.0**-20  # of a rate, by which torch's is changed to see what is left of it a step later
UNIT = Precision.of(np.float64).unit


def check_schedule(
    schedule: Callable[..., Any],
    make: Callable[..., Any],
    name: str,
    steps: int | None = None,
    base: float | None = None,
    metrics: Sequence[float] | None = None,
) -> Report:
    """Judge a schedule against the scheduler `make(optimizer)` over so many steps, or beyond all that they count to.

    `base` is the optimizer's learning rate; `metrics` is what a scheduler such as ReduceLROnPlateau is fed with.
    """
    constants = counted_to(schedule, _made(make, 1.0)[1])
    fed = metrics_for(constants) if metrics is None else _numbers(metrics)
    wants = _wants_a_metric(_made(make, 1.0)[1])
    count = steps or (min(len(fed), MOST) if wants and metrics is None else steps_beyond(constants))
    if metrics is None:
        fed = np.resize(fed, count).tolist()
    if len(fed) < count:
        raise UsageError(
            f"metrics must have a number for each of {count} steps, got {len(fed)}: give as many, or steps="
        )
    ours: Any = _Fed(schedule, fed) if required(schedule) == 2 else schedule
    if problem := _not_a_rate(ours, 0):
        return Report(name, (Finding("learning rate", mismatched(problem, count), "step 0", count),))
    start, said = _base_rate(schedule, ours, make) if base is None else (base, ())
    theirs, ended = _of_torch(make, start, fed[:count], steps is not None)
    if ended:
        said = (*said, ended)
    judge_of_rate, verdicts = RateJudge(ours, varies=True), list[Verdict]()
    largest = max(abs(rate) for rate, _ in theirs)
    for step, (rate, passed_on) in enumerate(theirs):
        if problem := _not_a_rate(ours, step):
            return Report(name, (Finding("learning rate", mismatched(problem, count), f"step {step}", step + 1),))
        verdicts.append(judge_of_rate.verdict(step, rate, passed_on, largest))
    found = _finding(verdicts)
    rates = [rate for rate, _ in theirs]
    left = () if ended else _not_reached([c for c in constants.heard if c >= len(rates)], rates)
    return Report(name, (found,), notes=said, gaps=(*left, *_undecided(verdicts, rates)))


def _finding(verdicts: list[Verdict]) -> Finding:
    """The first step that differs, with the ratio of the rates there; or the closest call."""
    differing = [k for k, verdict in enumerate(verdicts) if not verdict.agrees]
    at = differing[0] if differing else int(np.argmax([verdict.fraction for verdict in verdicts]))
    where, v = "", verdicts[at]
    if differing:
        where = f"{len(differing)} of {len(verdicts)} steps, the first of them {at}"
        if v.torch:
            where += f", where it is {v.manual / v.torch:.6g} times torch's"
    largest = max(abs(v.torch) for v in verdicts)
    sees = 2 * max(v.allowed for v in verdicts) / largest if largest else math.nan
    return Finding("learning rate", v, f"step {at}", len(verdicts), elements=where, sees=sees)


def _not_reached(beyond: Sequence[int], rates: Sequence[float]) -> tuple[str, ...]:
    """The words for what either side counts to beyond the steps that were compared."""
    if not beyond:
        return ()
    same = ", and the learning rate was the same at every one" if len(set(rates)) == 1 else ""
    steps = "1 step was" if len(rates) == 1 else f"{len(rates):,} steps were"
    counted = ", ".join(f"{c:,}" for c in sorted(beyond))
    return (f"steps are counted to {counted}, but {steps} compared{same}: give steps={max(beyond) + 1}",)


def _undecided(verdicts: Sequence[Verdict], rates: Sequence[float]) -> tuple[str, ...]:
    """The words for steps at which what rounding may do is more than half of the digits of the rates around.

    Numbers that are added up round as the largest of them does, and where they cancel a bound may be as large as that.
    """
    largest, found = max(map(abs, rates)), []
    for k, v in enumerate(verdicts):
        near = max(abs(r) for r in rates[max(0, k - 1) : k + 2])
        loose = v.allowed if v.allowed > 2 * UNIT * largest * max(k + 1, math.sqrt(UNIT_RATIO)) else 0.0
        taken = abs(v.manual - v.torch) if v.rule == WITHIN_REFERENCE else loose
        if v.agrees and taken > math.sqrt(UNIT) * near:
            found.append(k)
    if not found:
        return ()
    return (f"rounding leaves the learning rate undecided at {len(found)} of {len(rates)} steps, first at {found[0]}",)


Rate = tuple[float, float | None]  # torch's, and what is left in it of a change of the one before


class _Run(NamedTuple):
    """An optimizer and its scheduler."""

    optimizer: torch.optim.Optimizer
    scheduler: Any

    @property
    def rate(self) -> float:
        return float(self.optimizer.param_groups[0]["lr"])

    def step(self, metric: float) -> None:
        self.optimizer.step()
        self.scheduler.step(*([metric] if _wants_a_metric(self.scheduler) else []))


def _of_torch(make: Callable[..., Any], start: float, fed: Sequence[float], given: bool) -> tuple[list[Rate], str]:
    """Torch's learning rates, and the words for a scheduler that ends before so many, or there; not `given` ones."""
    run, beside = (_Run(*_made(make, start)) for _ in range(2))
    rates: list[Rate] = []
    passed_on: float | None = None
    for step, metric in enumerate(fed):
        rates.append((run.rate, passed_on))
        off = NUDGE * (run.rate or start)
        for group, like in zip(beside.optimizer.param_groups, run.optimizer.param_groups, strict=True):
            group["lr"] = like["lr"] + off
        try:
            run.step(metric)
            beside.step(metric)
        except Exception as error:
            if not given and step > 0 and isinstance(error, (ValueError, IndexError)):
                kind = type(error).__name__
                return rates, f"torch's scheduler ended after {step + 1} steps ({kind}): more were not compared"
            raise UsageError(
                f"the torch reference must make a scheduler that takes {len(fed)} steps, but after {step + 1} it "
                f"raised {type(error).__name__}: {' '.join(str(error).split())}: give fewer steps=, or a longer "
                "schedule"
            ) from error
        passed_on = abs(beside.rate - run.rate) / off
    try:
        run.step(fed[-1])
    except (ValueError, IndexError):
        return rates, f"torch's scheduler ends after these {len(fed)} steps"
    return rates, ""


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


def _base_rate(schedule: Any, ours: Callable[..., Any], make: Callable[..., Any]) -> tuple[float, tuple[str, ...]]:
    """The learning rate of torch's optimizer where it is not given, and what is to be said of it.

    It is the schedule's own, or that of which torch makes the schedule's first one. UsageError where that is 0.
    """
    if own := getattr(schedule, "learning_rate", None):
        return float(own), ()
    first = float(ours(0))
    share, twice = (float(_made(make, base)[0].param_groups[0]["lr"]) for base in (1.0, 2.0))
    if share and share == twice:  # torch's scheduler has rates of its own
        return first or share, ()
    if not first or not share:
        raise UsageError(
            "the base learning rate must be known where the first one is 0, which every one gives: give learning_rate="
        )
    of_it = f"torch starts at {share:.6g} of the base rate, which" if share != 1 else "the base rate"
    return first / share, (
        f"{of_it} was taken to be {first / share:.6g}, so that the first step agrees and a constant factor is not "
        "seen: learning_rate= says another",
    )


def _made(make: Callable[..., Any], rate: float) -> tuple[torch.optim.Optimizer, Any]:
    """An optimizer with this learning rate, and its scheduler."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))], lr=rate)
    try:
        scheduler = make(optimizer)
    except Exception as error:
        raise UsageError(
            f"the torch reference must make a scheduler of an optimizer, but it raised {type(error).__name__}: "
            f"{' '.join(str(error).split())}: write a function of the optimizer"
        ) from error
    if not callable(getattr(scheduler, "step", None)):
        raise UsageError(
            f"the torch reference must make a scheduler of an optimizer, got {type(scheduler).__name__}: return it"
        )
    return optimizer, scheduler


def _not_a_rate(schedule: Callable[..., Any], step: int) -> str:
    """Why a schedule gives no learning rate at a step, or nothing where it does."""
    try:
        rate = float(schedule(step))
    except Exception as error:
        swallowed(error, "the schedule")
        return f"the schedule raises {type(error).__name__} at step {step}: {' '.join(str(error).split())}"
    if not 0 <= rate < np.inf:
        return f"the schedule must give a finite number of at least 0, but gives {rate} at step {step}"
    return ""
