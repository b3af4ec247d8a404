"""A report names the line that has no rounding bound, how many digits agreement is worth, and counts one thing once."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from handgrad import check
from handgrad.compare.checking.findings import CheckFailed, Finding, Report
from handgrad.compare.checking.outcome import Outcome
from handgrad.compare.judge.agreement import BOUND, TWO_PRECISION


def report(*args: Any, **options: Any) -> Report:
    try:
        return check(*args, **options)
    except CheckFailed as failure:
        return failure.report


def of(found: Report, tensor: str) -> Finding:
    return next(f for f in found.findings if f.tensor == tensor)


# --- the line that left the bounds ------------------------------------------------------------------------------------


def plainly(dy: Any, x: Any) -> Any:
    return np.array(dy.tolist()) * np.cos(x)


def by_math(dy: Any, x: Any) -> Any:
    return dy * np.array([[math.cos(round(v, 30)) for v in row] for row in x])


@pytest.mark.parametrize(("backward", "line"), [(plainly, "dy.tolist()"), (by_math, "math.cos(round(v, 30))")])
@pytest.mark.parametrize("factor", [1, 2])
def test_the_line_without_a_bound_is_named(backward: Any, line: str, factor: int) -> None:
    found = of(report((np.sin, lambda dy, x: factor * backward(dy, x)), torch.sin, x=(3, 2)), "input gradient")
    assert found.agrees == (factor == 1)
    (note,) = [note for note in found.notes if "judged by the two-precision tolerance" in note]
    number = backward.__code__.co_firstlineno + 1
    assert f"test_a_report_says_what_it_rests_on.py:{number}: " in note
    assert line in note


def test_what_is_before_it_keeps_its_bound() -> None:
    found = report((np.sin, plainly), torch.sin, x=lambda rng: rng.normal(size=(3, 2)))
    assert of(found, "output").verdict.rule == BOUND
    assert of(found, "input gradient").verdict.rule == TWO_PRECISION
    assert not of(found, "output").notes


# --- how much agreement is worth --------------------------------------------------------------------------------------


def cancelling(size: float) -> Report:
    """eˣ − 1 − x, of which little or nothing is left for a small x."""
    return report(
        (lambda x: np.exp(x) - 1 - x, lambda dy, x: dy * np.expm1(x)), lambda x: torch.exp(x) - 1 - x,
        x=lambda rng: size * rng.uniform(1, 2, (3, 2)),
    )  # fmt: skip


def test_agreement_to_a_few_digits_says_so() -> None:
    found, words = cancelling(1e-4), "only 6 digits (a relative error of 1e-06 would have been seen): on the way"
    assert found.agrees
    assert words in of(found, "output").notes[0]
    assert words in str(found)


def test_agreement_to_no_digit_is_not_decided() -> None:
    found = cancelling(1e-9)
    assert found.outcome is Outcome.UNDECIDED
    assert "agreement says nothing" in of(found, "output").undecided
    assert "agreement says nothing" in str(found)


def test_and_to_many_digits_does_not() -> None:
    assert not of(cancelling(1.0), "output").notes


# --- one element, one count -------------------------------------------------------------------------------------------


def test_the_referee_looks_at_the_element_that_is_shown() -> None:
    rng = np.random.default_rng(0)
    for _ in range(8):
        off = 1 + 1e-3 * rng.normal(size=(4, 5))
        found = report(
            (lambda x: 1 / (1 + np.exp(-x)), lambda dy, x, off=off: off * dy / (2 + 2 * np.cosh(x))), torch.sigmoid,
            x=6 * rng.normal(size=(4, 5)),
        )  # fmt: skip
        finding = of(found, "input gradient")
        (at,) = re.findall(r"referee at \[(.*?)\]", "\n".join(finding.notes))
        assert at == ", ".join(map(str, finding.verdict.at))


def test_the_elements_that_differ_are_counted_once() -> None:
    """Torch's 1 − y cancels where x is large: what that rounds is not counted in one place and left out in another."""
    x = np.random.default_rng(0).permutation(np.linspace(5, 34, 30)).reshape(15, 2)

    def backward(dy: Any, x: Any) -> Any:
        return dy / (2 + 2 * np.cosh(x)) * np.where(x < 15, 1 + 1e-3 * np.sin(x), 1.0)

    finding = of(report((lambda x: 1 / (1 + np.exp(-x)), backward), torch.sigmoid, x=x), "input gradient")
    (counted,) = re.findall(r"in (\d+) of 30 elements", "\n".join(finding.notes))
    assert finding.verdict.beyond == int(counted) == 10


# --- one number -------------------------------------------------------------------------------------------------------


class Off:
    """A squared error with something added."""

    def __init__(self, extra: Any) -> None:
        self.extra = extra

    def forward(self, output: Any, target: Any) -> Any:
        return np.mean((output - target) ** 2) + self.extra(output), (output, target)

    def gradient(self, cache: Any) -> Any:
        return 2 * (cache[0] - cache[1]) / cache[0].size


@pytest.mark.parametrize(
    ("extra", "cause"), [(lambda o: 0.1, ("0.1 is added",)), (lambda o: np.sum(o**4) / 7 + np.sum(np.sin(o)) / 3, ())]
)
def test_the_cause_of_a_single_number_is_confirmed_by_another(extra: Any, cause: tuple[str, ...]) -> None:
    found = of(report(Off(extra), nn.MSELoss(), output=np.array([[0.3, 0.9]]), target=np.array([[0.1, -0.5]])), "loss")
    assert not found.agrees
    assert len(found.phrases) == len(cause)
    assert all(words in said for words, said in zip(cause, found.phrases, strict=True))
