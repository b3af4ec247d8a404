"""What torch's own formula rounds, on the very numbers at hand, is excused; a jump and a fault are not."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.catalogue_base import Broken
from benchmarks.catalogue_right import Normalization
from benchmarks.right_configurations import configurations
from compare.checking import check as checking
from compare.judge.agreement import EXCUSED
from compare.judge.ladder import Arbiter
from compare.judge.sides import LayerSides
from compare.rounding.model import Precision


def test_a_normalization_of_one_number_that_torch_rounds_in_float64_only() -> None:
    """Its gradient is 0; torch returns up to 1.1e-16, and one rung down exactly 0."""
    (c,) = itertools.islice(configurations(2131, seed=1), 2130, None)
    assert c.name.startswith("2130: Normalization(size=1, axis=-1")
    report = checking.run(c.name, c.sides, {"draw": c.inputs})
    assert report.agrees, str(report)
    (found,) = [f for f in report.findings if f.tensor == "input gradient"]
    assert found.verdict.rule == EXCUSED
    assert 0 < found.verdict.largest_difference < 2e-16


@pytest.mark.parametrize("error", [1e-9, 1e-11])
@pytest.mark.parametrize("scale", [1e6])
def test_a_small_fault_is_not(error: float, scale: float) -> None:
    """One element of each tensor is off; the others, and their size, are what torch's formula makes them."""

    def off(value: Any, *situation: Any) -> Any:
        factor = np.ones(value.shape)
        factor.flat[value.size // 2] += error
        return value * factor

    rng = np.random.default_rng(0)
    inputs = {"x": scale * rng.normal(size=(5, 8)), "dy": rng.normal(size=(5, 8)), "parameter bias": rng.normal(size=8)}
    inputs["parameter weight"] = 1 + rng.random(8)
    tensors = ("output", "input gradient", "gradient of weight", "gradient of bias")
    for tensor in tensors:
        sides = LayerSides(Broken(Normalization(8, -1), {tensor: off}), torch.nn.LayerNorm(8))
        report = checking.run(tensor, sides, {"draw": inputs})
        assert [f.tensor for f in report.findings if not f.agrees] == [tensor]
