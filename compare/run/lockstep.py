"""Both trainers over one batch stream, every step judged."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch

import data
import manual.training
import torch_ref.training
from compare.judge.rate import RateJudge
from compare.judge.sides import as_array
from compare.judge.stages import StepJudge, TorchStep
from compare.judge.whole_step import judge_whole_step
from compare.pairs import LOSSES, OPTIMIZERS
from compare.rounding.bounded import Precision
from compare.run.certificate import certificate
from compare.run.experiment import Experiment, Sides, UsageError, build
from torch_ref import parameters as torch_parameters

SIDES = ("manual", "torch_ref")
WHOLE_STEPS = 10  # the first so many steps are also judged as a whole, and then the first of every epoch


@dataclass
class Progress:
    """Where a run is; what observers look at after each step and each epoch."""

    step: int = -1  # of the step just made, counted from 0
    epoch: int = 0
    learning_rate: float = 0.0
    drift: float = 0.0  # max |θ_manual − θ_torch|
    records: dict[str, Any] = field(default_factory=dict)  # StepRecord by side
    kinks: dict[str, int] = field(default_factory=dict)  # units on which the two sides parted, per layer
    correct: dict[str, int] = field(default_factory=dict)  # test digits, by side
    test_loss: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys((*SIDES, "compare"), 0.0))


class Observer(Protocol):
    """Something that watches a run: the terminal, TensorBoard."""

    def on_step(self, run: Lockstep) -> None: ...

    def on_epoch(self, run: Lockstep) -> None: ...


class Stopped(Exception):
    """A run that cannot go on."""


class Diverged(Stopped):
    """A number is no longer finite."""


class Lockstep:
    """Trains both sides of one experiment on one stream of batches and judges every step.

    `build` makes the two sides of the experiment; another one may put in a network of your own.
    Raises UsageError where the experiment and the data do not fit together.
    """

    def __init__(
        self, experiment: Experiment, dataset: data.Dataset, build: Callable[[Experiment, int, int], Sides] = build
    ) -> None:
        e, count = experiment, len(dataset.train)
        if e.batch_size > count:
            raise UsageError(
                f"batch size must be at most the {count:,} training examples, got {e.batch_size:,}: make it smaller"
            )
        pixels = dataset.train.images.shape[1]
        if (e.sizes[0], e.sizes[-1]) != (pixels, dataset.classes):
            raise UsageError(
                f"sizes must begin with {pixels} and end with {dataset.classes} for {dataset.name}, "
                f"got {'-'.join(map(str, e.sizes))}"
            )
        self.experiment, self.dataset = experiment, dataset
        self.steps_per_epoch = data.steps_per_epoch(count, e.batch_size)
        self.steps = min(e.epochs * self.steps_per_epoch, e.max_steps or 10**18)
        self.sides = build(e, self.steps, self.steps_per_epoch)
        self.dtype = self.sides.theta.dtype
        precision = Precision.of(self.dtype)
        self.judge = StepJudge(
            self.sides.network, self.sides.loss, self.sides.optimizer, list(self.sides.model),
            self.sides.torch_loss,
            lambda params, rate: OPTIMIZERS[e.optimizer].torch(params, rate, **e.optimizer_options),
            precision,
        )  # fmt: skip
        self.rate_judge = RateJudge(self.sides.schedule, e.schedule != "constant")
        self.progress = Progress()
        self.theta = self.sides.theta
        self.state = self.sides.optimizer.init(self.theta)
        self.torch_theta = self.theta.copy()
        self.torch_state = self.sides.optimizer.init(self.torch_theta)
        self.certificate = certificate(self)

    def run(self, observers: Sequence[Observer] = ()) -> None:
        """Train to the end. Raises Stopped when the run cannot go on; what was judged stays judged."""
        try:
            self._run(observers)
        except (Stopped, KeyboardInterrupt):
            raise
        except Exception as error:
            if self.judge.disagreements:  # what is wrong has been said, and this comes of it
                raise Stopped(f"the manual side cannot go on: {type(error).__name__}: {error}") from error
            raise

    def _run(self, observers: Sequence[Observer]) -> None:
        for epoch, batch in self._batches():
            if epoch != self.progress.epoch:
                self._end_epoch(observers)
            self.progress.epoch = epoch
            self._step(*batch)
            for observer in observers:
                observer.on_step(self)
            self._require_finite()
        self._end_epoch(observers)

    def _batches(self) -> Iterator[tuple[int, tuple[np.ndarray, np.ndarray]]]:
        """(epoch, (x, target)) of every step of the run."""
        e, digits = self.experiment, self.dataset.train
        step = 0
        for epoch in range(e.epochs):
            for indices in data.batch_order(len(digits), e.batch_size, e.seed, epoch):
                if step == self.steps:
                    return
                x = data.scale(digits.images[indices], self.dtype)
                yield epoch, (x, self._target(digits.labels[indices]))
                step += 1

    def _target(self, labels: np.ndarray) -> np.ndarray:
        if LOSSES[self.experiment.loss].target == "class":
            return labels
        return (labels[:, np.newaxis] == np.arange(self.dataset.classes)).astype(self.dtype)

    def _step(self, x: np.ndarray, target: np.ndarray) -> None:
        now, sides, device = self.progress, self.sides, self.experiment.device
        now.step += 1
        if self.experiment.resync:
            torch_parameters.load(sides.model, torch.from_numpy(self.theta).to(device))
            torch_parameters.load_state(sides.torch_optimizer, _as_tensors(self.state))
            self.torch_theta, self.torch_state = self.theta, self.state

        started = time.perf_counter()
        ours = failure = None
        rate = float(sides.schedule(now.step))
        try:
            with np.errstate(all="ignore"):  # what overflows is named by _require_finite
                ours = manual.training.step(
                    sides.network, sides.loss, sides.optimizer, self.theta, self.state, x, target, rate
                )
        except Exception as error:  # the judge will say at which stage
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
        self.judge.judge(now.step, record)
        self.rate_judge.judge(self.judge, now.step, torch_rate)
        if failure is not None:
            raise failure
        assert ours is not None
        if now.step < WHOLE_STEPS or now.step % self.steps_per_epoch == 0:
            judge_whole_step(self.judge, now.step, self.theta, self.state, ours, record)
        self._count_kinks(x, ours.outputs, record.outputs)
        self.theta, self.state = ours.theta, ours.state
        self.torch_theta, self.torch_state = record.theta_after, record.state_after
        now.learning_rate = rate
        with np.errstate(all="ignore"):
            now.drift = float(np.abs(self.theta - self.torch_theta).max())
        now.records = {"manual": ours, "torch_ref": record}
        now.seconds["manual"] += manual_done - started
        now.seconds["torch_ref"] += torch_done - manual_done
        now.seconds["compare"] += time.perf_counter() - torch_done

    def _count_kinks(self, x: np.ndarray, ours: list[np.ndarray], theirs: list[np.ndarray]) -> None:
        """Count the units whose input lies on different sides of a kink on the two sides."""
        for i, layer in enumerate(self.sides.network.layers):
            z, torch_z = (ours[i - 1], theirs[i - 1]) if i else (x, x)
            for kink in getattr(layer, "kinks", ()):
                parted = int(np.count_nonzero((z > kink) != (torch_z > kink)))
                if parted:
                    name = f"{i} · {type(layer).__name__}"
                    self.progress.kinks[name] = self.progress.kinks.get(name, 0) + parted

    def _require_finite(self) -> None:
        """Raise Diverged, naming the first stage that is not finite, if any number is not."""
        ours, theirs = self.progress.records["manual"], self.progress.records["torch_ref"]
        if all(np.isfinite(x).all() for x in (ours.loss, theirs.loss, self.theta, self.torch_theta)):
            return
        where = []
        for side, r, after in (("manual", ours, ours.theta), ("torch", theirs, theirs.theta_after)):
            layers = [f"{i} · {type(a).__name__}" for i, a in enumerate(self.sides.network.layers)]
            stages = [(f"{name} · forward", y) for name, y in zip(layers, r.outputs, strict=True)]
            stages += [("loss", r.loss), ("loss gradient", r.deltas[-1])]
            stages += [(f"{n} · input gradient", d) for n, d in zip(layers[:0:-1], r.deltas[-2::-1], strict=True)]
            stages += [("parameter gradients", r.grad), ("update", after)]
            first = next((name for name, y in stages if not np.isfinite(y).all()), None)
            where += [f"{side}: {first}"] if first else []
        raise Diverged(
            f"every number must stay finite, but step {self.progress.step} has an infinite or undefined one, "
            f"first at {' and '.join(where)}: use a learning rate below {self.experiment.learning_rate:g}"
        )

    def _end_epoch(self, observers: Sequence[Observer]) -> None:
        digits = self.dataset.test
        for side, predict in (("manual", self._predict), ("torch_ref", self._torch_predict)):
            correct, total = 0, 0.0
            for start in range(0, len(digits), 2000):  # a batch that fits the cache, and 10,000 digits do not
                part = slice(start, start + 2000)
                output = predict(data.scale(digits.images[part], self.dtype))
                target = self._target(digits.labels[part].copy())
                correct += int(np.count_nonzero(output.argmax(axis=1) == digits.labels[part]))
                total += float(self.sides.loss.forward(output, target)[0]) * len(output)
            self.progress.correct[side] = correct
            self.progress.test_loss[side] = total / len(digits)
        for observer in observers:
            observer.on_epoch(self)

    def _predict(self, x: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            return self.sides.network.predict(self.theta, x)

    @torch.no_grad()
    def _torch_predict(self, x: np.ndarray) -> Any:
        return as_array(self.sides.model(torch.from_numpy(x).to(self.experiment.device)))


def _as_tensors(state: dict[str, Any]) -> dict[str, Any]:
    return {k: torch.from_numpy(v) if isinstance(v, np.ndarray) else v for k, v in state.items()}
