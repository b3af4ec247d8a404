"""A reference that casts to float32 inside, or whose buffers were made in float32, is off by its own rounding.

A right derivation agrees, to the digits that the reference has; a wrong one is found, and its cause named.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from handgrad import check
from handgrad.compare.judge.agreement import WITHIN_REFERENCE
from handgrad.compare.judge.casts import casts_inside, without_casts
from handgrad.compare.judge.sides import LayerSides


def rms_norm(x: Any) -> Any:
    """As Llama writes it."""
    h = x.float()
    return (h * torch.rsqrt(h.pow(2).mean(-1, keepdim=True) + 1e-6)).to(x.dtype)


def forward(x: Any) -> Any:
    r = 1 / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6)
    return x * r, (x, r)


def backward(projection: float) -> Any:
    def of(dy: Any, cache: Any) -> Any:
        x, r = cache
        return r * (dy - projection * x * r * (dy * x * r).mean(-1, keepdims=True))

    return of


def test_a_right_derivation_agrees_to_the_digits_that_torch_has() -> None:
    report = check((forward, backward(1.0)), rms_norm, x=(4, 8))
    assert {f.verdict.rule for f in report.findings} == {WITHIN_REFERENCE}
    assert "torch's own result is no more exact" in str(report)


@pytest.mark.parametrize("projection", [0.0, 1.001])
def test_a_wrong_one_is_found(projection: float) -> None:
    report = check((forward, backward(projection)), rms_norm, x=(4, 8), raises=False)
    assert {f.tensor for f in report.findings if f.differs} == {"input gradient"}
    if not projection:
        assert any("the projection term" in cause or "held constant" in cause for cause in report.causes), str(report)


def statistics() -> nn.Module:
    norm = nn.BatchNorm1d(3, affine=False).eval()
    norm.running_mean.fill_(0.1)  # type: ignore[union-attr, operator]
    norm.running_var.fill_(0.7)  # type: ignore[union-attr, operator]
    return norm


@pytest.mark.parametrize(("variance", "agrees"), [(0.7, True), (0.7 + 1e-9, False)])
def test_a_buffer_of_float32_stands_for_a_decimal_number(variance: float, agrees: bool) -> None:
    scale = 1 / np.sqrt(variance + 1e-5)
    ours = (lambda x: (x - 0.1) * scale, lambda dy, x: dy * scale)
    assert check(ours, statistics(), x=(4, 3), raises=False).agrees == agrees


def test_casts_are_seen_and_left_out() -> None:
    sides, inputs = LayerSides(None, rms_norm), {"x": np.random.default_rng(0).normal(size=(2, 3))}  # type: ignore[arg-type]
    assert casts_inside(sides, inputs)
    assert not casts_inside(LayerSides(None, torch.tanh), inputs)  # type: ignore[arg-type]
    wide = without_casts(sides).torch(inputs)["output"]
    assert np.abs(wide - forward(inputs["x"])[0]).max() < 1e-15
    assert np.abs(wide - sides.torch(inputs)["output"]).max() > 1e-9


COUNT = np.array([3, 1, 0, 2, 1])  # 3 / 7 is rounded
WHOLE = [
    (lambda n: n / 7, lambda n: n / 7),
    (lambda n: 3.0**n / 7, lambda n: 3.0**n / 7),
    (lambda n: n.float() * 0.1, lambda n: n * 0.1),
    (lambda n: torch.log2(n + 1), lambda n: np.log2(n + 1)),
    (lambda n: torch.pow(n + 1, -0.5), lambda n: (n + 1) ** -0.5),
    (lambda n: (n > 0).float().mean() / 3, lambda n: (n > 0).mean() / 3),
    (lambda n: torch.arange(1, 6) / n.sum(), lambda n: np.arange(1, 6) / n.sum()),
]


@pytest.mark.parametrize("error", [0.0, 1e-10])
@pytest.mark.parametrize(("theirs", "ours"), WHOLE)
def test_what_torch_makes_of_whole_numbers_is_of_its_default_dtype(theirs: Any, ours: Any, error: float) -> None:
    """A right derivation agrees, although torch is off by 1e-8; one that is off by 1e-10 differs."""
    share = ours(COUNT) * (1 + error)
    report = check(
        (lambda x: share * x, lambda dy, x: share * dy),
        lambda x: theirs(torch.from_numpy(COUNT)) * x,
        x=(4, 5),
        explain="off",
        raises=False,
    )
    assert report.agrees == (not error), str(report)
