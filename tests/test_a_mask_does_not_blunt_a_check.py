"""A derivation that multiplies by 0 or 1, as masks do, is judged as sharply as any other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from torch import nn

from compare import CheckFailed, check


class Hinge:
    """The multi-class hinge, Σ_k [k ≠ y] max(0, 1 + ŷ_k − ŷ_y) / (NK), with a part of its gradient off by `off`."""

    def __init__(self, off: float = 0.0) -> None:
        self.off = off

    def forward(self, output: Any, target: Any) -> Any:
        one_hot = (target[:, None] == np.arange(output.shape[1])) * 1.0
        right = (output * one_hot).sum(axis=1, keepdims=True)
        margins = np.maximum(0, 1 + output - right) * (1 - one_hot)
        return margins.sum() / output.size, (one_hot, margins)

    def gradient(self, cache: Any) -> Any:
        one_hot, margins = cache
        violated = (margins > 0) * 1.0
        slope = violated - one_hot * violated.sum(axis=1, keepdims=True)
        return (slope + one_hot * self.off) / slope.size


def test_right_it_agrees() -> None:
    report = check(Hinge(), nn.MultiMarginLoss(), output=(5, 4), target="class")
    assert all(f.verdict.looseness < 1e-12 for f in report.findings)


@pytest.mark.parametrize("off", [0.9, 1e-3, 1e-11])
def test_wrong_it_differs(off: float) -> None:
    with pytest.raises(CheckFailed) as caught:
        check(Hinge(off), nn.MultiMarginLoss(), output=(5, 4), target="class")
    assert [f.tensor for f in caught.value.report.findings if not f.agrees] == ["loss gradient"]
