"""Edits of an update rule that no single line shows: another start, two lines that trade places, an old value."""

from typing import Any

import numpy as np
import pytest
import torch

from handgrad import CheckFailed, check


class Rule:
    """An update rule of one function of (θ, ∇, state, η, t), whose arrays start at a number."""

    def __init__(self, step: Any, *names: str, start: float = 0.0) -> None:
        self.step, self.names, self.start = step, names, start

    def init(self, theta: Any) -> Any:
        return {"t": 0, **{k: np.full_like(theta, self.start) for k in self.names}}

    def update(self, theta: Any, grad: Any, state: Any, learning_rate: float) -> Any:
        state = {**state, "t": state["t"] + 1}
        return self.step(theta, grad, state, learning_rate, state["t"]), state


def adam(first: float, second: float, top: str = "", inside: bool = False) -> Any:
    def step(w: Any, g: Any, s: Any, lr: float, t: int) -> Any:
        old = s["v"]
        s["m"], s["v"] = 0.7 * s["m"] + 0.3 * g, 0.95 * s["v"] + 0.05 * g * g
        m, v = s["m"] / (1 - first**t), s["v"]
        if top == "forgets":
            v = np.maximum(old, v)
        elif top:
            s["top"] = np.maximum(s["top"], v / (1 - second**t) if top == "corrected" else v)
            v = s["top"] * (1 - second**t) if top == "corrected" else s["top"]
        v = v / (1 - second**t)
        w = w - lr * 0.1 * w if inside else w
        return w - lr * m / (np.sqrt(v + 1e-3) if inside else np.sqrt(v) + 1e-3)

    return step


def adagrad(w: Any, g: Any, s: Any, lr: float, t: int) -> Any:
    s["s"] = s["s"] + g * g
    return w - lr / (1 + 0.2 * t) * g / (np.sqrt(s["s"]) + 1e-3)


def adadelta(w: Any, g: Any, s: Any, lr: float, t: int) -> Any:
    s["v"] = 0.9 * s["v"] + 0.1 * g * g
    d = lr * np.sqrt(s["u"] + 1e-3) / np.sqrt(s["v"] + 1e-3) * g
    s["u"] = 0.9 * s["u"] + 0.1 * d * d
    return w - d


def adafactor(scaled: bool, clipped: bool) -> Any:
    def step(w: Any, g: Any, s: Any, lr: float, t: int) -> Any:
        rate = min(lr, t**-0.5) * (max(1e-3, np.sqrt((w * w).mean())) if scaled else 1)
        s["v"] = s["v"] + t**-0.8 * (g * g - s["v"])
        d = g / np.sqrt(np.maximum(s["v"], np.finfo(w.dtype).eps ** 2))
        return w - rate * d / (max(1, np.sqrt((d * d).mean())) if clipped else 1)

    return step


def adams(**options: Any) -> Any:
    return lambda p, lr: torch.optim.Adam(p, lr=lr, betas=(0.7, 0.95), eps=1e-3, **options)


def adafactors(p: Any, lr: float) -> Any:
    return torch.optim.Adafactor(p, lr=lr, weight_decay=0.0)


def starting(p: Any, lr: float) -> Any:
    return torch.optim.Adagrad(p, lr=lr, lr_decay=0.2, initial_accumulator_value=0.3, eps=1e-3)


@pytest.mark.parametrize(
    ("rule", "reference", "words"),
    [
        (Rule(adam(0.95, 0.7), "m", "v"), adams(), ["β₁ and β₂ are exchanged in"]),
        (Rule(adam(0.7, 0.95, "forgets"), "m", "v"), adams(amsgrad=True), ["v of the step before stands where v_max"]),
        (
            Rule(adam(0.7, 0.95, "corrected"), "m", "v", "top"),
            adams(amsgrad=True),
            ["the largest second moment is taken of the bias-corrected ones"],
        ),
        (
            Rule(adam(0.7, 0.95, "top", inside=True), "m", "v", "top"),
            adams(weight_decay=0.1, amsgrad=True),
            ["ε stands inside the root", "the weight decay is decoupled"],
        ),
        (Rule(adagrad, "s"), starting, ["the count of steps is one too large", "s starts at 0, not at 0.3"]),
        (
            Rule(adadelta, "v", "u"),
            lambda p, lr: torch.optim.Adadelta(p, lr=lr, rho=0.9, eps=1e-3),
            ["d is multiplied by the learning rate before it stands in"],
        ),
        (Rule(adafactor(False, True), "v"), adafactors, ["the factor size is left out"]),
        (Rule(adafactor(True, False), "v"), adafactors, ["the division by maximum(1, sqrt((d ** 2).mean())"]),
    ],
)
def test_it_is_named(rule: Any, reference: Any, words: list[str]) -> None:
    with pytest.raises(CheckFailed) as caught:
        check(rule, reference, theta=(12,), steps=4, learning_rate=0.3)
    for finding in caught.value.report.findings:
        if finding.differs:
            assert len(finding.phrases) == len(words), finding.phrases
            assert all(any(word in cause for cause in finding.phrases) for word in words), finding.phrases


def test_the_right_adafactor_agrees() -> None:
    assert check(Rule(adafactor(True, True), "v"), adafactors, theta=(12,), steps=4, learning_rate=0.3).agrees
