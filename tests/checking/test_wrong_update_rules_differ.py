"""An update rule that looks right differs where torch's does: at 0, below ε, where it clips, when the rate changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import optim

from handgrad import check
from handgrad.compare.checking.rules import LONG, rule_inputs
from handgrad.compare.judge.names import GRADS, LEARNING_RATE, THETA
from handgrad.compare.judge.trajectories import rates
from tests.derivations.wrong.rule_families import FAMILIES
from tests.derivations.wrong.rules import Own, Rule, adam, own, sgd, torch_warm_up, warm_up

WRONG = [(family, fault) for family, (_, _, faults) in FAMILIES.items() for fault in faults]
SHORT = {"NAdam": {"steps": 3}}  # whose product torch keeps in float32, which takes long to find out


@pytest.mark.parametrize("family", FAMILIES)
def test_a_right_rule_agrees_and_nothing_is_left_out(family: str) -> None:
    right, reference, _ = FAMILIES[family]
    report = check(right, reference, theta=(5,), explain="off", **SHORT.get(family, {}))
    assert report.agrees
    assert not report.notes


@pytest.mark.parametrize("family", ["SGD", "Adam", "AMSGrad", "Rprop", "sign"])
@pytest.mark.parametrize(
    "options", [{"theta": (1,)}, {"theta": (40,), "dtype": "float32"}, {"theta": (7,), "steps": 3}]
)
def test_a_right_rule_agrees_at_any_size_in_either_precision(family: str, options: dict[str, Any]) -> None:
    right, reference, _ = FAMILIES[family]
    assert check(right, reference, explain="off", **options)


@pytest.mark.parametrize(("family", "fault"), WRONG)
def test_a_rule_with_a_fault_differs(family: str, fault: str) -> None:
    _, reference, faults = FAMILIES[family]
    report = check(faults[fault], reference, theta=(5,), explain="off", raises=False, **SHORT.get(family, {}))
    assert not report.agrees


@pytest.mark.parametrize(("family", "fault"), [("Adam", "eps_inside"), ("AMSGrad", "no_maximum")])
def test_a_fault_is_seen_in_float32_and_in_a_single_number(family: str, fault: str) -> None:
    _, reference, faults = FAMILIES[family]
    for options in ({"theta": (6,), "dtype": "float32"}, {"theta": (1,)}):
        assert not check(faults[fault], reference, explain="off", raises=False, **options).agrees


def test_the_gradients_are_0_and_tiny_and_huge_and_shrink_again() -> None:
    drawn = rule_inputs(Rule(sgd), optim.SGD, (6,), 0.01, None, np.float64, 0)
    plain, opposed, small, large, *_ = (draw.arrays for draw in drawn.draws)
    assert (np.abs(plain[GRADS]) >= 0.125).all()
    shares = np.abs(opposed[GRADS][1] / opposed[GRADS][0])
    assert shares.min() < 0.1
    assert (np.sign(opposed[GRADS][1]) != np.sign(opposed[GRADS][0])).all()
    zero = small[GRADS] == 0
    assert zero[:, -1].all()
    assert zero[4].all()
    assert 1 < zero[0].sum() < 6
    assert 0 < np.abs(small[GRADS][~zero]).min() < 1e-12
    assert (small[THETA] == 0).any()
    assert np.ptp(np.log10(np.abs(small[THETA][small[THETA] != 0]))) > 3
    sizes = np.abs(large[GRADS]).max(1)
    assert sizes.max() > 1e5
    assert sizes[:3].max() > 1e3
    assert sizes[8:].max() < 10
    assert (sizes == 0).any()
    assert (large[GRADS][:, 0] >= 0).all()
    assert (np.sign(large[GRADS][:-1, 1]) != np.sign(large[GRADS][1:, 1])).any()
    assert len(large[GRADS]) == LONG
    assert len(set(rates(large))) > 3
    shares = np.array([small[LEARNING_RATE], *rates(large)]) / plain[LEARNING_RATE]
    assert (np.frexp(shares)[0] != 0.5).all()  # no power of 2


def test_a_given_theta_is_what_it_was() -> None:
    theta = np.array([1.0, 2.0, 3.0])
    drawn = rule_inputs(Rule(sgd), optim.SGD, theta, 0.01, 4, np.float64, 0)
    for draw in drawn.draws:
        np.testing.assert_array_equal(draw.arrays[THETA], theta)
        assert len(draw.arrays[GRADS]) == 4


@pytest.mark.parametrize("steps", [3, 5, 10])
def test_a_sign_of_an_average_is_told_from_that_of_the_next_one(steps: int) -> None:
    def lion(early: bool) -> Rule:
        def step(w: Any, g: Any, s: Any, lr: float, t: int) -> Any:
            m, s["m"] = s["m"], 0.98 * s["m"] + 0.02 * g
            return w - lr * np.sign(0.9 * (s["m"] if early else m) + 0.1 * g)

        return Rule(step, "m")

    def torch_lion(p: Any, s: Any, lr: float, t: int) -> None:
        m = s.setdefault("m", torch.zeros_like(p))
        p.sub_(lr * torch.sign(0.9 * m + 0.1 * p.grad))
        m.mul_(0.98).add_(0.02 * p.grad)

    for seed in range(4):
        assert check(lion(False), own(torch_lion), theta=(20,), steps=steps, seed=seed)
        wrong = check(lion(True), own(torch_lion), theta=(20,), steps=steps, seed=seed, raises=False, explain="off")
        assert not wrong.agrees


# --- what the step count is compared with ---


def compared(ours: Any, reference: Any, **options: Any) -> int:
    """The steps of the longest trajectory."""
    drawn = rule_inputs(ours, reference, (4,), 0.01, options.get("steps"), np.float64, 0)
    return max(len(draw.arrays[GRADS]) for draw in drawn.draws)


class Counting:
    """A rule that keeps its count and its constant in attributes."""

    def __init__(self, every: int) -> None:
        self.every, self.count = every, 0

    def init(self, theta: Any) -> Any:
        self.count = 0
        return {}

    def update(self, theta: Any, grad: Any, state: Any, learning_rate: float) -> Any:
        self.count += 1
        return theta - learning_rate * (grad if self.count % self.every else 2 * grad), state


HEARD: dict[str, Any] = {
    "min": Rule(lambda w, g, s, lr, t: w - lr * g / min(t, 70)),
    "a comparison": Rule(lambda w, g, s, lr, t: w - lr * g * (1 if t <= 70 else 0.5)),
    "a remainder": Rule(lambda w, g, s, lr, t: w - lr * g * (1 if t % 70 else 0.5)),
    "a share": Rule(lambda w, g, s, lr, t: w - lr * g * min(1.0, t / 70)),
    "a product": Rule(lambda w, g, s, lr, t: w - lr * g * min(1.0, t * (1 / 70))),
    "a floor": Rule(lambda w, g, s, lr, t: w - lr * g * 0.5 ** np.floor(t / 70)),
    "NumPy": Rule(lambda w, g, s, lr, t: w - lr * g / np.minimum(t, 70)),
    "attributes": Counting(70),
}


@pytest.mark.parametrize("name", HEARD)
def test_the_trajectory_goes_twice_beyond_what_the_rule_counts_to(name: str) -> None:
    assert compared(HEARD[name], optim.SGD) == 145


def test_it_goes_beyond_what_torchs_optimizer_counts_to() -> None:
    assert compared(Rule(sgd), own(torch_warm_up(70))) == 145
    assert compared(Rule(sgd), lambda p, lr: optim.ASGD(p, lr=lr, t0=70)) == 145
    assert compared(Rule(sgd), optim.SGD) == LONG


def test_what_is_too_far_and_what_steps_leave_out_is_a_gap() -> None:
    def gaps(ours: Any, reference: Any, steps: int | None) -> tuple[str, ...]:
        return rule_inputs(ours, reference, (4,), 0.01, steps, np.float64, 0).gaps

    late = Rule(adam(late=5000), "m", "v")
    assert gaps(late, optim.Adam, None) == ("the step count is compared with 5,000, but 14 steps were compared",)
    warm = (Rule(warm_up(100)), own(torch_warm_up(100)))
    assert gaps(*warm, 20) == ("the step count is compared with 100, but 20 steps were compared",)
    assert gaps(*warm, None) == gaps(*warm, 110) == ()


def test_a_constant_that_is_nothing_to_theta_is_no_gap() -> None:
    drawn = rule_inputs(FAMILIES["ASGD"][0], optim.ASGD, (4,), 0.01, None, np.float64, 0)
    assert not drawn.gaps  # t0 is a million, and says from when on an average is taken of θ
    averaged = rule_inputs(Rule(sgd), own(torch_warm_up(1_000_000)), (4,), 0.01, None, np.float64, 0)
    assert averaged.gaps


# --- learning rates that change ---


class RateWhenMade(optim.Optimizer):
    def __init__(self, params: Any, lr: float) -> None:
        super().__init__(params, {})
        self.lr = lr

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for p in self.param_groups[0]["params"]:
            p.sub_(self.lr * p.grad)


def test_a_reference_that_takes_its_rate_once_is_compared_at_one_rate_and_that_is_said() -> None:
    report = check(Rule(sgd), RateWhenMade, theta=(4,))
    assert report.agrees
    assert "the reference takes its learning rate when it is made" in str(report)
    assert not check(Rule(lambda w, g, s, lr, t: w - 0.01 * g), RateWhenMade, theta=(4,), raises=False).agrees


def test_groups_with_rates_of_their_own_follow() -> None:
    def groups(parameters: Any, lr: float) -> Any:
        first, second = parameters
        return optim.SGD([{"params": [first], "lr": lr / 10}, {"params": [second]}], lr=lr)

    class Two:
        def __init__(self, share: float) -> None:
            self.share = share

        def init(self, theta: Any) -> Any:
            return None

        def update(self, theta: Any, grad: Any, state: Any, eta: float) -> Any:
            return [theta[0] - eta * self.share * grad[0], theta[1] - eta * grad[1]], state

    assert check(Two(0.1), groups, theta=[(3,), (2,)])
    assert not check(Two(0.2), groups, theta=[(3,), (2,)], raises=False, explain="off").agrees


def test_two_optimizers_of_torch_are_compared_at_changing_rates() -> None:
    def step(p: Any, s: Any, lr: float, t: int) -> None:
        s["lr"] = s.get("lr", lr)
        p.sub_(s["lr"] * p.grad)

    assert check(optim.AdamW, optim.AdamW, theta=(3,), steps=4)
    stuck = check(lambda p, lr: Own(p, lr, step), optim.SGD, theta=(3,), raises=False, explain="off")
    assert {f.draw for f in stuck.differing} == {"large gradients"}
