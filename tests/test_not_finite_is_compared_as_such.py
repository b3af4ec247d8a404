"""∞ agrees with ∞ and NaN with NaN; a number that is finite on one side only is a disagreement, whatever the bound."""

import numpy as np
import pytest

from compare.judge.agreement import judge
from compare.rounding.bounded import Bounded

NAN, INF = np.nan, np.inf


@pytest.mark.parametrize("bound", [0.0, 1e-12, INF])
@pytest.mark.parametrize(
    ("ours", "theirs", "agrees"),
    [(1.0, 1.0, True), (INF, INF, True), (-INF, -INF, True), (NAN, NAN, True), (NAN, 1.0, False), (1.0, NAN, False),
     (INF, 1.0, False), (1.0, INF, False)],
)  # fmt: skip
def test_beside_a_number_that_agrees(ours: float, theirs: float, agrees: bool, bound: float) -> None:
    manual = Bounded(np.array([2.0, ours]), np.array([bound, bound]))
    verdict = judge(manual, np.array([2.0, theirs]))
    assert verdict.agrees is agrees
    assert verdict.beyond == (0 if agrees else 1)
    if not agrees:
        assert verdict.at == (1,)
        assert verdict.fraction == INF


@pytest.mark.parametrize(("ours", "theirs"), [(INF, -INF), (INF, NAN)])
def test_two_that_are_not_finite_agree_only_after_an_overflow(ours: float, theirs: float) -> None:
    def verdict(bound: float) -> bool:
        return judge(Bounded(np.array([ours]), np.array([bound])), np.array([theirs])).agrees

    assert not verdict(1e-12)
    assert verdict(INF)
