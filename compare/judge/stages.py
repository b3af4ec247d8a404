"""A training step cut into stages, each charged only for the error it adds.

The unchanged manual step runs once more, on `Bounded` arrays, beside the step that torch has just made. It
starts from torch's weights, optimizer state and batch. Each stage's result is judged against what torch got
there and is then reset to the reference, so the next stage again starts from torch's own numbers. The
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
from handgrad.compare.foundation.debug import swallowed
from handgrad.compare.judge import names, two_precision
from handgrad.compare.judge.agreement import Verdict, judge, mismatched
from handgrad.compare.judge.arbiter import Arbiter
from handgrad.compare.judge.case import Case
from handgrad.compare.judge.context import Probe, Question, StepContext
from handgrad.compare.judge.explanation import Explainer, Explanation
from handgrad.compare.judge.following import LOST, Raised
from handgrad.compare.judge.judged import JudgedLayer, JudgedLoss, JudgedOptimizer
from handgrad.compare.judge.ledger import Disagreement, Ledger, StageRow
from handgrad.compare.judge.page import Agreed, Page
from handgrad.compare.judge.sides import LayerSides, LossSides, OptimizerSides, exact
from handgrad.compare.judge.torch_step import TorchStep
from handgrad.compare.judge.translated import bound_of
from handgrad.compare.rounding.bounded import Bounded, Precision
from handgrad.compare.rounding.choices import plain
from handgrad.manual.training import step as manual_step


class StepJudge:
    """Judges one step after another, and keeps a ledger: a row per stage, and the first disagreement of every tensor.

    `explain` says why a tensor disagrees; without one nothing is said but that it does.
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
        *,
        explain: Explainer | None,
    ) -> None:
        self.network, self.training_step = network, training_step
        self.precision, self.explain = precision, explain
        self.layer_sides = [LayerSides(a, b) for a, b in zip(network.layers, modules, strict=True)]
        self.loss_sides = LossSides(loss, torch_loss)
        self.optimizer_sides = OptimizerSides(optimizer, torch_optimizer)
        self.context = StepContext(network, self.settle)
        layers = zip(network.layers, self.layer_sides, strict=True)
        self.judged = (
            dataclasses.replace(
                network, layers=tuple(JudgedLayer(a, i, b, self.context) for i, (a, b) in enumerate(layers))
            ),
            JudgedLoss(loss, self.loss_sides, self.context),
            JudgedOptimizer(optimizer, self.optimizer_sides, self.context),
        )
        self.expected = _stages(network, loss, optimizer)
        self.page = Page(precision)
        self.ledger = Ledger()
        self.previous: tuple[int, TorchStep] | None = None  # the step judged last

    @property
    def rows(self) -> dict[str, StageRow]:
        """What is remembered of each stage."""
        return self.ledger.rows

    @property
    def disagreements(self) -> list[Disagreement]:
        """The first disagreement of every tensor of every stage."""
        return self.ledger.disagreements

    def judge(self, step: int, record: TorchStep) -> None:
        """Judge every stage of this step."""
        self.step, self.record, self.finite, self.reached = step, record, True, set[str]()
        self.context.begin(record)
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

    def _require_every_stage(self) -> None:
        """A stage that the manual step never asks for would go unjudged; that is a fault of the step."""
        for stage in self.expected if self.finite else ():
            if stage not in self.reached and not self.ledger.at_fault(stage, ""):
                verdict = mismatched("the manual step leaves this stage out", 0)
                self.ledger.add(self.step, stage, "", verdict)
                self.ledger.remember(Disagreement(self.step, stage, "", verdict))

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
                self.ledger.row(stage).count(self.step, tensor, *verdict)

    def _judge_tensor(
        self, stage: str, tensor: str, ours: Any, theirs: Any, by_two_precision: bool, probe: Probe
    ) -> None:
        """Judge one tensor, and say why it disagrees the first time that it does."""
        if not self.finite:
            return
        known = self.ledger.at_fault(stage, tensor)
        verdict, allowed = self._verdict(ours, theirs, by_two_precision, known, probe)
        self.finite = bool(np.isfinite(theirs).all())  # nothing can be said of what is made of NaN
        if self.ledger.add(self.step, stage, tensor, verdict):
            said = self._explanation(probe(), ours, theirs, verdict, allowed)
            self.ledger.remember(Disagreement(self.step, stage, tensor, verdict, said.notes, said.causes))

    def _verdict(
        self, ours: Any, theirs: Any, by_two_precision: bool, known: bool, probe: Probe
    ) -> tuple[Verdict, Any]:
        """The verdict, and the error that it allows, None for nothing. `known` is what has disagreed before."""
        if isinstance(ours, Raised):
            return ours.verdict(np.size(theirs)), None
        if not isinstance(theirs, np.ndarray):  # the step count of an optimizer
            same = type(ours) is type(theirs) and ours == theirs
            nothing = np.zeros(1)
            return judge(nothing, nothing) if same else mismatched(f"{ours!r} beside torch's {theirs!r}", 1), None
        if by_two_precision:
            asked = probe()
            rebuilt = bound_of(asked.sides, asked.inputs, self.precision, asked.output, ours)
            if rebuilt is None:
                allowed = two_precision.tolerance(asked.sides, asked.inputs).get(asked.output, 0.0)
                return two_precision.unfollowed(np.asarray(ours), theirs, allowed, self.precision)
            ours = rebuilt
        if not isinstance(ours, Bounded):
            ours = Bounded(np.asarray(ours), None, self.precision)
        if known:
            return judge(ours, theirs), ours.error

        def widened(ours: Bounded, torch: np.ndarray) -> np.ndarray:
            asked = probe()
            return Arbiter(asked.sides, asked.inputs).widened(asked.output, ours, torch)

        return two_precision.arbitrated(ours, theirs, widened)

    def _explanation(self, asked: Question, ours: Any, theirs: Any, verdict: Verdict, allowed: Any) -> Explanation:
        """What is said of a disagreement: by the explainer, and of θ which parameter it is."""
        if not isinstance(theirs, np.ndarray) or isinstance(ours, Raised) or not np.size(plain(ours)):
            return Explanation()
        said = self._explained(asked, np.asarray(plain(ours)), theirs, verdict, allowed)
        if asked.output == names.THETA and verdict.at:
            return said._replace(notes=(_whose(self.network, verdict.at[0]), *said.notes))
        return said

    def _explained(
        self, asked: Question, ours: np.ndarray, theirs: np.ndarray, verdict: Verdict, allowed: Any
    ) -> Explanation:
        if self.explain is None:
            return Explanation()
        allowed = np.broadcast_to(0.0 if allowed is None else allowed, ours.shape) + self.precision.tiny
        after = {} if asked.layer is None else self.network.views(self.record.theta_after)[asked.layer]
        case = Case(
            asked.output, asked.inputs, ours, theirs, allowed, asked.sides.torch(asked.inputs),
            self.record.learning_rate, self._one_step_before(asked), after,
        )  # fmt: skip
        try:
            with np.errstate(all="ignore"):
                return self.explain(asked.sides, case, verdict.at)
        except Exception as error:  # the verdict stands, whatever the diagnosis makes of it
            swallowed(error, "the diagnosis of a stage")
            return Explanation(notes=(f"no diagnosis, because it failed itself: {type(error).__name__}: {error}",))

    def _one_step_before(self, asked: Question) -> np.ndarray | None:
        """Torch's gradient of the same parameter, or of all of them for an update, one step before."""
        number, record = self.previous or (-1, None)
        if record is None or number != self.step - 1:
            return None
        if asked.output == names.THETA:
            return record.grad
        name = names.parameter_of(asked.output)
        if not name or asked.layer is None:
            return None
        return self.network.views(record.grad)[asked.layer][name]


def _stages(network: manual.Network, loss: manual.Loss, optimizer: manual.Optimizer) -> list[str]:
    """The names of all stages of a step."""
    layers = list(enumerate(network.layers))
    parameters = network.views(np.empty(network.size))
    return [
        *(names.layer_stage(i, layer, names.FORWARD) for i, layer in layers),
        names.loss_stage(loss),
        names.LOSS_GRADIENT,
        *(names.layer_stage(i, layer, names.PARAMETER_GRADIENTS) for i, layer in layers if parameters[i]),
        *(names.layer_stage(i, layer, names.INPUT_GRADIENT) for i, layer in layers[1:]),
        names.update_stage(optimizer),
    ]


def _whose(network: manual.Network, position: int) -> str:
    """Which parameter a position in θ belongs to."""
    for name, (where, shape) in network.layout.items():
        if where.start <= position < where.stop:
            index = np.unravel_index(position - where.start, shape)
            return f"θ[{position}] is {name}[{', '.join(str(int(i)) for i in index)}]"
    return ""
