"""A wrong update rule beside an optimizer that nobody wrote down here is told by the lines of what it does."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from handgrad import CheckFailed, check
from handgrad.compare.diagnosis.rules.read_off import read_off

Step = Callable[[Any, Any, Any, float], Any]


class Own(torch.optim.Optimizer):
    """An optimizer of one function of (θ, ∇, state, η) that changes θ in place."""

    def __init__(self, params: Any, lr: float, change: Step) -> None:
        super().__init__(params, {"lr": lr})
        self.change = change

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                if not state:
                    state.update(t=0, m=torch.zeros_like(p), v=torch.zeros_like(p))
                state["t"] += 1
                self.change(p, p.grad, state, group["lr"])


class Rule:
    """The manual side, likewise."""

    def __init__(self, change: Step) -> None:
        self.change = change

    def init(self, theta: Any) -> Any:
        return {"t": 0, "m": np.zeros_like(theta), "v": np.zeros_like(theta)}

    def update(self, theta: Any, grad: Any, state: Any, learning_rate: float) -> Any:
        state = {**state, "t": state["t"] + 1}
        return self.change(theta, grad, state, learning_rate), state


def lion(p: Any, g: Any, s: Any, lr: float) -> None:
    """Chen et al. 2023, with decay, its weights written as plain numbers."""
    u = (0.9 * s["m"] + 0.1 * g).sign()
    p.mul_(1 - lr * 0.3).add_(u, alpha=-lr)
    s["m"].mul_(0.98).add_(g, alpha=0.02)


def wrong_lion(fault: str) -> Step:
    def change(p: Any, g: Any, s: Any, lr: float) -> Any:
        m = 0.98 * s["m"] + 0.02 * g if fault == "early" else s["m"]
        u = np.sign(0.98 * m + 0.02 * g if fault == "weights" else 0.9 * m + 0.1 * g)
        s["m"] = 0.98 * s["m"] + 0.02 * (u if fault == "averages u" else g)
        return p * (1 - (1 if fault == "no rate" else lr) * (0 if fault == "no decay" else 0.3)) - lr * u

    return change


def belief(p: Any, g: Any, s: Any, lr: float) -> None:
    """Zhuang et al. 2020, its first moment made anew in every step."""
    s["m"] = 0.9 * s["m"] + 0.1 * g
    d = g - s["m"]
    s["v"].mul_(0.99).addcmul_(d, d, value=0.01)
    p.addcdiv_(s["m"] / (1 - 0.9 ** s["t"]), (s["v"] / (1 - 0.99 ** s["t"])).sqrt() + 1e-3, value=-lr)


def wrong_belief(fault: str) -> Step:
    def change(p: Any, g: Any, s: Any, lr: float) -> Any:
        s["m"] = 0.9 * s["m"] + 0.1 * g
        d = g if fault == "no belief" else g - s["m"]
        s["v"] = 0.99 * s["v"] + 0.01 * d * d
        first, second = (0.99, 0.9) if fault == "exchanged" else (0.9, 0.99)
        v = s["v"] / (1 if fault == "no correction" else 1 - second ** s["t"])
        return p - lr * s["m"] / (1 - first ** s["t"]) / (np.sqrt(v) + 1e-3)

    return change


@pytest.mark.parametrize(
    ("reference", "wrong", "words"),
    [
        (lion, wrong_lion("early"), "comes after 'm = m * 0.98 + g * 0.02'|comes before"),
        (lion, wrong_lion("weights"), "the weights 0.98 and 0.02 stand for 0.9 and 0.1"),
        (lion, wrong_lion("no rate"), "the factor lr is left out in 'θ = θ * (1 - lr * 0.3)'"),
        (lion, wrong_lion("no decay"), "the factor 1 - lr * 0.3 is left out"),
        (lion, wrong_lion("averages u"), "stands where g belongs in 'm = m * 0.98 + 0.02 * g'"),
        (belief, wrong_belief("no belief"), "the subtracted term new_m is left out in"),
        (belief, wrong_belief("no correction"), "the division by 1 - 0.99 ** t is left out"),
        (belief, wrong_belief("exchanged"), "0.9 and 0.99 are exchanged in 'θ = "),
    ],
)
def test_the_line_is_named(reference: Step, wrong: Step, words: str) -> None:
    with pytest.raises(CheckFailed) as caught:
        check(Rule(wrong), lambda p, lr: Own(p, lr, reference), theta=(7,), steps=5)
    found = [f for f in caught.value.report.findings if f.differs]
    assert found
    for finding in found:
        (cause,) = finding.phrases
        assert any(w in cause for w in words.split("|"))


@pytest.mark.parametrize("reference", [lion, belief])
def test_the_right_rule_agrees(reference: Step) -> None:
    right = wrong_lion("") if reference is lion else wrong_belief("")
    assert not check(Rule(right), lambda p, lr: Own(p, lr, reference), theta=(7,), steps=5, raises=False).differing


def test_what_cannot_be_read_off_costs_a_name_and_no_more() -> None:
    def odd(p: Any, g: Any, s: Any, lr: float) -> None:
        p.sub_(lr * torch.cumsum(g, 0))

    assert read_off(lambda p, lr: Own(p, lr, odd), np.ones(4), 0.1) is None
    with pytest.raises(CheckFailed) as caught:
        check(Rule(lambda p, g, s, lr: p - lr * g), lambda p, lr: Own(p, lr, odd), theta=(7,), steps=3)
    assert all(f.phrases == () for f in caught.value.report.findings if f.differs)


def test_a_rule_that_is_almost_that_line_has_no_cause() -> None:
    def almost(p: Any, g: Any, s: Any, lr: float) -> Any:
        return wrong_belief("no correction")(p, g, s, lr) * (1 + 1e-9 * np.arange(p.size))

    with pytest.raises(CheckFailed) as caught:
        check(Rule(almost), lambda p, lr: Own(p, lr, belief), theta=(7,), steps=5)
    assert all(f.phrases == () for f in caught.value.report.findings if f.differs)
