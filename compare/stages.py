"""A training step cut into stages, each charged only for the error it adds.

The unchanged manual step runs once more, on `Bounded` arrays, beside the step that torch has just made. It
starts from torch's weights, optimizer state and batch. Each stage's result is judged against what torch got
there and is then *exchanged* for it, so the next stage again starts from torch's own numbers. The
difference that the inputs explain is thereby not bounded but removed, and what is left must be rounding of
this one stage. Because it is `manual.training.step` itself that runs, wrong wiring between the stages is found
as well: a stage that is handed the wrong array does not arrive at torch's result.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import manual
from compare import ladder
from compare.agreement import Disagreement, StageRow, Verdict, judge, mismatched
from compare.rounding import Bounded, NoRoundingRule, Precision
from compare.rounding_functions import plain
from compare.sides import Arrays, LayerSides, LossSides, OptimizerSides, Sides, exact, gradient_of, parameter
from manual.training import step as manual_step


@dataclasses.dataclass(frozen=True)
class TorchStep:
    """What torch did in one step, as NumPy arrays; the fields of torch_ref.training.StepRecord and the inputs."""

    x: np.ndarray
    target: np.ndarray
    learning_rate: float
    theta: np.ndarray
    state: Arrays
    outputs: list[np.ndarray]
    loss: np.ndarray
    deltas: list[np.ndarray]
    grad: np.ndarray
    theta_after: np.ndarray
    state_after: Arrays


@dataclasses.dataclass(frozen=True)
class Evidence:
    """What a diagnosis needs of a stage that disagrees."""

    sides: Sides
    inputs: Arrays
    output: str  # the name of the tensor among the outputs of the sides
    manual: np.ndarray
    torch: np.ndarray


# The two sides of the stage, torch's inputs to it, and the output in question; made only when it is needed.
Probe = Callable[[], tuple[Sides, Arrays, str]]


class _Unbounded:
    """A cache made by code that `Bounded` could not follow; what uses it is judged by the ladder too."""

    def __init__(self, cache: Any) -> None:
        self.cache = cache


class StepJudge:
    """Judges one step after another, and remembers a row per stage.

    `disagreements` holds the first one of every tensor of every stage; `rows` counts them all.
    """

    def __init__(
        self,
        network: manual.Network,
        loss: manual.Loss,
        optimizer: manual.Optimizer,
        modules: Sequence[Any],
        torch_loss: Callable[..., Any],
        torch_optimizer: Callable[..., Any],
        precision: Precision,
    ) -> None:
        self.network = network
        self.precision = precision
        layers = tuple(JudgedLayer(layer, i, self) for i, layer in enumerate(network.layers))
        self.judged = (
            dataclasses.replace(network, layers=layers),
            JudgedLoss(loss, self),
            JudgedOptimizer(optimizer, self),
        )
        self.layer_sides = [LayerSides(a, b) for a, b in zip(network.layers, modules, strict=True)]
        self.loss_sides = LossSides(loss, torch_loss)
        self.optimizer_sides = OptimizerSides(optimizer, torch_optimizer)
        self.rows: dict[str, StageRow] = {}
        self.disagreements: list[Disagreement] = []
        self._at_fault: set[tuple[str, str]] = set()

    def judge(self, step: int, record: TorchStep) -> None:
        """Judge every stage of this step."""
        self.step, self.record = step, record
        self.params = self.network.views(record.theta)
        self.gradients = self.network.views(record.grad)
        for row in self.rows.values():
            row.last_fraction = 0.0
        p = self.precision
        with np.errstate(all="ignore"):  # the manual step itself has already warned
            manual_step(
                *self.judged,
                exact(record.theta, p),
                {k: exact(v, p) for k, v in record.state.items()},
                exact(record.x, p),
                exact(record.target, p),
                record.learning_rate,
            )

    # --- for the judged layers, loss and optimizer below ------------------------------------------------

    def run(self, function: Callable[..., Any], *args: Any) -> tuple[Any, bool]:
        """The function's result, and whether the ladder must judge it because no rounding rule applies."""
        if not any(isinstance(a, _Unbounded) for a in args):
            try:
                return function(*args), False
            except NoRoundingRule:
                pass
        return function(*(a.cache if isinstance(a, _Unbounded) else plain(a) for a in args)), True

    def settle(self, stage: str, tensor: str, ours: Any, theirs: Any, by_ladder: bool, probe: Probe) -> Any:
        """Judge one tensor, and return torch's in its place."""
        row = self.rows.setdefault(stage, StageRow(stage))
        verdict = self._verdict((stage, tensor), ours, theirs, by_ladder, probe)
        row.add(self.step, tensor, verdict)
        if not verdict.agrees and (stage, tensor) not in self._at_fault:
            self._at_fault.add((stage, tensor))
            sides, inputs, output = probe()
            evidence = Evidence(sides, inputs, output, plain(ours), theirs)
            self.disagreements.append(Disagreement(self.step, stage, tensor, verdict, (), evidence))
        return exact(theirs, self.precision)

    def _verdict(self, key: tuple[str, str], ours: Any, theirs: Any, by_ladder: bool, probe: Probe) -> Verdict:
        if not isinstance(theirs, np.ndarray):  # the step count of an optimizer
            same = type(ours) is type(theirs) and ours == theirs
            return judge(theirs_ := np.zeros(1), theirs_) if same else mismatched(
                f"{ours!r} beside torch's {theirs!r}", 1
            )  # fmt: skip
        if by_ladder:
            sides, inputs, output = probe()
            ours = np.asarray(ours)
            allowed = ladder.tolerance(sides, inputs).get(output, 0.0)
            verdict = judge(Bounded(ours, np.full(ours.shape, allowed), self.precision), theirs)
            return verdict._replace(rule="precision ladder")
        if not isinstance(ours, Bounded):
            ours = Bounded(np.asarray(ours), None, self.precision)
        verdict = judge(ours, theirs)
        if verdict.agrees or verdict.problem or key in self._at_fault or not np.isfinite(verdict.fraction):
            return verdict
        sides, inputs, output = probe()
        kappa = ladder.conditioning(sides, inputs).get(output, 0.0)
        second = judge(ours, theirs, 1 + kappa)
        return second._replace(rule="excused by the precision ladder") if second.agrees else verdict


@dataclasses.dataclass(frozen=True)
class JudgedLayer(manual.Layer):
    """A layer whose every result is judged and exchanged for torch's."""

    layer: manual.Layer
    index: int
    judge: StepJudge = dataclasses.field(repr=False, compare=False)

    def init(self, rng: np.random.Generator) -> manual.Params:
        return self.layer.init(rng)

    def _stage(self, what: str) -> str:
        return f"{self.index} · {type(self.layer).__name__} · {what}"

    def _probe(self, output: str, backward: bool = True) -> Probe:
        def probe() -> tuple[Sides, Arrays, str]:
            j, i = self.judge, self.index
            inputs = {parameter(k): v for k, v in j.params[i].items()}
            inputs["x"] = j.record.outputs[i - 1] if i else j.record.x
            if backward:
                inputs["dy"] = j.record.deltas[i]
            return j.layer_sides[i], inputs, output

        return probe

    def forward(self, params: manual.Params, x: Any) -> tuple[Any, Any]:
        (y, cache), by_ladder = self.judge.run(self.layer.forward, params, x)
        settled = self.judge.settle(
            self._stage("forward"), f"{self.index}.output", y, self.judge.record.outputs[self.index],
            by_ladder, self._probe("output", backward=False),
        )  # fmt: skip
        # Where the cache is, or holds, the layer's own output, the gradients get torch's output: a fault in
        # `forward` is then charged to `forward` alone.
        if cache is y:
            cache = settled
        elif isinstance(cache, tuple):
            cache = tuple(settled if item is y else item for item in cache)
        return settled, _Unbounded(plain(cache)) if by_ladder else cache

    def input_gradient(self, params: manual.Params, cache: Any, dy: Any) -> Any:
        dx, by_ladder = self.judge.run(self.layer.input_gradient, params, cache, dy)
        return self.judge.settle(
            self._stage("input gradient"), f"∂J/∂{self.index}.input", dx, self.judge.record.deltas[self.index - 1],
            by_ladder, self._probe("input gradient"),
        )  # fmt: skip

    def parameter_gradients(self, params: manual.Params, cache: Any, dy: Any) -> manual.Params:
        gradients, by_ladder = self.judge.run(self.layer.parameter_gradients, params, cache, dy)
        settled = {}
        for name, theirs in self.judge.gradients[self.index].items():
            missing = mismatched_array(theirs) if name not in gradients else gradients[name]
            settled[name] = self.judge.settle(
                self._stage("parameter gradients"), f"{self.index}.{name}", missing, theirs,
                by_ladder, self._probe(gradient_of(name)),
            )  # fmt: skip
        return settled


def mismatched_array(theirs: np.ndarray) -> np.ndarray:
    """What stands for a gradient that the manual side did not return: no numbers at all."""
    return np.empty((0,), theirs.dtype)


@dataclasses.dataclass(frozen=True)
class JudgedLoss(manual.Loss):
    """A loss whose value and gradient are judged and exchanged for torch's."""

    loss: manual.Loss
    judge: StepJudge = dataclasses.field(repr=False, compare=False)

    def _probe(self, output: str) -> Probe:
        record = self.judge.record
        return lambda: (self.judge.loss_sides, {"output": record.outputs[-1], "target": record.target}, output)

    def forward(self, output: Any, target: Any) -> tuple[Any, Any]:
        (J, cache), by_ladder = self.judge.run(self.loss.forward, output, target)
        stage = f"loss · {type(self.loss).__name__}"
        J = self.judge.settle(stage, "J", J, self.judge.record.loss, by_ladder, self._probe("loss"))
        return J, _Unbounded(plain(cache)) if by_ladder else cache

    def gradient(self, cache: Any) -> Any:
        gradient, by_ladder = self.judge.run(self.loss.gradient, cache)
        return self.judge.settle(
            "loss gradient", "∂J/∂ŷ", gradient, self.judge.record.deltas[-1], by_ladder, self._probe("loss gradient")
        )


@dataclasses.dataclass(frozen=True)
class JudgedOptimizer(manual.Optimizer):
    """An update rule whose new weights and state are judged and exchanged for torch's."""

    rule: manual.Optimizer
    judge: StepJudge = dataclasses.field(repr=False, compare=False)

    def update(self, theta: Any, grad: Any, state: Any, learning_rate: float) -> tuple[Any, Any]:
        j, record = self.judge, self.judge.record
        (theta, new), by_ladder = j.run(self.rule.update, theta, grad, state, learning_rate)
        inputs = {"theta": record.theta, "grad": record.grad, "learning rate": learning_rate, **record.state}

        def probe(name: str) -> Probe:
            return lambda: (j.optimizer_sides, inputs, name)

        stage = f"update · {type(self.rule).__name__}"
        for name, theirs in {"theta": record.theta_after, **record.state_after}.items():
            ours = theta if name == "theta" else new.get(name, np.empty((0,)))
            j.settle(stage, name, ours, theirs, by_ladder, probe(name))
        return theta, new
