"""Judging a step holds at most eight times the memory of the parameters, where these are most of a network."""

from __future__ import annotations

import tracemalloc

import numpy as np

from handgrad.compare.judge.stages import StepJudge
from handgrad.compare.pairs.table import OPTIMIZERS
from handgrad.compare.rounding.bounded import Precision
from handgrad.compare.run.experiment import Experiment, build
from tests.derivations.right.steps import records

LIMIT = 8


def most_held(keep: int) -> float:
    """The most that judging holds at once, over θ's own size, with so many copies of the new θ kept beside it."""
    sides = build(Experiment(sizes=(300, 300, 10), batch_size=4), 2, 2)
    kept: list[np.ndarray] = []

    class Hoarder(StepJudge):
        def settle(self, stage, tensor, ours, theirs, by_two_precision, probe):  # type: ignore[no-untyped-def]
            if tensor == "theta":
                kept.extend(ours.value.copy() for _ in range(keep))
            return super().settle(stage, tensor, ours, theirs, by_two_precision, probe)

    judge = Hoarder(
        sides.network, sides.loss, sides.optimizer, list(sides.model), sides.torch_loss,
        lambda params, rate: OPTIMIZERS["sgd"].torch(params, rate), Precision.of(np.float64),
    )  # fmt: skip
    for step, record in enumerate(records(sides, 4, 2)):
        tracemalloc.start()
        try:
            judge.judge(step, record)
            most = tracemalloc.get_traced_memory()[1] / record.theta.nbytes
        finally:
            tracemalloc.stop()
    assert not judge.disagreements
    return most


def test_eight_times_the_parameters_are_enough() -> None:
    assert most_held(0) <= LIMIT


def test_what_a_judge_keeps_is_seen() -> None:
    assert most_held(LIMIT) > LIMIT
