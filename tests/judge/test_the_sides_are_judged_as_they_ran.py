"""The manual side's own run is judged too: code that behaves differently while it is judged cannot hide."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from handgrad import data, manual
from handgrad.compare.judge.whole_step import STAGE
from handgrad.compare.run import experiment
from handgrad.compare.run.experiment import Experiment, Setup
from handgrad.compare.run.lockstep import Lockstep
from handgrad.compare.run.report import report, sentence

RNG = np.random.default_rng(0)
DIGITS = data.Digits(RNG.integers(0, 256, (40, 6), np.uint8), RNG.integers(0, 3, 40))
DATASET = data.Dataset("small", DIGITS, DIGITS, 3)


class TwoFacedRule(manual.SGD):
    """Right on anything but an ordinary array."""

    def update(self, theta: Any, grad: Any, state: Any, learning_rate: float) -> Any:
        wrong = 1.001 if isinstance(theta, np.ndarray) else 1
        return super().update(theta, wrong * grad, state, learning_rate)


class TwoFacedTanh(manual.Tanh):
    """Off by a relative 1e-9 on ordinary arrays."""

    def input_gradient(self, params: Any, cache: Any, dy: Any) -> Any:
        right = super().input_gradient(params, cache, dy)
        return right * (1 + 1e-9) if isinstance(right, np.ndarray) else right


TWO_FACED_NETWORK = manual.Network((manual.Linear(6, 5), TwoFacedTanh(), manual.Linear(5, 3)))


def judged(dtype: str = "float64", resync: bool = False, **changes: Any) -> Lockstep:
    def build(e: Experiment, steps: int, per_epoch: int) -> Setup:
        return experiment.build(e, steps, per_epoch)._replace(**changes)

    e = Experiment(sizes=(6, 5, 3), activation="tanh", batch_size=10, epochs=8, dtype=dtype, resync=resync)
    run = Lockstep(e, DATASET, build)
    run.run()
    return run


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("resync", [False, True])
def test_the_right_code_agrees_as_it_ran(dtype: str, resync: bool) -> None:
    run = judged(dtype, resync)
    assert run.judge.disagreements == []
    row = run.judge.rows[STAGE]
    assert (row.by_two_precision, row.vacuous) == (0, 0)
    one_step = sum(y.size for y in (*run.progress.records["manual"].outputs, *run.progress.records["manual"].deltas))
    assert row.numbers == (10 + 5) * (one_step + 1 + 2 * run.sides.network.size)  # ten steps, and five epochs' first


@pytest.mark.parametrize("resync", [False, True])
@pytest.mark.parametrize(
    ("changes", "tensors"),
    [
        ({"optimizer": TwoFacedRule()}, {"theta"}),
        ({"network": TWO_FACED_NETWORK}, {"grad", "∂J/∂0.output"}),
    ],
)  # fmt: skip
def test_two_faced_code_is_caught(changes: dict[str, Any], tensors: set[str], resync: bool) -> None:
    run = judged(resync=resync, **changes)
    found = [d for d in run.judge.disagreements if d.step == 0]
    assert {d.stage for d in found} == {STAGE}
    assert tensors <= {d.tensor for d in found}
    assert "does it behave differently there?" in str(found[0])


class Unfollowed(manual.Tanh):
    """Right, and beyond what `Bounded` can follow."""

    def input_gradient(self, params: Any, cache: Any, dy: Any) -> Any:
        return np.asarray(super().input_gradient(params, cache, dy))


def test_a_network_that_no_bound_reaches_through_is_counted_and_said() -> None:
    run = judged(network=manual.Network((manual.Linear(6, 5), Unfollowed(), manual.Linear(5, 3))))
    assert run.judge.disagreements == []
    row = run.judge.rows[STAGE]
    assert (row.unjudged, row.by_two_precision, row.numbers) == (15, 0, 0)  # ten steps, and five epochs' first
    found = report(run, 0.0)
    assert found["judged_by_two_precision"] == sum(r.by_two_precision for r in run.judge.rows.values())
    assert "15 steps not judged as a whole: no bound reaches through the network" in sentence(found)


class Buffered(manual.Tanh):
    """As people write it: into a buffer, which a bounded number cannot be written into but in rebuilt code."""

    factor = 1.0

    def input_gradient(self, params: Any, cache: Any, dy: Any) -> Any:
        dx = np.zeros(dy.shape)
        for n in range(len(dy)):
            dx[n] = super().input_gradient(params, cache[n], dy[n])
        return self.factor * dx


class SlightlyWrong(Buffered):
    factor = 1 + 1e-11


@pytest.mark.parametrize("layer", [Buffered(), SlightlyWrong()])
def test_a_stage_that_fills_a_buffer_is_judged_by_its_bound(layer: Buffered) -> None:
    run = judged(network=manual.Network((manual.Linear(6, 5), layer, manual.Linear(5, 3))))
    wrong = [d for d in run.judge.disagreements if d.stage != STAGE]
    assert bool(wrong) == (layer.factor != 1)
    assert all("input gradient" in d.stage for d in wrong)
    assert sum(row.by_two_precision for row in run.judge.rows.values()) == 0
