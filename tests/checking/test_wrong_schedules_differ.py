"""A schedule is compared beyond everything that it or torch's scheduler counts to, and is never quietly wrong."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from torch.optim import lr_scheduler

from handgrad import check, manual
from handgrad.compare.checking.outcome import Outcome

Make = Callable[[Any], Any]


def of(function: Callable[..., float], rate: float = 0.1) -> Any:
    """The function of the step with the base rate beside it."""
    function.learning_rate = rate  # type: ignore[attr-defined]
    return function


def restarts(period: int, times: int) -> Any:
    def schedule(k: int) -> float:
        length = period
        while k >= length:
            k, length = k - length, length * times
        return 0.1 * float(1 + np.cos(np.pi * k / length)) / 2

    return of(schedule)


def after(milestones: tuple[int, ...], late: int = 0) -> Any:
    return of(lambda k: 0.1 * 0.1 ** sum(bool(k >= m + late) for m in milestones))


def warm(k: int, steps: int = 20) -> float:
    return 0.1 * (0.1 + 0.9 * k / steps)


def step_lr(o: Any) -> Any:
    return lr_scheduler.StepLR(o, 30, gamma=0.1)


def cosine(o: Any) -> Any:
    return lr_scheduler.CosineAnnealingLR(o, 10)


def warm_up_and_decay(o: Any) -> Any:
    parts = [lr_scheduler.LinearLR(o, 0.1, 1.0, 20), lr_scheduler.ExponentialLR(o, 0.9)]
    return lr_scheduler.SequentialLR(o, parts, [20])


def inverse_root(o: Any) -> Any:
    return lr_scheduler.LambdaLR(o, lambda e: min((e + 1) / 400, (400 / (e + 1)) ** 0.5))


# {name: (torch's scheduler, right ones, wrong ones with the first step that differs)}
FAMILIES: dict[str, tuple[Make, dict[str, Any], dict[str, tuple[Any, int]]]] = {
    "steps": (
        step_lr,
        {
            "floor": of(lambda k: 0.1 * 0.1 ** np.floor(k / 30)),
            "floor of a product": of(lambda k: 0.1 * 0.1 ** np.floor(k * (1 / 30))),
            "//": of(lambda k: 0.1 * 0.1 ** (k // 30)),
            "int": of(lambda k: 0.1 * 0.1 ** int(k / 30)),
            "math.floor": of(lambda k: 0.1 * 0.1 ** math.floor(k / 30)),
            "%": of(lambda k: 0.1 * 0.1 ** ((k - k % 30) / 30)),
            "round": of(lambda k: 0.1 * 0.1 ** np.round((k - 14.5) / 30)),
        },
        {
            "another factor": (of(lambda k: 0.1 * 0.5 ** np.floor(k / 30)), 30),
            "rounded": (of(lambda k: 0.1 * 0.1 ** np.round(k / 30)), 16),
            "from the next step on": (of(lambda k: 0.1 * 0.1 ** ((k - 1) // 30 if k else 0)), 30),
            "once only": (of(lambda k: 0.1 * (0.1 if k >= 30 else 1.0)), 60),
            "constant": (of(lambda k: 0.1), 30),
        },
    ),
    "a cosine": (
        cosine,
        {
            "squared": of(lambda k: 0.1 * np.cos(np.pi * k / 20) ** 2),
            "with the math module": of(lambda k: 0.1 * (1 + math.cos(math.pi * k / 10)) / 2),
        },
        {
            "100 times as large": (of(lambda k: 0.1 * np.cos(np.pi * k / 20) ** 2 * (100 if k > 10 else 1)), 11),
            "held at its end": (of(lambda k: 0.1 * (1 + np.cos(np.pi * min(k, 10) / 10)) / 2), 11),
            "restarted": (of(lambda k: 0.1 * (1 + np.cos(np.pi * (k % 10) / 10)) / 2), 10),
        },
    ),
    "a long cosine": (
        lambda o: lr_scheduler.CosineAnnealingLR(o, 1000, eta_min=0.01),
        {"to its minimum": of(lambda k: 0.01 + 0.09 * (1 + np.cos(np.pi * k / 1000)) / 2)},
        {"held at its end": (of(lambda k: 0.01 + 0.09 * (1 + np.cos(np.pi * min(k, 1000) / 1000)) / 2), 1001)},
    ),
    "milestones": (
        lambda o: lr_scheduler.MultiStepLR(o, [150, 400]),
        {"counted": after((150, 400)), "a table": lambda k: 0.1 if k < 150 else 0.01 if k < 400 else 0.001},
        {"the second too soon": (after((150, 390)), 390), "one step late": (after((150, 400), 1), 150)},
    ),
    "warm restarts": (
        lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 50, 2),
        {"doubled": restarts(50, 2)},
        {"as long every time": (restarts(50, 1), 51)},
    ),
    "a polynomial": (
        lambda o: lr_scheduler.PolynomialLR(o, 300, 2),
        {"power 2": of(lambda k: 0.1 * (1 - min(k, 300) / 300) ** 2)},
        {"up again": (of(lambda k: 0.1 * (1 - k / 300) ** 2), 301)},
    ),
    "a warm-up, then a decay": (
        warm_up_and_decay,
        {"counted anew": of(lambda k: warm(k) if k < 20 else 0.1 * 0.9 ** (k - 20))},
        {"counted from 0": (of(lambda k: warm(k) if k < 20 else 0.1 * 0.9**k), 20)},
    ),
    "an inverse root": (
        inverse_root,
        {"of both": of(lambda k: 0.1 * min((k + 1) / 400, np.sqrt(400 / (k + 1))))},
        {"no decay": (of(lambda k: 0.1 * min(1, (k + 1) / 400)), 400)},
    ),
    "a triangle": (
        lambda o: lr_scheduler.CyclicLR(o, 0.01, 0.1, step_size_up=20, cycle_momentum=False),
        {"by floor": lambda k: 0.01 + 0.09 * max(0, 1 - abs(k / 20 - 2 * np.floor(1 + k / 40) + 1))},
        {"a saw": (lambda k: 0.01 + 0.09 * (k % 40) / 20 * (k % 40 <= 20), 21)},
    ),
    "a constant at last": (
        lambda o: lr_scheduler.ExponentialLR(o, 0.5),
        {"to the end": of(lambda k: 0.1 * 0.5**k)},
        {"held after 20": (of(lambda k: 0.1 * 0.5 ** min(k, 20)), 21)},
    ),
}
RIGHT = [(family, name) for family, (_, right, _) in FAMILIES.items() for name in right]
WRONG = [(family, name) for family, (_, _, wrong) in FAMILIES.items() for name in wrong]


@pytest.mark.parametrize(("family", "name"), RIGHT)
def test_a_right_schedule_agrees_and_nothing_is_left_out(family: str, name: str) -> None:
    report = check(FAMILIES[family][1][name], FAMILIES[family][0], learning_rate=0.1)
    assert report.agrees
    assert not report.notes


@pytest.mark.parametrize(("family", "name"), WRONG)
def test_a_wrong_schedule_differs_from_the_step_on_at_which_it_is_wrong(family: str, name: str) -> None:
    ours, first = FAMILIES[family][2][name]
    report = check(ours, FAMILIES[family][0], raises=False)
    assert not report.agrees
    assert report["learning rate"].draw == f"step {first}"


def test_the_ratio_of_the_rates_is_shown() -> None:
    ours, _ = FAMILIES["steps"][2]["another factor"]
    report = check(ours, step_lr, steps=100, raises=False)
    assert "70 of 100 steps, the first of them 30, where it is 5 times torch's" in str(report)


def test_steps_that_do_not_go_beyond_a_constant_are_said_to() -> None:
    report = check(of(lambda k: 0.1), step_lr, steps=10, raises=False)
    said = "steps are counted to 30, but 10 steps were compared, and the learning rate was the same at every one: "
    assert f"{said}give steps=31" in report.gaps
    assert report.outcome is Outcome.UNDECIDED
    assert not check(manual.Constant(0.1), lambda o: lr_scheduler.ConstantLR(o, factor=1.0)).notes


def test_a_constant_that_is_too_far_is_said_to_be() -> None:
    far: Make = lambda o: lr_scheduler.StepLR(o, 50_000)  # noqa: E731
    assert any("counted to 50,000, but" in gap for gap in check(of(lambda k: 0.1), far, raises=False).gaps)
    ours = of(lambda k: 0.1 if k < 80_000 else 0.05)
    assert any("80,000, but 20 steps" in gap for gap in check(ours, step_lr, steps=20, raises=False).gaps)


def test_a_rate_that_rounding_hides_is_said_to_be_undecided() -> None:
    held = of(lambda k: 0.1 * 0.1 ** min(k, 40))
    report = check(held, lambda o: lr_scheduler.ExponentialLR(o, 0.1), raises=False)
    assert any("undecided at" in gap and "first at 41" in gap for gap in report.gaps)
    assert not check(of(lambda k: 0.1 * 0.1**k), lambda o: lr_scheduler.ExponentialLR(o, 0.1)).notes


def test_a_bound_as_large_as_the_rate_is_said_to_be_undecided() -> None:
    cancels = of(lambda k: 0.1 * 0.5**k + (1e9 - (1e9 * np.cos(k) ** 2 + 1e9 * np.sin(k) ** 2)))
    report = check(cancels, lambda o: lr_scheduler.ExponentialLR(o, 0.5), raises=False)
    assert not report.agrees


def test_a_base_rate_that_hides_a_factor_is_said_to() -> None:
    report = check(lambda k: 0.2 * 0.1 ** (k // 30), step_lr)
    assert any("the base rate was taken to be 0.2" in note and "a constant factor" in note for note in report.notes)
    assert not check(lambda k: 0.2 * 0.1 ** (k // 30), step_lr, learning_rate=0.1, raises=False).agrees


def test_a_scheduler_with_rates_of_its_own_hides_no_factor() -> None:
    one_cycle: Make = lambda o: lr_scheduler.OneCycleLR(o, 0.1, 200, cycle_momentum=False)  # noqa: E731
    right = manual.OneCycle(0.1, 200)
    assert check(lambda k: right(k), one_cycle)
    assert not check(lambda k: 2 * right(k), one_cycle, raises=False).agrees


def test_a_schedule_is_called_once_a_step_beside_the_judge() -> None:
    called: list[Any] = []

    def schedule(k: Any) -> float:
        called.append(k)
        return 0.1

    check(of(schedule), lambda o: lr_scheduler.ConstantLR(o, factor=1.0), steps=50)
    assert sum(type(k) is int and k == 30 for k in called) == 1


# --- schedules that are fed with a metric ---


def plateau(
    patience: int, threshold: float = 1e-4, relative: bool = True, cooldown: int = 0, least: float = 0.0,
    beside: str = "the best",
) -> Any:  # fmt: skip
    def schedule(step: int, metrics: list[float]) -> float:
        rate, best, bad, cool = 0.1, float("inf"), 0, 0
        for m in metrics:
            better = m < (best * (1 - threshold) if relative else best - threshold)
            forgets = beside != "the best"
            best, bad = (m if better or forgets else best), 0 if better else bad + 1
            cool, bad = (cool - 1, 0) if cool else (0, bad)
            if bad > patience:
                lower = max(rate * 0.1, least)
                rate, bad, cool = (lower if rate - lower > 1e-8 else rate), 0, cooldown
        return rate

    return schedule


PLATEAUS: list[tuple[dict[str, Any], Any, dict[str, Any]]] = [
    ({}, plateau(10), {
        "patience": plateau(9), "no threshold": plateau(10, threshold=0.0),
        "an absolute threshold": plateau(10, relative=False),
        "beside the one before": plateau(10, beside="the last"),
    }),
    ({"patience": 5, "cooldown": 4}, plateau(5, cooldown=4), {"no cooldown": plateau(5)}),
    ({"patience": 5, "min_lr": 1e-3}, plateau(5, least=1e-3), {"no least rate": plateau(5)}),
]  # fmt: skip


@pytest.mark.parametrize(("options", "right", "wrong"), PLATEAUS)
def test_the_metrics_tell_what_is_wrong_with_a_plateau(options: Any, right: Any, wrong: dict[str, Any]) -> None:
    reference: Make = lambda o: lr_scheduler.ReduceLROnPlateau(o, **options)  # noqa: E731
    assert check(right, reference)
    for name, ours in wrong.items():
        assert not check(ours, reference, raises=False).agrees, name
