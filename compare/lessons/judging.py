"""What the lessons hand derivations to: `check` without its exception, and training steps judged one by one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import nn, optim

from handgrad import manual, torch_ref
from handgrad.compare.checking.check import check
from handgrad.compare.checking.explain import explain_stage
from handgrad.compare.checking.findings import CheckFailed, Report
from handgrad.compare.judge.sides import as_array, as_tensor
from handgrad.compare.judge.stages import StepJudge
from handgrad.compare.judge.torch_step import TorchStep
from handgrad.compare.rounding.bounded import Precision
from handgrad.torch_ref import parameters as torch_parameters


def verdict(ours: Any, reference: Any, **arguments: Any) -> Report:
    """The report of `check` whether the two agree or not, without the code that reproduces it."""
    try:
        return check(ours, reference, **arguments)
    except CheckFailed as failure:
        return dataclasses.replace(failure.report, reproducer="")


def judge_training(
    network: manual.Network,
    loss: manual.Loss,
    model: nn.Sequential,
    torch_loss: nn.Module,
    theta: np.ndarray,
    batches: Iterable[tuple[np.ndarray, np.ndarray]],
    learning_rate: float,
    training_step: Callable[..., Any] = manual.training.step,
    torch_step: Callable[..., Any] = torch_ref.training.step,
) -> StepJudge:
    """Train `model` on the batches (x, target) by plain gradient descent, and judge the manual step at each.

    Both start from θ (size,), float64. The returned judge holds `disagreements` and a row a stage. Other steps than
    the project's own may be put in on either side.
    """
    model = model.to(torch.float64)
    torch_parameters.load(model, as_tensor(theta))
    judge = StepJudge(
        network, loss, manual.SGD(), list(model), torch_loss,
        lambda parameters, rate: optim.SGD(parameters, rate), Precision.of(np.dtype(np.float64)), training_step,
        explain=explain_stage,
    )  # fmt: skip
    optimizer = optim.SGD(model.parameters(), learning_rate)
    for number, (x, target) in enumerate(batches):
        r = torch_step(model, torch_loss, optimizer, as_tensor(x), as_tensor(target))
        after = as_array(r.theta)
        record = TorchStep(
            x, target, learning_rate, theta, {}, [as_array(y) for y in r.outputs], as_array(r.loss),
            [as_array(d) for d in r.deltas], as_array(r.grad), after, {},
        )  # fmt: skip
        judge.judge(number, record)
        theta = after
    return judge


def agreement(judge: StepJudge) -> str:
    """In words, that every stage agreed. Raises AssertionError, with every disagreement, where one did not."""
    if judge.disagreements:
        raise AssertionError("\n".join(map(str, judge.disagreements)))
    closest = max(row.closest for row in judge.rows.values())
    return f"all {len(judge.rows)} stages agree, closest call {closest:.3f} of its bound"
