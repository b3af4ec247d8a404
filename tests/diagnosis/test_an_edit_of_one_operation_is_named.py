"""An edit in the derivative of one operation: a power, a softmax, a look-up, a window, a mask, a product of equals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from tests.diagnosis.diagnosed import causes_of


def cause(forward: Any, backward: Any, reference: Any, tensor: str, **arguments: Any) -> str:
    found = causes_of((forward, backward), reference, **arguments)
    assert set(found) == {tensor}
    return " and ".join(found[tensor])


def test_of_equal_factors_the_exponent_is_lost() -> None:
    found = cause(
        lambda x: x * x + np.sin(x), lambda dy, x: dy * (x + np.cos(x)),
        lambda x: x * x + torch.sin(x), "input gradient", x=(3, 4),
    )  # fmt: skip
    assert found == "the factor 2 of the square x · x is lost in its derivative"


def test_a_cube_that_keeps_one_of_three() -> None:
    found = cause(
        lambda x: np.tanh(0.1 * (x * x * x)),
        lambda dy, x: dy * (1 - np.tanh(0.1 * (x * x * x)) ** 2) * 0.1 * x * x,
        lambda x: torch.tanh(0.1 * (x * x * x)), "input gradient", x=(3, 4),
    )  # fmt: skip
    assert found == "the factor 3 of the cube x · x · x is lost in its derivative"


def pooled(x: Any, p: Any) -> Any:
    return ((x**p).mean(-1) ** (1 / p)) if isinstance(x, torch.Tensor) else np.mean(x**p, axis=-1) ** (1 / p)


def of_pooled(fault: str) -> Any:
    def backward(dy: Any, x: Any, p: Any) -> Any:
        m = np.mean(x**p, axis=-1, keepdims=True)
        d, n = dy[..., None], x.shape[-1]
        dx = d * (1 if fault == "outer" else m ** (1 / p - 1)) * x ** (p - 1) / n
        dp = (x**p * np.log(x)).sum(axis=-1, keepdims=True) / n / m / p
        dp = dp if fault == "root" else dp - np.log(m) / p**2
        return {"x": dx, "p": np.array([(d * m ** (1 / p) * dp).sum()])}

    return backward


@pytest.mark.parametrize(
    ("fault", "tensor", "words"),
    [
        ("outer", "input gradient", "is taken as its exponent alone: the power is left out"),
        ("root", "gradient of p", "the path through 1 / p, its exponent, in mean(x^p, axis -1)^(1 / p) is missing"),
    ],
)
def test_of_a_power_whose_exponent_is_a_quantity(fault: str, tensor: str, words: str) -> None:
    x = lambda rng: rng.uniform(0.2, 2.0, (3, 7))  # noqa: E731  (an argument, not a function)
    assert words in cause(pooled, of_pooled(fault), pooled, tensor, x=x, params={"p": np.array([2.7])})


def softmax(x: Any) -> Any:
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def test_the_plain_mean_stands_for_the_weighted_one() -> None:
    def backward(dy: Any, x: Any) -> Any:
        p, d = softmax(2 * x), 2 * dy
        return 2 * (p * (d - d.mean(axis=1, keepdims=True)))

    found = cause(
        lambda x: 2 * softmax(2 * x), backward, lambda x: 2 * torch.softmax(2 * x, 1), "input gradient", x=(4, 5)
    )
    assert found.endswith("the plain mean of δ stands for sum(δ · p), that weighted with p")


def test_the_row_of_the_padding_gets_a_gradient() -> None:
    # this alone would be the gradient of the forward pass, and torch's is not: then there is nothing to name
    ids = np.array([[0, 2, 1], [3, 0, 2]])

    def backward(dy: Any, x: Any, E: Any) -> Any:
        dE = np.zeros_like(E)
        np.add.at(dE, ids.ravel(), dy.reshape(-1, 4))
        return {"x": dy, "E": dE}

    found = cause(
        lambda x, E: 2 * E[ids] + x, backward,
        lambda x, E: 2 * functional.embedding(torch.from_numpy(ids), E, padding_idx=0) + x, "gradient of E",
        x=np.random.default_rng(0).normal(size=(2, 3, 4)), params={"E": (5, 4)},
    )  # fmt: skip
    assert found == "row 0 of E, the padding, gets a gradient too: the constant 2 is left out"


def test_the_padding_is_counted_where_a_window_is_cut() -> None:
    def windows(n: int) -> list[tuple[int, int]]:
        return [(max(s, 0), min(s + 3, n)) for s in range(-1, n - 1, 2)]

    def forward(x: Any) -> Any:
        return np.stack([x[:, :, a:b].sum(axis=-1) / (b - a) for a, b in windows(x.shape[2])], axis=2)

    def backward(dy: Any, x: Any) -> Any:
        dx = np.zeros_like(x)
        for t, (a, b) in enumerate(windows(x.shape[2])):
            dx[:, :, a:b] += dy[:, :, t, None] / 3
        return dx

    reference = lambda x: functional.avg_pool1d(x, 3, 2, 1, count_include_pad=False)  # noqa: E731  (a reference is one line)
    found = cause(forward, backward, reference, "input gradient", x=(2, 3, 9))
    assert found.endswith("is divided by the whole window, padding and all, at the borders")


def test_a_mask_is_taken_from_delta() -> None:
    found = cause(
        lambda x: np.where(x > 0, x, 0.2 * x) * x, lambda dy, x: dy * (np.where(dy * x > 0, 1, 0.2) * x)
        + dy * np.where(x > 0, x, 0.2 * x), lambda x: functional.leaky_relu(x, 0.2) * x, "input gradient", x=(4, 5),
    )  # fmt: skip
    assert found == "the mask of leaky_relu(x) is taken from δ, not from x"


def delayed(z: Any, k: int) -> Any:
    return np.concatenate([np.zeros_like(z[:, :, :k]), z[:, :, : z.shape[2] - k]], axis=2)


def test_delta_is_correlated_as_the_input_was() -> None:
    def forward(x: Any, w: Any) -> Any:
        return np.tanh(sum(w[:, 2 - k, None] * delayed(x, k) for k in range(3)))

    def backward(dy: Any, x: Any, w: Any) -> Any:
        dz = dy * (1 - forward(x, w) ** 2)
        dw = [(dz * delayed(x, k)).sum(axis=(0, 2)) for k in range(3)]
        return {"x": sum(w[:, 2 - k, None] * delayed(dz, k) for k in range(3)), "w": np.stack(dw[::-1], axis=1)}

    def reference(x: Any, w: Any) -> Any:
        return torch.tanh(functional.conv1d(functional.pad(x, (2, 0)), w[:, None, :], groups=4))

    found = cause(forward, backward, reference, "input gradient", x=(2, 4, 7), params={"w": (4, 3)})
    assert found.endswith("as in the forward pass, where its transpose belongs")


def test_the_sum_of_a_row_is_forgotten() -> None:
    found = cause(
        lambda x, w: x * (x @ w)[:, None],
        lambda dy, x, w: {"x": dy * (x @ w)[:, None] + (dy * x).sum(1)[:, None] * w, "w": (dy * x * x).sum(0)},
        lambda x, w: x * (x @ w)[:, None], "gradient of w", x=(4, 5), params={"w": (5,)},
    )  # fmt: skip
    assert found.endswith("δ · x is taken element by element: δ is not summed over axis 1 before")


def unrolled(x: Any, b: Any, turns: int = 4) -> list[Any]:
    h = [0 * b + np.zeros((len(x), 3))]
    for t in range(turns):
        h.append(np.tanh(x[:, t] + 0.5 * h[-1] + b))
    return h


def test_only_one_turn_of_a_loop_counts() -> None:
    def backward(dy: Any, x: Any, b: Any) -> Any:
        h, d, dx = unrolled(x, b), 0 * dy[:, 0], []
        for t in reversed(range(4)):
            d = (dy[:, t] + 0.5 * d) * (1 - h[t + 1] ** 2)
            dx.insert(0, d)
            db = d.sum(axis=0)
        return {"x": np.stack(dx, axis=1), "b": db}

    def reference(x: Any, b: Any) -> Any:
        h, out = torch.zeros(len(x), 3, dtype=x.dtype), []
        for t in range(4):
            h = torch.tanh(x[:, t] + 0.5 * h + b)
            out.append(h)
        return torch.stack(out, 1)

    found = cause(
        lambda x, b: np.stack(unrolled(x, b)[1:], axis=1), backward, reference, "gradient of b",
        x=np.random.default_rng(0).normal(size=(2, 4, 3)), params={"b": (3,)},
    )  # fmt: skip
    assert found == "the turns of the loop overwrite each other in the gradient of b: only the first one counts"
