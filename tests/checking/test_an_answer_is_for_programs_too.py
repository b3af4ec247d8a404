"""A report is what a program needs: a truth value, findings by name, causes in parts, arrays where they are kept."""

from __future__ import annotations

import dataclasses
import json
import pprint
from typing import Any

import numpy as np
import pytest
import torch
from IPython.lib.pretty import pretty
from torch import nn

from handgrad import CheckFailed, Report, check, manual


class Halved(manual.Tanh):
    def input_gradient(self, params: Any, cache: Any, dy: Any) -> Any:
        return super().input_gradient(params, cache, dy) / 2


@pytest.fixture(scope="module")
def right() -> Report:
    return check(manual.Tanh(), nn.Tanh(), x=(3, 4), name="tanh")


@pytest.fixture(scope="module")
def wrong() -> Report:
    with pytest.raises(CheckFailed) as failure:
        check(Halved(), nn.Tanh(), x=(3, 4), name="half a tanh")
    return failure.value.report


def test_its_truth_is_the_verdict(right: Report, wrong: Report) -> None:
    assert right
    assert not wrong
    assert not dataclasses.replace(right, findings=(*right.findings, *wrong.findings))


def test_a_finding_is_had_by_the_name_of_its_tensor(wrong: Report) -> None:
    assert list(wrong) == ["output", "input gradient"]
    assert "output" in wrong
    assert "gradient of weight" not in wrong
    assert wrong["output"].agrees
    assert not wrong["input gradient"].agrees
    assert wrong["input gradient"] is wrong.findings[1]
    with pytest.raises(KeyError, match="no tensor 'weight' was compared: take one of 'output', 'input gradient'"):
        wrong["weight"]


def test_json_has_the_causes_in_words_and_in_parts(wrong: Report) -> None:
    written = json.loads(json.dumps(wrong.as_json(), allow_nan=False))["findings"][1]
    (cause,) = wrong["input gradient"].causes
    assert written["causes"] == [cause.phrase] == ["a factor ½ too much (a 2 is missing)"]
    (parts,) = written["explanations"]
    assert parts["edit"] == cause.phrase
    assert parts["kind"] == cause.edit != cause.phrase
    assert (parts["where"], parts["constant"], parts["residual"]) == (cause.where, cause.constant, cause.residual)
    assert parts["residual"] < 1
    assert [p["edit"] for p in parts["alternatives"]] == [c.phrase for c in cause.alternatives]
    assert written["where"] == "all 12 elements"


def test_it_is_shown_in_a_line_and_not_as_a_dataclass(right: Report, wrong: Report) -> None:
    assert repr(right) == f"Report: agrees, 2 tensors, closest call {right.closest_call:.3f}"
    assert repr(wrong) == "Report: 1 of 2 tensors differ (input gradient)"
    for report in (right, wrong):
        assert pretty(report) == pprint.pformat(report) == repr(report)
    assert repr(right["output"]).startswith("Finding: output agrees, 0.")
    assert repr(wrong["input gradient"]).startswith("Finding: input gradient differs, ")


def test_findings_with_arrays_can_be_compared_and_hashed(right: Report) -> None:
    found = right["output"]
    assert (found.manual, found.torch, found.allowed) == (None, None, None)
    holding = dataclasses.replace(found, manual=np.ones(3), torch=np.ones(3), allowed=np.zeros(3))
    assert holding == dataclasses.replace(holding, manual=np.zeros(3)) == found
    assert hash(holding) == hash(found)
    assert holding != dataclasses.replace(holding, tensor="another")


def test_the_headline_says_the_name_the_line_the_tensor_and_the_cause(right: Report, wrong: Report) -> None:
    assert wrong.headline == (
        f"half a tanh, {wrong.where}: input gradient differs: a factor ½ too much (a 2 is missing)"
    )
    assert right.headline.startswith(f"tanh, {right.where}: agrees, closest call {right.closest_call:.3f} of its bound")
    twice = dataclasses.replace(wrong, findings=(*wrong.findings, *wrong.findings), where="")
    assert twice.headline.endswith("is missing) (and 1 more)")
    assert twice.headline.startswith("half a tanh: ")
    with pytest.raises(CheckFailed) as failure:
        check((np.sin, lambda dy, x: 1 / 0), torch.sin, x=(3,), name="s")
    assert ": derivation differs: the derivation raises ZeroDivisionError" in failure.value.report.headline
