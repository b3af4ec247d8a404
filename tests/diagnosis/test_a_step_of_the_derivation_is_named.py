"""A wrong step of a derivation is told by the reference's own operations: which term, of which of them, over which
axis.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from tests.diagnosis.diagnosed import causes_of


def causes(forward: Any, backward: Any, reference: Any, **arguments: Any) -> dict[str, tuple[str, ...]]:
    return causes_of((forward, backward), reference, **arguments)


def sigmoid(z: Any) -> Any:
    return 1 / (1 + np.exp(-z))


def gate(x: Any) -> Any:
    return x[:, :3] * sigmoid(x[:, 3:])


def torch_gate(x: Any) -> Any:
    return x[:, :3] * torch.sigmoid(x[:, 3:])


PATH = "the path through sigmoid(x[:, 3:]) in x[:, :3] · sigmoid(x[:, 3:])"


def through_the_gate(derivative: Callable[[Any, Any], Any]) -> Any:
    def backward(dy: Any, x: Any) -> Any:
        a, s = x[:, :3], sigmoid(x[:, 3:])
        return np.concatenate([dy * s, dy * derivative(a, s)], axis=1)

    return backward


@pytest.mark.parametrize(
    ("derivative", "words"),
    [
        (lambda a, s: a, "the derivative of sigmoid(x[:, 3:]) is missing: sigmoid' is taken as 1"),
        (lambda a, s: s * (1 - s), "the factor x[:, :3] is left out"),
        (lambda a, s: a * s, "y stands for it, with z = x[:, 3:], y = sigmoid(x[:, 3:])"),
        (lambda a, s: -a * s * (1 - s), f"{PATH} has the wrong sign"),
        (lambda a, s: 0 * a, f"{PATH} is missing"),
    ],
)
def test_of_a_product_every_factor_and_every_path_is_named(derivative: Any, words: str) -> None:
    (cause,) = causes(gate, through_the_gate(derivative), torch_gate, x=(4, 6))["input gradient"]
    assert words in cause


def mean(a: Any) -> Any:
    return a.mean(-1, keepdims=True)


def normalized(x: Any) -> Any:
    c = x - x.mean(-1, keepdims=True)
    return c / np.sqrt((c * c).mean(-1, keepdims=True) + 1e-5)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (
            lambda g, h, s: (g - h * mean(g * h)) / s,
            "the centring term is missing: the mean is held constant in x − the mean",
        ),
        (lambda g, h, s: (g - mean(g)) / s, "the projection term is missing: σ is held constant in (x − the mean) / σ"),
        (lambda g, h, s: (g - g.mean(0) - h * mean(g * h)) / s, "mean runs over axis 0, the wrong axis"),
        (lambda g, h, s: (g - mean(g) - 5 / 4 * h * mean(g * h)) / s, "divided by 5 − 1, not by 5, in mean(δ · x̂"),
        (lambda g, h, s: g - mean(g) - h * mean(g * h), "σ is left out of"),
    ],
)
def test_of_a_normalization_every_term_of_the_closed_form_is_named(wrong: Any, words: str) -> None:
    def backward(dy: Any, x: Any) -> Any:
        c = x - x.mean(-1, keepdims=True)
        s = np.sqrt((c * c).mean(-1, keepdims=True) + 1e-5)
        return wrong(dy, c / s, s)

    (cause,) = causes(normalized, backward, lambda x: functional.layer_norm(x, (5,)), x=(4, 5))["input gradient"]
    assert words in cause


def test_two_faults_are_both_named() -> None:
    def backward(dy: Any, x: Any, W: Any) -> Any:
        h = np.tanh(x @ W)
        return {"x": dy @ W.T + dy, "W": -x.T @ (dy * (1 - h * h))}

    def forward(x: Any, W: Any) -> Any:
        return 2 * x + np.tanh(x @ W)

    found = causes(forward, backward, lambda x, W: 2 * x + torch.tanh(x @ W), x=(4, 5), params={"W": (5, 5)})
    assert any("2" in c for c in found["input gradient"])
    assert any("tanh' is taken as 1" in c for c in found["input gradient"])
    assert found["gradient of W"] == ("the sign is flipped",)


def test_an_edit_in_every_turn_of_a_loop_is_one_cause() -> None:
    def states(x: Any, W: Any) -> list[Any]:
        h = [np.zeros_like(x[:, 0])]
        for t in range(x.shape[1]):
            h.append(np.tanh(x[:, t] + h[-1] @ W))
        return h

    def backward(dy: Any, x: Any, W: Any) -> Any:
        h, dx, dW, dh = states(x, W), np.zeros_like(x), np.zeros_like(W), dy
        for t in reversed(range(x.shape[1])):
            dx[:, t] = dh  # tanh' is forgotten
            dW += h[t].T @ dh
            dh = dh @ W.T
        return {"x": dx, "W": dW}

    def reference(x: Any, W: Any) -> Any:
        h = torch.zeros_like(x[:, 0])
        for t in range(x.shape[1]):
            h = torch.tanh(x[:, t] + h @ W)
        return h

    found = causes(lambda x, W: states(x, W)[-1], backward, reference, x=(4, 3, 2), params={"W": (2, 2)})
    for tensor in ("input gradient", "gradient of W"):
        (cause,) = found[tensor]
        assert "tanh' is taken as 1" in cause
        assert "in every turn of the loop" in cause


def test_the_right_gradient_of_another_function_is_told_as_such() -> None:
    def forward(x: Any) -> Any:
        return np.where(np.abs(x) < 0.5, x * x / 2, 0.5 * (np.abs(x) - 0.25))

    def backward(dy: Any, x: Any) -> Any:
        return dy * np.clip(x, -1, 1)

    def reference(x: Any) -> Any:
        return functional.huber_loss(x, torch.zeros_like(x), reduction="none", delta=0.5)

    (cause,) = causes(forward, backward, reference, x=(6, 5))["input gradient"]
    assert cause.startswith("it is the gradient of the reference with one change: delta 0.5 is left out (taken as 1)")


@pytest.mark.parametrize(
    ("forward", "words"),
    [
        (lambda x: np.exp(x) / np.exp(x).sum(0), "axis 0, the wrong axis"),
        (lambda x: np.exp(x), "sum(exp(x), axis -1) is left out"),
    ],
)
def test_a_forward_pass_is_told_by_what_is_wrong_in_it(forward: Any, words: str) -> None:
    found = causes(forward, lambda dy, x: dy, lambda x: x.softmax(-1), x=(4, 5))
    assert any(words in cause for cause in found["output"])


def almost(factor: float) -> Any:
    def backward(dy: Any, x: Any) -> Any:
        a, s = x[:, :3], sigmoid(x[:, 3:])
        return np.concatenate([dy * s, dy * a * (1 + factor * a)], axis=1)

    return backward


@pytest.mark.parametrize("factor", [1e-2, 1e-6, 1e-10])
def test_what_is_almost_an_edit_is_none(factor: float) -> None:
    """A derivative that is nearly 1 is not one that is missing."""
    assert causes(gate, almost(factor), torch_gate, x=(4, 6)) == {"input gradient": ()}


def test_a_reference_that_cannot_be_taken_apart_costs_a_name_and_no_more() -> None:
    class Cube(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return torch.from_numpy(x.detach().numpy() ** 3)

        @staticmethod
        def backward(ctx: Any, *dy: Any) -> Any:
            return 3 * ctx.saved_tensors[0] ** 2 * dy[0]

    found = causes(lambda x: x**3, lambda dy, x: dy * np.cosh(x), Cube.apply, x=(4, 5))
    assert found == {"input gradient": ()}
