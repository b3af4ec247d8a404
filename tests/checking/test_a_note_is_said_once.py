"""What holds of several tensors is said once, with their names; what a tolerance would have seen is said and true."""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Any

import numpy as np
import pytest
import torch

from handgrad import CheckFailed, Report, check
from handgrad.compare.judge.agreement import TWO_PRECISION

SEEN = re.compile(r"a relative error of (1e[-+]\d+) would have been seen")


def by_math(function: Any, x: Any) -> Any:
    return np.array([[function(v) for v in row] for row in x.tolist()])  # plain numbers, which carry no bound


def unfollowed(error: float = 0.0, factor: float = 1.0) -> Report:
    """A sine that no bound follows, forward or backward, its gradient off by a relative error, or a factor."""
    try:
        return check(
            (lambda x: by_math(math.sin, x), lambda dy, x: (factor + error) * np.asarray(dy) * by_math(math.cos, x)),
            torch.sin, x=lambda rng: rng.uniform(0.2, 1, (3, 2)), dy=np.ones((3, 2)),
        )  # fmt: skip
    except CheckFailed as failure:
        return failure.report


@pytest.mark.parametrize("factor", [1, 2])
def test_the_reason_for_a_tolerance_is_said_once(factor: float) -> None:
    report = unfollowed(factor=factor)
    said = [line for line in str(report).splitlines() if "judged by the two-precision tolerance" in line]
    assert len(said) == 1
    assert said[0].startswith("  output, input gradient: ")
    assert report.agrees == (factor == 1)
    assert report._repr_html_().count("judged by the two-precision tolerance") == 1


def test_different_notes_stay_with_their_tensors() -> None:
    report = unfollowed()
    first, second = report.findings
    other = dataclasses.replace(report, findings=(first, dataclasses.replace(second, notes=("another",), reason="")))
    lines = str(other).splitlines()
    assert [line.strip() for line in lines[2::2]] == [first.notes[0], "another"]


def test_a_cause_stays_with_its_tensor() -> None:
    def slopes(dy: Any, x: Any, gain: Any) -> Any:
        return {"x": -dy * gain, "gain": -(dy * x).sum(0)}

    with pytest.raises(CheckFailed) as failure:
        check((lambda x, gain: x * gain, slopes), lambda x, gain: x * gain, x=(3, 4), params={"gain": (4,)})
    causes = [line for line in str(failure.value).splitlines() if "cause: the sign is flipped" in line]
    assert len(causes) == 2
    assert all(line.startswith("  cause: ") for line in causes)


def test_what_a_tolerance_would_have_seen_is_seen() -> None:
    report = unfollowed()
    assert report["input gradient"].verdict.rule == TWO_PRECISION
    (line,) = [line for line in str(report).splitlines() if line.lstrip().startswith("input gradient ")]
    (size,) = map(float, SEEN.findall(line))
    assert 1e-14 < size < 1e-8
    assert size / 10 <= report["input gradient"].verdict.looseness <= size
    assert not unfollowed(error=1.5 * size).agrees
    assert unfollowed(error=size / 1e3).agrees  # and a much smaller one is hidden indeed


def test_a_sharp_bound_says_nothing_of_it() -> None:
    report = check((np.sin, lambda dy, x: dy * np.cos(x)), torch.sin, x=(3, 2))
    assert not SEEN.search(str(report))


def test_neither_does_a_difference() -> None:
    report = unfollowed(factor=2)
    (line,) = [line for line in str(report).splitlines() if line.startswith("  input gradient ")]
    assert "differs" in line
    assert not SEEN.search(line)
