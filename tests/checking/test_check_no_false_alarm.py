"""What is right is never called wrong: random layers, losses and update rules of random widths, batches and scales."""

import numpy as np
import pytest

from handgrad.compare.checking import check as checking
from handgrad.compare.checking.draws import Draw, Drawn
from tests.derivations.case import Derivation
from tests.derivations.right.configurations import configurations

CONFIGURATIONS = list(configurations(480, seed=2026))


@pytest.mark.parametrize("part", range(12))
def test_no_false_alarm(part: int) -> None:
    for c in CONFIGURATIONS[part::12]:
        with np.errstate(all="ignore"):  # scales of 1e6 overflow in float32 on both sides
            report = checking.run(c.name, Drawn(c.sides, [Draw("draw", c.inputs)]))
        assert not report.differing, f"{c.name}\n{report}"


def test_every_special_input_is_among_them() -> None:
    def any_input(c: Derivation) -> np.ndarray:
        return np.concatenate(
            [np.ravel(v) for v in c.inputs.values() if getattr(v, "dtype", np.dtype(int)).kind == "f"]
        )

    assert {c.group for c in CONFIGURATIONS} >= {"ordinary", "saturated", "dead", "at a kink"}
    assert {c.arguments["dtype"] for c in CONFIGURATIONS} == {"float64", "float32"}
    sizes = [np.abs(any_input(c)).max() for c in CONFIGURATIONS]
    assert min(sizes) < 1e-2
    assert max(sizes) > 1e6
