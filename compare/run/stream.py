"""The one stream of batches that both sides train on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from handgrad import data
from handgrad.compare.foundation.errors import UsageError
from handgrad.compare.pairs.table import LOSSES
from handgrad.compare.run.experiment import Experiment


class Batch(NamedTuple):
    """What one step trains on."""

    epoch: int
    x: np.ndarray  # (N, pixels)
    target: np.ndarray  # (N,) labels, or (N, classes) of 0 and 1


def hold_out(dataset: data.Dataset, count: int) -> data.Dataset:
    """The data set whose test digits are the last `count` training digits; as it is for 0.

    Settings are to be chosen on these, so that the true test digits stay unseen.
    Raises UsageError unless a training digit is left.
    """
    if not count:
        return dataset
    train = dataset.train
    if count >= len(train):
        raise UsageError(f"validation must be fewer than the {len(train):,} training digits, got {count:,}")
    kept, held = (data.Digits(train.images[part], train.labels[part]) for part in (slice(-count), slice(-count, None)))
    return data.Dataset(dataset.name, kept, held, dataset.classes)


class Stream:
    """The batches of a run: a pure function of the experiment, so any step can be had again on its own.

    Raises UsageError where the experiment and the data do not fit together.
    """

    def __init__(self, experiment: Experiment, dataset: data.Dataset, dtype: np.dtype) -> None:
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
        self.experiment, self.dataset, self.dtype = experiment, dataset, dtype
        self.steps_per_epoch = data.steps_per_epoch(count, e.batch_size)
        self.steps = min(e.epochs * self.steps_per_epoch, e.max_steps or 10**18)

    def batches(self, first: int = 0) -> Iterator[Batch]:
        """The batch of every step from the `first` one on."""
        e, digits = self.experiment, self.dataset.train
        step = first
        while step < self.steps:
            epoch, position = divmod(step, self.steps_per_epoch)
            order = data.batch_order(len(digits), e.batch_size, e.seed, epoch)
            motions = self.motions(epoch)
            for indices in order[position:]:
                if step == self.steps:
                    return
                images: np.ndarray = digits.images[indices]
                if motions is not None:
                    start = step % self.steps_per_epoch * e.batch_size
                    images = data.move(images, motions[:, start : start + len(indices)])
                yield Batch(epoch, data.scale(images, self.dtype), self.target(digits.labels[indices]))
                step += 1

    def motions(self, epoch: int) -> np.ndarray | None:
        """How the digit at each position of the epoch is moved, (4, examples); None where none is."""
        e = self.experiment
        if e.augmentation == "none":
            return None
        return data.AUGMENTATIONS[e.augmentation].draw(len(self.dataset.train), e.seed, epoch)

    def target(self, labels: np.ndarray) -> np.ndarray:
        """The labels as the loss takes them: as they are (N,), or one-hot (N, classes)."""
        if LOSSES[self.experiment.loss].target == "class":
            return labels
        return (labels[:, np.newaxis] == np.arange(self.dataset.classes)).astype(self.dtype)
