"""At a kink a derivation that takes another subgradient than torch is told so; one that takes torch's agrees."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from handgrad import CheckFailed, check, manual
from handgrad.compare.checking.findings import Finding

Slope = Callable[[Any], Any]


class Elementwise:
    """A function and its derivative."""

    def __init__(self, f: Slope, slope: Slope) -> None:
        self.f, self.slope = f, slope

    def forward(self, params: Any, x: Any) -> Any:
        return self.f(x), x

    def input_gradient(self, params: Any, cache: Any, dy: Any) -> Any:
        return dy * self.slope(cache)


def relu(z: Any) -> Any:
    return np.maximum(z, 0)


def clip(z: Any) -> Any:
    return np.clip(z, -1, 1)


def huber(r: Any) -> Any:
    return np.where(np.abs(r) < 0.5, r * r / 2, 0.5 * (np.abs(r) - 0.25))


# (forward, torch's reference, the slope that torch takes, another, what is said of it)
ELEMENTWISE: dict[str, tuple[Slope, Any, Slope, Slope, str]] = {
    "relu": (relu, nn.ReLU(), lambda z: z > 0, lambda z: z >= 0, "at x = 0 exactly: manual 1, torch 0"),
    "relu, the mean": (relu, nn.ReLU(), lambda z: z > 0, lambda z: np.heaviside(z, 0.5), "manual 0.5, torch 0"),
    "leaky relu": (
        lambda z: np.where(z > 0, z, 0.1 * z), nn.LeakyReLU(0.1),
        lambda z: np.where(z > 0, 1, 0.1), lambda z: np.where(z >= 0, 1, 0.1), "manual 1, torch 0.1",
    ),
    "hard-tanh": (
        clip, nn.Hardtanh(), lambda z: np.abs(z) < 1, lambda z: np.abs(z) <= 1, "at x = 1 exactly: manual 1, torch 0",
    ),
    "abs": (np.abs, torch.abs, np.sign, lambda z: np.where(z < 0, -1, 1), "at x = 0 exactly: manual 1, torch 0"),
    "relu6": (
        lambda z: np.clip(z, 0, 6), nn.ReLU6(), lambda z: (z > 0) & (z < 6), lambda z: (z > 0) & (z <= 6),
        "at x = 6 exactly: manual 1, torch 0",
    ),
    "soft shrinkage": (
        lambda z: np.sign(z) * np.maximum(np.abs(z) - 0.5, 0), nn.Softshrink(0.5),
        lambda z: np.abs(z) > 0.5, lambda z: np.abs(z) >= 0.5, "at x = 0.5 exactly: manual 1, torch 0",
    ),
}  # fmt: skip


def failure(*args: Any, **kwargs: Any) -> dict[str, Finding]:
    with pytest.raises(CheckFailed) as caught:
        check(*args, **kwargs)
    return {f.tensor: f for f in caught.value.report.findings if f.differs}


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_torchs_own_convention_agrees(name: str) -> None:
    f, reference, right, _, _ = ELEMENTWISE[name]
    report = check(Elementwise(f, right), reference, x=(4, 6))
    assert all(found.draws > 4 and found.agrees for found in report.findings)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_another_is_named(name: str) -> None:
    f, reference, _, other, said = ELEMENTWISE[name]
    found = failure(Elementwise(f, other), reference, x=(4, 6))
    assert set(found) == {"input gradient"}
    finding = found["input gradient"]
    assert finding.draw in ("kinks", "dyadic")
    assert any(said in cause and "torch's convention there is the subgradient" in cause for cause in finding.phrases)
    text = "\n".join(finding.notes)
    assert "both lie between the slopes from the left" in text
    assert "no derivative exists: the point is a kink" in text


def test_what_is_no_subgradient_is_said_to_be_none() -> None:
    wrong = Elementwise(relu, lambda z: np.where(z == 0, 2, z > 0))
    (finding,) = failure(wrong, nn.ReLU(), x=(4, 6)).values()
    assert "manual not between the slopes from the left, 0, and from the right, 1: no subgradient" in str(finding.notes)


def test_minus_zero_has_its_own_name() -> None:
    wrong = Elementwise(relu, lambda z: (z > 0) | ((z == 0) & np.signbit(z)))
    (finding,) = failure(wrong, nn.ReLU(), x=(4, 6)).values()
    assert finding.phrases[0].startswith("at x = −0 exactly: manual 1, torch 0")


def test_a_forward_that_differs_at_a_jump() -> None:
    wrong = Elementwise(lambda z: np.where(z < 0, -1.0, 1.0), lambda z: 0 * z)
    found = failure(wrong, torch.sign, x=(4, 6))
    assert found["output"].phrases == ("at x = 0 exactly: manual 1, torch 0",)


@pytest.mark.parametrize("right", [True, False])
def test_a_tied_maximum(right: bool) -> None:
    def largest(x: Any) -> Any:
        return x.max(axis=-1, keepdims=True)

    def backward(dy: Any, x: Any) -> Any:
        mask = x == largest(x)
        return dy * mask / mask.sum(axis=-1, keepdims=True) if right else dy * mask

    pair, reference = (largest, backward), lambda x: x.amax(-1, keepdim=True)
    if right:
        check(pair, reference, x=(4, 6))
    else:
        (finding,) = failure(pair, reference, x=(4, 6)).values()
        assert all(cause.startswith("where x ties with another element") for cause in finding.phrases)


class Huber:
    """Half of torch's 0 or δ at |r| = δ is the same; at the threshold of the absolute loss it is not."""

    def __init__(self, at_zero: float) -> None:
        self.at_zero = at_zero

    def forward(self, output: Any, target: Any) -> Any:
        r = output - target
        return np.abs(r).mean(), r

    def gradient(self, cache: Any) -> Any:
        return np.where(cache == 0, self.at_zero, np.sign(cache)) / cache.size


def test_an_absolute_loss_at_its_target() -> None:
    check(Huber(0.0), nn.L1Loss(), output=(4, 3), target=(4, 3))
    (finding,) = failure(Huber(1.0), nn.L1Loss(), output=(4, 3), target=(4, 3)).values()
    assert finding.phrases[0].startswith("at ŷ − y = 0 exactly: manual 0.0")


def test_what_torch_does_not_define_is_not_asked() -> None:
    """√|x| has no finite derivative at 0, on neither side."""
    pair = (lambda x: np.sqrt(np.abs(x)), lambda dy, x: dy * np.sign(x) / (2 * np.sqrt(np.abs(x))))
    assert check(pair, lambda x: x.abs().sqrt(), x=(4, 3)).agrees


def test_a_fault_that_is_everywhere_keeps_its_cause() -> None:
    (finding,) = failure(Elementwise(relu, lambda z: 2.0 * (z >= 0)), nn.ReLU(), x=(4, 6)).values()
    assert finding.draw != "kinks"
    assert "factor 2" in finding.phrases[0]


@pytest.mark.parametrize("name", ["relu", "tanh", "leaky-relu"])
def test_a_kink_in_numbers_of_ones_own_is_told_as_well(name: str) -> None:
    from handgrad.compare.pairs.table import ACTIVATIONS

    x = np.array([[0.0, 1.0, -1.0]])
    check(ACTIVATIONS[name].manual(), ACTIVATIONS[name].torch(), x=x)
    if manual.Layer.kinks != ACTIVATIONS[name].manual().kinks:
        slope = getattr(ACTIVATIONS[name].manual(), "slope", 0.0)
        wrong = Elementwise(lambda z: np.where(z > 0, z, slope * z), lambda z: np.where(z >= 0, 1, slope))
        (finding,) = failure(wrong, ACTIVATIONS[name].torch(), x=x).values()
        assert finding.phrases[0].startswith("at x = 0 exactly: manual 1, torch ")
