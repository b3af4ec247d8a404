"""Numbers that float32 has not, and loops that never end in it: right code agrees all the same, and wrong code differs.

Everywhere the result goes a way on which no rounding bound follows it, so that the tolerance must be measured.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from handgrad import check
from handgrad.compare.checking.findings import Report
from handgrad.compare.foundation.patience import Endless, as_long_as, counted
from handgrad.compare.judge import two_precision, wider
from handgrad.compare.judge.agreement import TWO_PRECISION
from handgrad.compare.judge.calls import CallSides
from handgrad.compare.judge.derivations import Functions


def unseen(x: Any) -> Any:
    """The same numbers, by a way on which no bound follows them."""
    return np.array(x.tolist(), x.dtype)


def report(*args: Any, **options: Any) -> Report:
    return check(*args, **options, raises=False, explain="off")


def of_scale(scale: float) -> Callable[[np.random.Generator], np.ndarray]:
    return lambda rng: scale * (1 + rng.random((3, 4)))


def shares(factor: float) -> Any:
    """x over its sum, by a backward pass that is `factor` times the right one."""

    def backward(dy: Any, x: Any) -> Any:
        total = x.sum(-1, keepdims=True)
        return unseen(factor * (dy - (dy * x).sum(-1, keepdims=True) / total) / total)

    return (lambda x: unseen(x / x.sum(-1, keepdims=True))), backward


@pytest.mark.parametrize("factor", [1.0, 1.5, 1 + 1e-11])
@pytest.mark.parametrize("scale", [1e60, 1e-60, 1e200, 1e-200, 1e39, 1e-39])
def test_numbers_of_any_size(scale: float, factor: float) -> None:
    found = report(shares(factor), lambda x: x / x.sum(-1, keepdim=True), x=of_scale(scale))["input gradient"]
    assert found.verdict.rule == TWO_PRECISION
    assert found.verdict.allowed > 0
    assert found.agrees == (factor == 1.0), found.line()


@pytest.mark.parametrize("factor", [1.0, 1.5])
def test_results_that_float32_does_not_hold(factor: float) -> None:
    """x is near 1, but exp(200 x) is not in float32, on every draw."""
    pair = (lambda x: unseen(np.exp(200 * x))), (lambda dy, x: unseen(factor * 200 * dy * np.exp(200 * x)))
    found = report(pair, lambda x: torch.exp(200 * x), x=of_scale(1.0))
    assert found.agrees == (factor == 1.0), str(found)
    assert all(0 < f.verdict.allowed < 1e-6 * abs(f.verdict.torch) for f in found.findings)


def test_where_only_some_overflow_the_others_keep_their_tolerance() -> None:
    sides = CallSides(Functions(lambda x: unseen(np.exp(x)), lambda dy, x: dy), torch.exp, ("x",))
    x = np.array([1.0, 2.0, 300.0])
    allowed = two_precision.tolerance(sides, {"x": x})["output"]
    alone = two_precision.tolerance(sides, {"x": x[:2]})["output"]
    assert np.all(np.isfinite(allowed))
    assert np.all(allowed[:2] <= 1e3 * alone)
    assert 0 < allowed[2] < 1e-9 * np.exp(300.0)


def test_without_anything_wider_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wider.np, "longdouble", np.float64)
    sides = CallSides(Functions(lambda x: unseen(2 * x), lambda dy, x: dy), lambda x: 2 * x, ("x",))
    with pytest.raises(ValueError, match="this machine has nothing wider than float64"):
        two_precision.tolerance(sides, {"x": np.array([1e60])})


def newton(factor: float, way: Callable[[Any], Any]) -> Any:
    """A square root by a loop that ends in float64 alone."""

    def forward(x: Any) -> Any:
        y = np.ones_like(x)
        while np.abs(y * y - x).max() > 1e-14:
            y = (y + x / y) / 2
        return way(y), y

    return forward, lambda dy, y: way(factor * dy / (2 * y))


def newton_in_torch(x: torch.Tensor) -> torch.Tensor:
    y = torch.ones_like(x)
    while float((y * y - x).detach().abs().max()) > 1e-14:
        y = (y + x / y) / 2
    return y


@pytest.mark.parametrize("reference", [torch.sqrt, newton_in_torch])
@pytest.mark.parametrize("way", [unseen, lambda y: y], ids=["no bound", "a bound"])
@pytest.mark.parametrize("factor", [1.0, 1.5])
def test_a_loop_that_never_ends_in_float32(reference: Any, way: Any, factor: float) -> None:
    found = report(newton(factor, way), reference, x=of_scale(1.0))
    assert found["output"].agrees, str(found)
    assert found["input gradient"].agrees == (factor == 1.0), str(found)


def forever() -> int:
    k = 0
    while True:
        k += 1


def test_lines_are_counted_and_other_code_is_not() -> None:
    before = sys.gettrace()
    result, lines = counted(lambda: sum(k for k in range(1000)))
    assert (result, 1000 <= lines <= 2_100) == (499500, True)
    assert counted(lambda: np.linalg.norm(np.ones((3, 3)), axis=0))[1] <= 2
    with pytest.raises(Endless):
        counted(forever, as_long_as(lines))
    assert sys.gettrace() is before
