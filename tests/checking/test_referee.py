"""The referee: the numerical derivative of the manual forward, with an honest error bar, and whom it agrees with."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from torch import nn

from handgrad import CheckFailed, check
from handgrad.compare.checking import referee
from handgrad.compare.judge.sides import LayerSides
from handgrad.manual import Array, Layer, Linear, Params, ReLU, Tanh

KNOWN: list[tuple[str, Callable[[Any], Any], Callable[[float], float]]] = [
    ("x³", lambda x: x**3, lambda x: 3 * x * x),
    ("sin", np.sin, np.cos),
    ("exp", np.exp, np.exp),
    ("1/x", lambda x: 1 / x, lambda x: -1 / x**2),
    ("tanh", np.tanh, lambda x: 1 - np.tanh(x) ** 2),
    ("√(x² + 1)", lambda x: np.sqrt(x * x + 1), lambda x: x / np.sqrt(x * x + 1)),
    ("sin 20x", lambda x: np.sin(20 * x), lambda x: 20 * np.cos(20 * x)),
    ("a constant", lambda x: 0 * x + 3, lambda x: 0.0),
    ("x on a large constant", lambda x: x + 1e9, lambda x: 1.0),
]


class Elementwise(Layer):
    """A function with the given derivative."""

    def __init__(self, f: Callable[[Any], Any], slope: Callable[[Any], Any]) -> None:
        object.__setattr__(self, "f", f)
        object.__setattr__(self, "slope", slope)

    def forward(self, params: Params, x: Array) -> tuple[Array, Array]:
        return self.f(x), x  # type: ignore[attr-defined]

    def input_gradient(self, params: Params, cache: Array, dy: Array) -> Array:
        return dy * self.slope(cache)  # type: ignore[attr-defined]


def opinion(layer: Layer, at: float, manual: float, torch: float) -> referee.Opinion:
    """On the derivative of an elementwise layer at one point."""
    inputs = {"x": np.array([[at, 0.7]]), "dy": np.array([[1.0, 0.3]])}
    return referee.opinion(LayerSides(layer, nn.Identity()), inputs, "x", (0, 0), manual, torch, 1e-14)


@pytest.mark.parametrize("at", [-2.3, -0.4, 0.05, 0.9, 3.1])
@pytest.mark.parametrize(("name", "f", "slope"), KNOWN, ids=[k[0] for k in KNOWN])
def test_the_true_derivative_lies_within_the_error_bar(name: str, f: Any, slope: Any, at: float) -> None:
    true = float(slope(np.longdouble(at)))  # 20 x is rounded in float64, and the referee does not round it
    found = opinion(Elementwise(f, slope), at, true, true)
    assert abs(found.value - true) <= found.error + 4e-16 * abs(true)
    assert not found.kink
    assert found.error < 1e-4 * max(1.0, abs(true))


@pytest.mark.parametrize("at", [-1.2, 0.3, 2.0])
def test_it_agrees_with_manual_torch_or_neither(at: float) -> None:
    layer = Elementwise(np.sin, np.cos)
    true = float(np.cos(at))
    assert opinion(layer, at, true, true + 1e-6).side() == "it agrees with manual"
    assert opinion(layer, at, true + 1e-6, true).side() == "it agrees with torch"
    assert opinion(layer, at, true + 1e-6, true - 1e-6).side() == "it agrees with neither"
    assert opinion(layer, at, true, true + 1e-17).side() == "it cannot tell the two apart"


@pytest.mark.parametrize("f", [np.abs, lambda x: np.maximum(x, 0), lambda x: np.maximum(x, 0.1 * x)])
def test_a_kink_has_no_derivative(f: Any) -> None:
    found = opinion(Elementwise(f, np.sign), 0.0, 0.0, 1.0)
    assert found.kink
    assert "kink" in str(found)


def test_near_a_kink_there_is_one() -> None:
    found = opinion(Elementwise(np.abs, np.sign), 0.5, 1.0, -1.0)
    assert found.side() == "it agrees with manual"


def failure(*args: Any, **kwargs: Any) -> str:
    with pytest.raises(CheckFailed) as caught:
        check(*args, **kwargs)
    return str(caught.value)


class Doubled(Tanh):
    """A wrong gradient."""

    def input_gradient(self, params: Params, cache: Array, dy: Array) -> Array:
        return 2 * super().input_gradient(params, cache, dy)


class OtherFunction(Tanh):
    """Another function, and its right gradient."""

    def forward(self, params: Params, x: Array) -> tuple[Array, Array]:
        a = np.tanh(2 * x)
        return a, a

    def input_gradient(self, params: Params, cache: Array, dy: Array) -> Array:
        return 2 * dy * (1 - cache * cache)


def test_in_a_report_it_sides_with_torch_where_the_gradient_is_wrong() -> None:
    text = failure(Doubled(), nn.Tanh(), x=(3, 4))
    assert "it agrees with torch" in text
    assert "the forward passes already differ" not in text


def test_and_with_manual_where_the_gradient_is_right_for_another_function() -> None:
    text = failure(OtherFunction(), nn.Tanh(), x=(3, 4))
    assert "it agrees with manual" in text
    assert "the forward passes already differ: this gradient is right, for another function" in text


def test_it_looks_at_parameters_and_losses_too() -> None:
    class Wrong(Linear):
        def parameter_gradients(self, params: Params, cache: Array, dy: Array) -> Params:
            right = super().parameter_gradients(params, cache, dy)
            return {**right, "bias": -right["bias"]}

    assert "it agrees with torch" in failure(Wrong(3, 2), nn.Linear(3, 2), x=(4, 3))


def test_exactly_at_a_kink_a_report_says_so() -> None:
    class Right(ReLU):
        def input_gradient(self, params: Params, cache: Array, dy: Array) -> Array:
            return np.where(cache >= 0, dy, 0)

    assert "no derivative exists: the point is a kink" in failure(Right(), nn.ReLU(), x=np.array([[0.0, 1.0, -1.0]]))


def celu(factor: float) -> tuple[Any, Any]:
    """∂/∂x of max(0, x) + min(0, α (e^(x/α) − 1)), times a factor where x < 0."""
    return (
        lambda x: np.maximum(x, 0) + np.minimum(0, 1.3 * np.expm1(x / 1.3)),
        lambda dy, x: dy * np.where(x > 0, 1, factor * np.exp(np.minimum(x, 0) / 1.3)),
    )


@pytest.mark.parametrize(("factor", "right"), [(1.0, True), (1 + 1e-3, False)])
def test_a_gradient_that_is_right_beside_one_of_torchs_that_is_not_has_no_cause(factor: float, right: bool) -> None:
    """Torch's CELU has 1/α in float32 on its way back."""
    with pytest.raises(CheckFailed) as caught:
        check(celu(factor), nn.CELU(1.3), x=(4, 5))
    (found,) = [f for f in caught.value.report.findings if f.differs]
    assert ("this gradient is that of the forward pass" in found.notes[0]) is right
    assert not (right and found.causes)
    assert ("it agrees with manual" in found.notes[-1]) is right
