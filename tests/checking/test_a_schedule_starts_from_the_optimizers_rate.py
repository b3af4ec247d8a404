"""A schedule is compared from the optimizer's own rate on: warm-ups, tables, and schedulers that want a metric."""

from __future__ import annotations

from typing import Any

import pytest
from torch.optim import lr_scheduler

from handgrad import UsageError, check


def warm_up(k: int) -> float:
    return 0.1 * min(1.0, (k + 1) / 10)


RIGHT: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "a warm-up by factors": (warm_up, lambda o: lr_scheduler.LambdaLR(o, lambda e: min(1.0, (e + 1) / 10)), {}),
    "a linear warm-up": (warm_up, lambda o: lr_scheduler.LinearLR(o, 0.1, 1.0, 9), {}),
    "a warm-up from 0": (
        lambda k: 0.1 * min(1.0, k / 10),
        lambda o: lr_scheduler.LambdaLR(o, lambda e: min(1.0, e / 10)),
        {"learning_rate": 0.1},
    ),
    "a table": (
        lambda k: [0.1, 0.05, 0.025][k],
        lambda o: lr_scheduler.LambdaLR(o, lambda e: 0.5**e),
        {"steps": 3},
    ),
    "as many steps as torch has": (
        lambda k: 0.1 * (1 - k / 20),
        lambda o: lr_scheduler.LambdaLR(o, lambda e: [1 - k / 20 for k in range(20)][e]),
        {},
    ),
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_schedule_agrees(name: str) -> None:
    ours, reference, options = RIGHT[name]
    assert check(ours, reference, **options)


@pytest.mark.parametrize("name", RIGHT)
def test_a_wrong_one_differs_and_the_first_step_is_shown(name: str) -> None:
    ours, reference, options = RIGHT[name]
    report = check(lambda k: ours(k) * (0.5 if k >= 2 else 1), reference, **options, raises=False)
    assert not report.agrees
    assert report.findings[0].draw == "step 2"


def test_the_base_rate_is_said_where_it_was_taken_from_the_first_step() -> None:
    report = check(warm_up, lambda o: lr_scheduler.LinearLR(o, 0.1, 1.0, 9))
    assert "torch starts at 0.1 of the base rate, which was taken to be 0.1" in str(report)


def test_a_base_rate_that_is_given_is_taken() -> None:
    reference: Any = lambda o: lr_scheduler.LinearLR(o, 0.1, 1.0, 9)  # noqa: E731
    assert check(warm_up, reference, learning_rate=0.1)
    assert not check(warm_up, reference, learning_rate=0.2, raises=False).agrees


def test_a_first_rate_of_0_tells_no_base() -> None:
    with pytest.raises(UsageError, match="the base learning rate must be known where the first one is 0"):
        check(lambda k: k / 10, lambda o: lr_scheduler.LambdaLR(o, lambda e: e / 10))


def plateau(patience: int) -> Any:
    def schedule(step: int, metrics: list[float]) -> float:
        rate, best, bad = 0.1, float("inf"), 0
        for m in metrics:
            best, bad = (m, 0) if m < best * (1 - 1e-4) else (best, bad + 1)
            if bad > patience:
                rate, bad = (rate * 0.1 if rate * 0.9 > 1e-8 else rate), 0
        return rate

    return schedule


def test_a_scheduler_that_wants_a_metric_is_fed() -> None:
    reference: Any = lambda o: lr_scheduler.ReduceLROnPlateau(o, patience=5)  # noqa: E731
    assert check(plateau(5), reference)
    assert check(plateau(5), reference, metrics=[1.0] * 40, steps=40)
    report = check(plateau(6), reference, raises=False)
    assert not report.agrees


def test_too_few_metrics_are_refused() -> None:
    with pytest.raises(UsageError, match="metrics must have a number for each of 300 steps, got 3"):
        check(plateau(5), lambda o: lr_scheduler.ReduceLROnPlateau(o), metrics=[1.0, 1.0, 1.0])


@pytest.mark.parametrize("reference", [lambda o: 5, lambda o: lr_scheduler.LambdaLR(o, lambda k: {0: 1.0}[k])])
def test_what_is_no_scheduler_is_refused(reference: Any) -> None:
    with pytest.raises(UsageError, match="must make a scheduler "):
        check(lambda k: 0.1 * 0.5**k, reference, learning_rate=0.1)


def test_a_scheduler_that_ends_is_said_to() -> None:
    report = check(*RIGHT["as many steps as torch has"][:2])
    assert "torch's scheduler ended after 20 steps" in str(report)


def test_a_class_is_refused_with_the_function_that_is_meant() -> None:
    with pytest.raises(UsageError, match=r"write lambda optimizer: ReduceLROnPlateau\(optimizer\)"):
        check(plateau(5), lr_scheduler.ReduceLROnPlateau, learning_rate=0.1)
