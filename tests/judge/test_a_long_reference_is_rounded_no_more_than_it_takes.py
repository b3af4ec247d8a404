"""Random rounding of a long reference is made where it may decide something, and not where float32 shows it cannot."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from handgrad import check
from handgrad.compare.judge.torch_rounding import RandomRounding

SHORT, LONG = 4, 30


def recurrence(factor: float) -> Any:
    def forward(x: Any, a: Any) -> Any:
        states = [np.zeros_like(x[:, 0])]
        for t in range(x.shape[1]):
            states.append(a * states[-1] + x[:, t])
        return states[-1], (x, a, states)

    def backward(dy: Any, cache: Any) -> Any:
        x, a, states = cache
        dx, da, dh = np.zeros_like(x), np.zeros_like(a), dy
        for t in reversed(range(x.shape[1])):
            dx[:, t] = dh
            da = da + (dh * states[t]).sum(0)
            dh = dh * a
        return dx, {"a": factor * da}

    return forward, backward


def in_torch(x: torch.Tensor, a: torch.Tensor) -> torch.Tensor:
    h = torch.zeros_like(x[:, 0])
    for t in range(x.shape[1]):
        h = a * h + x[:, t]
    return h


@pytest.fixture
def draws(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The seeds of all random roundings."""
    made, real = list[int](), RandomRounding.__init__

    def noted(self: RandomRounding, seed: int | None, *given: Any) -> None:
        made.extend([] if seed is None else [seed])
        real(self, seed, *given)

    monkeypatch.setattr(RandomRounding, "__init__", noted)
    return made


@pytest.mark.parametrize(
    ("steps", "factor", "rounded"),
    [(LONG, 1.0, False), (LONG, 1.5, False), (SHORT, 1.5, False), (SHORT, 1 + 1e-9, True)],
    ids=["right", "long and wrong", "short and wrong", "wrong by little"],
)
def test_where_it_decides_nothing_none_is_made(draws: list[int], steps: int, factor: float, rounded: bool) -> None:
    x, a = np.random.default_rng(0).normal(size=(2, steps, 2)), np.array([0.7, -0.6])
    report = check(recurrence(factor), in_torch, x=x, params={"a": a}, explain="off", raises=False)
    assert report.agrees == (factor == 1.0), str(report)
    assert bool(draws) == rounded
