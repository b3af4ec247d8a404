"""Augmented digits are the same digits a little moved, the same at every asking, and the same on both sides."""

from __future__ import annotations

import math

import numpy as np
import pytest

from handgrad import data
from handgrad.compare.run.experiment import Experiment, UsageError
from handgrad.compare.run.lockstep import Lockstep
from handgrad.compare.run.recipes import RECIPES, experiment
from handgrad.compare.run.stream import Stream

STILL = np.array([0, 0, 0, 1], np.float32)


def motion(count: int = 1, angle: float = 0, down: float = 0, right: float = 0, size: float = 1) -> np.ndarray:
    return np.tile(np.array([[angle], [down], [right], [size]], np.float32), (1, count))


def test_no_motion_is_exact(digits: data.Dataset) -> None:
    images = digits.train.images[:200]
    np.testing.assert_array_equal(data.move(images, motion(200)), images)
    assert (data.Augmentation().draw(5, 0, 0).T == STILL).all()


@pytest.mark.parametrize(("down", "right"), [(1, 0), (0, 1), (-1, 2), (-3, -1)])
def test_a_shift_by_whole_pixels_is_exact(digits: data.Dataset, down: int, right: int) -> None:
    images = digits.train.images[:50].reshape(-1, 28, 28)
    expected = np.zeros_like(images)
    rows, columns = (slice(max(k, 0), 28 + min(k, 0)) for k in (down, right))
    from_rows, from_columns = (slice(max(-k, 0), 28 + min(-k, 0)) for k in (down, right))
    expected[:, rows, columns] = images[:, from_rows, from_columns]
    moved = data.move(images.reshape(50, -1), motion(50, down=down, right=right)).reshape(-1, 28, 28)
    np.testing.assert_array_equal(moved, expected)


def test_a_quarter_turn_is_counterclockwise(digits: data.Dataset) -> None:
    image = digits.train.images[:1]
    turned = data.move(image, motion(angle=math.pi / 2)).reshape(28, 28)
    np.testing.assert_allclose(turned, np.rot90(image.reshape(28, 28)), atol=0.01)  # grey levels, of 255: cos 90° ≠ 0
    assert np.abs(turned - np.rot90(image.reshape(28, 28), -1)).max() > 100  # the other way round is another image


def test_a_larger_digit_covers_more() -> None:
    image = np.zeros((28, 28), np.uint8)
    image[10:18, 10:18] = 255
    small, same, large = (data.move(image.reshape(1, -1), motion(size=s)).sum() for s in (0.5, 1, 2))
    assert small / same == pytest.approx(0.25, rel=0.05)
    assert large / same == pytest.approx(4, rel=0.05)


def test_motions_stay_within_their_limits_and_are_drawn_anew_each_epoch() -> None:
    limits = data.Augmentation(degrees=8, pixels=1, scaling=0.08)
    motions = limits.draw(10_000, 3, 0)
    spread = np.abs(motions - STILL[:, np.newaxis]).max(axis=1)
    np.testing.assert_allclose(spread, [math.radians(8), 1, 1, 0.08], rtol=0.01)
    np.testing.assert_array_equal(motions, limits.draw(10_000, 3, 0))
    assert not np.array_equal(motions, limits.draw(10_000, 3, 1))
    assert not np.array_equal(motions, limits.draw(10_000, 4, 0))


@pytest.mark.parametrize("batch_size", [32, 300])
def test_any_step_can_be_had_again_on_its_own(digits: data.Dataset, batch_size: int) -> None:
    e = Experiment(batch_size=batch_size, augmentation="medium", epochs=2)
    stream = Stream(e, digits, np.dtype(np.float64))
    whole = list(stream.batches())
    for first in (1, len(whole) // 2, len(whole) - 1):
        for again, before in zip(stream.batches(first), whole[first:], strict=True):
            np.testing.assert_array_equal(again.x, before.x)
            np.testing.assert_array_equal(again.target, before.target)
    plain = next(Stream(Experiment(batch_size=batch_size), digits, np.dtype(np.float64)).batches())
    assert not np.array_equal(plain.x, whole[0].x)


def test_both_sides_train_on_the_same_moved_digits_and_agree(digits: data.Dataset) -> None:
    run = Lockstep(Experiment(augmentation="strong", max_steps=20), digits)
    first = run.certificate["first_batch"]
    assert first["manual"] == first["torch_ref"]
    assert first != Lockstep(Experiment(max_steps=20), digits).certificate["first_batch"]
    run.run()
    assert run.judge.disagreements == []


def test_a_validation_split_never_touches_the_test_digits(digits: data.Dataset) -> None:
    run = Lockstep(Experiment(validation=300, max_steps=1), digits)
    assert (len(run.dataset.train), len(run.dataset.test)) == (700, 300)
    np.testing.assert_array_equal(run.dataset.test.images, digits.train.images[-300:])
    with pytest.raises(UsageError, match="must be fewer than the 1,000 training digits, got 1,000"):
        Lockstep(Experiment(validation=1000), digits)


def test_a_recipe_is_overridden_by_what_is_given() -> None:
    assert experiment(None) == Experiment()
    best = experiment("best")
    assert (best.optimizer, dict(best.optimizer_options)) == ("adamw", {"weight_decay": 0.01})
    assert best.augmentation == RECIPES["best"]["augmentation"]
    assert experiment("best", epochs=3).epochs == 3
    assert dict(experiment("best", optimizer="sgd").optimizer_options) == {}
    with pytest.raises(UsageError, match="recipe must be one of best"):
        experiment("worst")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"degrees": -1}, r"degrees must lie in \[0, inf\), got -1"),
        ({"pixels": math.nan}, "pixels must lie in"),
        ({"scaling": 1.0}, r"scaling must lie in \[0, 1\), got 1.0"),
    ],
)
def test_limits_that_make_no_sense(given: dict[str, float], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        data.Augmentation(**given)


def test_images_and_motions_must_fit_together() -> None:
    with pytest.raises(ValueError, match="square images, got 783 pixels"):
        data.move(np.zeros((2, 783), np.uint8), motion(2))
    with pytest.raises(ValueError, match=r"shape \(4, 2\), one for each image, got \(4, 1\)"):
        data.move(np.zeros((2, 784), np.uint8), motion(1))
