"""What a cause says about a softmax is said of this softmax, its temperature included, and not of another."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from handgrad import CheckFailed, check

TEMPERATURE = 2.3


def softmax(z: Any) -> Any:
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def causes(axis: int, divide: bool) -> tuple[str, ...]:
    def forward(x: Any) -> Any:
        return softmax(x / TEMPERATURE)

    def backward(dy: Any, x: Any) -> Any:
        p = softmax(x / TEMPERATURE)
        dz = p * (dy - (dy * p).sum(axis=axis, keepdims=True))
        return dz / TEMPERATURE if divide else dz

    with pytest.raises(CheckFailed) as caught:
        check((forward, backward), lambda x: torch.softmax(x / TEMPERATURE, 1), x=(3, 5))
    (finding,) = [f for f in caught.value.report.findings if f.differs]
    return finding.phrases


def test_one_fault_is_one_cause() -> None:
    (cause,) = causes(axis=0, divide=True)
    assert "sum runs over axis 0, the wrong axis, in sum(δ · p, axis 1)" in cause
    (cause,) = causes(axis=1, divide=False)
    assert "2.3" in cause
    assert "projection" not in cause


def test_two_faults_are_both_named() -> None:
    said = " and ".join(causes(axis=0, divide=False))
    assert "axis 0, the wrong axis" in said
    assert "the division by 2.3 is left out" in said
