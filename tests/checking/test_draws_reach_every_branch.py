"""A wrong branch is reached by some draw, or the line that was not reached is named, and nothing is decided."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from handgrad import check, stateful
from handgrad.compare.checking.findings import Report
from handgrad.compare.checking.outcome import Outcome

ROWS: dict[str, Any] = {"inputs": {"x": ("n", "d")}}


def checked(ours: Any, reference: Any, **options: Any) -> Report:
    with np.errstate(all="ignore"):
        return check(ours, reference, **{**ROWS, "explain": "off", "raises": False, **options})


def beyond(at: float) -> Any:
    """x, but 1.5 δ beyond a constant."""
    return lambda x: 1.0 * x, lambda dy, x: np.where(x > at, 1.5 * dy, dy)


@pytest.mark.parametrize("at", [12.0, 20.0, 30.0, 88.0, 700.0, 1e5, -12.0, -30.0])
def test_beyond_a_constant(at: float) -> None:
    assert checked(beyond(at), lambda x: 1.0 * x, x=(4, 8), inputs=None).outcome is Outcome.DIFFERS


@pytest.mark.parametrize("at", [1e-2, 1e-4, 1e-6])  # torch's own gradient has no digit left at 1e-7
def test_a_wrong_series_around_zero(at: float) -> None:
    def forward(x: Any) -> Any:
        return np.where(np.abs(x) < at, 1 - x**2 / 6, np.sin(x) / np.where(x == 0, 1, x))

    def backward(dy: Any, x: Any) -> Any:
        return dy * np.where(np.abs(x) < at, -x / 2, np.cos(x) / x - np.sin(x) / x**2)

    report = checked((forward, backward), lambda x: torch.sinc(x / torch.pi))
    assert "input gradient" in {f.tensor for f in report.differing}


def test_below_what_is_a_guard_nothing_is_quiet() -> None:
    ours = (lambda x: 1.0 * x, lambda dy, x: dy * (1 + (np.abs(x) < 1e-14)))
    assert checked(ours, lambda x: 1.0 * x).outcome is not Outcome.AGREES


def largest(dy: Any, x: Any) -> Any:
    if x.max() > 50:
        return 2 * dy
    return dy


def batch(dy: Any, x: Any) -> Any:
    return 2 * dy if len(x) > 64 else dy


def width(dy: Any, x: Any) -> Any:
    if x.shape[-1] % 2 == 0:
        return 2 * dy
    return dy


def norms(dy: Any, x: Any) -> Any:
    return dy * np.where(np.linalg.norm(x, axis=-1, keepdims=True) > 90, 2, 1)


def sums(dy: Any, x: Any) -> Any:
    if not x.sum() < -500:
        return dy
    return 2 * dy


def small_norms(dy: Any, x: Any) -> Any:
    return np.where(np.sqrt((x * x).sum(-1, keepdims=True)) < 1e-3, 0, dy)


def third_turn(dy: Any, x: Any) -> Any:
    dx = dy.copy()
    for i in range(len(x)):
        if i == 2 and x[i, 0] > 40:
            dx[i] *= 2
    return dx


def both(dy: Any, x: Any) -> Any:
    return 2 * dy if x.min() > 0 and x.max() < 100 else dy


def quotient(dy: Any, x: Any) -> Any:
    return 2 * dy if x.max() // 30 else dy


def window(dy: Any, x: Any) -> Any:
    return dy * (1 + (x > 30) * (x < 31))


def ordered(dy: Any, x: Any) -> Any:
    return 2 * dy if np.all(x[:, :-1] <= x[:, 1:]) else dy


def helper(dy: Any, x: Any) -> Any:
    return largest(dy, 5 * x)


def by_a_function(dy: Any, x: Any) -> Any:
    return dy * np.where(np.greater(x, 40), 2, 1)


def by_a_mask(dy: Any, x: Any) -> Any:
    dx = dy.copy()
    dx[x.mean(-1) < -30] = 0
    return dx


BACKWARD = [
    largest, batch, width, norms, sums, small_norms, third_turn, both, quotient, window, helper, by_a_function,
    by_a_mask,
]  # fmt: skip


@pytest.mark.parametrize("backward", BACKWARD, ids=lambda f: f.__name__)
@pytest.mark.parametrize("options", [ROWS, {"x": (4, 8), "inputs": None}], ids=["names", "sizes"])
def test_a_branch_that_few_numbers_take(backward: Callable[..., Any], options: dict[str, Any]) -> None:
    report = checked((lambda x: 1.0 * x, backward), lambda x: 1.0 * x, **options)
    assert report.outcome is Outcome.DIFFERS, str(report)


def test_a_branch_that_no_draw_takes_is_named_by_its_line() -> None:
    def backward(dy: Any, x: Any) -> Any:
        if 1 < abs(x.sum() - 77) < 1.0001:
            return 2 * dy
        return dy

    line = inspect.getsourcelines(backward)[1] + 1
    report = checked((lambda x: 1.0 * x, backward), lambda x: 1.0 * x)
    assert report.outcome is Outcome.UNDECIDED
    assert f"test_draws_reach_every_branch.py, line {line}: `1 < abs(x.sum() - 77) < 1.0001`" in report.gaps[0]


def test_given_inputs_are_not_steered_but_the_gap_is_said() -> None:
    x = np.linspace(-3, 3, 12).reshape(3, 4)
    report = checked(beyond(20.0), lambda x: 1.0 * x, inputs={"x": x})
    assert report.outcome is Outcome.UNDECIDED
    assert any("`x > at` was never true" in gap for gap in report.gaps)


def test_what_the_reference_does_not_reach_is_said() -> None:
    x = np.linspace(-3, 3, 12).reshape(3, 4)
    ours = (lambda x: np.logaddexp(0, x), lambda dy, x: dy / (1 + np.exp(-x)))
    report = checked(ours, functional.softplus, inputs={"x": x})
    assert report.gaps == ("the reference, softplus (1, 20): it never cut off above",)


class Counted:
    limit = 60.0

    def forward(self, x: Any) -> Any:
        self.x = x
        return 1.0 * x

    def backward(self, dy: Any) -> Any:
        return self.scaled(dy)

    def scaled(self, dy: Any) -> Any:
        return 3 * dy if np.abs(self.x).sum() > 100 * self.limit else dy


def test_a_branch_in_a_method() -> None:
    assert checked(stateful(Counted), lambda x: 1.0 * x).outcome is Outcome.DIFFERS


def cross_entropy(zeroed: bool) -> Any:
    low, high = 1e-7, 1 - 1e-7

    def both_passes(z: Any, t: Any) -> Any:
        e = np.exp(z - z.max(1, keepdims=True))
        p = e / e.sum(1, keepdims=True)
        q = np.clip(p, low, high)
        dq = -t / q / len(z)
        if zeroed:
            dq = dq * ((p >= low) & (p <= high))
        return -(t * np.log(q)).sum() / len(z), p * (dq - (dq * p).sum(1, keepdims=True))

    return both_passes


def clipped(z: Any, t: Any) -> Any:
    return -(t * torch.log(torch.softmax(z, 1).clamp(1e-7, 1 - 1e-7))).sum() / len(z)


@pytest.mark.parametrize("zeroed", [True, False])
def test_a_clip_that_the_gradient_does_not_know_of(zeroed: bool) -> None:
    def one_hot(rng: Any) -> Any:
        return np.eye(5)[rng.integers(0, 5, 6)]

    report = checked(cross_entropy(zeroed), clipped, output=(6, 5), target=one_hot, inputs=None)
    assert report.outcome is (Outcome.AGREES if zeroed else Outcome.DIFFERS), str(report)


def test_the_wrong_side_of_a_sign() -> None:
    ours = (np.abs, lambda dy, x: dy * (x > 0))
    assert checked(ours, torch.abs).outcome is Outcome.DIFFERS
    given = np.linspace(1, 2, 8).reshape(2, 4)
    ours = (np.abs, lambda dy, x: dy)
    assert checked(ours, torch.abs, inputs={"x": given}).outcome is Outcome.UNDECIDED
    ours = (np.abs, lambda dy, x: dy * np.sign(x) ** 2)
    assert "`np.sign(x)` never met a negative number" in checked(ours, torch.abs, inputs={"x": given}).gaps[0]


# --- what is right agrees ---


@dataclass(frozen=True)
class Configured:
    mode: str = "sum"
    eps: float = 1e-5
    scale: float | None = None

    def forward(self, x: Any) -> Any:
        if x.ndim != 2:
            raise ValueError("rows")
        if self.scale is not None or self.mode == "mean" or self.eps <= 0 or self.mode in ("none", "max"):
            x = x / 7
        assert x.shape[1] < 1000
        s = x.sum(0) if self.mode == "sum" else x.mean(0)
        for i in range(len(x)):
            if i > 10**6:
                raise ValueError("long")
        return s


def test_configuration_is_no_gap() -> None:
    layer = Configured()
    ours = (layer.forward, lambda dy, x: np.broadcast_to(dy, x.shape))
    assert checked(ours, lambda x: x.sum(0)).outcome is Outcome.AGREES


def test_what_holds_by_construction_is_no_gap() -> None:
    def forward(x: Any) -> Any:
        shifted = x - x.mean(-1, keepdims=True)
        var = np.maximum((shifted**2).mean(-1, keepdims=True), 0)
        return shifted / np.sqrt(var + 1e-5)

    def backward(dy: Any, x: Any) -> Any:
        y, r = forward(x), 1 / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
        return r * (dy - dy.mean(-1, keepdims=True) - y * (dy * y).mean(-1, keepdims=True))

    report = checked((forward, backward), lambda x: functional.layer_norm(x, x.shape[-1:]))
    assert report.outcome is Outcome.AGREES, str(report)


def test_a_guard_where_the_reference_divides_by_zero_is_no_gap() -> None:
    def forward(x: Any) -> Any:
        n = np.sqrt((x * x).sum(-1, keepdims=True))
        return x / np.where(n > 0, n, 1.0)

    def backward(dy: Any, x: Any) -> Any:
        y = forward(x)
        n = np.sqrt((x * x).sum(-1, keepdims=True))
        return (dy - y * (dy * y).sum(-1, keepdims=True)) / np.where(n > 0, n, 1.0)

    report = checked((forward, backward), lambda x: x / (x * x).sum(-1, keepdim=True).sqrt())
    assert report.outcome is Outcome.AGREES, str(report)


def test_a_loop_that_ends_on_ordinary_numbers_alone_does_not_hang_the_search() -> None:
    def backward(dy: Any, x: Any) -> Any:
        s = np.abs(x).sum()
        while s > 1:
            s = s - 1  # which beyond 2⁵³ is s again
        return 2 * dy if np.abs(x).max() > 1e17 else dy

    report = checked((lambda x: 1.0 * x, backward), lambda x: 1.0 * x)
    assert report.outcome is Outcome.UNDECIDED
    assert "`np.abs(x).max() > 1e17` was never true" in report.gaps[0]


def test_the_code_that_is_watched_gives_what_the_code_gives() -> None:
    """Chains, lambdas, comprehensions, closures, defaults and methods are compiled over again as they are."""

    def forward(x: Any, k: float = abs(-2.0)) -> Any:
        rows = [r if 0 < len(r) < 100 else 1 * r for r in x if not (r is None or len(r) == 0)]
        pick = (lambda a: max(a, k), lambda a: min(a, -k))
        return np.stack([[pick[0](v) + pick[1](v) for v in r] for r in rows])

    def backward(dy: Any, x: Any) -> Any:
        return dy * (np.where(x > 2, 1, 0) + np.where(x < -2, 1, 0))

    report = checked((forward, backward), lambda x: x.clamp(min=2.0) + x.clamp(max=-2.0))
    assert report.outcome is Outcome.AGREES, str(report)
