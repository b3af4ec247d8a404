"""What goes wrong in layers is named: windows, pools, groups, normalisations, attention, rotations, loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from tests.diagnosis.diagnosed import causes_of


def causes(forward: Any, backward: Any, reference: Any, **arguments: Any) -> dict[str, str]:
    return {k: " and ".join(said) for k, said in causes_of((forward, backward), reference, **arguments).items()}


# --- windows ----------------------------------------------------------------------------------------------------------


def convolved(x: Any, w: Any) -> Any:
    """Of stride 2, padded by one."""
    wide = np.pad(x, ((0, 0), (0, 0), (1, 1)))
    return np.stack([np.einsum("nck,ock->no", wide[:, :, 2 * t : 2 * t + 3], w) for t in range(3)], axis=2)


def convolution(fault: str) -> Any:
    def backward(dy: Any, x: Any, w: Any) -> Any:
        wide = np.pad(x, ((0, 0), (0, 0), (1, 1)))
        dx, dw = 0 * wide, 0 * w
        for t in range(3):
            here = np.einsum("no,ock->nck", dy[:, :, t], w)
            if fault == "overwrites":
                dx[:, :, 2 * t : 2 * t + 3] = here
            else:
                at = t if fault == "stride" else 2 * t
                dx[:, :, at : at + 3] += here
            part = np.einsum("no,nck->ock", dy[:, :, t], wide[:, :, 2 * t : 2 * t + 3])
            dw = part if fault == "last" else dw + part
        first = 0 if fault == "padding" else 1
        return {"x": dx[:, :, first : first + 5], "w": dw}

    return backward


@pytest.mark.parametrize(
    ("fault", "tensor", "words"),
    [
        ("overwrites", "input gradient", "overlap overwrite each other where they should add up: only the last"),
        ("stride", "input gradient", "put back as if the stride were 1, not 2"),
        ("padding", "input gradient", "put back as if the padding were 0, not 1"),
        ("last", "gradient of w", "only the last position is left"),
    ],
)
def test_of_a_convolution(fault: str, tensor: str, words: str) -> None:
    def reference(x: Any, w: Any) -> Any:
        return functional.conv1d(x, w, stride=2, padding=1)

    found = causes(convolved, convolution(fault), reference, x=(2, 3, 5), params={"w": (4, 3, 3)})
    assert set(found) == {tensor}
    assert words in found[tensor]


def largest(x: Any) -> Any:
    return np.stack([x[:, :, 2 * t : 2 * t + 3].max(2) for t in range(3)], axis=2)


def routed(fault: str) -> Any:
    def backward(dy: Any, x: Any) -> Any:
        dx = 0 * x
        for t in range(3):
            w = x[:, :, 2 * t : 2 * t + 3]
            here = (w == w.max(2, keepdims=True)) * dy[:, :, [t]]
            if fault == "overwrites":
                dx[:, :, 2 * t : 2 * t + 3] = np.where(here != 0, here, dx[:, :, 2 * t : 2 * t + 3] * 1.0)
            elif fault == "first":
                dx[:, :, 2 * t] += dy[:, :, t]
            else:
                dx[:, :, t : t + 3] += here
        return dx

    return backward


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("overwrites", "overwrites that of another window"),
        ("first", "goes to the first element of each window"),
        ("stride", "put back as if the stride were 1, not 2"),
    ],
)
def test_of_a_maximum_over_windows(fault: str, words: str) -> None:
    def reference(x: Any) -> Any:
        return functional.max_pool1d(x, 3, 2)

    assert words in causes(largest, routed(fault), reference, x=(2, 3, 7))["input gradient"]


@pytest.mark.parametrize(
    ("derivative", "words"),
    [
        (lambda dy: np.tile(dy, (1, 1, 2)) / 2, "repeated as a whole (tiled)"),
        (lambda dy: np.repeat(dy, 2, axis=2), "not divided by 2, the size of the window"),
    ],
)
def test_of_a_mean_over_windows(derivative: Any, words: str) -> None:
    def reference(x: Any) -> Any:
        return functional.avg_pool1d(x, 2)

    found = causes(lambda x: (x[:, :, ::2] + x[:, :, 1::2]) / 2, lambda dy, x: derivative(dy), reference, x=(2, 3, 6))
    assert words in found["input gradient"]


@pytest.mark.parametrize(
    ("derivative", "words"),
    [
        (lambda dy: dy[:, :, ::2] * 1.0, "only the first number counts"),
        (lambda dy: (dy[:, :, ::2] + dy[:, :, 1::2]) / 2, "averaged over the 2 numbers"),
        (lambda dy: dy[:, :, :5] + dy[:, :, 5:], "as if it were tiled"),
    ],
)
def test_of_an_enlargement(derivative: Any, words: str) -> None:
    def reference(x: Any) -> Any:
        return functional.interpolate(x, scale_factor=2.0, mode="nearest")

    found = causes(lambda x: x.repeat(2, axis=2), lambda dy, x: derivative(dy), reference, x=(2, 3, 5))
    assert words in found["input gradient"]


# --- normalisation ----------------------------------------------------------------------------------------------------


def mean(a: Any) -> Any:
    return a.mean(-1, keepdims=True)


def root_mean_square(x: Any) -> Any:
    return np.sqrt(mean(x * x) + 1e-3)


@pytest.mark.parametrize(
    ("derivative", "words"),
    [
        (lambda d, g, h: g * (d - h * mean(d * h)), "multiplied with g at the end, after the rest"),
        (lambda d, g, h: d * g - mean(d * g) - h * mean(d * g * h), "δ − mean(δ) stands for δ"),
        (lambda d, g, h: d * g - h * mean(d * h), "δ lacks the factor g"),
    ],
)
def test_of_a_gain_after_a_normalisation(derivative: Any, words: str) -> None:
    def backward(dy: Any, x: Any, g: Any) -> Any:
        h = x / root_mean_square(x)
        return {"x": derivative(dy, g, h) / root_mean_square(x), "g": (dy * h).sum(0)}

    def reference(x: Any, g: Any) -> Any:
        return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + 1e-3) * g

    found = causes(lambda x, g: x / root_mean_square(x) * g, backward, reference, x=(3, 5), params={"g": (5,)})
    assert words in found["input gradient"]


def grouped(x: Any) -> tuple[Any, Any]:
    z = x.reshape(len(x), 2, -1)
    c = z - mean(z)
    s = np.sqrt(mean(c * c) + 1e-3)
    return c / s, s


@pytest.mark.parametrize(
    ("axes", "count", "words"),
    [((3,), 3, "mean runs over axis 3, the wrong axis"), ((2, 3), 2, "divided by 2 only, not by 6")],
)
def test_both_means_of_groups_over_a_part_of_them(axes: Any, count: int, words: str) -> None:
    def backward(dy: Any, x: Any) -> Any:
        h, s = (a.reshape(len(x), 2, -1, *last) for a, last in zip(grouped(x), ((3,), (1,)), strict=True))
        d = dy.reshape(h.shape)
        one, two = (a.sum(axes, keepdims=True) / count for a in (d, d * h))
        return ((d - one - h * two) / s).reshape(x.shape)

    def reference(x: Any) -> Any:
        return functional.group_norm(x, 2, eps=1e-3)

    found = causes(lambda x: grouped(x)[0].reshape(x.shape), backward, reference, x=(2, 4, 3))
    assert found["input gradient"].count(words) == 2


# --- attention, rotation, loops ---------------------------------------------------------------------------------------


def softmax(z: Any) -> Any:
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def attention(fault: str) -> tuple[Any, Any]:
    def turned(a: Any) -> Any:
        return a.transpose(0, 2, 1)

    def forward(x: Any, Q: Any, K: Any) -> Any:
        return softmax(x @ Q @ turned(x @ K)) @ x

    def backward(dy: Any, x: Any, Q: Any, K: Any) -> Any:
        q, k = x @ Q, x @ K
        P = softmax(q @ turned(k))
        dP = dy @ turned(x)
        S = P * (dP - (P * dP).sum(-1, keepdims=True))
        dq, dk = S @ (q if fault == "q for k" else k), turned(S) @ q
        dQ, dK = (np.einsum("nli,nlj->ij", x, d) for d in (dq, dk))
        if fault == "swapped":
            dQ, dK = dK, dQ
        return {"x": turned(P) @ dy + dq @ Q.T + dk @ K.T, "Q": dQ, "K": dK}

    return forward, backward


@pytest.mark.parametrize(
    ("fault", "tensor", "words"),
    [
        ("q for k", "gradient of Q", "x @ Q stands where (x @ K)ᵀ belongs"),
        ("swapped", "gradient of K", "it is the gradient of Q"),
    ],
)
def test_of_attention(fault: str, tensor: str, words: str) -> None:
    def reference(x: Any, Q: Any, K: Any) -> Any:
        return torch.softmax(x @ Q @ (x @ K).transpose(1, 2), -1) @ x

    found = causes(*attention(fault), reference, x=(2, 4, 5), params={"Q": (5, 3), "K": (5, 3)})
    assert words in found[tensor]


def rotated(x: Any, sign: float = 1.0, later: int = 0) -> Any:
    angle = np.arange(later, x.shape[1] + later)[:, None] * np.array([0.7, 0.1])
    c, s = np.cos(angle), sign * np.sin(angle)
    a, b = x[..., :2], x[..., 2:]
    return np.concatenate([a * c - b * s, a * s + b * c], axis=-1)


@pytest.mark.parametrize(
    ("derivative", "words"),
    [
        (rotated, "put through the layer as in the forward pass, where its transpose belongs"),
        (lambda dy: rotated(dy, -1.0, 1), "arange(3) begins one too late"),
        (lambda dy: rotated(dy[..., [0, 2, 1, 3]], -1.0)[..., [0, 2, 1, 3]], "pairs of halves"),
    ],
)
def test_of_a_rotation(derivative: Any, words: str) -> None:
    def reference(x: Any) -> Any:
        angle = torch.arange(x.shape[1], dtype=x.dtype)[:, None] * torch.tensor([0.7, 0.1], dtype=x.dtype)
        c, s, a, b = torch.cos(angle), torch.sin(angle), x[..., :2], x[..., 2:]
        return torch.cat([a * c - b * s, a * s + b * c], -1)

    assert words in causes(rotated, lambda dy, x: derivative(dy), reference, x=(2, 3, 4))["input gradient"]


def states(x: Any, W: Any, U: Any) -> list[Any]:
    found = [np.zeros((len(x), 2)) + 0 * x[:, 0, :1]]
    for t in range(3):
        found.append(np.tanh(x[:, t] @ W + found[-1] @ U))
    return found


def test_a_carry_without_its_derivative_is_told_in_every_gradient() -> None:
    def backward(dy: Any, x: Any, W: Any, U: Any) -> Any:
        h, carry, dx, dW, dU = states(x, W, U), 0, [], 0 * W, 0 * U
        for t in (2, 1, 0):
            d = dy[:, t] + carry
            dz = d * (1 - h[t + 1] ** 2)
            dW, dU, dx = dW + x[:, t].T @ dz, dU + h[t].T @ dz, [dz @ W.T, *dx]
            carry = d @ U.T  # d for dz
        return {"x": np.stack(dx, axis=1), "W": dW, "U": dU}

    def reference(x: Any, W: Any, U: Any) -> Any:
        h, found = x.new_zeros(len(x), 2), []
        for t in range(3):
            h = torch.tanh(x[:, t] @ W + h @ U)
            found.append(h)
        return torch.stack(found, 1)

    found = causes(
        lambda x, W, U: np.stack(states(x, W, U)[1:], axis=1), backward, reference,
        x=(3, 3, 2), params={"W": (2, 2), "U": (2, 2)},
    )  # fmt: skip
    assert set(found) == {"input gradient", "gradient of W", "gradient of U"}
    assert found["input gradient"] == found["gradient of W"]
    assert all(", δ of tanh(" in cause and " stands where that of " in cause for cause in found.values())
    assert found["input gradient"].endswith("in every turn of the loop")


def test_two_gates_that_changed_places_are_told() -> None:
    def backward(dy: Any, x: Any, A: Any, B: Any) -> Any:
        a, b = np.tanh(x @ A), np.tanh(x @ B)
        da, db = dy * b * (1 - a * a), dy * a * (1 - b * b)
        return {"x": db @ A.T + da @ B.T, "A": x.T @ da, "B": x.T @ db}

    found = causes(
        lambda x, A, B: np.tanh(x @ A) * np.tanh(x @ B), backward,
        lambda x, A, B: torch.tanh(x @ A) * torch.tanh(x @ B),
        x=(3, 4), params={"A": (4, 2), "B": (4, 2)},
    )  # fmt: skip
    assert found == {"input gradient": "δ of x @ A and δ of x @ B are swapped"}


def test_weights_taken_as_uniform_and_rows_averaged() -> None:
    def mixed(dy: Any, x: Any, G: Any, E: Any) -> Any:
        p = softmax(x @ G)
        dp = np.einsum("no,kio,ni->nk", dy, E, x)
        dz = p * (dp - (p * dp).sum(-1, keepdims=True))
        dE = np.einsum("no,ni->io", dy, x) / 3 + 0 * E  # 1/3 for p
        return {"x": dz @ G.T + np.einsum("nk,no,kio->ni", p, dy, E), "G": x.T @ dz, "E": dE}

    found = causes(
        lambda x, G, E: np.einsum("nk,kio,ni->no", softmax(x @ G), E, x), mixed,
        lambda x, G, E: (torch.softmax(x @ G, 1)[:, :, None] * torch.einsum("kio,ni->nko", E, x)).sum(1),
        x=(4, 5), params={"G": (5, 3), "E": (3, 5, 2)},
    )  # fmt: skip
    assert "1/3 throughout stands where softmax(x @ G, axis 1)" in found["gradient of E"]

    def looked_up(dy: Any, x: Any, E: Any) -> Any:
        return {"x": dy @ E.T, "E": x.T @ dy / np.maximum(x.sum(0), 1)[:, None]}

    rows = np.eye(4)[[0, 2, 2, 1, 0, 0]]
    found = causes(lambda x, E: x @ E, looked_up, lambda x, E: x @ E, x=rows, params={"E": (4, 3)})
    assert "looked up several times is averaged" in found["gradient of E"]


def test_what_is_almost_one_of_these_is_none() -> None:
    def backward(dy: Any, x: Any, w: Any) -> Any:
        right = convolution("overwrites")(dy, x, w)
        off = 1 + 1e-6 * np.random.default_rng(0).uniform(-1, 1, x[:1].shape)
        return {"x": right["x"] * off, "w": right["w"]}

    def reference(x: Any, w: Any) -> Any:
        return functional.conv1d(x, w, stride=2, padding=1)

    assert causes(convolved, backward, reference, x=(2, 3, 5), params={"w": (4, 3, 3)}) == {"input gradient": ""}
