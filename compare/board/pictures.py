"""The pictures of a run: what the first layer looks for, and what both sides say of the digits."""

from __future__ import annotations

from collections.abc import Iterator
from math import isqrt

import numpy as np
from PIL import Image
from tensorboard.compat.proto.summary_pb2 import Summary

from handgrad import data
from handgrad.compare.board import drawing, predictions
from handgrad.compare.foundation.debug import swallowed
from handgrad.compare.judge.sides import exact
from handgrad.compare.rounding.bounded import Bounded, NoRoundingRule
from handgrad.compare.run.lockstep import Lockstep

WEIGHTS, APART = "pictures/first-layer weights", "pictures/first-layer weights: difference ÷ bound"
DIGITS, MISTAKES = "pictures/the same test digits each time", "pictures/worst mistakes"
CONFUSION = "pictures/confusion matrix"
UNITS = 64  # of the first layer are shown at most
EACH, MOST, COLUMNS = 2, 20, 2  # a page shows pictures about 350 pixels wide


def of_side(run: Lockstep, side: str, p: np.ndarray | None) -> Iterator[tuple[str, Image.Image]]:
    """(tag, picture) of one side alone. `p` are its probabilities (N, classes) of the test digits, if it has any."""
    ours, theirs = (first_layer(run, theta) for theta in (run.theta, run.torch_theta))
    if ours is not None and theirs is not None:
        limit = float(np.quantile(np.abs(ours), 0.995))  # the same on both sides, so that their colours can be compared
        shown = ours if side == "manual" else theirs
        caption = f"blue below 0, red above it, deepest at {limit:.2f}"
        yield WEIGHTS, drawing.tiles(drawing.blue_white_red(shown, limit), 3, caption)
    if p is not None:
        labels, classes = run.dataset.test.labels, run.dataset.classes
        counts = predictions.confusion(labels, p, classes)
        right = int(np.trace(counts))
        caption = f"row: is   column: taken for   {right:,} of {len(labels):,} right, {right / len(labels):.2%}"
        yield CONFUSION, drawing.matrix(counts, caption)


def of_both(run: Lockstep, p: np.ndarray | None) -> Iterator[tuple[str, Image.Image]]:
    """(tag, picture) of the two sides side by side. `p` are the manual side's probabilities, which has the mistakes."""
    tiles = difference_in_bounds(run)
    if tiles is not None:
        worst = float(np.abs(tiles).max())
        caption = f"deepest at its bound; the largest is {worst:.2f} of it"
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


def first_layer(run: Lockstep, theta: np.ndarray) -> np.ndarray | None:
    """The first layer's weights as pictures, (units, side, side); None where it has none that are."""
    weight = run.sides.network.views(theta)[0].get("weight")
    return None if weight is None else as_pictures(weight)


def as_pictures(weight: np.ndarray) -> np.ndarray | None:
    """Weights (units, pixels) as (units, side, side), the first few of them; None where a row is no square."""
    if weight.ndim != 2 or not square(weight.shape[1]):
        return None
    side = square(weight.shape[1])
    return weight[:UNITS].reshape(-1, side, side)


def difference_in_bounds(run: Lockstep) -> np.ndarray | None:
    """(manual − torch) ÷ bound of each of the first layer's weights in the step just made, (units, side, side).

    As the judge does it, from torch's numbers on: the weight's gradient, or its update where that is nearer its
    bound. None where the first layer has no pictures, or no bound.
    """
    record, sides, p = run.progress.records["torch_ref"], run.sides, run.judge.precision
    layer, params = sides.network.layers[0], sides.network.views(record.theta)[0]
    gradients = sides.network.views(record.grad)[0]
    state = {name: exact(value, p) for name, value in record.state.items()}
    try:
        with np.errstate(all="ignore"):
            _, cache = layer.forward(params, exact(record.x, p))
            gradient = layer.parameter_gradients(params, cache, exact(record.deltas[0], p)).get("weight")
            theta, _ = sides.optimizer.update(
                exact(record.theta, p), exact(record.grad, p), state, record.learning_rate
            )
    except NoRoundingRule:
        return None
    except Exception as error:  # a fault of the layer's, which the judge has named already
        swallowed(error, "the picture of the differences")
        return None
    update = sides.network.views(theta)[0].get("weight")
    if not isinstance(gradient, Bounded) or not isinstance(update, Bounded) or gradient.shape != update.shape:
        return None
    of_gradient = _in_bounds(gradient, gradients["weight"])
    of_update = _in_bounds(update, sides.network.views(record.theta_after)[0]["weight"])
    return as_pictures(np.where(np.abs(of_gradient) > np.abs(of_update), of_gradient, of_update))


def _in_bounds(ours: Bounded, theirs: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        return (ours.value - theirs) / (ours.precision.tiny + (0.0 if ours.error is None else ours.error))
