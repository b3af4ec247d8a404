"""A cause that was observed claims nothing of what applying it leaves; one that was applied says how much."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from handgrad import CheckFailed, check, manual
from handgrad.compare.checking.findings import Finding
from tests.diagnosis.diagnosed import LossOf

LEAVES = "applying it leaves"


def cube(x: Any) -> Any:
    return x**3


def slope(dy: Any, x: Any) -> Any:
    return 3 * dy * x**2


def with_one_element_off(dy: Any, x: Any) -> Any:
    wrong = slope(dy, x)
    wrong[1, 2] *= 1.001
    return wrong


class Accumulating:
    """x³, whose gradients add up from call to call."""

    kept: Any = 0

    def forward(self, params: Any, x: Any) -> Any:
        return cube(x), x

    def input_gradient(self, params: Any, cache: Any, dy: Any) -> Any:
        self.kept = self.kept + slope(dy, cache) if np.shape(self.kept) == np.shape(dy) else slope(dy, cache)
        return self.kept


class InPlace(Accumulating):
    """x³, whose backward pass writes into its output."""

    def forward(self, params: Any, x: Any) -> Any:
        y = cube(x)
        return y, (x, y)

    def input_gradient(self, params: Any, cache: Any, dy: Any) -> Any:
        cache[1][:] = 0
        return slope(dy, cache[0])


def through_float16(dy: Any, x: Any) -> Any:
    return slope(dy, x).astype(np.float16).astype(x.dtype)


def in_float32(dy: Any, x: Any) -> Any:
    return slope(dy, x).astype(np.float32)


def relu(x: Any) -> Any:
    return np.maximum(x, 0)


RULE = {"alpha": 0.0, "centered": True}


def centered_on_nothing(parameters: Any, lr: float) -> Any:
    return torch.optim.RMSprop(parameters, lr=lr, **RULE)


class Climbing:
    """Gradient ascent."""

    def init(self, theta: Any) -> Any:
        return {}

    def update(self, theta: Any, grad: Any, state: Any, learning_rate: float) -> Any:
        return theta + learning_rate * grad, state


OBSERVED: dict[str, tuple[str, Callable[[], Any]]] = {
    "single element": (
        "a single element is off",
        lambda: check((cube, with_one_element_off), cube, x=np.linspace(1, 2, 12).reshape(3, 4)),
    ),
    "lower precision": ("float16 precision", lambda: check((cube, through_float16), cube, x=(3, 4))),
    "narrower result": ("the result is float32", lambda: check((cube, in_float32), cube, x=(3, 4))),
    "kept between calls": ("never zeroed", lambda: check(Accumulating(), cube, x=(3, 4))),
    "written in place": ("writes into the output in place", lambda: check(InPlace(), cube, x=(3, 4))),
    "no result": ("the derivation raises ValueError", lambda: check((cube, lambda dy, x: dy @ x), cube, x=(3, 4))),
    "missing output": ("the gradient of w is missing",
                       lambda: check((lambda x, w: x * w, lambda dy, x, w: {"x": dy * w}), lambda x, w: x * w,
                                     x=(3, 4), params={"w": (4,)})),
    "subgradient convention": (
        "at x = 0 exactly",
        lambda: check((relu, lambda dy, x: dy * (x >= 0)), nn.ReLU(), x=(4, 6)),
    ),
    "value at a point": (
        "at x = 0 exactly",
        lambda: check((lambda x: np.where(x < 0, -1.0, 1.0), lambda dy, x: 0 * x), torch.sign, x=(4, 6)),
    ),
    "rounding of the reference": (
        "by rounding alone",
        lambda: check(manual.RMSprop(**RULE), centered_on_nothing, theta=(50,), steps=1),
    ),
}  # fmt: skip

APPLIED: dict[str, Callable[[], Any]] = {
    "sign": lambda: check((cube, lambda dy, x: -slope(dy, x)), cube, x=(3, 4)),
    "factor": lambda: check((cube, lambda dy, x: slope(dy, x) / 2), cube, x=(3, 4)),
    "operation": lambda: check((cube, lambda dy, x: dy * x**2), cube, x=(3, 4)),
    "loss": lambda: check(
        LossOf(lambda z, y: ((z - y) ** 2).mean(), lambda z, y: 2 * (z + y) / z.size), nn.MSELoss(), output=(4, 3),
        target=(4, 3),
    ),
    "forward": lambda: check((lambda x: np.tanh(x) + 1, lambda dy, x: dy / np.cosh(x) ** 2), torch.tanh, x=(3, 4)),
    "update rule": lambda: check(Climbing(), torch.optim.SGD, theta=(5,)),
}  # fmt: skip


def differing(run: Callable[[], Any]) -> list[Finding]:
    with pytest.raises(CheckFailed) as caught:
        run()
    return [f for f in caught.value.report.findings if f.differs]


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("edit", OBSERVED)
def test_what_was_observed_claims_no_residual(edit: str) -> None:
    words, run = OBSERVED[edit]
    findings = [f for f in differing(run) if any(c.edit == edit for c in f.causes)]
    assert findings
    for finding in findings:
        assert words in finding.phrases[0]
        assert [c.residual for c in finding.causes] == [None] * len(finding.causes)
        assert LEAVES not in str(finding.notes)


@pytest.mark.parametrize("what", APPLIED)
def test_what_was_applied_says_what_it_leaves(what: str) -> None:
    for finding in differing(APPLIED[what]):
        assert finding.causes
        for cause in finding.causes:
            assert cause.residual is not None
            assert 0 <= cause.residual <= 1
            assert f"cause: {cause.phrase} ({LEAVES} {cause.residual:.2g} of the bound)" in finding.notes
