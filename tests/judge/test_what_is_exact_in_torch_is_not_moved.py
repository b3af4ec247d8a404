"""What torch computes exactly is not moved at random: an index made of a floor stays, and the rest is measured."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from handgrad import check, constant
from tests.judge.test_torch_may_round_on_these_numbers import X, moved


@pytest.mark.parametrize(
    "exact",
    [torch.floor, torch.ceil, torch.trunc, lambda x: x.floor() + 1, lambda x: 3 * x.ceil() - x.floor(),
     lambda x: torch.div(x, 0.25, rounding_mode="floor"), lambda x: x // 0.25, lambda x: x.round().sum(0)],
)  # fmt: skip
def test_what_is_exact_stays(exact: Callable[..., torch.Tensor]) -> None:
    assert (moved(exact, X) == 0).all()


@pytest.mark.parametrize(
    "rounded",
    [lambda x: x.round(decimals=1), lambda x: x.ceil() / 3, lambda x: x.ceil() + 0.1, lambda x: x.ceil().exp(),
     lambda x: (40 + x).tanh(), lambda x: x.ceil() + 2.0**60],
)  # fmt: skip
def test_and_what_is_not_moves(rounded: Callable[..., torch.Tensor]) -> None:
    assert (moved(rounded, X) > 0).any()


LEVEL = np.sin(np.arange(24.0)) + 9


def between(error: float) -> Any:
    """A level between its numbers: the slope is a small difference of large ones, which torch takes after dy."""

    def parts(x: Any) -> Any:
        low = np.floor(x)
        return low.astype(int) % 24, x - low

    def forward(x: Any, level: Any) -> Any:
        k, share = parts(x)
        return (1 - share) * level[k] + share * level[(k + 1) % 24]

    def backward(dy: Any, x: Any, level: Any) -> Any:
        k, _ = parts(x)
        return dy * (level[(k + 1) % 24] - level[k]) * (1 + error)

    return forward, backward


def between_in_torch(x: Any, level: Any) -> Any:
    low = x.detach().floor()
    k = low.long() % 24
    return (low + 1 - x) * level[k] + (x - low) * level[(k + 1) % 24]


@pytest.mark.parametrize("error", [0.0, 1e-11])
def test_an_index_made_by_a_floor_does_not_hide_what_torch_rounds(error: float) -> None:
    x = np.random.default_rng(0).uniform(-30, 30, (5, 6))
    report = check(
        between(error),
        between_in_torch,
        inputs={"x": x, "level": constant(LEVEL)},
        explain="off",
        raises=False,
        accept={"undecided"},
    )
    assert report.agrees == (not error), str(report)
