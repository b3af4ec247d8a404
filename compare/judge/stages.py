"""A training step cut into stages, each charged only for the error it adds.

The unchanged manual step runs once more, on `Bounded` arrays, beside the step that torch has just made. It
starts from torch's weights, optimizer state and batch. Each stage's result is judged against what torch got
there and is then *exchanged* for it, so the next stage again starts from torch's own numbers. The
difference that the inputs explain is thereby not bounded but removed, and what is left must be rounding of
this one stage. Because it is `handgrad.manual.training.step` itself that runs, wrong wiring between the stages is found
as well: a stage that is handed the wrong array does not arrive at torch's result.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from handgrad import manual
from handgrad.compare.checking.explain import explain
from handgrad.compare.judge import two_precision
from handgrad.compare.judge.agreement import Disagreement, StageRow, Verdict, judge, mismatched
from handgrad.compare.judge.case import Case
from handgrad.compare.judge.judged import (
    LOSS_GRADIENT,
    LOST,
    JudgedLayer,
    JudgedLoss,
    JudgedOptimizer,
    Probe,
    Raised,
    Unbounded,
    loss_stage,
    stage_name,
    update_stage,
)
from handgrad.compare.judge.page import Agreed, Page
from handgrad.compare.judge.sides import Arrays, LayerSides, LossSides, OptimizerSides, exact
from handgrad.compare.rounding.bounded import Bounded, NoRoundingRule, Precision
from handgrad.compare.rounding.functions import plain
from handgrad.manual.training import step as manual_step


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
        self.expected = self._stages(network, loss, optimizer)
        self.page = Page(precision)
        self.rows: dict[str, StageRow] = {}
        self.disagreements: list[Disagreement] = []
        self._at_fault: set[tuple[str, str]] = set()
        self.record: TorchStep
        self.previous: tuple[int, TorchStep] | None = None  # the step judged last

    def judge(self, step: int, record: TorchStep) -> None:
        """Judge every stage of this step."""
        self.step, self.record, self.finite, self.reached = step, record, True, set[str]()
        self.gradients = self.network.views(record.grad)
        for row in self.rows.values():
            row.next_step()
        p = self.precision
        try:
            with np.errstate(all="ignore"):  # the manual step itself has already warned
                self.training_step(
                    *self.judged,
                    exact(record.theta, p),
                    {k: exact(v, p) for k, v in record.state.items()},
                    exact(record.x, p),
                    exact(record.target, p),
                    record.learning_rate,
                )
        finally:
            self._judge_page()
        self.previous = (step, record)
        self._require_every_stage()

    @staticmethod
    def _stages(network: manual.Network, loss: manual.Loss, optimizer: manual.Optimizer) -> list[str]:
        """The names of all stages of a step."""
        names = [(i, type(layer).__name__) for i, layer in enumerate(network.layers)]
        with_parameters = {int(key.split(".")[0]) for key in network.layout}
        return [
            *(stage_name(i, name, "forward") for i, name in names),
            loss_stage(loss),
            LOSS_GRADIENT,
            *(stage_name(i, name, "parameter gradients") for i, name in names if i in with_parameters),
            *(stage_name(i, name, "input gradient") for i, name in names[1:]),
            update_stage(optimizer),
        ]

    def _require_every_stage(self) -> None:
        """A stage that the manual step never asks for would go unjudged; that is a fault of the step."""
        for stage in self.expected if self.finite else ():
            if stage not in self.reached and (stage, "") not in self._at_fault:
                self._at_fault.add((stage, ""))
                verdict = mismatched("the manual step leaves this stage out", 0)
                self.row(stage).add(self.step, "", verdict)
                self.disagreements.append(Disagreement(self.step, stage, "", verdict))

    # --- for the judged layers, loss and optimizer below ------------------------------------------------

    def run(self, function: Callable[..., Any], *args: Any) -> tuple[Any, bool]:
        """The function's result, and whether the two-precision tolerance must judge it because no rounding rule
        applies.

        An exception is a result too, `Raised`. What would need the result of code that raised one is `LOST`.
        """
        unbounded = False
        for a in args:
            if a is LOST:
                return LOST, False
            unbounded = unbounded or isinstance(a, Unbounded)
        try:
            if not unbounded:
                try:
                    return function(*args), False
                except (NoRoundingRule, FloatingPointError):  # the latter from code within np.errstate(all="raise")
                    pass
            return function(*(a.cache if isinstance(a, Unbounded) else plain(a) for a in args)), True
        except Exception as error:
            return Raised(error), False

    def settle(self, stage: str, tensor: str, ours: Any, theirs: Any, by_two_precision: bool, probe: Probe) -> Any:
        """Judge one tensor, and return torch's in its place."""
        self.reached.add(stage)
        if ours is not LOST:
            if not by_two_precision and self.page.takes(ours, theirs):
                self.page.add((stage, tensor, probe), ours, theirs)
            else:
                self._judge_page()  # first what came before
                self._judge_tensor(stage, tensor, ours, theirs, by_two_precision, probe)
        return exact(theirs, self.precision)

    def _judge_page(self) -> None:
        """Judge what lies on the page: at once where it agrees, otherwise one by one."""
        for (stage, tensor, probe), verdict, theirs in self.page.verdicts():
            if not isinstance(verdict, Agreed):
                self._judge_tensor(stage, tensor, verdict, theirs, False, probe)
            elif self.finite:  # and so torch's tensor is finite
                self.row(stage).count(self.step, tensor, *verdict)

    def row(self, stage: str) -> StageRow:
        """What is remembered of a stage, from the first time that it is asked for."""
        if stage not in self.rows:
            self.rows[stage] = StageRow(stage)
        return self.rows[stage]

    def _judge_tensor(
        self, stage: str, tensor: str, ours: Any, theirs: Any, by_two_precision: bool, probe: Probe
    ) -> None:
        """Judge one tensor, and say why it disagrees the first time that it does."""
        if not self.finite:
            return
        row = self.row(stage)
        verdict, allowed = self._verdict((stage, tensor), ours, theirs, by_two_precision, probe)
        row.add(self.step, tensor, verdict)
        self.finite = bool(np.isfinite(theirs).all())  # nothing can be said of what is made of NaN
        if not verdict.agrees and (stage, tensor) not in self._at_fault:
            self._at_fault.add((stage, tensor))
            self._disagree(stage, tensor, ours, theirs, verdict, allowed, probe)

    def _disagree(
        self, stage: str, tensor: str, ours: Any, theirs: Any, verdict: Verdict, allowed: Any, probe: Probe
    ) -> None:
        """Keep the disagreement, with its causes and the referee's opinion."""
        sides, inputs, output = probe()
        notes: list[str] = []
        causes: tuple[str, ...] = ()
        if isinstance(theirs, np.ndarray) and not isinstance(ours, Raised) and np.size(plain(ours)):
            value = np.asarray(plain(ours))
            allowed = np.broadcast_to(0.0 if allowed is None else allowed, value.shape)
            case = Case(
                output, inputs, value, theirs, allowed + self.precision.tiny, sides.torch(inputs),
                self.record.learning_rate, self._one_step_before(tensor, output), self._parameters_after(stage),
            )  # fmt: skip
            try:
                with np.errstate(all="ignore"):
                    diagnosis, notes = explain(sides, [case], at=verdict.at)
                causes = tuple(cause.phrase for cause in diagnosis.causes)
            except Exception as error:  # the verdict stands, whatever the diagnosis makes of it
                notes = [f"no diagnosis, because it failed itself: {type(error).__name__}: {error}"]
            if tensor == "theta" and verdict.at:
                notes = [self._whose(verdict.at[0]), *notes]
        self.disagreements.append(Disagreement(self.step, stage, tensor, verdict, tuple(notes), causes))

    def _one_step_before(self, tensor: str, output: str) -> np.ndarray | None:
        """Torch's gradient of the same parameter, or of all of them for an update, one step before."""
        number, record = self.previous or (-1, None)
        if record is None or number != self.step - 1:
            return None
        if tensor == "theta":
            return record.grad
        if not output.startswith("gradient of"):
            return None
        where, shape = self.network.layout[tensor]
        return record.grad[where].reshape(shape)

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

    def _verdict(
        self, key: tuple[str, str], ours: Any, theirs: Any, by_two_precision: bool, probe: Probe
    ) -> tuple[Verdict, Any]:
        """The verdict, and the error that it allows; None for nothing."""
        if isinstance(ours, Raised):
            return ours.verdict(np.size(theirs)), None
        if not isinstance(theirs, np.ndarray):  # the step count of an optimizer
            same = type(ours) is type(theirs) and ours == theirs
            nothing = np.zeros(1)
            return judge(nothing, nothing) if same else mismatched(f"{ours!r} beside torch's {theirs!r}", 1), None
        if by_two_precision:
            sides, inputs, output = probe()
            allowed = two_precision.tolerance(sides, inputs).get(output, 0.0)
            return two_precision.unfollowed(np.asarray(ours), theirs, allowed, self.precision)
        if not isinstance(ours, Bounded):
            ours = Bounded(np.asarray(ours), None, self.precision)
        if key in self._at_fault:
            return judge(ours, theirs), ours.error

        def widened(ours: Bounded, torch: np.ndarray) -> np.ndarray:
            sides, inputs, output = probe()
            return two_precision.Arbiter(sides, inputs).widened(output, ours, torch)

        return two_precision.arbitrated(ours, theirs, widened)
