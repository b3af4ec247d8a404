"""A stage that the manual step never makes cannot go unjudged: leaving it out is itself reported."""

from __future__ import annotations

from typing import Any

import numpy as np

from handgrad import data, manual
from handgrad.compare.judge.whole_step import STAGE
from handgrad.compare.run import experiment
from handgrad.compare.run.experiment import Experiment, Sides
from handgrad.compare.run.lockstep import Lockstep

RNG = np.random.default_rng(0)
DIGITS = data.Digits(RNG.integers(0, 256, (20, 6), np.uint8), RNG.integers(0, 3, 20))
DATASET = data.Dataset("small", DIGITS, DIGITS, 3)


class ForgetsTheActivation(manual.Network):
    """δ passes the activation unchanged, and its input gradient is never asked for."""

    def backward(self, theta: Any, caches: Any, delta: Any) -> Any:
        first, _, last = self.layers
        params = self.views(theta)
        below = last.input_gradient(params[2], caches[2], delta)
        gradients = [first.parameter_gradients(params[0], caches[0], below)]
        gradients.append(last.parameter_gradients(params[2], caches[2], delta))
        flat = [g.ravel() for grad in gradients for g in grad.values()]
        return [below, below, delta], np.concatenate(flat)


def judged(network_type: type[manual.Network]) -> Lockstep:
    def build(e: Experiment, steps: int, per_epoch: int) -> Sides:
        sides = experiment.build(e, steps, per_epoch)
        return sides._replace(network=network_type(sides.network.layers))

    run = Lockstep(Experiment(sizes=(6, 5, 3), activation="tanh", batch_size=10, epochs=1), DATASET, build)
    run.run()
    return run


def test_the_right_network_makes_every_stage() -> None:
    run = judged(manual.Network)
    assert run.judge.disagreements == []
    assert set(run.judge.rows) == {*run.judge.expected, STAGE}


def test_a_stage_left_out_is_named() -> None:
    run = judged(ForgetsTheActivation)
    found = {(d.stage, d.verdict.problem) for d in run.judge.disagreements}
    assert ("1 · Tanh · input gradient", "the manual step leaves this stage out") in found
    # and what was made with the wrong δ does not arrive at torch's result
    assert "0 · Linear · parameter gradients" in {stage for stage, _ in found}
    assert len({stage for stage, _ in found}) == 2
