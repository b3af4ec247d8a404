"""What leaks from one call into another is told from a wrong formula, and by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from handgrad import check, stateful
from handgrad.compare.checking import order


class Scale:
    """x · w, by the protocol."""

    def init(self, rng: np.random.Generator) -> Any:
        return {"w": np.zeros(3)}

    def forward(self, params: Any, x: Any) -> Any:
        return x * params["w"], {"x": x}

    def input_gradient(self, params: Any, cache: Any, dy: Any) -> Any:
        return dy * params["w"]

    def parameter_gradients(self, params: Any, cache: Any, dy: Any) -> Any:
        return {"w": (dy * cache["x"]).sum(0)}


class SharedCache(Scale):
    def forward(self, params: Any, x: Any) -> Any:
        self.x = x
        return x * params["w"], None

    def parameter_gradients(self, params: Any, cache: Any, dy: Any) -> Any:
        return {"w": (dy * self.x).sum(0)}


class InputsFirst(Scale):
    def input_gradient(self, params: Any, cache: Any, dy: Any) -> Any:
        cache["dw"] = (dy * cache["x"]).sum(0)
        return dy * params["w"]

    def parameter_gradients(self, params: Any, cache: Any, dy: Any) -> Any:
        return {"w": cache["dw"] if "dw" in cache else dy.sum(0)}


class Object:
    """x · w, with state."""

    def __init__(self) -> None:
        self.w, self.dw, self.first = np.ones(3), np.zeros(3), True

    def forward(self, x: Any) -> Any:
        self.x = x
        return x * self.w

    def backward(self, dy: Any) -> Any:
        self.dw = (dy * self.x).sum(0)
        return dy * self.w


class AddsUp(Object):
    def backward(self, dy: Any) -> Any:
        before = self.dw
        dx = super().backward(dy)
        self.dw = self.dw + before
        return dx


class OnlyOnce(Object):
    def backward(self, dy: Any) -> Any:
        if self.first:
            super().backward(dy)
        self.first = False
        return dy * self.w


class Loss:
    def forward(self, output: Any, target: Any) -> Any:
        self.d = output - target
        return (self.d**2).mean(), output - target

    def gradient(self, cache: Any) -> Any:
        return 2 * cache / cache.size


class SharedLoss(Loss):
    def gradient(self, cache: Any) -> Any:
        return 2 * self.d / self.d.size


def pair(shared: bool) -> Any:
    """x², whose backward pass reads what the last forward pass saw."""
    kept = {}

    def forward(x: Any) -> Any:
        kept["x"] = x
        return x * x

    return forward, lambda dy, x: 2 * dy * (kept["x"] if shared else x)


def scale(x: Any, w: Any) -> Any:
    return x * w


LAYER = {"x": (4, 3)}
LOSS = {"output": (4, 3), "target": (4, 3)}
LEAKS: dict[str, tuple[Any, Any, dict[str, Any], str]] = {
    "a pair": (pair(True), torch.square, LAYER, order.LAST),
    "a layer": (SharedCache(), scale, LAYER, order.LAST),
    "a loss": (SharedLoss(), nn.MSELoss(), LOSS, order.LAST),
    "the input's first": (InputsFirst(), scale, LAYER, order.FIRST),
    "an object": (stateful(OnlyOnce, {"w": "dw"}), scale, LAYER, order.AGAIN),
}
CLEAN: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "a pair": (pair(False), torch.square, LAYER),
    "a layer": (Scale(), scale, LAYER),
    "a loss": (Loss(), nn.MSELoss(), LOSS),
    "an object": (stateful(Object, {"w": "dw"}), scale, LAYER),
}


@pytest.mark.parametrize("case", LEAKS.values(), ids=LEAKS)
def test_a_leak_differs_and_is_named(case: tuple[Any, Any, dict[str, Any], str]) -> None:
    ours, reference, given, words = case
    report = check(ours, reference, raises=False, **given)
    assert report.differing
    assert words in str(report)
    assert {cause.edit for f in report.differing for cause in f.causes} == {"order of calls"}


@pytest.mark.parametrize("case", CLEAN.values(), ids=CLEAN)
def test_without_one_nothing_is_said(case: tuple[Any, Any, dict[str, Any]]) -> None:
    ours, reference, given = case
    report = check(ours, reference, raises=False, explain="off", **given)
    assert report
    assert not report.notes


def test_gradients_that_add_up_are_a_note() -> None:
    report = check(stateful(AddsUp, {"w": "dw"}), scale, explain="off", **LAYER)
    assert order.ADDED in report.notes


def test_a_cache_that_backward_writes_into_is_a_note() -> None:
    def back(dy: Any, cache: Any) -> Any:
        cache[0] = 2 * cache[0]
        return dy * cache[0]

    report = check((lambda x: (x * x, [x]), back), torch.square, explain="off", **LAYER)
    assert order.TWICE in report.notes
