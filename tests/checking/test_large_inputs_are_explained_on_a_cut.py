"""A check that fails costs little more than one that passes, at any size; its cause holds on the whole."""

from __future__ import annotations

import resource
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.speed import scale_of_check
from handgrad import CheckFailed, Report, check
from handgrad.compare.checking.draws import Draw
from handgrad.compare.checking.evaluate import evaluate
from handgrad.compare.checking.smaller import MOST, evaluate_smaller, of_all_sizes, of_rows
from handgrad.compare.judge.calls import CallSides
from handgrad.compare.judge.derivations import Functions
from handgrad.compare.judge.names import parameter


def linear(x: Any, weight: Any, bias: Any) -> Any:
    return x @ weight.T + bias


def right(dy: Any, x: Any, weight: Any, bias: Any) -> Any:
    return {"x": dy @ weight, "weight": dy.T @ x, "bias": dy.sum(0)}


def averaged(dy: Any, x: Any, weight: Any, bias: Any) -> Any:
    return right(dy, x, weight, bias) | {"bias": dy.mean(0)}


def wrong_far_out(dy: Any, x: Any, weight: Any, bias: Any) -> Any:
    """As averaged, and beyond the first few numbers something else."""
    bias = dy.mean(0)
    bias[100:] *= 1.5
    return right(dy, x, weight, bias) | {"bias": bias}


def cpu() -> float:
    here, there = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return here.ru_utime + here.ru_stime + there.ru_utime + there.ru_stime


def of(n: int, backward: Any) -> tuple[float, Report]:
    started = cpu()
    try:
        report = check((linear, backward), nn.Linear(n, n), x=(64, n), params={"weight": (n, n), "bias": (n,)})
    except CheckFailed as failure:
        report = failure.report
    return cpu() - started, report


def test_a_failing_check_costs_little_more_than_a_passing_one() -> None:
    of(32, averaged)  # what is imported at first
    passing, _ = of(512, right)
    failing, report = of(512, averaged)
    assert failing <= 3 * passing + 2
    assert report.causes == ("gradient of bias: N times too small: averaged over the batch where the sum belongs",)
    assert len(report.reproducer) < 4000
    assert len(report.reproducer.splitlines()) < 40


@pytest.mark.parametrize("size", [scale_of_check.attention(16), scale_of_check.lstm(4)], ids=lambda size: size.name)
def test_so_does_one_on_small_inputs_that_takes_long_to_explain(size: scale_of_check.Size) -> None:
    scale_of_check.put(size, size.backward)  # what is imported at first
    passing = scale_of_check.cost(lambda: scale_of_check.put(size, size.backward))
    failing = scale_of_check.cost(lambda: scale_of_check.put(size, size.wrong))
    assert failing <= 3 * passing + 2


def test_what_holds_on_the_cut_alone_is_not_named() -> None:
    _, report = of(256, wrong_far_out)
    assert not any("N times too small" in cause for cause in report.causes)
    assert [f.tensor for f in report.findings if f.differs] == ["gradient of bias"]


def test_axes_of_one_size_stay_of_one_size() -> None:
    sides = CallSides(Functions(linear, averaged), nn.Linear(96, 96), ("x",))
    rng = np.random.default_rng(0)
    arrays = {"x": rng.normal(size=(96, 96)), parameter("bias"): rng.normal(size=33)}
    arrays[parameter("weight")] = rng.normal(size=(33, 96))
    cut = of_all_sizes(sides, arrays | {"dy": rng.normal(size=(96, 33))}, 3)
    sizes = {k: v.shape for k, v in cut.items()}
    weight, bias = (sizes[parameter(k)] for k in ("weight", "bias"))
    assert sizes["x"] == (3, weight[1])
    assert bias == weight[:1]
    assert weight[0] != weight[1]  # others stay others
    assert weight[0] % 2 == 1  # and odd ones odd
    assert sizes["dy"] == (3, weight[0])
    assert max(weight) <= 2 * MOST


def test_a_cut_that_the_reference_does_not_take_is_none() -> None:
    fixed = torch.ones(64, dtype=torch.float64)
    sides = CallSides(Functions(lambda x: x * np.ones(64), lambda dy, x: 2 * dy), lambda x: x * fixed, ("x",))
    rng = np.random.default_rng(0)
    arrays = {"x": rng.normal(size=(300, 64)), "dy": rng.normal(size=(300, 64))}
    drawn = [(Draw("draw 1", arrays), evaluate(sides, arrays))]
    assert evaluate_smaller(sides, drawn, of_all_sizes, {"output"}) == []
    ((draw, _),) = evaluate_smaller(sides, drawn, of_rows, {"output"})
    assert draw.arrays["x"].shape == (3, 64)
    with pytest.raises(CheckFailed, match="a factor 2 too much"):
        check((lambda x: x * np.ones(64), lambda dy, x: 2 * dy), sides.reference, x=(300, 64))
