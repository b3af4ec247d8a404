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
from compare.causes import Case
from compare.explain import explain
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


# The two sides of the stage, torch's inputs to it, and the output in question; made only when it is needed.
Probe = Callable[[], tuple[Sides, Arrays, str]]


class _Unbounded:
    """A cache made by code that `Bounded` could not follow; what uses it is judged by the ladder too."""

    def __init__(self, cache: Any) -> None:
        self.cache = cache


@dataclasses.dataclass(frozen=True)
class _Raised:
    """What stands for the result of manual code that raised an exception."""

    error: Exception

    def verdict(self, size: int) -> Verdict:
        return mismatched(f"the manual code raises {type(self.error).__name__}: {self.error}", size)


_LOST = object()  # what nobody can judge, because the code that makes its input raised an exception


def _pair(result: Any) -> tuple[Any, Any]:
    """The result of a forward or an update as two."""
    return (result, _LOST) if isinstance(result, _Raised) else result


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
        training_step: Callable[..., Any] = manual_step,
    ) -> None:
        self.network, self.training_step = network, training_step
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
        self.record: TorchStep
        self.previous: TorchStep | None = None

    def judge(self, step: int, record: TorchStep) -> None:
        """Judge every stage of this step."""
        self.step, self.record, self.finite = step, record, True
        self.params = self.network.views(record.theta)
        self.gradients = self.network.views(record.grad)
        for row in self.rows.values():
            row.last_fraction = 0.0
        p = self.precision
        with np.errstate(all="ignore"):  # the manual step itself has already warned
            self.training_step(
                *self.judged,
                exact(record.theta, p),
                {k: exact(v, p) for k, v in record.state.items()},
                exact(record.x, p),
                exact(record.target, p),
                record.learning_rate,
            )
        self.previous = record

    # --- for the judged layers, loss and optimizer below ------------------------------------------------

    def run(self, function: Callable[..., Any], *args: Any) -> tuple[Any, bool]:
        """The function's result, and whether the ladder must judge it because no rounding rule applies.

        An exception is a result too, `_Raised`. What would need the result of code that raised one is `_LOST`.
        """
        if any(a is _LOST for a in args):
            return _LOST, False
        try:
            if not any(isinstance(a, _Unbounded) for a in args):
                try:
                    return function(*args), False
                except NoRoundingRule:
                    pass
            return function(*(a.cache if isinstance(a, _Unbounded) else plain(a) for a in args)), True
        except Exception as error:
            return _Raised(error), False

    def settle(self, stage: str, tensor: str, ours: Any, theirs: Any, by_ladder: bool, probe: Probe) -> Any:
        """Judge one tensor, and return torch's in its place."""
        if ours is _LOST or not self.finite:
            return exact(theirs, self.precision)
        row = self.rows.setdefault(stage, StageRow(stage))
        verdict = self._verdict((stage, tensor), ours, theirs, by_ladder, probe)
        row.add(self.step, tensor, verdict)
        self.finite = bool(np.isfinite(theirs).all())  # nothing can be said of what is made of NaN
        if not verdict.agrees and (stage, tensor) not in self._at_fault:
            self._at_fault.add((stage, tensor))
            self._disagree(stage, tensor, ours, theirs, verdict, probe)
        return exact(theirs, self.precision)

    def _disagree(self, stage: str, tensor: str, ours: Any, theirs: Any, verdict: Verdict, probe: Probe) -> None:
        """Keep the disagreement, with its causes and the referee's opinion."""
        sides, inputs, output = probe()
        notes: list[str] = []
        causes: tuple[str, ...] = ()
        if isinstance(theirs, np.ndarray) and not isinstance(ours, _Raised):
            value = np.asarray(plain(ours))
            error = getattr(ours, "error", None)
            allowed = np.zeros(value.shape) if error is None else np.asarray(error)
            case = Case(
                output, inputs, value, theirs, allowed + self.precision.tiny, sides.torch(inputs),
                self.record.learning_rate, self._one_step_before(tensor, output), self._parameters_after(stage),
            )  # fmt: skip
            try:
                with np.errstate(all="ignore"):
                    diagnosis, notes = explain(sides, [case])
                causes = tuple(cause.name for cause in diagnosis.causes)
            except Exception as error:  # the verdict stands, whatever the diagnosis makes of it
                notes = [f"no diagnosis, because it failed itself: {type(error).__name__}: {error}"]
            if tensor == "theta" and verdict.at:
                notes = [self._whose(verdict.at[0]), *notes]
        self.disagreements.append(Disagreement(self.step, stage, tensor, verdict, tuple(notes), causes))

    def _one_step_before(self, tensor: str, output: str) -> np.ndarray | None:
        """Torch's gradient of the same parameter, or of all of them for an update, one step before."""
        if self.previous is None:
            return None
        if tensor == "theta":
            return self.previous.grad
        if not output.startswith("gradient of"):
            return None
        where, shape = self.network.layout[tensor]
        return self.previous.grad[where].reshape(shape)

    def _parameters_after(self, stage: str) -> Arrays:
        """The parameters of the stage's layer after the update."""
        first = stage.split(" · ")[0]
        return self.network.views(self.record.theta_after)[int(first)] if first.isdigit() else {}

    def _whose(self, position: int) -> str:
        """Which parameter a position in θ belongs to."""
        for name, (where, shape) in self.network.layout.items():
            if where.start <= position < where.stop:
                index = np.unravel_index(position - where.start, shape)
                return f"θ[{position}] is {name}[{', '.join(str(int(i)) for i in index)}]"
        return ""

    def _verdict(self, key: tuple[str, str], ours: Any, theirs: Any, by_ladder: bool, probe: Probe) -> Verdict:
        if isinstance(ours, _Raised):
            return ours.verdict(np.size(theirs))
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
        result, by_ladder = self.judge.run(self.layer.forward, params, x)
        y, cache = _pair(result)
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
            ours = gradients.get(name, mismatched_array(theirs)) if isinstance(gradients, dict) else gradients
            settled[name] = self.judge.settle(
                self._stage("parameter gradients"), f"{self.index}.{name}", ours, theirs,
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
        result, by_ladder = self.judge.run(self.loss.forward, output, target)
        J, cache = _pair(result)
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
        result, by_ladder = j.run(self.rule.update, theta, grad, state, learning_rate)
        theta, new = _pair(result)
        inputs = {"theta": record.theta, "grad": record.grad, "learning rate": learning_rate, **record.state}

        def probe(name: str) -> Probe:
            return lambda: (j.optimizer_sides, inputs, name)

        stage = f"update · {type(self.rule).__name__}"
        nothing = np.empty((0,), record.theta.dtype)
        j.settle(stage, "theta", theta, record.theta_after, by_ladder, probe("theta"))
        for name in dict.fromkeys([*record.state_after, *(new if isinstance(new, dict) else ())]):
            ours = new.get(name, nothing) if isinstance(new, dict) else new
            j.settle(stage, name, ours, record.state_after.get(name, nothing), by_ladder, probe(name))
        return theta, new
