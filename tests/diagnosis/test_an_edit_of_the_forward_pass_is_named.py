"""What goes wrong in the forward pass, with a gradient that follows it or not, is named in every tensor."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from tests.diagnosis.diagnosed import causes_of

OF_ANOTHER = "it is the gradient of the reference with one change: "


def by_torch(wrong: Any) -> tuple[Any, Any]:
    """A forward pass and its right gradient: a person who derives the wrong function without a further fault."""

    def leaves(x: Any, params: Any) -> list[Any]:
        return [torch.from_numpy(np.array(v)).requires_grad_() for v in (x, *params.values())]

    def forward(x: Any, **params: Any) -> Any:
        first, *rest = leaves(x, params)
        return wrong(first, **dict(zip(params, rest, strict=True))).detach().numpy()

    def backward(dy: Any, x: Any, **params: Any) -> Any:
        first, *rest = leaves(x, params)
        with torch.enable_grad():
            y = wrong(first, **dict(zip(params, rest, strict=True)))
        found = torch.autograd.grad(y, [first, *rest], torch.from_numpy(np.array(dy)))
        return {k: g.numpy() for k, g in zip(("x", *params), found, strict=True)}

    return forward, backward


def causes(ours: Any, reference: Any, **arguments: Any) -> dict[str, str]:
    return {k: " and ".join(said) for k, said in causes_of(ours, reference, **arguments).items()}


def named(wrong: Any, reference: Any, words: str, **arguments: Any) -> None:
    found = causes(by_torch(wrong), reference, **arguments)
    assert words in found["output"]
    assert len(found) > 1
    assert all(said == OF_ANOTHER + found["output"] for k, said in found.items() if k != "output"), found


HEADS = {"x": (5, 4), "params": {"Q": (4, 6), "K": (4, 6), "V": (4, 6)}}


def attention(x: Any, Q: Any, K: Any, V: Any, fault: str = "") -> Any:
    q, k, v = ((x @ W).reshape(5, 2, 3).transpose(0, 1) for W in (Q, K, V))
    s = q @ k.transpose(1, 2) / math.sqrt(6 if fault == "width" else 3)
    mask = torch.ones(5, 5).tril().bool()
    p = torch.softmax(s, -1) * mask if fault == "after" else torch.softmax(s.masked_fill(~mask, -math.inf), -1)
    y = p @ v
    return y.reshape(5, 6) if fault == "merge" else y.transpose(0, 1).reshape(5, 6)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("width", "is √6, of the size of another axis"),
        ("after", "the mask is applied after the softmax"),
        ("merge", "its axes are only reshaped where they should be transposed"),
    ],
)
def test_of_attention(fault: str, words: str) -> None:
    # other batches would not fit the mask: the numbers are given
    arguments = {**HEADS, "x": np.random.default_rng(3).normal(size=(5, 4))}
    named(lambda x, Q, K, V: attention(x, Q, K, V, fault), attention, words, **arguments)


def test_a_function_is_taken_of_the_other_factor() -> None:
    named(
        lambda x, W, U: (x @ W) * functional.silu(x @ U), lambda x, W, U: functional.silu(x @ W) * (x @ U),
        "silu is taken of x @ U, the other factor, not of x @ W", x=(4, 3), params={"W": (3, 5), "U": (3, 5)},
    )  # fmt: skip


def test_two_parameters_are_exchanged() -> None:
    def scores(x: Any, a: Any, b: Any) -> Any:
        return torch.tanh((x @ a)[:, None] + 2 * (x @ b)[None, :])

    x = np.random.default_rng(1).normal(size=(4, 3))
    named(lambda x, a, b: scores(x, b, a), scores, "a and b are exchanged", x=x, params={"a": (3,), "b": (3,)})


def test_a_mean_and_a_variance_run_over_other_axes() -> None:
    def normalized(x: Any, axes: Any) -> Any:
        g = x.reshape(len(x), 2, 3, 5)
        return ((g - g.mean(axes, keepdim=True)) / torch.sqrt(g.var(axes, False, keepdim=True) + 1e-5)).reshape(x.shape)

    reference = torch.nn.GroupNorm(2, 6, affine=False)
    words = "the mean and the variance run over axis 3 of [3×2×3×5], not over axis 2, 3"
    named(lambda x: normalized(x, (3,)), reference, words, x=np.random.default_rng(0).normal(size=(3, 6, 5)))


def test_a_root_too_much_and_a_root_and_a_square_too_little() -> None:
    def kernel(x: Any, c: Any, root: bool = False) -> Any:
        square = ((x[:, None] - c) ** 2).sum(-1)
        return torch.exp(-(torch.sqrt(square) if root else square))

    words = "√(sum((x − c)^2, axis -1)) stands for sum((x − c)^2, axis -1)"
    named(lambda x, c: kernel(x, c, True), kernel, words, x=(4, 3), params={"c": (5, 3)})
    named(
        lambda x: x * (1 - torch.sigmoid(x)), lambda x: x * torch.sqrt(1 - torch.sigmoid(x) ** 2),
        "the root and the square of sqrt(1 − sigmoid(x)^2) are both left out", x=(4, 3),
    )  # fmt: skip


def test_what_is_worked_out_later_stands_for_what_it_is_made_of() -> None:
    def squashed(x: Any, length: bool = False) -> Any:
        n = (x * x).sum(-1, keepdim=True)
        return n / (1 + (torch.sqrt(n + 1e-6) if length else n)) * x / torch.sqrt(n + 1e-6)

    named(lambda x: squashed(x, True), squashed, "sqrt(sum(x · x, axis -1) + 1e-06) stands for sum(x · x", x=(3, 5))


def test_the_padding_is_at_the_other_end() -> None:
    def convolved(x: Any, w: Any, pad: Any = (2, 0)) -> Any:
        return functional.conv1d(functional.pad(x, pad), w)

    words = "the padding is at the other end"
    named(lambda x, w: convolved(x, w, (0, 2)), convolved, words, x=(2, 3, 6), params={"w": (4, 3, 3)})


def test_the_softmax_runs_over_all_before_some_are_chosen() -> None:
    def gates(x: Any, first: bool = False) -> Any:
        chosen, at = (torch.softmax(x, 1) if first else x).topk(2, dim=1)
        return torch.zeros_like(x).scatter(1, at, chosen if first else torch.softmax(chosen, 1))

    named(lambda x: gates(x, True), gates, "the softmax runs over all numbers, before topk", x=(6, 4))


def test_self_loops_are_forgotten() -> None:
    A = np.triu(np.ones((4, 4)), 1)

    def propagated(x: Any, W: Any, loops: bool = True) -> Any:
        a = torch.as_tensor(A, dtype=x.dtype) + (torch.eye(4, dtype=x.dtype) if loops else 0)
        d = (a.sum(1) + 1).rsqrt()
        return torch.tanh(d[:, None] * a * d @ x @ W)

    x = np.random.default_rng(0).normal(size=(4, 3))
    named(lambda x, W: propagated(x, W, False), propagated, "I is left out of", x=x, params={"W": (3, 2)})


def mistyped(c: float) -> Any:
    return lambda x: 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + c * x**3)))


def test_a_mistyped_number_is_read_off() -> None:
    found = causes(by_torch(mistyped(0.044175)), mistyped(0.044715), x=(4, 6))
    assert found["output"].startswith("the constant is 0.044175, not 0.044715, in ")
    assert found["input gradient"] == OF_ANOTHER + found["output"]


def test_a_number_that_nobody_types_is_none() -> None:
    assert not any(causes(by_torch(mistyped(0.044715 * (1 + math.pi / 50))), mistyped(0.044715), x=(4, 6)).values())


def test_a_change_of_the_output_is_not_said_of_a_gradient_that_has_another_fault() -> None:
    right = mistyped(0.044175)

    def backward(dy: Any, x: Any) -> Any:
        return by_torch(right)[1](dy, x)["x"] * np.where(x > 0, 1.25, 1)

    assert causes((by_torch(right)[0], backward), mistyped(0.044715), x=(4, 6))["input gradient"] == ""


def turned(x: Any, neighbours: bool = False) -> Any:
    a, b = (x[:, 0::2], x[:, 1::2]) if neighbours else (x[:, :3], x[:, 3:])
    t = torch.arange(len(x), dtype=x.dtype)[:, None] / torch.tensor([1.0, 2.0, 3.0], dtype=x.dtype)
    pair = a * t.cos() - b * t.sin(), a * t.sin() + b * t.cos()
    return torch.stack(pair, 2).reshape(x.shape) if neighbours else torch.cat(pair, 1)


def test_pairs_of_neighbours_are_taken_for_pairs_of_halves() -> None:
    found = causes(by_torch(lambda x: turned(x, True)), turned, x=(4, 6))
    assert set(found) == {"output", "input gradient"}
    assert all(said.startswith("pairs of neighbours and pairs of halves") for said in found.values())


def test_a_table_that_is_used_reversed_gets_its_gradient_reversed() -> None:
    def biased(x: Any, B: Any, reverse: bool = False) -> Any:
        return torch.softmax(x + (B.flip(0) if reverse else B), 1)

    found = causes(by_torch(lambda x, B: biased(x, B, True)), biased, x=(3, 5), params={"B": (5,)})
    assert found["output"] == "B is reversed along axis 0 where it is used"
    assert found["gradient of B"] == "B is reversed along axis 0 where it is used, and its gradient with it"
