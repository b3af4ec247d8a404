"""A difference of convention is accepted by name, and then a note; nothing else is accepted with it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from handgrad import UsageError, check


def relu(slope_at_0: float, slope: float = 1.0) -> Any:
    return lambda x: np.maximum(x, 0), lambda dy, x: dy * slope * np.where(x == 0, slope_at_0, x > 0)


def test_another_subgradient_is_accepted_at_its_point_alone() -> None:
    differs = check(relu(1.0), nn.ReLU(), x=(4, 8), raises=False)
    assert not differs.agrees
    assert 'accept={"subgradient at 0"}' in str(differs)
    report = check(relu(1.0), nn.ReLU(), x=(4, 8), accept={"subgradient at 0"})
    assert "accepted, subgradient at 0: at x = 0 exactly: manual 1, torch 0" in str(report)
    assert not check(relu(1.0), nn.ReLU(), x=(4, 8), accept={"subgradient at 1"}, raises=False).agrees
    assert check(relu(1.0), nn.ReLU(), x=(4, 8), accept="subgradient")


def test_a_fault_beside_an_accepted_convention_is_found() -> None:
    assert not check(relu(1.0, slope=2.0), nn.ReLU(), x=(4, 8), accept={"subgradient at 0"}, raises=False).agrees


def test_a_tie_is_accepted() -> None:
    def first(dy: Any, x: Any) -> Any:  # amax shares δ among the largest; here the first has all of it
        found = np.zeros_like(x)
        found[np.arange(len(x)), x.argmax(1)] = dy
        return found

    ours, theirs = (lambda x: x.max(1), first), lambda x: torch.amax(x, 1)
    assert not check(ours, theirs, x=(4, 8), raises=False).agrees
    report = check(ours, theirs, x=(4, 8), accept={"subgradient at ties"})
    assert "accepted, subgradient at ties" in str(report)


def half(o: Any, t: Any) -> Any:
    return 0.5 * ((o - t) ** 2).sum()


SUM: Any = nn.MSELoss(reduction="sum")
SIZES: dict[str, Any] = {"output": (4, 3), "target": (4, 3)}


def test_a_factor_is_accepted_in_every_tensor() -> None:
    ours = (half, lambda o, t: o - t)
    assert not check(ours, SUM, **SIZES, raises=False).agrees
    report = check(ours, SUM, **SIZES, accept="factor 1/2")
    assert "loss, loss gradient: accepted: it is 1/2 times torch's" in str(report)


def test_another_factor_is_not_accepted() -> None:
    ours = (half, lambda o, t: (o - t) * (1 + 1e-12))
    report = check(ours, SUM, **SIZES, accept="factor 1/2", raises=False)
    assert {f.tensor for f in report.findings if f.differs} == {"loss gradient"}


@pytest.mark.parametrize("name", ["anything", "factor x", "factor 0", "factor 1e400", 3])
def test_an_unknown_name_is_refused(name: Any) -> None:
    with pytest.raises(UsageError, match="accept must name"):
        check(relu(0.0), nn.ReLU(), x=(4, 8), accept=[name])


@pytest.mark.parametrize("slope", [7.0, float("nan")])
def test_what_is_no_subgradient_is_not_accepted_as_one(slope: float) -> None:
    assert not check(relu(slope), nn.ReLU(), x=(4, 8), accept={"subgradient at 0"}, raises=False).agrees
