"""An update rule meets tensors, gradients, rates and numbers of steps other than those that were given."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from handgrad import check
from handgrad.compare.checking import gather
from handgrad.compare.checking.step_constants import Heard, counting, steps_among
from tests.derivations.wrong.rules import Rule, own, sgd


class Clipped(torch.optim.SGD):
    """The gradient of all tensors together is no longer than 1."""

    def step(self, closure: Any = None) -> Any:
        parameters = self.param_groups[0]["params"]
        total = torch.sqrt(sum((p.grad**2).sum() for p in parameters))
        for p in parameters:
            p.grad = p.grad / torch.clamp(total, min=1.0)
        return super().step(closure)


class Tensors:
    """Clipped descent over tensors by name."""

    def __init__(self, fault: str = "") -> None:
        self.fault = fault

    def init(self, theta: Any) -> Any:
        return {}

    def update(self, theta: Any, grad: Any, state: Any, learning_rate: float) -> Any:
        squares = {k: (g * g).sum() for k, g in grad.items()}
        total = sum(squares.values())
        if self.fault == "largest":
            total = max(squares.values(), key=float)
        if self.fault == "one name":
            total = squares["W"]
        of = squares if self.fault == "each alone" else dict.fromkeys(grad, total)
        new = {k: theta[k] - learning_rate * g / np.sqrt(np.maximum(of[k], 1.0)) for k, g in grad.items()}
        if self.fault == "by name" and "W" not in theta:
            new = dict(theta)
        return new, state


def of_tensors(fault: str) -> Any:
    return check(Tensors(fault), Clipped, theta={"W": (4, 3)}, raises=False, explain="off")


def test_a_rule_of_all_tensors_agrees() -> None:
    report = of_tensors("")
    assert report.agrees, str(report)
    assert not report.notes


@pytest.mark.parametrize("fault", ["largest", "each alone"])
def test_what_shows_over_several_tensors_differs(fault: str) -> None:
    report = of_tensors(fault)
    assert report.differing
    assert gather.TENSORS in str(report)


def test_a_rule_that_knows_its_tensors_is_not_decided_by_others() -> None:
    report = of_tensors("by name")
    assert not report.differing
    assert "knows its tensors by their names" in str(report.gaps)


def test_a_rule_that_takes_no_others_agrees_with_a_note() -> None:
    report = of_tensors("one name")
    assert report.agrees, str(report)
    assert "KeyError" in str(report.notes)


def finite(w: Any, g: Any, s: Any, lr: float, t: int) -> Any:
    return w - lr * np.where(np.abs(g) < np.inf, g, 0.0)


def torch_finite(p: Any, s: Any, lr: float, t: int) -> None:
    p.sub_(lr * torch.nan_to_num(p.grad, 0.0, 0.0, 0.0))


def test_gradients_that_are_not_finite_are_passed_over_alike() -> None:
    def largest(w: Any, g: Any, s: Any, lr: float, t: int) -> Any:
        return w - lr * np.clip(np.where(g == g, g, 0.0), -1e30, 1e30)

    assert check(Rule(finite), own(torch_finite), theta=(5,), explain="off")
    assert check(Rule(largest), own(torch_finite), theta=(5,), explain="off", raises=False).differing
    kept = check(Rule(sgd), own(torch_finite), theta=(5,), explain="off", raises=False)
    assert not kept.differing
    assert "torch takes this" in str(kept.gaps)


def test_a_rate_of_0_is_one_of_them() -> None:
    def divided(w: Any, g: Any, s: Any, lr: float, t: int) -> Any:
        before, s["before"] = s.get("before", lr), lr
        return w - g * lr * (before / before)

    report = check(Rule(divided), torch.optim.SGD, theta=(5,), explain="off", raises=False)
    assert not report.differing  # a rule may be meant for rates above 0
    assert "a learning rate of 0" in str(report.gaps)


@pytest.mark.parametrize(("least", "agrees"), [(0.01, True), (0.02, False), (0.0, False)])
def test_a_share_passes_its_least(least: float, agrees: bool) -> None:
    def ours(w: Any, g: Any, s: Any, lr: float, t: int) -> Any:
        return w - lr * np.maximum(1 / (t + 1), least) * g

    def theirs(p: Any, s: Any, lr: float, t: int) -> None:
        p.sub_(lr * max(1 / (t + 1), 0.01) * p.grad)

    assert bool(check(Rule(ours), own(theirs), theta=(5,), explain="off", raises=False)) is agrees


def test_a_share_of_a_count_says_when_it_is_another_number() -> None:
    heard: Heard = set()
    assert 3 / (2 * counting(4, heard) + 2) > 0.05
    assert np.maximum(1 / counting(4, heard), 0.01) == 0.25
    assert steps_among(heard) == [30, 100]


@pytest.mark.parametrize("most", [50.0, 5.0, np.inf])
def test_what_grows_by_a_factor_reaches_its_most(most: float) -> None:
    def ours(w: Any, g: Any, s: Any, lr: float, t: int) -> Any:
        sign = np.sign(g * s.get("before", 0 * g))
        size = s.get("size", np.full_like(w, lr)) * np.where(sign > 0, 1.2, np.where(sign < 0, 0.5, 1.0))
        s["size"], s["before"] = np.clip(size, 1e-6, most), np.where(sign < 0, 0.0, g)
        return w - np.sign(s["before"]) * s["size"]

    report = check(Rule(ours), torch.optim.Rprop, theta=(3,), learning_rate=0.02, explain="off", raises=False)
    assert bool(report) is (most == 50.0), str(report)
