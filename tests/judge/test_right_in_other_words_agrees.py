"""A right derivation agrees however it is written, at any size of number; with a fault of 1e-11 in one element not."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.detection.rewritten import Off, main
from handgrad import manual
from handgrad.compare.checking import check as checking
from handgrad.compare.checking.draws import Draw, Drawn
from handgrad.compare.checking.evaluate import evaluate
from handgrad.compare.judge.agreement import WITHIN_REFERENCE
from handgrad.compare.judge.calls import CallSides
from handgrad.compare.judge.derivations import Functions
from handgrad.compare.judge.sides import Arrays
from handgrad.compare.judge.trajectories import TrajectorySides
from handgrad.compare.rounding.model import Precision, unseen_rounding
from tests.derivations.case import Derivation
from tests.derivations.right.rewritten import cases

ALL = [*cases("float64", (1e-6, 10.0)), *cases("float32", (10.0,))]  # all scales: benchmarks.detection.rewritten
PARTS = 6


@pytest.mark.parametrize("part", range(PARTS))
def test_it_agrees(part: int) -> None:
    for case in ALL[part::PARTS]:
        with np.errstate(all="ignore"):
            report = checking.run(case.name, Drawn(case.sides, [Draw("draw", case.inputs)]))
        assert report.agrees, str(report)


SMOOTH = [case for case in cases("float64", (1.0,)) if "theta" not in case.inputs]
RULES = [case for case in cases("float64", (1.0,)) if "theta" in case.inputs]


@pytest.mark.parametrize("case", [*SMOOTH[::15], RULES[0]], ids=lambda case: case.name)
def test_a_small_fault_in_it_differs(case: Derivation) -> None:
    for output in list(case.sides.torch(case.inputs))[:2]:
        with np.errstate(all="ignore"):
            assert not evaluate(Off(case.sides, output, 1e-11), case.inputs)[output].verdict.agrees, output


def test_the_benchmark_counts_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "tanh", "--seeds", "1"]) == 0
    assert re.search(
        r"^\d+ evaluations of 7 forms, 0 differ; of \d+ faults of 1e-11, 0 agree$", capsys.readouterr().out
    )


# --- what they taught ------------------------------------------------------------------------------------------


def evaluated(forward: Any, backward: Any, reference: Any) -> Arrays:
    rng = np.random.default_rng(0)
    inputs = {"x": rng.normal(size=(3, 5)), "dy": rng.normal(size=(3, 5))}
    return evaluate(CallSides(Functions(forward, backward), reference, ("x",)), inputs)


def leaky(slope: float) -> Arrays:
    """0.55 − 0.45 is made of plain numbers, which no bound follows, and has lost two bits."""
    a, b = (1 + slope) / 2, (1 - slope) / 2
    return evaluated(
        lambda x: a * x + b * abs(x), lambda dy, x: dy * (a + b * np.where(x > 0, 1.0, -1.0)), nn.LeakyReLU(0.1)
    )


def test_constants_that_cancel_out_of_sight() -> None:
    assert all(e.verdict.agrees for e in leaky(0.1).values())
    assert not any(e.verdict.agrees for e in leaky(0.1 * (1 + 1e-13)).values())


def test_what_a_plain_number_may_be_off_by() -> None:
    p = Precision.of(np.float64)
    assert unseen_rounding(p, [0.0, 0.5, 3.0, np.inf]).tolist() == [0, 0, 0, 0]
    assert unseen_rounding(p, 0.3) == 2 * p.unit * 0.3
    assert unseen_rounding(p, 1 - 0.99) >= abs((1 - 0.99) - 0.01)
    assert unseen_rounding(p, 1e-5) < 1e-20  # no difference: its bits go on


class NAdam:
    """Torch's to the letter, but for its product of momenta, which is in float64."""

    def __init__(self, off: float = 0.0) -> None:
        self.off = off

    def init(self, theta: Any) -> Any:
        return {"m": 0 * theta, "v": 0 * theta, "t": 0, "product": 1.0}

    def update(self, theta: Any, grad: Any, state: Any, learning_rate: float) -> Any:
        t = state["t"] + 1
        mu, after = (0.9 * (1 - 0.5 * 0.96 ** (k * 0.004)) for k in (t, t + 1))
        product = state["product"] * mu * (1 + self.off)
        m, v = 0.9 * state["m"] + (1 - 0.9) * grad, 0.999 * state["v"] + (1 - 0.999) * grad * grad
        step = (1 - mu) / (1 - product) * grad + after / (1 - product * after) * m
        after = theta - learning_rate * step / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        return after, {"m": m, "v": v, "t": t, "product": product}


@pytest.mark.parametrize(("off", "right"), [(0.0, True), (1e-10, False)])
def test_a_number_that_torch_keeps_in_float32(off: float, right: bool) -> None:
    rng = np.random.default_rng(0)
    sides = TrajectorySides(NAdam(off), lambda p, lr: torch.optim.NAdam(p, lr=lr))  # type: ignore[arg-type]
    inputs = {"theta": rng.normal(size=4), "grads": rng.normal(size=(3, 4)), "learning rate": 0.01}
    verdict = evaluate(sides, inputs)["theta after step 3"].verdict
    assert verdict.agrees is right
    assert verdict.largest_difference > 1e-11  # from torch's own, either way
    assert not right or verdict.rule == WITHIN_REFERENCE


@pytest.mark.parametrize(("sixth", "right"), [(1 / 6, True), (1 / 6 * (1 + 1e-11), False), (1 / 6.0001, False)])
def test_a_kernel_with_a_constant_in_float32(sixth: float, right: bool) -> None:
    """Torch's hard sigmoid multiplies by a sixth in float32 on its way back."""
    found = evaluated(lambda x: np.clip(x / 6 + 0.5, 0, 1), lambda dy, x: dy * (abs(x) < 3) * sixth, nn.Hardsigmoid())
    assert found["input gradient"].verdict.agrees is right


def test_a_rule_may_keep_a_list_of_its_own() -> None:
    class Listing(manual.SGD):
        def init(self, theta: Any) -> Any:
            return {"seen": []}

        def update(self, theta: Any, grad: Any, state: Any, learning_rate: float) -> Any:
            return theta - learning_rate * grad, {"seen": [*state["seen"], grad]}

    assert all(f.agrees for f in checking.check(Listing(), torch.optim.SGD, theta=(3,)).findings)
