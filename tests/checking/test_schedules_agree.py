"""Each schedule is the closed form of torch's scheduler, and the judge says so where it is not."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler

from handgrad import manual
from handgrad.compare.checking.rate_judge import RateJudge
from handgrad.compare.pairs import table as pairs

STEPS = 400
PER_EPOCH = 60


def torch_rates(make: Callable[[Any], Any], rate: float, steps: int) -> list[float]:
    """The learning rates that torch's scheduler gives, step by step."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=rate)
    scheduler = make(optimizer)
    rates = []
    for _ in range(steps):
        rates.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        scheduler.step()
    return rates


def judged(schedule: manual.Schedule, rates: list[float]) -> list[bool]:
    """The verdict on each step."""
    judge = RateJudge(schedule, varies=True)
    return [judge.verdict(step, rate).agrees for step, rate in enumerate(rates)]


@pytest.mark.parametrize("rate", [0.1, 1.0, 3e-4])
@pytest.mark.parametrize("steps", [4, 5, 61, STEPS])
@pytest.mark.parametrize("name", pairs.SCHEDULES)
def test_every_step_agrees(name: str, steps: int, rate: float) -> None:
    pair = pairs.SCHEDULES[name]
    ours = pair.manual(rate, steps, PER_EPOCH)
    theirs = torch_rates(lambda optimizer: pair.torch(optimizer, rate, steps, PER_EPOCH), rate, steps)
    assert all(judged(ours, theirs))
    assert [ours(step) for step in range(steps)] == pytest.approx(theirs, rel=1e-11, abs=1e-30)


OTHERS: dict[str, tuple[manual.Schedule, Callable[[Any], Any]]] = {
    "step": (manual.StepDecay(0.1, 7, 0.3), lambda o: lr_scheduler.StepLR(o, 7, 0.3)),
    "step by 1": (manual.StepDecay(0.1, 1, 0.99), lambda o: lr_scheduler.StepLR(o, 1, 0.99)),
    "exponential": (manual.Exponential(0.1, 0.97), lambda o: lr_scheduler.ExponentialLR(o, 0.97)),
    "growing": (manual.Exponential(1e-5, 1.01), lambda o: lr_scheduler.ExponentialLR(o, 1.01)),
    "cosine to a minimum": (manual.Cosine(0.1, 99, 0.01), lambda o: lr_scheduler.CosineAnnealingLR(o, 99, 0.01)),
    "one cycle": (
        manual.OneCycle(0.1, 99, 0.5, 10.0, 100.0),
        lambda o: lr_scheduler.OneCycleLR(
            o, 0.1, 99, pct_start=0.5, div_factor=10.0, final_div_factor=100.0, cycle_momentum=False
        ),
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_every_option_agrees(name: str) -> None:
    ours, make = OTHERS[name]
    assert all(judged(ours, torch_rates(make, ours.learning_rate, 99)))


@pytest.mark.parametrize("name", [name for name in pairs.SCHEDULES if name != "constant"])
@pytest.mark.parametrize("fault", ["a step late", "a step early", "off by 1e-11", "half", "constant"])
def test_a_planted_fault_is_reported(name: str, fault: str) -> None:
    pair = pairs.SCHEDULES[name]
    right = pair.manual(0.1, STEPS, PER_EPOCH)
    wrong: dict[str, Callable[[Any], Any]] = {
        "a step late": lambda step: right(step - 1),
        "a step early": lambda step: right(step + 1),
        "off by 1e-11": lambda step: right(step) * (1 + 1e-11),
        "half": lambda step: right(step) / 2,
        "constant": lambda step: right(0 * step),
    }
    rates = torch_rates(lambda optimizer: pair.torch(optimizer, 0.1, STEPS, PER_EPOCH), 0.1, STEPS)
    verdicts = judged(wrong[fault], rates)  # type: ignore[arg-type]
    assert not all(verdicts)
    first = verdicts.index(False)
    if fault in ("off by 1e-11", "half"):
        assert first == 0
    if (name, fault) == ("step", "a step early"):
        assert first == PER_EPOCH - 1


@dataclass(frozen=True)
class OwnCosine(manual.Cosine):
    """With the math module, which `Bounded` cannot follow, so that the two-precision tolerance must judge it."""

    def __call__(self, step: int) -> float:
        return self.learning_rate * (1 + math.cos(math.pi * step / self.steps)) / 2


@pytest.mark.parametrize("factor", [1.0, 1 + 1e-10, 1 - 1e-10])
def test_a_schedule_without_a_rounding_rule_is_judged_by_the_two_precision_tolerance(factor: float) -> None:
    rates = torch_rates(lambda o: lr_scheduler.CosineAnnealingLR(o, 99), 0.1, 99)
    judge = RateJudge(OwnCosine(0.1, 99), varies=True)
    verdicts = [judge.verdict(step, rate * factor) for step, rate in enumerate(rates)]
    assert {verdict.rule for verdict in verdicts} == {"two-precision tolerance"}
    assert verdicts[0].agrees == (factor == 1)
    assert all(verdict.agrees for verdict in verdicts) == (factor == 1)


def test_the_shapes_of_the_curves() -> None:
    cosine, one_cycle = manual.Cosine(1.0, 100, 0.2), manual.OneCycle(1.0, 101)
    assert (cosine(0), cosine(100)) == (1.0, 0.2)
    assert cosine(50) == pytest.approx(0.6)
    rates = [one_cycle(step) for step in range(101)]
    assert rates[0] == pytest.approx(1 / 25)
    assert rates[-1] == pytest.approx(1 / 25e4)
    top = int(np.argmax(rates))
    assert abs(top - (0.3 * 101 - 1)) < 1
    assert all(a < b for a, b in itertools.pairwise(rates[: top + 1]))
    assert all(a > b for a, b in itertools.pairwise(rates[top:]))
    assert [manual.StepDecay(1.0, 2, 0.5)(step) for step in range(5)] == [1, 1, 0.5, 0.5, 0.25]
    assert manual.Constant(0.3)(10**6) == 0.3
