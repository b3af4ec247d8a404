"""A constant is said to be left out, applied twice, swapped or out of place, by where it stands in the reference."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from handgrad import CheckFailed, check
from tests.diagnosis.diagnosed import LossOf, causes_of


def causes(value: Any, gradient: Any, reference: Any, target: Any = (5, 3)) -> tuple[str, ...]:
    (found,) = causes_of(LossOf(value, gradient), reference, output=(5, 3), target=target).values()
    return found


def smooth(z: Any, t: Any) -> Any:
    return np.where(abs(z - t) < 0.7, (z - t) ** 2 / 1.4, abs(z - t) - 0.35).mean()


@pytest.mark.parametrize(
    ("quadratic", "slope", "words"),
    [
        (1.0, 1.0, "0.7 is left out (taken as 1) in (ŷ − target) / 0.7"),
        (1 / 0.7**2, 1.0, "the division by 0.7 is applied twice"),
        (1 / 0.7, 0.7, "multiplied with 0.7, which does not belong there"),
    ],
)
def test_a_constant_is_left_out_applied_twice_or_where_it_does_not_belong(
    quadratic: float, slope: float, words: str
) -> None:
    def wrong(z: Any, t: Any) -> Any:
        return np.where(abs(z - t) < 0.7, quadratic * (z - t), slope * np.sign(z - t)) / z.size

    (cause,) = causes(smooth, wrong, nn.SmoothL1Loss(beta=0.7))
    assert cause.endswith(words)


def pinball(tau: float) -> Callable[[Any, Any], Any]:
    return lambda z, t: np.where(z < t, tau * (t - z), (1 - tau) * (z - t)).mean()


@pytest.mark.parametrize(
    "reference",
    [
        lambda z, t: torch.where(z < t, 0.3 * (t - z), 0.7 * (z - t)).mean(),
        lambda z, t: torch.maximum(0.3 * (t - z), -0.7 * (t - z)).mean(),
    ],
)
def test_two_constants_that_are_swapped_are_one_cause(reference: Any) -> None:
    (cause,) = causes(pinball(0.3), lambda z, t: np.where(z < t, -0.7, 0.3) / z.size, reference)
    assert cause.endswith("0.3 and 0.7 are swapped")


def test_one_constant_that_stands_for_another_is_named_even_where_their_ratio_is_a_size() -> None:
    def wrong(z: Any, t: Any) -> Any:
        return (0.75 * t * z - 0.75 * (1 - t) / 3 * z) / z.size  # 0.25 for … the other way: 0.75 / 3 = 0.25

    def value(z: Any, t: Any) -> Any:
        return (0.375 * t * z * z - 0.125 * (1 - t) * z * z).mean()

    def right_but_for(z: Any, t: Any) -> Any:
        return wrong(z, t) + (0.25 - 0.75) * (1 - t) * z / z.size

    def reference(z: Any, t: Any) -> Any:
        return (0.75 * (t * z * z / 2) - 0.25 * ((1 - t) * z * z / 2)).mean()

    (cause,) = causes(value, right_but_for, reference, lambda rng: rng.integers(0, 2, (5, 3)) * 1.0)
    assert cause.endswith("0.75 stands for 0.25")


def test_a_constant_that_is_wrong_everywhere_is_one_cause() -> None:
    def value(z: Any, t: Any) -> Any:
        return np.where(abs(z - t) <= 1.3, (z - t) ** 2 / 2, 1.3 * (abs(z - t) - 0.65)).mean()

    def reference(z: Any, t: Any) -> Any:
        return torch.where((z - t).abs() <= 1.3, (z - t) ** 2 / 2, 1.3 * ((z - t).abs() - 0.65)).mean()

    (cause,) = causes(value, lambda z, t: np.clip(z - t, -1, 1) / z.size, reference)
    assert cause.endswith("1.3 is left out (taken as 1) everywhere")


def test_a_target_that_is_turned_round_is_named() -> None:
    def value(z: Any, t: Any) -> Any:
        return (t * z**2 + (1 - t) * abs(z)).mean()

    def wrong(z: Any, t: Any) -> Any:
        return (2 * (1 - t) * z + t * np.sign(z)) / z.size

    def reference(z: Any, t: Any) -> Any:
        return (t * z**2 + (1 - t) * z.abs()).mean()

    (cause,) = causes(value, wrong, reference, lambda rng: rng.integers(0, 2, (5, 3)) * 1.0)
    assert cause.endswith("1 − target stands for target everywhere")


def test_a_quantity_that_the_gradient_works_out_wrongly_is_named() -> None:
    def value(z: Any, t: Any) -> Any:
        return np.log1p(((z - t) / 1.5) ** 2).mean()

    def wrong(z: Any, t: Any) -> Any:
        return 2 * (z - t) / 1.5**2 / (1 + (z - t) ** 2) / z.size  # the denominator without 1.5

    (cause,) = causes(value, wrong, lambda z, t: torch.log1p(((z - t) / 1.5) ** 2).mean())
    assert "is worked out wrongly: the constant 1.5 is left out (taken as 1)" in cause


def test_no_internal_name_and_no_nameless_constant_is_said() -> None:
    mask = torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64)

    def value(z: Any, t: Any) -> Any:
        e = np.exp(z - z.max(1, keepdims=True))
        return (mask.numpy() * t * (e / e.sum(1, keepdims=True))).mean()

    def wrong(z: Any, t: Any) -> Any:
        return t * mask.numpy() / z.size

    def reference(z: Any, t: Any) -> Any:
        return (mask.to(z.dtype) * t * functional.softmax(z, 1)).mean()

    with pytest.raises(CheckFailed) as caught:
        check(LossOf(value, wrong), reference, output=(5, 3), target=(5, 3))
    text = str(caught.value)
    assert "softmax" in text
    assert not any(word in text.partition("To reproduce")[0] for word in ("_softmax(", "ᵀᵀ", "a constant ·", "aten"))
