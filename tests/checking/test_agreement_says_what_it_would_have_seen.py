"""Agreement says what it is worth: an error larger than it says exceeds the bound, wherever it is planted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from handgrad import check
from handgrad.compare.checking.outcome import Outcome


def off(error: float) -> Any:
    """Softmax, whose gradient is off by a share of it."""

    def forward(x: Any) -> Any:
        e = np.exp(x - x.max(1, keepdims=True))
        return e / e.sum(1, keepdims=True)

    def backward(dy: Any, x: Any) -> Any:
        y = forward(x)
        return (1 + error) * y * (dy - (dy * y).sum(1, keepdims=True))

    return forward, backward


@pytest.mark.parametrize(("dtype", "digits"), [("float64", 1e-12), ("float32", 1e-4)])
def test_a_larger_error_exceeds_the_bound(dtype: str, digits: float) -> None:
    def put(error: float) -> Any:
        reference = lambda x: x.softmax(1)  # noqa: E731
        return check(off(error), reference, x=(5, 7), dtype=dtype, explain="off", raises=False)

    right = put(0.0)
    sees = right["input gradient"].sees
    assert 0 < sees < digits
    assert f"an error of {sees:.0e} of the largest number exceeds it" in str(right)
    assert right.as_json()["findings"][1]["sees"] == sees
    assert put(2 * sees).outcome is Outcome.DIFFERS  # torch rounds a little as well
    assert put(sees / 1000).outcome is Outcome.AGREES


def test_an_exact_draw_sees_any_error() -> None:
    pair = (lambda x, w: x @ w, lambda dy, x, w: (dy @ w.T, x.T @ dy))
    report = check(pair, torch.matmul, inputs={"input": (4, 8), "other": (8, 3)})
    assert all(f.sees == 0 for f in report.findings)
    assert "on an exact draw any error would have been seen" in report.headline


def test_what_was_not_compared_would_have_shown_nothing() -> None:
    pair = (lambda x: 0 * x, lambda dy, x: 0 * dy)
    report = check(pair, lambda x: 0 * x, x=(2, 3), raises=False)
    assert report.outcome is Outcome.UNDECIDED
    assert "seen" not in report.verdict
