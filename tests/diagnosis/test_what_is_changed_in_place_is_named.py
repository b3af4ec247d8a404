"""A derivation that writes into its cache or its output in place: that is the cause, not the gradient it spoils."""

from typing import Any

import numpy as np
import pytest
import torch

from handgrad import CheckFailed, check


class TanhLinear:
    """y = tanh(x Wᵀ); `spoils` says which array its input gradient writes into."""

    def __init__(self, spoils: str) -> None:
        self.spoils = spoils

    def init(self, rng: np.random.Generator) -> Any:
        return {"W": rng.normal(0, 1, (3, 5))}

    def forward(self, params: Any, x: Any) -> Any:
        y = np.tanh(x @ params["W"].T)
        return y, {"x": x, "y": y if self.spoils == "output" else y.copy(), "slope": 1 - y * y}

    def input_gradient(self, params: Any, cache: Any, dy: Any) -> Any:
        if self.spoils == "output":
            cache["y"] *= 2
        dz = cache["slope"]
        if self.spoils == "cache":
            dz *= dy
        else:
            dz = dz * dy
        return dz @ params["W"]

    def parameter_gradients(self, params: Any, cache: Any, dy: Any) -> Any:
        return {"W": (dy * cache["slope"]).T @ cache["x"]}


def reference(x: Any, W: Any) -> Any:
    return torch.tanh(x @ W.T)


def causes(spoils: str) -> dict[str, tuple[str, ...]]:
    with pytest.raises(CheckFailed) as caught:
        check(TanhLinear(spoils), reference, x=(4, 5))
    return {f.tensor: f.phrases for f in caught.value.report.findings if f.differs}


def test_a_cache_that_the_input_gradient_changes_is_named_at_the_gradient_that_it_spoils() -> None:
    (cause,) = causes("cache")["gradient of W"]
    assert "input_gradient changes the cache in place" in cause


def test_an_output_that_the_backward_pass_changes_is_named_there() -> None:
    (cause,) = causes("output")["output"]
    assert "the backward pass writes into the output in place" in cause


def test_nothing_is_said_of_a_derivation_that_keeps_its_hands_off() -> None:
    assert check(TanhLinear("nothing"), reference, x=(4, 5)).agrees
