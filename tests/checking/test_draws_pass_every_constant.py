"""Draws lie on both sides of every constant that either side compares with, and at it.

Torch's own cuts are approximations at times: what is more exact than they are agrees.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from handgrad import check
from handgrad.compare.checking.beyond import constants_of
from handgrad.compare.judge.calls import CallSides
from handgrad.compare.judge.derivations import Functions


@pytest.mark.parametrize("at", [12.0, 20.0, 50.0, 200.0, 1000.0])
def test_a_cut_that_is_forgotten_in_the_gradient_is_found(at: float) -> None:
    ours: Any = (lambda x: np.minimum(np.maximum(x, 0), at), lambda dy, x: dy * (x > 0))
    report = check(ours, lambda x: torch.clamp(x, 0, at), x=(4, 8), raises=False)
    assert [f.tensor for f in report.findings if f.differs] == ["input gradient"]


@pytest.mark.parametrize("at", [12.0, 200.0])
def test_a_cut_that_only_torch_has_is_found(at: float) -> None:
    report = check((lambda x: x, lambda dy, x: dy), nn.Hardtanh(-at, at), x=(4, 8), raises=False)
    assert {f.tensor for f in report.findings if f.differs} == {"output", "input gradient"}


def test_a_cut_that_only_the_derivation_has_is_found() -> None:
    ours = (lambda x: np.clip(x, -30, 30), lambda dy, x: dy)
    assert not check(ours, lambda x: x, x=(4, 8), raises=False).agrees


@pytest.mark.parametrize("beta", [1.0, 2.0, 0.5])
def test_softplus_without_the_threshold_agrees(beta: float) -> None:
    """Torch's is x beyond a threshold, off by up to 2e-9: the formula without it is the more exact one."""
    ours = (lambda x: np.logaddexp(0, beta * x) / beta, lambda dy, x: dy / (1 + np.exp(-beta * x)))
    assert check(ours, nn.Softplus(beta), x=(4, 8))


def test_softplus_with_another_threshold_is_found() -> None:
    def forward(x: Any) -> Any:
        return np.where(x > 10, x, np.log1p(np.exp(np.minimum(x, 10))))

    report = check((forward, lambda dy, x: dy / (1 + np.exp(-x))), functional.softplus, x=(4, 8), raises=False)
    assert {f.tensor for f in report.findings if f.differs} == {"output"}


def test_the_delta_of_a_loss_is_passed() -> None:
    def huber(o: Any, t: Any) -> Any:
        e = o - t
        return np.where(abs(e) < 8, e**2 / 2, 8 * (abs(e) - 4)).sum(), np.clip(e, -8, 8)

    def wrong(o: Any, t: Any) -> Any:
        return huber(o, t)[0], o - t

    reference = nn.HuberLoss(reduction="sum", delta=8.0)
    assert check(huber, reference, output=(4, 6), target=(4, 6))
    assert not check(wrong, reference, output=(4, 6), target=(4, 6), raises=False).agrees


def test_constants_are_those_that_are_compared_with() -> None:
    """A factor is none; a computed threshold is one."""
    limit = 3.0 * 7
    ours = Functions(lambda x: np.where(x > limit, x, 1000.0 * x), lambda dy, x: dy)
    sides = CallSides(ours, lambda x: functional.threshold(x * 500.0, -40.0, 0.0), ("x",))
    assert constants_of(sides, {"x": np.ones((2, 2))}) == [21.0, 40.0]


def test_a_steep_function_does_not_jump() -> None:
    """Between two constants the slope is no jump, however steep it is elsewhere."""

    def forward(x: Any) -> Any:
        return np.clip(x, -4000, 4000) * np.clip(x, -8, 8) / x**4 * (1 + 3e-9)

    def reference(x: Any) -> Any:
        return x.clamp(-4000, 4000) * x.clamp(-8, 8) / x**4

    ours = (forward, lambda dy, x: dy * -2 * x**-3.0)
    report = check(ours, reference, x=lambda rng: rng.uniform(1, 2, (4, 8)), raises=False)
    assert "output" in {f.tensor for f in report.findings if f.differs}


def digamma(x: Any) -> Any:
    """By recurrence and its asymptotic series (Abramowitz and Stegun 6.3.18)."""
    s = 0 * x
    for _ in range(12):
        s, x = s - 1 / x, x + 1
    y = 1 / (x * x)
    series = y * (1 / 12 - y * (1 / 120 - y * (1 / 252 - y * (1 / 240 - y * (1 / 132 - y * 691 / 32760)))))
    return s + np.log(x) - 1 / (2 * x) - series


def trigamma(x: Any) -> Any:
    """By recurrence and its asymptotic series (Abramowitz and Stegun 6.4.12)."""
    s = 0 * x
    for _ in range(12):
        s, x = s + 1 / (x * x), x + 1
    y = 1 / (x * x)
    return (
        s + 1 / x + y / 2 + y / x * (1 / 6 - y * (1 / 30 - y * (1 / 42 - y * (1 / 30 - y * (5 / 66 - y * 691 / 2730)))))
    )


@pytest.mark.parametrize("off", [0.0, 1e-9])
def test_a_gradient_that_is_more_exact_than_torchs_agrees(off: float) -> None:
    """Torch's trigamma is good to nine digits; the numerical derivative says which side is off."""
    ours = (digamma, lambda dy, x: dy * trigamma(x) * (1 + off))
    report = check(ours, torch.digamma, x=lambda rng: rng.uniform(0.5, 5, (4, 3)), raises=False)
    assert report.agrees == (off == 0), str(report)
    if not off:
        assert "torch's gradient is the less exact one" in str(report)
