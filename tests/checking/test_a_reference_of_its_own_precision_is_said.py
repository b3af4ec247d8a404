"""Right derivations beside references that are exact in a way of their own: each agrees, and a wrong one differs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from handgrad import UsageError, check
from handgrad.compare.checking.findings import Report
from handgrad.compare.judge.agreement import WITHIN_REFERENCE

WRONG = [1.0, 1.5, 1.0001]


def report(*args: Any, **options: Any) -> Report:
    return check(*args, **options, raises=False, explain="off")


def distances(factor: float) -> Any:
    """Of every row to every other; at a distance of 0 the gradient is 0."""

    def forward(x: Any) -> Any:
        apart = x[:, None] - x[None]
        d = np.sqrt((apart**2).sum(-1))
        return d, (apart, d)

    def backward(dy: Any, cache: Any) -> Any:
        apart, d = cache
        g = np.where(d > 0, factor * dy / np.where(d > 0, d, 1.0), 0.0)[..., None] * apart
        return g.sum(1) - g.sum(0)

    return forward, backward


@pytest.mark.parametrize("factor", [1.0, 1.0001])
@pytest.mark.parametrize("shape", [(26, 2)])
def test_torchs_distances_of_many_rows(shape: tuple[int, int], factor: float) -> None:
    """x² + y² − 2xy, which is not 0 for a row beside itself."""
    found = report(distances(factor), lambda x: torch.cdist(x, x), x=shape)
    assert found["output"].agrees, str(found)
    assert found["input gradient"].agrees == (factor == 1.0), str(found)


def turned(x: Any, cos: Any, sin: Any) -> Any:
    y = np.empty_like(x)
    y[..., 0::2] = x[..., 0::2] * cos - x[..., 1::2] * sin
    y[..., 1::2] = x[..., 0::2] * sin + x[..., 1::2] * cos
    return y


def rotary(factor: float) -> Any:
    def forward(x: Any) -> Any:
        steps, width = x.shape[-2:]
        angles = np.arange(steps)[:, None] / 10000 ** (np.arange(0, width, 2) / width)
        cos, sin = np.cos(angles).astype(x.dtype), np.sin(angles).astype(x.dtype)
        return turned(x, cos, sin), (cos, sin)

    return forward, lambda dy, cache: factor * turned(dy, cache[0], -cache[1])


def as_llama_writes_it(x: torch.Tensor) -> torch.Tensor:
    steps, width = x.shape[-2:]
    rates = 1.0 / 10000 ** (torch.arange(0, width, 2)[: width // 2].float() / width)
    angles = torch.outer(torch.arange(steps), rates).float()
    turns = torch.polar(torch.ones_like(angles), angles)
    pairs = torch.view_as_complex(x.float().reshape(*x.shape[:-1], -1, 2))
    return torch.view_as_real(pairs * turns).flatten(-2).type_as(x)


def with_whole_numbers_cast(x: torch.Tensor) -> torch.Tensor:
    steps, width = x.shape[-2:]
    angles = torch.arange(steps).float()[:, None] / 10000 ** (torch.arange(0, width, 2, dtype=torch.float32) / width)
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack([even * cos - odd * sin, even * sin + odd * cos], -1).flatten(-2)


@pytest.mark.parametrize("factor", WRONG)
@pytest.mark.parametrize("reference", [as_llama_writes_it, with_whole_numbers_cast])
def test_rotary_embeddings_in_float32_inside(reference: Callable[..., torch.Tensor], factor: float) -> None:
    found = report(rotary(factor), reference, x=(2, 5, 8))
    assert found["output"].agrees, str(found)
    assert found["output"].verdict.rule == WITHIN_REFERENCE
    assert "torch's own result is no more exact" in str(found["output"].notes)
    assert found["input gradient"].agrees == (factor == 1.0), str(found)


FORMS: dict[str, Callable[[Any], Any]] = {
    "big-endian": lambda y: np.asarray(y).astype(">f8"),
    "a matrix": lambda y: np.asmatrix(y),
}


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("factor", WRONG)
def test_results_in_another_form(form: str, factor: float) -> None:
    made = FORMS[form]
    pair = (lambda x: made(np.tanh(x))), (lambda dy, x: made(factor * dy * (1 - np.tanh(x) ** 2)))
    found = report(pair, torch.tanh, x=(3, 4))
    assert found.agrees == (factor == 1.0), str(found)
    assert ">f8" not in str(found), "another order of bytes is no other dtype"


def test_big_endian_numbers_of_fewer_digits_are_told_as_such() -> None:
    pair = (lambda x: np.tanh(x).astype(">f4")), (lambda dy, x: (dy * (1 - np.tanh(x) ** 2)).astype(">f4"))
    assert "dtype float32 beside torch's float64" in str(report(pair, torch.tanh, x=(3, 4)))


@pytest.mark.parametrize("x", [(2,) + (1,) * 31 + (3,), np.ones((1,) * 40)], ids=["a shape", "an array"])
def test_more_dimensions_than_can_be_counted_are_refused(x: Any) -> None:
    with pytest.raises(UsageError, match=r"x must have at most 32 dimensions, got \d\d: leave out axes of size one"):
        check((np.tanh, lambda dy, x: dy * (1 - np.tanh(x) ** 2)), torch.tanh, x=x)


def test_of_results_too() -> None:
    pair = (lambda x: x[(None,) * 31]), (lambda dy, x: dy[(0,) * 31])
    with pytest.raises(UsageError, match="output must have at most 32 dimensions, got 33"):
        check(pair, lambda x: x[(None,) * 31], x=(3, 4))
    right = (lambda x: x[(None,) * 30]), (lambda dy, x: dy[(0,) * 30])
    assert check(right, lambda x: x[(None,) * 30], x=(3, 4)).agrees
