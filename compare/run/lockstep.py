"""Both trainers over one batch stream, every step judged."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import torch

from handgrad import data, manual, torch_ref
from handgrad.compare.checking.explain import explain_stage
from handgrad.compare.checking.rate_judge import RateJudge
from handgrad.compare.foundation.debug import swallowed
from handgrad.compare.judge.sides import as_array
from handgrad.compare.judge.stages import StepJudge
from handgrad.compare.judge.torch_step import TorchStep
from handgrad.compare.judge.whole_step import judge_whole_step
from handgrad.compare.pairs.table import OPTIMIZERS
from handgrad.compare.rounding.bounded import Precision
from handgrad.compare.run.certificate import certificate
from handgrad.compare.run.experiment import CHOICES, Experiment, Setup, build
from handgrad.compare.run.health import Stopped, branch_flips, require_finite
from handgrad.compare.run.progress import Progress
from handgrad.compare.run.stream import Batch, Stream, hold_out
from handgrad.torch_ref import parameters as torch_parameters

WHOLE_STEPS = 10  # the first so many steps are also judged as a whole, and then the first of every epoch


class Observer(Protocol):
    """Something that watches a run: the terminal, TensorBoard."""

    def on_step(self, run: Lockstep) -> None: ...

    def on_epoch(self, run: Lockstep) -> None: ...


class Keeper(Protocol):
    """Something that saves a run. It is asked after each step, when all is done that belongs to it."""

    def after_step(self, run: Lockstep) -> None: ...


class Lockstep:
    """Trains both sides of one experiment on one stream of batches and judges every `judge_every`-th step.

    `build` makes the two sides of the experiment; another one may put in a network of your own.
    Raises UsageError where the experiment and the data do not fit together.
    """

    def __init__(
        self, experiment: Experiment, dataset: data.Dataset, build: Callable[[Experiment, int, int], Setup] = build
    ) -> None:
        e = experiment
        dataset = hold_out(dataset, e.validation)
        self.experiment, self.dataset = experiment, dataset
        self.stream = Stream(e, dataset, np.dtype(CHOICES["dtype"][e.dtype]))
        self.steps, self.steps_per_epoch = self.stream.steps, self.stream.steps_per_epoch
        self.sides = build(e, self.steps, self.steps_per_epoch)
        self.dtype = self.sides.theta.dtype
        precision = Precision.of(self.dtype)
        self.judge = StepJudge(
            self.sides.network, self.sides.loss, self.sides.optimizer, list(self.sides.model),
            self.sides.torch_loss,
            lambda params, rate: OPTIMIZERS[e.optimizer].torch(params, rate, **e.optimizer_options),
            precision, explain=explain_stage,
        )  # fmt: skip
        self.rate_judge = RateJudge(self.sides.schedule, e.schedule != "constant")
        self.progress = Progress()
        self.theta = self.sides.theta
        self.state = self.sides.optimizer.init(self.theta)
        self.torch_theta = self.theta.copy()
        self.torch_state = self.sides.optimizer.init(self.torch_theta)
        self.theta_before = self.theta  # the manual side's θ before the step just made
        self.test_outputs: dict[str, np.ndarray] = {}  # ŷ of all test digits when they were last tested, by side
        self.certificate = certificate(e, dataset, self.stream, self.sides)

    def run(self, observers: Sequence[Observer] = (), keeper: Keeper | None = None) -> None:
        """Train to the end. Raises Stopped when the run cannot go on; what was judged stays judged."""
        try:
            self._run(observers, keeper)
        except (Stopped, KeyboardInterrupt):
            raise
        except Exception as error:
            if self.judge.disagreements:  # what is wrong has been said, and this comes of it
                swallowed(error, "the training")
                raise Stopped(f"the manual side cannot go on: {type(error).__name__}: {error}") from error
            raise

    def _run(self, observers: Sequence[Observer], keeper: Keeper | None) -> None:
        now = self.progress
        for batch in self.stream.batches(now.step + 1):
            now.epoch = batch.epoch
            self._step(batch)
            with self._timed("log"):
                for observer in observers:
                    observer.on_step(self)
            require_finite(
                self.sides.network, self.sides.optimizer, now.step, self.experiment.learning_rate, *now.records.values()
            )  # fmt: skip
            if (now.step + 1) % self.steps_per_epoch == 0 or now.step + 1 == self.steps:
                with self._timed("test"):
                    self._test()
                with self._timed("log"):
                    for observer in observers:
                        observer.on_epoch(self)
            if keeper is not None:
                keeper.after_step(self)

    @contextmanager
    def _timed(self, what: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.progress.seconds[what] += time.perf_counter() - started

    def _step(self, batch: Batch) -> None:
        now, sides, device = self.progress, self.sides, self.experiment.device
        x, target = batch.x, batch.target
        now.step += 1
        if self.experiment.resync:
            torch_parameters.load(sides.model, torch.from_numpy(self.theta).to(device))
            torch_parameters.load_state(sides.torch_optimizer, as_tensors(self.state))
            self.torch_theta, self.torch_state = self.theta, self.state

        started = time.perf_counter()
        ours = failure = None
        rate = float(sides.schedule(now.step))
        try:
            with np.errstate(all="ignore"):  # what overflows is named by require_finite
                ours = manual.training.step(
                    sides.network, sides.loss, sides.optimizer, self.theta, self.state, x, target, rate
                )
        except Exception as error:  # the judge will say at which stage
            swallowed(error, "the manual step")
            failure = error
        manual_done = time.perf_counter()

        torch_rate = float(sides.torch_optimizer.param_groups[0]["lr"])
        theirs = torch_ref.training.step(
            sides.model, sides.torch_loss, sides.torch_optimizer,
            torch.from_numpy(x).to(device), torch.from_numpy(target).to(device),
        )  # fmt: skip
        sides.scheduler.step()
        torch_done = time.perf_counter()

        record = TorchStep(
            x=x,
            target=target,
            learning_rate=torch_rate,
            theta=self.torch_theta,
            state=self.torch_state,
            outputs=[as_array(y) for y in theirs.outputs],
            loss=as_array(theirs.loss),
            deltas=[as_array(d) for d in theirs.deltas],
            grad=as_array(theirs.grad),
            theta_after=as_array(theirs.theta),
            state_after={k: as_array(v) for k, v in theirs.state.items()},
        )
        judged = now.step % self.experiment.judge_every == 0 or failure is not None
        if judged:
            self.judge.judge(now.step, record)
            self.rate_judge.judge(self.judge.ledger, now.step, torch_rate)
        if failure is not None:
            raise failure
        assert ours is not None
        if judged and (now.step < WHOLE_STEPS or now.step % self.steps_per_epoch == 0):
            judge_whole_step(self.judge, now.step, self.theta, self.state, rate, ours, record)
        for layer, flips in branch_flips(sides.network, x, ours.outputs, record.outputs).items():
            now.branch_flips[layer] = now.branch_flips.get(layer, 0) + flips
        self.theta_before = self.theta
        self.theta, self.state = ours.theta, ours.state
        self.torch_theta, self.torch_state = record.theta_after, record.state_after
        now.learning_rate = rate
        with np.errstate(all="ignore"):
            now.drift = float(np.abs(self.theta - self.torch_theta).max())
        now.records = {"manual": ours, "torch_ref": record}
        now.loss = {side: float(r.loss) for side, r in now.records.items()}
        now.seconds["manual"] += manual_done - started
        now.seconds["torch_ref"] += torch_done - manual_done
        now.seconds["compare"] += time.perf_counter() - torch_done

    def _test(self) -> None:
        """Count the test digits that each side has right, and each side's loss on them."""
        digits = self.dataset.test
        for side, predict in (("manual", self.predict), ("torch_ref", self.torch_predict)):
            outputs, total = [], 0.0
            for start in range(0, len(digits), 2000):  # a batch that fits the cache, and 10,000 digits do not
                part = slice(start, start + 2000)
                output = predict(data.scale(digits.images[part], self.dtype))
                target = self.stream.target(digits.labels[part].copy())
                total += float(self.sides.loss.forward(output, target)[0]) * len(output)
                outputs.append(output)
            self.test_outputs[side] = np.concatenate(outputs)
            right = self.test_outputs[side].argmax(axis=1) == digits.labels
            self.progress.correct[side] = int(np.count_nonzero(right))
            self.progress.test_loss[side] = total / len(digits)

    def predict(self, x: np.ndarray) -> np.ndarray:
        """The manual side's output now, (N, classes)."""
        with np.errstate(all="ignore"):
            return self.sides.network.predict(self.theta, x)

    @torch.no_grad()
    def torch_predict(self, x: np.ndarray) -> np.ndarray:
        """Torch's output now, (N, classes)."""
        return as_array(self.sides.model(torch.from_numpy(x).to(self.experiment.device)))


def as_tensors(state: dict[str, Any]) -> dict[str, Any]:
    """The arrays of an optimizer's state as tensors over the same memory; anything else as it is."""
    return {k: torch.from_numpy(v) if isinstance(v, np.ndarray) else v for k, v in state.items()}
