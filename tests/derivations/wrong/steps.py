"""Faults of a training step, where every layer, loss and rule is right by itself: judged by
`handgrad.compare.judge.stages`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from handgrad.compare.checking.explain import explain_stage
from handgrad.compare.judge.ledger import Disagreement
from handgrad.compare.judge.stages import StepJudge
from handgrad.compare.pairs.table import OPTIMIZERS
from handgrad.compare.rounding.bounded import Precision
from handgrad.compare.run.experiment import Experiment, build
from handgrad.manual.training import StepRecord
from tests.derivations.case import STEP, Derivation
from tests.derivations.right.steps import records
from tests.derivations.wrong.breaking import planted

SIZES, BATCH, STEPS = (6, 5, 5, 4), 8, 4


def judge(
    training_step: Callable[..., Any], sizes: tuple[int, ...] = SIZES, batch: int = BATCH, steps: int = STEPS
) -> list[Disagreement]:
    """The disagreements of a few steps of a small network."""
    e = Experiment(sizes=sizes, optimizer="sgd", learning_rate=0.1, batch_size=batch, activation="tanh")
    sides = build(e, steps, steps)
    judge = StepJudge(
        sides.network, sides.loss, sides.optimizer, list(sides.model), sides.torch_loss,
        lambda params, rate: OPTIMIZERS["sgd"].torch(params, rate), Precision.of(np.float64), training_step,
        explain=explain_stage,
    )  # fmt: skip
    for step, record in enumerate(records(sides, batch, steps)):
        judge.judge(step, record)
    return judge.disagreements


def faults() -> Iterator[Derivation]:
    """All of this file; `ours` makes a training step, new for every run. Tensors are named as in the judge's table."""
    yield _fault("weights updated before they propagate", _updating_early, {
        "∂J/∂2.input": ("weight was updated before",), "∂J/∂4.input": ("weight was updated before",),
    })  # fmt: skip
    yield _fault(
        "gradients accumulate from step to step",
        _accumulating,
        {"theta": ("previous step is still in it|never zeroed",)},
    )
    yield _fault("gradient of one step ago", _late, {"theta": ("one step ago",)})
    yield _fault("the step climbs", _climbing, {"theta": ("the sign of lr",)})
    yield _fault("1/N once more in the update", _averaging, {"theta": ("lr is 0.0125, not 0.1",)})


def _fault(name: str, make: Callable[[], Any], causes: dict[str, tuple[str, ...]]) -> Derivation:
    return planted(f"step: {name}", STEP, make, None, {}, causes)


def _updating_early() -> Any:
    def step(network: Any, loss: Any, optimizer: Any, theta: Any, state: Any, x: Any, target: Any, rate: float) -> Any:
        outputs, caches = network.forward(theta, x)
        J, cache = loss.forward(outputs[-1], target)
        deltas, grads = [loss.gradient(cache)], []
        layers = list(zip(network.layers, network.views(theta), caches, strict=True))
        for i, (layer, params, cache_) in reversed(list(enumerate(layers))):
            gradients = layer.parameter_gradients(params, cache_, deltas[0])
            grads.append(gradients)
            after = {k: params[k] - rate * g for k, g in gradients.items()}
            if i:
                deltas.insert(0, layer.input_gradient(after, cache_, deltas[0]))
        grad = np.concatenate([g.ravel() for d in reversed(grads) for g in d.values()])
        theta, state = optimizer.update(theta, grad, state, rate)
        return StepRecord(outputs, J, deltas, grad, theta, state)

    return step


def _with_gradient(change: Callable[[list[Any]], Any]) -> Any:
    seen: list[Any] = []

    def step(network: Any, loss: Any, optimizer: Any, theta: Any, state: Any, x: Any, target: Any, rate: float) -> Any:
        outputs, caches = network.forward(theta, x)
        J, cache = loss.forward(outputs[-1], target)
        deltas, grad = network.backward(theta, caches, loss.gradient(cache))
        seen.append(grad)
        theta, state = optimizer.update(theta, change(seen), state, rate)
        return StepRecord(outputs, J, deltas, grad, theta, state)

    return step


def _accumulating() -> Any:
    return _with_gradient(lambda seen: sum(seen[1:], seen[0]))


def _late() -> Any:
    return _with_gradient(lambda seen: seen[max(len(seen) - 2, 0)])


def _climbing() -> Any:
    return _with_gradient(lambda seen: -seen[-1])


def _averaging() -> Any:
    return _with_gradient(lambda seen: seen[-1] / BATCH)
