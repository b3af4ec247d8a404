"""A wrong update rule is told by the line of its algorithm box that is wrong, for every rule of torch.optim."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import optim

from handgrad import CheckFailed, check
from handgrad.compare.diagnosis.rules.lines import units
from handgrad.compare.diagnosis.rules.recipes import RECIPES, recipe_of
from handgrad.compare.diagnosis.rules.search import Trajectory
from handgrad.compare.judge.case import Case, Output

OPTIONS: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {}),
    ("SGD", {"momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    ("SGD", {"momentum": 0.9, "nesterov": True, "maximize": True}),
    ("Adam", {"weight_decay": 0.1}),
    ("Adam", {"amsgrad": True}),
    ("AdamW", {}),
    ("NAdam", {"weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("RAdam", {"weight_decay": 0.1}),
    ("Adamax", {"weight_decay": 0.1}),
    ("Adadelta", {"weight_decay": 0.1}),
    ("Adagrad", {"lr_decay": 0.1, "initial_accumulator_value": 0.3}),
    ("RMSprop", {"centered": True, "momentum": 0.8}),
    ("Rprop", {}),
    ("ASGD", {"weight_decay": 0.1, "lambd": 0.2}),
    ("Adafactor", {"weight_decay": 0.1}),
]


def test_every_recipe_is_tried() -> None:
    assert {kind for kind, _ in OPTIONS} == set(RECIPES)


@pytest.mark.parametrize(("kind", "options"), OPTIONS)
def test_a_recipe_is_torchs_rule(kind: str, options: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    start, grads = rng.normal(0, 1, 20), rng.normal(0, 1, (10, 20))
    theta = torch.nn.Parameter(torch.from_numpy(start.copy()))
    optimizer = getattr(optim, kind)([theta], lr=0.03, **options)
    recipe = recipe_of(optimizer)
    assert recipe is not None
    nothing = np.zeros(20)
    case = Case(
        "theta after step 1", {"theta": start, "grads": grads, "learning rate": 0.03}, nothing, nothing, nothing
    )
    case.beside["theta after step 1"] = Output(nothing, nothing, nothing)
    ours, _ = Trajectory(recipe, case).run(units(recipe), recipe.hyper)
    near = 1e-8 if kind in ("NAdam", "ASGD") else 1e-14  # torch keeps a product and a rate of theirs in float32
    for g, here in zip(grads, ours, strict=True):
        theta.grad = torch.from_numpy(g.copy())
        optimizer.step()
        np.testing.assert_allclose(here, theta.detach().numpy(), near, near)


class Rule:
    """An update rule of one function of (θ, ∇, state, η, t)."""

    def __init__(self, step: Callable[..., Any], *names: str) -> None:
        self.step, self.names = step, names

    def init(self, theta: Any) -> Any:
        return {"t": 0, **{k: np.zeros_like(theta) for k in self.names}}

    def update(self, theta: Any, grad: Any, state: Any, learning_rate: float) -> Any:
        state = {**state, "t": state["t"] + 1}
        return self.step(theta, grad, state, learning_rate, state["t"]), state


def adagrad(root: Callable[[Any], Any], mean: bool) -> Rule:
    def step(w: Any, g: Any, s: Any, lr: float, t: int) -> Any:
        s["s"] = s["s"] + g * g
        return w - lr * g / (root(s["s"] / t if mean else s["s"]) + 1e-10)

    return Rule(step, "s")


def adamax(corrected: bool, beta: float) -> Rule:
    def step(w: Any, g: Any, s: Any, lr: float, t: int) -> Any:
        s["m"] = 0.9 * s["m"] + 0.1 * g
        s["u"] = np.maximum(beta * s["u"], np.abs(g) + 1e-8)
        return w - lr * s["m"] / (1 - 0.9**t if corrected else 1) / s["u"]

    return Rule(step, "m", "u")


def adadelta(w: Any, g: Any, s: Any, lr: float, t: int) -> Any:
    s["v"] = 0.9 * s["v"] + 0.1 * g * g
    d = np.sqrt(s["d"] + 1e-6) / np.sqrt(s["v"] + 1e-6) * g
    s["d"] = 0.9 * s["d"] + 0.1 * g * g
    return w - lr * d


def asgd(w: Any, g: Any, s: Any, lr: float, t: int) -> Any:
    eta = s["eta"] if t > 1 else lr  # torch's is of the rate of the step before
    s["eta"] = lr / (1 + 1e-4 * lr * t) ** 0.75
    return w - 1e-4 * eta * w - eta * g


def nadam(schedule: float, narrow: Any) -> Rule:
    """NAdam with its product of the schedule kept in a type of its own; 0.96 is torch's."""

    def step(w: Any, g: Any, s: Any, lr: float, t: int) -> Any:
        mu, after = (0.9 * (1 - 0.5 * schedule ** (k * 4e-3)) for k in (t, t + 1))
        s["product"] = narrow(mu) * (s["product"] if t > 1 else narrow(1))
        s["m"], s["v"] = 0.9 * s["m"] + 0.1 * g, 0.999 * s["v"] + 0.001 * g * g
        d = np.sqrt(s["v"] / (1 - 0.999**t)) + 1e-8
        product = float(s["product"])
        return w - lr * (1 - mu) / (1 - product) * g / d - lr * after / (1 - product * after) * s["m"] / d

    return Rule(step, "m", "v", "product")


def centred_rmsprop(w: Any, g: Any, s: Any, lr: float, t: int) -> Any:
    s["v"] = 0.01 * s["v"] + 0.99 * g * g
    return w - lr * g / (np.sqrt(s["v"]) + 1e-8)


def late_adam(w: Any, g: Any, s: Any, lr: float, t: int) -> Any:
    s["m"], s["v"], t = 0.9 * s["m"] + 0.1 * g, 0.999 * s["v"] + 0.001 * g * g, max(t - 1, 1)
    return w - lr * s["m"] / (1 - 0.9**t) / (np.sqrt(s["v"] / (1 - 0.999**t)) + 1e-8)


def forgetful_adagrad(beta: float) -> Rule:
    def step(w: Any, g: Any, s: Any, lr: float, t: int) -> Any:
        s["s"] = beta * s["s"] + (1 - beta) * g * g
        return w - lr * g / (np.sqrt(s["s"]) + 1e-10)

    return Rule(step, "s")


@pytest.mark.parametrize(
    ("rule", "reference"),
    [(Rule(asgd), optim.ASGD), (nadam(0.96, np.float64), optim.NAdam), (nadam(0.96, np.float32), optim.NAdam)],
)
def test_a_number_that_torch_keeps_in_float32_is_no_fault(rule: Any, reference: Any) -> None:
    assert check(rule, reference, theta=(12,), steps=4, learning_rate=0.03).agrees


@pytest.mark.parametrize(
    ("rule", "reference", "words"),
    [
        (nadam(0.95, np.float32), optim.NAdam, []),  # wrong, and by no line alone: not "right but for a float32"
        (nadam(0.95, np.float64), optim.NAdam, []),
        (Rule(centred_rmsprop, "v"), optim.RMSprop, ["α and 1 − α are swapped"]),
        (Rule(late_adam, "m", "v"), optim.Adam, ["the step count is one behind from the second step on"]),
        (forgetful_adagrad(0.9), optim.Adagrad, ["a moving average with 0.9 stands for the sum"]),
        (forgetful_adagrad(0.85), optim.Adagrad, []),
        (adagrad(lambda s: s, mean=False), optim.Adagrad, ["the root of s is not taken"]),
        (adagrad(np.sqrt, mean=True), optim.Adagrad, ["s / t stands where s belongs"]),
        (adamax(False, 0.999), optim.Adamax, ["the division by 1 - β₁ ** t is left out"]),
        (adamax(True, 0.98), optim.Adamax, ["β₂ is 0.98, not 0.999"]),
        (adamax(False, 0.98), optim.Adamax, []),  # two faults, of which one is a number that is nowhere in the rule
        (Rule(adadelta, "v", "d"), optim.Adadelta, ["g stands where d belongs"]),
    ],
)
def test_the_line_is_named(rule: Any, reference: Any, words: list[str]) -> None:
    with pytest.raises(CheckFailed) as caught:
        check(rule, reference, theta=(12,), steps=4, learning_rate=0.03)
    for finding in caught.value.report.findings:
        if finding.differs:
            assert len(finding.phrases) == len(words)
            assert all(word in cause for word, cause in zip(words, finding.phrases, strict=True))


class Plain:
    """A rule as a plain class has it: its momentum on the class, its weight decay on the instance."""

    momentum = 0.9
    name = "mine"
    lr = 3.0  # the learning rate is check's

    def __init__(self, weight_decay: float) -> None:
        self.weight_decay = weight_decay

    def init(self, theta: Any) -> Any:
        return {"b": np.zeros_like(theta)}

    def update(self, theta: Any, grad: Any, state: Any, learning_rate: float) -> Any:
        b = self.momentum * state["b"] + grad + self.weight_decay * theta
        return theta - learning_rate * b, {"b": b}


class PlainAdam(Rule):
    beta1, beta2, eps = 0.8, 0.95, 1e-6

    def __init__(self) -> None:
        def step(w: Any, g: Any, s: Any, lr: float, t: int) -> Any:
            s["m"], s["v"] = 0.8 * s["m"] + 0.2 * g, 0.95 * s["v"] + 0.05 * g * g
            return w - lr * s["m"] / (1 - 0.8**t) / (np.sqrt(s["v"] / (1 - 0.95**t)) + 1e-6)

        super().__init__(step, "m", "v")


def test_a_plain_class_tells_torch_its_hyperparameters_and_the_title_says_which() -> None:
    report = check(Plain(0.1), optim.SGD, theta=(8,), steps=4)
    assert report.name == "Plain beside torch SGD(momentum=0.9, weight_decay=0.1)"
    report = check(PlainAdam(), optim.Adam, theta=(8,), steps=4)
    assert report.name == "PlainAdam beside torch Adam(eps=1e-06, betas=(0.8, 0.95))"
