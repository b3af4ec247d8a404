"""A derivation that multiplies by 0 or 1, as masks do, is judged as sharply as any other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from torch import nn

from handgrad import CheckFailed, check


class Hinge:
    """The multi-class hinge, Σ_k [k ≠ y] max(0, 1 + ŷ_k − ŷ_y) / (NK), with a part of its gradient off by `off`."""

    def __init__(self, off: float = 0.0) -> None:
        self.off = off

    def forward(self, output: Any, target: Any) -> Any:
        one_hot = (target[:, None] == np.arange(output.shape[1])) * 1.0
        right = (output * one_hot).sum(axis=1, keepdims=True)
        margins = np.maximum(0, 1 + output - right) * (1 - one_hot)
        return margins.sum() / output.size, (one_hot, margins)

    def gradient(self, cache: Any) -> Any:
        one_hot, margins = cache
        violated = (margins > 0) * 1.0
        slope = violated - one_hot * violated.sum(axis=1, keepdims=True)
        return (slope + one_hot * self.off) / slope.size


def test_right_it_agrees() -> None:
    report = check(Hinge(), nn.MultiMarginLoss(), output=(5, 4), target="class")
    assert all(f.verdict.looseness < 1e-12 for f in report.findings)


@pytest.mark.parametrize("off", [0.9, 1e-3, 1e-11])
def test_wrong_it_differs(off: float) -> None:
    with pytest.raises(CheckFailed) as caught:
        check(Hinge(off), nn.MultiMarginLoss(), output=(5, 4), target="class")
    assert [f.tensor for f in caught.value.report.findings if f.differs] == ["loss gradient"]


class ReLULayer:
    """max(0, x Wᵀ), its derivative from its own output; shut units leak a part of the gradient."""

    def __init__(self, leak: float = 0.0) -> None:
        self.leak = leak

    def init(self, rng: np.random.Generator) -> Any:
        return {"W": rng.normal(size=(5, 4))}

    def forward(self, params: Any, x: Any) -> Any:
        a = np.maximum(x @ params["W"].T, 0)
        return a, (x, a)

    def input_gradient(self, params: Any, cache: Any, dy: Any) -> Any:
        return self._through(cache[1], dy) @ params["W"]

    def parameter_gradients(self, params: Any, cache: Any, dy: Any) -> Any:
        return {"W": self._through(cache[1], dy).T @ cache[0]}

    def _through(self, a: Any, dy: Any) -> Any:
        return dy * (a > 0) + self.leak * dy * (a <= 0)


def relu_layer(x: Any, W: Any) -> Any:
    return (x @ W.T).relu()


def test_a_mask_made_of_a_rounded_output_is_decided() -> None:
    report = check(ReLULayer(), relu_layer, x=(3, 4))
    assert all(f.verdict.looseness < 1e-12 for f in report.findings)


@pytest.mark.parametrize("leak", [1.0, 1e-6, 1e-11])
def test_what_leaks_through_shut_units_differs(leak: float) -> None:
    with pytest.raises(CheckFailed) as caught:
        check(ReLULayer(leak), relu_layer, x=(3, 4))
    assert {f.tensor for f in caught.value.report.findings if f.differs} == {"input gradient", "gradient of W"}
