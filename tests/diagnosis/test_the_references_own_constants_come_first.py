"""Where a factor is a constant of the reference it is called so; where a cause is no better than chance none is
named.
"""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from handgrad import CheckFailed, check
from handgrad.compare.checking import causes as search
from tests.diagnosis.diagnosed import causes_of


def causes(forward: Any, backward: Any, reference: Any, **arguments: Any) -> dict[str, tuple[str, ...]]:
    return causes_of((forward, backward), reference, **arguments)


def scaled(x: Any, W: Any, b: Any) -> Any:
    return x @ W.T / math.sqrt(4) + b


def scaled_backward(dx: float, dW: float, db: float) -> Any:
    def backward(dy: Any, x: Any, W: Any, b: Any) -> Any:
        return {"x": dx * dy @ W / 2, "W": dW * dy.T @ x / 2, "b": db * dy.sum(0)}

    return backward


SHAPES: dict[str, Any] = {"x": (5, 4), "params": {"W": (3, 4), "b": (3,)}}


def test_a_constant_is_left_out_applied_twice_or_applied_where_it_does_not_belong() -> None:
    found = causes(scaled, scaled_backward(0.5, 2, 0.5), scaled, **SHAPES)
    assert found == {
        "input gradient": ("the division by 2 of x @ Wᵀ / 2 is applied twice",),
        "gradient of W": ("the division by 2 of x @ Wᵀ / 2 is left out",),
        "gradient of b": ("the division by 2 of x @ Wᵀ / 2 is applied here too, where it does not belong",),
    }


def test_another_factor_is_not_the_constant() -> None:
    (cause,) = causes(scaled, scaled_backward(1, 1.9, 1), scaled, **SHAPES)["gradient of W"]
    assert cause == "a constant factor of 1.9"


def test_no_sentence_says_the_same_name_twice() -> None:
    """2 A x, as if A were symmetric, where A x + Aᵀ x belongs."""

    def forward(x: Any, A: Any) -> Any:
        return ((x @ A) * x).sum(1)

    def backward(dy: Any, x: Any, A: Any) -> Any:
        return {"x": 2 * dy[:, None] * (x @ A), "A": x.T @ (dy[:, None] * x)}

    found = causes(forward, backward, lambda x, A: ((x @ A) * x).sum(1), x=(4, 3), params={"A": (3, 3)})
    for cause in found["input gradient"]:
        assert "derivative of x by x" not in cause
        assert "δ of x stands where that of x" not in cause


def test_the_smaller_of_two_is_no_permutation() -> None:
    def backward(dy: Any, x: Any) -> Any:
        first = x[..., 0::2] < x[..., 1::2]  # where the pool takes the larger
        return np.stack([dy * first, dy * ~first], axis=-1).reshape(x.shape)

    def forward(x: Any) -> Any:
        return np.maximum(x[..., 0::2], x[..., 1::2])

    (cause,) = causes(forward, backward, lambda x: functional.max_pool1d(x, 2), x=(2, 3, 6))["input gradient"]
    assert cause == "δ of max_pool(x) goes to the smallest element of the window, not to the largest"


def test_where_the_bound_is_a_large_part_of_the_numbers_no_cause_is_named() -> None:
    """x + 10¹² − 10¹²: what is left of x has four digits."""

    def forward(x: Any) -> Any:
        return ((x + 1e12) - 1e12) ** 2

    def backward(dy: Any, x: Any) -> Any:
        return -dy * 2 * ((x + 1e12) - 1e12)

    found = causes(forward, backward, lambda x: ((x + 1e12) - 1e12) ** 2, x=(4, 5))
    assert found["input gradient"] == ()


def test_all_means_of_a_normalization_over_the_wrong_axis_are_one_cause() -> None:
    def parts(x: Any) -> Any:
        c = x - x.mean(0)
        s = np.sqrt((c * c).mean(0) + 1e-5)
        return c / s, s

    def backward(dy: Any, x: Any) -> Any:
        h, s = parts(x)
        return (dy - dy.mean(1, keepdims=True) - h * (dy * h).mean(1, keepdims=True)) / s

    def reference(x: Any) -> Any:
        return functional.batch_norm(x, None, None, training=True)

    (cause,) = causes(lambda x: parts(x)[0], backward, reference, x=(6, 4))["input gradient"]
    assert cause.count("mean runs over axis 1, the wrong axis") == 2


def test_a_search_that_stops_early_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "LEAST", 0.5)

    def forward(x: Any) -> Any:
        for _ in range(6):
            x = np.tanh(x) * x + np.sin(x)
        return x

    def reference(x: Any) -> Any:
        for _ in range(6):
            x = torch.tanh(x) * x + torch.sin(x)
        return x

    def backward(dy: Any, x: Any) -> Any:
        return dy * np.cosh(x) * np.cos(np.arange(x.size).reshape(x.shape))

    with pytest.raises(CheckFailed) as caught:
        check((forward, backward), reference, x=(2, 3), explain="quick")
    (finding,) = (f for f in caught.value.report.findings if f.differs)
    assert finding.phrases == ()
    assert any("stopped early" in note or "the search for a cause was stopped" in note for note in finding.notes)
