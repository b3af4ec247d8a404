"""Perceptron, ADALINE, logistic regression and the MLP train beside their torch references by their own losses."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from handgrad import manual
from handgrad.compare.lessons.judging import agreement, judge_training
from handgrad.compare.pairs.table import LOSSES, MODELS
from handgrad.manual import Array


def judged(name: str, loss: Any = None, start: float = 1.0) -> Any:
    """The judge of ten steps of the model on random examples, from its own weights times `start`."""
    model = MODELS[name]
    pair = LOSSES[model.loss]
    network, reference = model.manual(model.sizes), model.torch(model.sizes)
    rng = np.random.default_rng(0)
    batches = [(rng.normal(size=(6, 4)), target(name, rng)) for _ in range(10)]
    theta = network.init(rng) * start
    return judge_training(network, loss or pair.manual(), reference, pair.torch(), theta, batches, 0.1)


def target(name: str, rng: np.random.Generator) -> Array:
    return rng.integers(0, 3, 6) if name == "mlp" else rng.integers(0, 2, (6, 1)).astype(float)


@pytest.mark.parametrize("start", [1.0, 0.0], ids=["drawn", "zero"])
@pytest.mark.parametrize("name", MODELS)
def test_every_stage_agrees(name: str, start: float) -> None:
    judge = judged(name, start=start)
    assert agreement(judge).startswith(f"all {len(judge.rows)} stages agree")
    assert len(judge.rows) >= 5


@dataclass(frozen=True)
class FlippedCriterion(manual.PerceptronCriterion):
    """Learns from what is right instead of from mistakes."""

    def gradient(self, cache: Any) -> Array:
        return -super().gradient(cache)


@dataclass(frozen=True)
class ThresholdedError(manual.MeanSquaredError):
    """ADALINE taught by the thresholded output, as the perceptron is."""

    def gradient(self, cache: Array) -> Array:
        return 2 * np.sign(cache) / cache.size


@pytest.mark.parametrize(("name", "loss"), [("perceptron", FlippedCriterion()), ("adaline", ThresholdedError())])
def test_a_wrong_learning_rule_is_located(name: str, loss: Any) -> None:
    (found,) = judged(name, loss).disagreements
    assert found.stage == "loss gradient"
    if name == "perceptron":
        assert found.causes == ("the sign is flipped",)


def test_the_perceptrons_rule_is_descent_on_its_criterion() -> None:
    rng = np.random.default_rng(1)
    network, x, y = manual.perceptron(3), rng.normal(size=(1, 3)), np.array([[1.0]])
    for theta in rng.normal(size=(20, 4)):
        step = manual.training.step(network, manual.PerceptronCriterion(), manual.SGD(), theta, {}, x, y, 1.0)
        output = float(np.append(x, 1) @ theta > 0)
        assert np.array_equal(step.theta, theta + (y[0, 0] - output) * np.append(x, 1))
