"""∞ agrees with ∞ and NaN with NaN; a number that is finite on one side only is a disagreement, whatever the bound."""

from typing import Any

import numpy as np
import pytest
import torch

from handgrad import CheckFailed, check, manual
from handgrad.compare.judge.agreement import judge
from handgrad.compare.rounding.bounded import Bounded

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


def logarithm() -> tuple[Any, Any]:
    return (lambda x: np.log(x), lambda dy, x: dy / x), torch.log


@pytest.mark.filterwarnings("ignore:invalid value")
def test_numbers_that_neither_side_has_are_counted() -> None:
    report = check(*logarithm(), x=np.array([[-1.0, 2.0, -3.0]]))
    output, gradient = report.findings
    assert output.notes == ("6 of 9 elements, over all draws, are NaN or ∞ on both sides",)
    assert not output.verdict.vacuous  # the one number that there is was compared
    assert output.notes[0] in str(report)
    assert gradient.notes == ()


@pytest.mark.filterwarnings("ignore:invalid value")
def test_nothing_compared_is_no_agreement() -> None:
    with pytest.raises(CheckFailed, match="every number is NaN or ∞ on both sides, on every draw"):
        check(*logarithm(), x=np.array([[-1.0, -2.0]]))


def test_what_is_not_a_number_by_torchs_rounding_alone_is_told_as_such() -> None:
    """Of RMSprop's v − m², which is 0 where α is, torch makes −1e-17 here and there, and then its root."""
    rule = {"alpha": 0.0, "centered": True}
    with pytest.raises(CheckFailed) as caught:
        check(manual.RMSprop(**rule), lambda p, lr: torch.optim.RMSprop(p, lr=lr, **rule), theta=(50,), steps=1)
    (finding,) = [f for f in caught.value.report.findings if f.differs]
    assert finding.tensor == "theta after step 1"
    assert finding.phrases[0].startswith("torch's own formula gives nan here by rounding alone: of 16 runs with every")


def test_what_is_not_a_number_by_its_formula_is_not() -> None:
    pair = (lambda x: np.sqrt(np.abs(x)), lambda dy, x: dy * np.sign(x) / (2 * np.sqrt(np.abs(x))))
    with pytest.raises(CheckFailed) as caught:
        check(pair, torch.sqrt, x=np.array([[-1.0, 2.0]]))
    assert "by rounding alone" not in str(caught.value)
