"""A fault of the forward pass whose values the derivation goes on with is named in the gradients too."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from torch.nn import functional

from handgrad import CheckFailed, check


def mean(a: Any) -> Any:
    return a.mean(-1, keepdims=True)


def outside(c: Any) -> Any:
    return np.sqrt(mean(c * c)) + 1e-3


def unbiased(c: Any) -> Any:
    return np.sqrt((c * c).sum(-1, keepdims=True) / (c.shape[-1] - 1) + 1e-3)


def right(c: Any) -> Any:
    return np.sqrt(mean(c * c) + 1e-3)


def layer(there: Any, back: Any, factor: float = 1.0) -> tuple[Any, Any]:
    """LayerNorm with one deviation in the forward pass and one in the backward pass."""

    def forward(x: Any, g: Any) -> Any:
        c = x - mean(x)
        return c / there(c) * g

    def backward(dy: Any, x: Any, g: Any) -> Any:
        c = x - mean(x)
        h, d = c / back(c), dy * g
        return {"x": (d - mean(d) - factor * h * mean(d * h)) / back(c), "g": (dy * h).sum(0)}

    return forward, backward


def causes(layer: Any) -> dict[str, tuple[str, ...]]:
    with pytest.raises(CheckFailed) as caught:
        check(layer, lambda x, g: functional.layer_norm(x, (5,), g, None, 1e-3), x=(4, 5), params={"g": (5,)})
    return {f.tensor: f.phrases for f in caught.value.report.findings if f.differs}


@pytest.mark.parametrize(("there", "words"), [(outside, "ε stands outside the root"), (unbiased, "divided by 5 − 1")])
def test_the_fault_of_the_output_is_that_of_every_gradient(there: Any, words: str) -> None:
    found = causes(layer(there, there))
    assert set(found) == {"output", "input gradient", "gradient of g"}
    assert all(words in said[0] and len(said) == 1 for said in found.values())
    assert found["input gradient"][0].endswith("as in the output: its values are put into the right derivative")


def test_one_of_the_backward_pass_alone_is_named_there() -> None:
    found = causes(layer(right, unbiased))
    assert set(found) == {"input gradient", "gradient of g"}
    assert all("divided by 5 − 1" in said[0] for said in found.values())


def test_another_edit_on_the_way_back_comes_on_top() -> None:
    found = causes(layer(outside, outside, factor=-1.0))
    first, second = found["input gradient"]
    assert "ε stands outside the root" in first
    assert "wrong sign" in second or "the sign between" in second


def test_values_that_no_change_makes_have_no_name() -> None:
    def odd(c: Any) -> Any:
        return right(c) * (1 + 1e-4 * np.tanh(mean(np.abs(c) ** 1.7)))

    assert set(causes(layer(odd, odd)).values()) == {()}
