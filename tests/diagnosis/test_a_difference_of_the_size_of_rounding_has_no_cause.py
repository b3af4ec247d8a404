"""A few roundings too many are told as such, and no cause is made up for them; what is larger keeps its name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from handgrad import check
from handgrad.compare.checking.findings import CheckFailed, Finding


def finding(slope: Any, dtype: str = "float64") -> Finding:
    """What is said of a derivative of tanh."""
    with pytest.raises(CheckFailed) as caught:
        check((np.tanh, lambda dy, x: slope(dy * (1 - np.tanh(x) ** 2))), torch.tanh, x=(4, 5), dtype=dtype)
    return next(f for f in caught.value.report.findings if f.differs)


def in_one(factor: float) -> Any:
    def slope(g: Any) -> Any:
        g[0, 0] = g[0, 0] * factor
        return g

    return slope


@pytest.mark.parametrize(
    ("slope", "digits"),
    [
        (lambda g: g * (1 + 1e-14), 13),
        (lambda g: g * (1 + 3e-13), 12),
        (in_one(1 + 3e-14), 13),
        (in_one(1 - 2e-13), 12),
    ],
)
def test_no_cause_is_named(slope: Any, digits: int) -> None:
    found = finding(slope)
    assert found.phrases == ()
    assert "of the size of rounding" in found.notes[0]
    assert f"right to {digits} digits" in found.notes[0]
    assert "float64" not in found.notes[0]


def test_in_float32_a_finer_check_is_advised() -> None:
    found = finding(lambda g: g * np.float32(1 + 2e-5), "float32")
    assert found.phrases == ()
    assert 'dtype="float64"' in found.notes[0]


@pytest.mark.parametrize(
    ("slope", "cause"),
    [
        (lambda g: g * (1 + 1e-11), "factor of (1 + 1e-11)"),
        (in_one(1 + 1e-10), "a single element"),
        (lambda g: 2 * g, "2"),
    ],
)
def test_what_is_larger_keeps_its_cause(slope: Any, cause: str) -> None:
    assert cause in finding(slope).phrases[0]


@pytest.mark.parametrize(("off", "told"), [(5e-14, True), (1e-11, False)])
def test_nor_where_the_referee_cannot_tell_the_sides_apart(off: float, told: bool) -> None:
    """eˣ − 1 for a small x has lost half of its digits: a difference in the tenth of them is not told from rounding."""
    x = np.linspace(1e-6, 2e-6, 6).reshape(2, 3)
    with pytest.raises(CheckFailed) as caught:
        check(
            (lambda x: np.exp(x) - x, lambda dy, x: dy * (np.exp(x) - 1 + off)), lambda x: torch.exp(x) - x, x=x,
            dy=np.ones((2, 3)),
        )  # fmt: skip
    found = next(f for f in caught.value.report.findings if f.differs)
    assert ("of the size of rounding" in found.notes[0]) is told
    assert ("cannot tell the two apart" in found.notes[-1]) is told
    assert not (told and found.phrases)
