"""The pictures of a run: what the first layer looks for, and what both sides say of the digits."""

from __future__ import annotations

from collections.abc import Iterator
from math import isqrt

import numpy as np
from PIL import Image
from tensorboard.compat.proto.summary_pb2 import Summary

import data
from compare.board import drawing, predictions
from compare.judge.whole_step import bounded_step
from compare.rounding.bounded import Bounded, NoRoundingRule
from compare.run.lockstep import Lockstep

WEIGHTS, APART = "pictures/first-layer weights", "pictures/first-layer weights: difference ÷ bound"
DIGITS, MISTAKES = "pictures/the same test digits each time", "pictures/worst mistakes"
CONFUSION = "pictures/confusion matrix"
UNITS = 64  # of the first layer are shown at most
EACH, MOST, COLUMNS = 2, 20, 4


def of_side(run: Lockstep, side: str, p: np.ndarray | None) -> Iterator[tuple[str, Image.Image]]:
    """(tag, picture) of one side alone. `p` are its probabilities (N, classes) of the test digits, if it has any."""
    ours, theirs = (first_layer(run, theta) for theta in (run.theta, run.torch_theta))
    if ours is not None and theirs is not None:
        limit = float(np.abs(ours).max())  # the same for both sides, so that their colours can be compared
        shown = ours if side == "manual" else theirs
        caption = f"blue {-limit:.2f}   white 0   red {limit:.2f}"
        yield WEIGHTS, drawing.tiles(drawing.blue_white_red(shown, limit), 3, caption)
    if p is not None:
        labels, classes = run.dataset.test.labels, run.dataset.classes
        counts = predictions.confusion(labels, p, classes)
        right = int(np.trace(counts))
        caption = f"{right:,} of {len(labels):,} right, {right / len(labels):.2%}"
        yield CONFUSION, drawing.matrix(counts, caption)


def of_both(run: Lockstep, p: np.ndarray | None) -> Iterator[tuple[str, Image.Image]]:
    """(tag, picture) of the two sides side by side. `p` are the manual side's probabilities, which has the mistakes."""
    fraction = difference_in_bounds(run)
    tiles = None if fraction is None else first_layer(run, fraction)
    if tiles is not None:
        worst = float(np.abs(tiles).max())
        caption = f"blue −1   white 0   red 1; the largest is {worst:.2f} of its bound"
        yield APART, drawing.tiles(drawing.blue_white_red(tiles, 1.0), 3, caption)
    test = run.dataset.test
    if square(test.images.shape[1]):
        yield DIGITS, _digits(run, predictions.same_digits(test.labels, run.dataset.classes, EACH), "")
        if p is not None:
            wrong = predictions.worst_mistakes(test.labels, p, MOST)
            mistakes = int(np.count_nonzero(p.argmax(axis=1) != test.labels))
            yield MISTAKES, _digits(run, wrong, f"the {len(wrong)} surest of {mistakes:,} mistakes")


def _digits(run: Lockstep, positions: np.ndarray, caption: str) -> Image.Image:
    """The test digits at these positions, and what both sides say of them now."""
    test, width = run.dataset.test, square(run.dataset.test.images.shape[1])
    x = data.scale(test.images[positions], run.dtype)
    sides = {"manual": run.predict(x), "torch_ref": run.torch_predict(x)}
    p = {side: predictions.probabilities(run, output) for side, output in sides.items()}
    images = test.images[positions].reshape(-1, width, width)
    return drawing.digits(images, test.labels[positions].tolist(), p, COLUMNS, caption)


def summary(tag: str, picture: Image.Image) -> Summary:
    """A picture as a Summary."""
    image = Summary.Image(
        height=picture.height, width=picture.width, colorspace=3, encoded_image_string=drawing.png(picture)
    )
    return Summary(value=[Summary.Value(tag=tag, image=image)])


def square(pixels: int) -> int:
    """The side of a square picture of so many pixels; 0 where there is none."""
    side = isqrt(pixels)
    return side if side * side == pixels else 0


def first_layer(run: Lockstep, flat: np.ndarray) -> np.ndarray | None:
    """The part of a vector (size,) that belongs to the first layer's weights, (units, side, side).

    None where the first layer has no weights whose rows are pictures.
    """
    weight = run.sides.network.views(flat)[0].get("weight")
    if weight is None or weight.ndim != 2 or not square(weight.shape[1]):
        return None
    side = square(weight.shape[1])
    return weight[:UNITS].reshape(-1, side, side)


def difference_in_bounds(run: Lockstep) -> np.ndarray | None:
    """(θ_manual − θ_torch) ÷ its bound after the step just made, (size,).

    The bound is what the distance of the two sides before the step and the rounding of that whole step explain.
    None where no bound reaches through the network.
    """
    record = run.progress.records.get("torch_ref")
    if record is None:
        return None
    theta, state = run.before
    try:
        bound = bounded_step(run.judge, theta, state, run.progress.learning_rate, record).theta
    except NoRoundingRule:
        return None
    error = bound.error if isinstance(bound, Bounded) and bound.error is not None else np.zeros(theta.shape)
    with np.errstate(all="ignore"):
        return (run.theta - run.torch_theta) / (error + run.judge.precision.tiny)
