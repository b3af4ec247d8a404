"""Layers, a loss and an update rule whose every result is judged and reset to torch's.

They stand in for the manual ones while a `StepJudge` runs the manual training step.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from handgrad import manual
from handgrad.compare.judge.agreement import Verdict, mismatched
from handgrad.compare.judge.sides import Arrays, Sides, gradient_of, parameter
from handgrad.compare.rounding.functions import plain

if TYPE_CHECKING:
    from handgrad.compare.judge.stages import StepJudge

# The two sides of the stage, torch's inputs to it, and the output in question; made only when it is needed.
Probe = Callable[[], tuple[Sides, Arrays, str]]


LOSS_GRADIENT = "loss gradient"


def stage_name(index: int, layer: str, what: str) -> str:
    """A layer's stage, as reports name it."""
    return f"{index} · {layer} · {what}"


def loss_stage(loss: manual.Loss) -> str:
    """The stage of a loss."""
    return f"loss · {type(loss).__name__}"


def update_stage(rule: manual.Optimizer) -> str:
    """The stage of an update rule."""
    return f"update · {type(rule).__name__}"


class Unbounded:
    """A cache made by code that `Bounded` could not follow; what uses it is judged by the two-precision tolerance
    too.
    """

    def __init__(self, cache: Any) -> None:
        self.cache = cache


@dataclasses.dataclass(frozen=True)
class Raised:
    """What stands for the result of manual code that raised an exception."""

    error: Exception

    def verdict(self, size: int) -> Verdict:
        return mismatched(f"the manual code raises {type(self.error).__name__}: {self.error}", size)


LOST = object()  # what nobody can judge, because the code that makes its input raised an exception


def as_pair(result: Any) -> tuple[Any, Any]:
    """The result of a forward or an update as two."""
    return (result, LOST) if isinstance(result, Raised) else result


@dataclasses.dataclass(frozen=True)
class JudgedLayer(manual.Layer):
    """A layer whose every result is judged and reset to torch's."""

    layer: manual.Layer
    index: int
    judge: StepJudge = dataclasses.field(repr=False, compare=False)

    def init(self, rng: np.random.Generator) -> manual.Params:
        return self.layer.init(rng)

    def _stage(self, what: str) -> str:
        return stage_name(self.index, type(self.layer).__name__, what)

    def _probe(self, output: str, backward: bool = True) -> Probe:
        def probe() -> tuple[Sides, Arrays, str]:
            j, i = self.judge, self.index
            inputs = {parameter(k): v for k, v in j.network.views(j.record.theta)[i].items()}
            inputs["x"] = j.record.outputs[i - 1] if i else j.record.x
            if backward:
                inputs["dy"] = j.record.deltas[i]
            return j.layer_sides[i], inputs, output

        return probe

    def forward(self, params: manual.Params, x: Any) -> tuple[Any, Any]:
        result, by_two_precision = self.judge.run(self.layer.forward, params, x)
        y, cache = as_pair(result)
        settled = self.judge.settle(
            self._stage("forward"), f"{self.index}.output", y, self.judge.record.outputs[self.index],
            by_two_precision, self._probe("output", backward=False),
        )  # fmt: skip
        # Where the cache is, or holds, the layer's own output, the gradients get torch's output: a fault in
        # `forward` is then charged to `forward` alone.
        if cache is y:
            cache = settled
        elif isinstance(cache, tuple):
            cache = tuple(settled if item is y else item for item in cache)
        return settled, Unbounded(plain(cache)) if by_two_precision else cache

    def input_gradient(self, params: manual.Params, cache: Any, dy: Any) -> Any:
        dx, by_two_precision = self.judge.run(self.layer.input_gradient, params, cache, dy)
        return self.judge.settle(
            self._stage("input gradient"), f"∂J/∂{self.index}.input", dx, self.judge.record.deltas[self.index - 1],
            by_two_precision, self._probe("input gradient"),
        )  # fmt: skip

    def parameter_gradients(self, params: manual.Params, cache: Any, dy: Any) -> manual.Params:
        gradients, by_two_precision = self.judge.run(self.layer.parameter_gradients, params, cache, dy)
        settled = {}
        for name, theirs in self.judge.gradients[self.index].items():
            ours = gradients.get(name, mismatched_array(theirs)) if isinstance(gradients, dict) else gradients
            settled[name] = self.judge.settle(
                self._stage("parameter gradients"), f"{self.index}.{name}", ours, theirs,
                by_two_precision, self._probe(gradient_of(name)),
            )  # fmt: skip
        return settled


def mismatched_array(theirs: np.ndarray) -> np.ndarray:
    """What stands for a gradient that the manual side did not return: no numbers at all."""
    return np.empty((0,), theirs.dtype)


@dataclasses.dataclass(frozen=True)
class JudgedLoss(manual.Loss):
    """A loss whose value and gradient are judged and reset to torch's."""

    loss: manual.Loss
    judge: StepJudge = dataclasses.field(repr=False, compare=False)

    def _probe(self, output: str) -> Probe:
        record = self.judge.record
        return lambda: (self.judge.loss_sides, {"output": record.outputs[-1], "target": record.target}, output)

    def forward(self, output: Any, target: Any) -> tuple[Any, Any]:
        result, by_two_precision = self.judge.run(self.loss.forward, output, target)
        J, cache = as_pair(result)
        J = self.judge.settle(
            loss_stage(self.loss), "J", J, self.judge.record.loss, by_two_precision, self._probe("loss")
        )
        return J, Unbounded(plain(cache)) if by_two_precision else cache

    def gradient(self, cache: Any) -> Any:
        gradient, by_two_precision = self.judge.run(self.loss.gradient, cache)
        return self.judge.settle(
            LOSS_GRADIENT,
            "∂J/∂ŷ",
            gradient,
            self.judge.record.deltas[-1],
            by_two_precision,
            self._probe("loss gradient"),
        )


@dataclasses.dataclass(frozen=True)
class JudgedOptimizer(manual.Optimizer):
    """An update rule whose new weights and state are judged and reset to torch's."""

    rule: manual.Optimizer
    judge: StepJudge = dataclasses.field(repr=False, compare=False)

    def update(self, theta: Any, grad: Any, state: Any, learning_rate: float) -> tuple[Any, Any]:
        j, record = self.judge, self.judge.record
        result, by_two_precision = j.run(self.rule.update, theta, grad, state, learning_rate)
        theta, new = as_pair(result)
        inputs = {"theta": record.theta, "grad": record.grad, "learning rate": learning_rate, **record.state}

        def probe(name: str) -> Probe:
            return lambda: (j.optimizer_sides, inputs, name)

        stage = update_stage(self.rule)
        nothing = np.empty((0,), record.theta.dtype)
        j.settle(stage, "theta", theta, record.theta_after, by_two_precision, probe("theta"))
        for name in dict.fromkeys([*record.state_after, *(new if isinstance(new, dict) else ())]):
            ours = new.get(name, nothing) if isinstance(new, dict) else new
            j.settle(stage, name, ours, record.state_after.get(name, nothing), by_two_precision, probe(name))
        return theta, new
