"""What an object keeps from call to call is compared over several calls: it starts at 0, where much seems right."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from handgrad import check, stateful
from handgrad.compare.checking import carrying
from handgrad.compare.checking.outcome import Outcome


class Mean:
    """2x, and a mean that runs along."""

    def __init__(self, fault: str = "") -> None:
        self.fault, self.mean, self.calls = fault, np.zeros(3), 0

    def forward(self, x: Any) -> Any:
        self.calls += 1
        share = {"average": 1 / self.calls, "halves": max(1 / self.calls, 0.5)}.get(self.fault, 0.1)
        kept = 1.0 if self.fault == "kept" else 0.0 if self.fault == "lost" else 1 - share
        self.mean = kept * self.mean + share * x.mean(0)
        return 2 * x

    def backward(self, dy: Any) -> Any:
        return 2 * dy


class TorchMean(nn.Module):
    def __init__(self, average: bool = False) -> None:
        super().__init__()
        self.average, self.calls = average, 0
        self.mean: torch.Tensor
        self.register_buffer("mean", torch.zeros(3))

    def forward(self, x: Any) -> Any:
        self.calls += 1
        share = 1 / self.calls if self.average else 0.1
        self.mean.copy_((1 - share) * self.mean + share * x.mean(0).detach())
        return 2 * x


class Carry:
    """h ← w (x + h) over the rows' sums, with a state of a fixed batch."""

    def __init__(self, fault: str = "") -> None:
        self.fault = fault
        self.w, self.dw, self.h = np.ones(2), np.zeros(2), np.zeros((4, 2))

    def forward(self, x: Any) -> Any:
        if x.shape != (4, 2):
            raise ValueError("another batch")
        self.s = x + (0 * self.h if self.fault == "anew" else self.h)
        self.h = self.w * self.s
        return self.h

    def backward(self, dy: Any) -> Any:
        dx = np.zeros((4, 2))
        dx[:] = self.w * dy
        dw = (dy * self.s).sum(0)
        self.dw = self.dw + dw if self.fault == "adds up" else dw
        return dx


class Forgetful(Carry):
    """dw lacks what was carried in."""

    def forward(self, x: Any) -> Any:
        y = super().forward(x)
        self.s = x
        return y


class TorchCarry(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones(2))
        self.h: torch.Tensor
        self.register_buffer("h", torch.zeros(4, 2))

    def forward(self, x: Any) -> Any:
        y = self.w * (x + self.h.clone())
        self.h.copy_(y.detach())
        return y


class Cached(Mean):
    """The state, and beside it what is computed of it once."""

    def __init__(self) -> None:
        super().__init__()
        self.twice = 2 * self.mean

    def forward(self, x: Any) -> Any:
        y = super().forward(x)
        self.mean = 0.9 * self.twice / 2 + 0.1 * x.mean(0)
        self.twice = 2 * self.mean
        return y


def of_mean(fault: str, average: bool = False, **given: Any) -> Any:
    made = stateful(lambda: Mean(fault), state=["mean"])
    return check(made, TorchMean(average), raises=False, explain="off", **(given or {"x": (4, 3)}))


def of_carry(made: Any, **given: Any) -> Any:
    state = given.pop("state", ["h"])
    given = given or {"x": (4, 2)}
    return check(stateful(made, {"w": "dw"}, state=state), TorchCarry(), raises=False, explain="off", **given)


@pytest.mark.parametrize(("fault", "average"), [("", False), ("average", True)])
def test_right_state_agrees(fault: str, average: bool) -> None:
    report = of_mean(fault, average)
    assert report.agrees, str(report)


@pytest.mark.parametrize(("fault", "average"), [("kept", False), ("lost", False), ("halves", True)])
def test_wrong_state_differs_from_the_second_or_third_call_on(fault: str, average: bool) -> None:
    report = of_mean(fault, average)
    assert report.differing
    assert carrying.CARRIED in str(report)


def test_carried_state_of_one_batch_size_agrees() -> None:
    report = of_carry(Carry)
    assert report.agrees, str(report)
    assert not report.gaps  # the state that is 0 at first is not 0 later on
    assert of_carry(lambda: Carry("adds up")).agrees  # gradients add up, as torch's do


@pytest.mark.parametrize("state", [["h"], []])
@pytest.mark.parametrize("made", [lambda: Carry("anew"), Forgetful], ids=["starts anew", "dw lacks it"])
def test_carried_state_that_is_left_out_differs(made: Any, state: list[str]) -> None:
    assert of_carry(made, state=state).differing


def test_the_first_call_alone_decides_nothing() -> None:
    of_function = check(
        stateful(Mean, state=["mean"]),
        lambda x: {"output": 2 * x, "mean": 0.1 * x.mean(0)},
        x=(4, 3), raises=False, explain="off",
    )  # fmt: skip
    same = of_mean("", x=np.arange(12.0).reshape(4, 3))
    for report in (of_function, same):
        assert not report.differing
        assert report.gaps


def test_what_is_kept_beside_the_state_decides_nothing_where_the_state_is_set() -> None:
    report = check(stateful(Cached, state=["mean"]), TorchMean(), x=(4, 3), raises=False, explain="off")
    assert not report.differing
    assert report.gaps == ("with other numbers set as mean the output mean differ",)


class Last:
    """x times the mean of what the call before was given, which of the first call is 0."""

    def __init__(self, fault: float = 0.0) -> None:
        self.fault, self.last = fault, np.zeros(3)

    def forward(self, x: Any) -> Any:
        self.seen, self.last = self.last, x.mean(0)
        return (1 + self.fault) * x * self.seen

    def backward(self, dy: Any) -> Any:
        return dy * self.seen


class TorchLast(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.last: torch.Tensor
        self.register_buffer("last", torch.zeros(3))

    def forward(self, x: Any) -> Any:
        y = x * self.last.clone()
        self.last.copy_(x.detach().mean(0))
        return y


@pytest.mark.parametrize("fault", [0.0, 1e-9])
def test_what_is_0_at_the_first_call_is_compared_at_the_second(fault: float) -> None:
    report = check(stateful(lambda: Last(fault), state=["last"]), TorchLast(), x=(4, 3), explain="off", raises=False)
    assert report.outcome is (Outcome.DIFFERS if fault else Outcome.AGREES), str(report)


class Never(Last):
    def forward(self, x: Any) -> Any:
        return 0 * super().forward(x)

    def backward(self, dy: Any) -> Any:
        return 0 * dy


class TorchNever(TorchLast):
    def forward(self, x: Any) -> Any:
        return 0 * super().forward(x)


def test_what_is_0_at_every_call_is_not_decided() -> None:
    report = check(stateful(Never, state=["last"]), TorchNever(), x=(4, 3), explain="off", raises=False)
    assert report.outcome is Outcome.UNDECIDED, str(report)
