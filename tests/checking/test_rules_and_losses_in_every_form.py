"""Update rules over dictionaries and lists, in place and in torch, and losses in every form; each with a fault."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from handgrad import UsageError, check
from tests.derivations.forms import LOSSES, RULES, SHAPES, Momentum, groups, squares


@pytest.mark.parametrize("name", RULES)
def test_a_rule_over_tensors_is_judged(name: str) -> None:
    form = RULES[name]
    assert check(form.right, form.reference, **form.options)
    report = check(form.wrong, form.reference, **form.options, raises=False)
    differ = [f.tensor for f in report.findings if f.differs]
    assert differ
    assert all("after step" in tensor for tensor in differ)


def test_the_tensor_of_a_rule_is_named() -> None:
    report = check(Momentum(on="Wb"), groups, theta=SHAPES, steps=2, raises=False)
    assert {f.tensor for f in report.findings if f.differs} == {"b after step 1", "b after step 2"}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("shape", [(4, 3), ("n", "k")])
def test_a_loss_in_any_form_is_judged(name: str, shape: Any) -> None:
    form = LOSSES[name]
    assert check(form.right, form.reference, output=shape, target=shape)
    report = check(form.wrong, form.reference, output=shape, target=shape, raises=False)
    assert {f.tensor for f in report.findings if f.differs} == {"loss gradient"}


def test_a_loss_of_several_arguments_is_judged() -> None:
    def triplet(a: Any, p: Any, n: Any) -> Any:
        J = np.maximum(squares(a, p).sum(1) - squares(a, n).sum(1) + 1, 0)
        on = (J > 0)[:, None]
        return J.sum(), (2 * (n - p) * on, 2 * (p - a) * on, 2 * (a - n) * on)

    def of_torch(a: Any, p: Any, n: Any) -> Any:
        return torch.relu(squares(a, p).sum(1) - squares(a, n).sum(1) + 1).sum()

    shapes = {"a": ("m", "d"), "p": ("m", "d"), "n": ("m", "d")}
    assert check(triplet, of_torch, inputs=shapes)

    def wrong(a: Any, p: Any, n: Any) -> Any:
        J, (da, dp, dn) = triplet(a, p, n)
        return J, (da, dp, -dn)

    report = check(wrong, of_torch, inputs=shapes, raises=False)
    assert {f.tensor for f in report.findings if f.differs} == {"gradient of n"}


def test_a_function_that_returns_no_gradient_is_refused() -> None:
    with pytest.raises(UsageError, match=r"a loss that is one function must return \(J, gradient\), got float64"):
        check(lambda o, t: squares(o, t).sum(), functional.mse_loss, output=(4, 3), target=(4, 3))


class OwnRate:
    def init(self, theta: Any) -> Any:
        return {}

    def update(self, theta: Any, grad: Any, state: Any, learning_rate: float) -> Any:
        return theta - 0.01 * grad, state


def test_a_rule_that_ignores_the_learning_rate_is_found() -> None:
    report = check(OwnRate(), torch.optim.SGD, theta=(8,), raises=False)
    assert not report.agrees
    assert {f.draw for f in report.findings if f.differs} >= {"small gradients", "large gradients"}


def test_the_cause_in_a_rule_over_tensors_is_named() -> None:
    def plain(parameters: Any, lr: float) -> Any:
        return torch.optim.SGD(parameters, lr=lr, momentum=0.9)

    report = check(Momentum(mu=0.8, decay=0.0), plain, theta=SHAPES, steps=3, raises=False)
    assert any("0.8" in cause for cause in report.causes), str(report)


def test_hyperparameters_of_an_optimizer_in_torch_reach_the_reference() -> None:
    class Mine(torch.optim.SGD):
        def __init__(self, params: Any, lr: float, momentum: float = 0.9) -> None:
            super().__init__(params, lr=lr, momentum=momentum)

    assert "momentum=0.9" in check(Mine, torch.optim.SGD, theta=(8,)).name
