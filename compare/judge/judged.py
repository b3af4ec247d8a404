"""Layers, a loss and an update rule whose every result is judged and reset to torch's.

They stand in for the manual ones while a `StepJudge` runs the manual training step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from handgrad import manual
from handgrad.compare.judge import names
from handgrad.compare.judge.context import Probe, Question, StepContext
from handgrad.compare.judge.following import Unbounded, as_pair, follow
from handgrad.compare.judge.sides import LayerSides, LossSides, OptimizerSides
from handgrad.compare.rounding.choices import plain


@dataclass(frozen=True, eq=False, repr=False)
class JudgedLayer(manual.Layer):
    """A layer whose every result is judged and reset to torch's."""

    layer: manual.Layer
    index: int
    sides: LayerSides
    step: StepContext

    def init(self, rng: np.random.Generator) -> manual.Params:
        return self.layer.init(rng)

    def _stage(self, what: str) -> str:
        return names.layer_stage(self.index, self.layer, what)

    def _probe(self, output: str, backward: bool = True) -> Probe:
        def probe() -> Question:
            record, i = self.step.record, self.index
            inputs = {names.parameter(k): v for k, v in self.step.parameters(i).items()}
            inputs[names.X] = record.outputs[i - 1] if i else record.x
            if backward:
                inputs[names.DY] = record.deltas[i]
            return Question(self.sides, inputs, output, i)

        return probe

    def forward(self, params: manual.Params, x: Any) -> tuple[Any, Any]:
        result, by_two_precision = follow(self.layer.forward, params, x)
        y, cache = as_pair(result)
        settled = self.step.settle(
            self._stage(names.FORWARD), f"{self.index}.output", y, self.step.record.outputs[self.index],
            by_two_precision, self._probe(names.OUTPUT, backward=False),
        )  # fmt: skip
        # Where the cache is, or holds, the layer's own output, the gradients get torch's output: a fault in
        # `forward` is then charged to `forward` alone.
        if cache is y:
            cache = settled
        elif isinstance(cache, tuple):
            cache = tuple(settled if item is y else item for item in cache)
        return settled, Unbounded(plain(cache)) if by_two_precision else cache

    def input_gradient(self, params: manual.Params, cache: Any, dy: Any) -> Any:
        dx, by_two_precision = follow(self.layer.input_gradient, params, cache, dy)
        return self.step.settle(
            self._stage(names.INPUT_GRADIENT), f"∂J/∂{self.index}.input", dx, self.step.record.deltas[self.index - 1],
            by_two_precision, self._probe(names.INPUT_GRADIENT),
        )  # fmt: skip

    def parameter_gradients(self, params: manual.Params, cache: Any, dy: Any) -> manual.Params:
        gradients, by_two_precision = follow(self.layer.parameter_gradients, params, cache, dy)
        settled = {}
        for name, theirs in self.step.gradients[self.index].items():
            ours = gradients.get(name, _nothing(theirs)) if isinstance(gradients, dict) else gradients
            settled[name] = self.step.settle(
                self._stage(names.PARAMETER_GRADIENTS), f"{self.index}.{name}", ours, theirs,
                by_two_precision, self._probe(names.gradient_of(name)),
            )  # fmt: skip
        return settled


def _nothing(theirs: np.ndarray) -> np.ndarray:
    """What stands for an array that the manual side did not return: no numbers at all."""
    return np.empty((0,), theirs.dtype)


@dataclass(frozen=True, eq=False, repr=False)
class JudgedLoss(manual.Loss):
    """A loss whose value and gradient are judged and reset to torch's."""

    loss: manual.Loss
    sides: LossSides
    step: StepContext

    def _probe(self, output: str) -> Probe:
        record = self.step.record
        return lambda: Question(self.sides, {names.OUTPUT: record.outputs[-1], names.TARGET: record.target}, output)

    def forward(self, output: Any, target: Any) -> tuple[Any, Any]:
        result, by_two_precision = follow(self.loss.forward, output, target)
        J, cache = as_pair(result)
        stage, theirs = names.loss_stage(self.loss), self.step.record.loss
        J = self.step.settle(stage, "J", J, theirs, by_two_precision, self._probe(names.LOSS))
        return J, Unbounded(plain(cache)) if by_two_precision else cache

    def gradient(self, cache: Any) -> Any:
        gradient, by_two_precision = follow(self.loss.gradient, cache)
        probe, theirs = self._probe(names.LOSS_GRADIENT), self.step.record.deltas[-1]
        return self.step.settle(names.LOSS_GRADIENT, "∂J/∂ŷ", gradient, theirs, by_two_precision, probe)


@dataclass(frozen=True, eq=False, repr=False)
class JudgedOptimizer(manual.Optimizer):
    """An update rule whose new weights and state are judged and reset to torch's."""

    rule: manual.Optimizer
    sides: OptimizerSides
    step: StepContext

    def update(self, theta: Any, grad: Any, state: Any, learning_rate: float) -> tuple[Any, Any]:
        record, settle, stage = self.step.record, self.step.settle, names.update_stage(self.rule)
        result, by_two_precision = follow(self.rule.update, theta, grad, state, learning_rate)
        theta, new = as_pair(result)
        inputs = {
            names.THETA: record.theta, names.GRAD: record.grad, names.LEARNING_RATE: learning_rate, **record.state
        }  # fmt: skip

        def probe(name: str) -> Probe:
            return lambda: Question(self.sides, inputs, name)

        settle(stage, names.THETA, theta, record.theta_after, by_two_precision, probe(names.THETA))
        nothing = _nothing(record.theta)
        for name in dict.fromkeys([*record.state_after, *(new if isinstance(new, dict) else ())]):
            ours = new.get(name, nothing) if isinstance(new, dict) else new
            settle(stage, name, ours, record.state_after.get(name, nothing), by_two_precision, probe(name))
        return theta, new
