"""What the order of the batches promises."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from handgrad.data import batch_order, order_hash, steps_per_epoch


@st.composite
def cuts(draw):
    """A count of examples and a batch size that fits it."""
    count = draw(st.integers(1, 300))
    return count, draw(st.integers(1, count))


seeds = st.integers(0, 2**64)
epochs = st.integers(0, 1000)


@given(cuts(), seeds, epochs)
def test_every_index_comes_exactly_once(cut, seed, epoch):
    batches = batch_order(*cut, seed, epoch)
    assert sorted(np.concatenate(batches)) == list(range(cut[0]))


@given(cuts(), seeds, epochs)
def test_only_the_last_batch_is_short(cut, seed, epoch):
    count, batch_size = cut
    sizes = [len(batch) for batch in batch_order(count, batch_size, seed, epoch)]
    assert sizes[:-1] == [batch_size] * (len(sizes) - 1)
    assert sizes[-1] == count - batch_size * (len(sizes) - 1)


@given(cuts(), seeds, epochs)
def test_the_same_arguments_give_the_same_order(cut, seed, epoch):
    first, second = batch_order(*cut, seed, epoch), batch_order(*cut, seed, epoch)
    assert all(np.array_equal(*pair) for pair in zip(first, second, strict=True))


@given(cuts(), seeds, epochs)
def test_the_batch_size_only_cuts_the_permutation(cut, seed, epoch):
    (whole,) = batch_order(cut[0], cut[0], seed, epoch)
    assert np.array_equal(np.concatenate(batch_order(*cut, seed, epoch)), whole)


@given(cuts())
def test_steps_per_epoch_counts_the_batches(cut):
    assert steps_per_epoch(*cut) == len(batch_order(*cut, seed=0, epoch=0))


@given(cuts(), seeds)
def test_the_global_random_state_plays_no_part(cut, seed):
    before = np.concatenate(batch_order(*cut, seed, 0))
    np.random.seed(1)
    np.random.random(5)
    assert np.array_equal(np.concatenate(batch_order(*cut, seed, 0)), before)


@pytest.mark.parametrize(("one", "other"), [((0, 0), (0, 1)), ((0, 0), (1, 0)), ((0, 1), (1, 0)), ((1, 2), (2, 1))])
def test_other_seeds_and_epochs_give_other_orders(one, other):
    assert not np.array_equal(batch_order(1000, 1000, *one)[0], batch_order(1000, 1000, *other)[0])


def test_indices_are_int64():
    assert {batch.dtype for batch in batch_order(5, 2, 0, 0)} == {np.dtype(np.int64)}


def test_the_order_of_a_seed_is_pinned():
    order = [batch.tolist() for batch in batch_order(10, 4, seed=0, epoch=0)]
    assert order == PINNED, "the order changed: results of earlier runs can no longer be repeated"


PINNED = [[4, 6, 2, 7], [3, 5, 9, 0], [8, 1]]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((10, 0, 0, 0), ["batch size >= 1", "got 0", "choose 1"]),
        ((10, -3, 0, 0), ["batch size >= 1", "got -3", "choose 1"]),
        ((10, 11, 0, 0), ["batch size <= 10", "got 11", "choose 10"]),
        ((0, 1, 0, 0), ["at least 1 example", "got 0", "choose"]),
        ((10, 1, -1, 0), ["seed >= 0", "got -1", "choose 0"]),
        ((10, 1, 0, -2), ["epoch >= 0", "got -2", "choose 0"]),
    ],
)
def test_a_batch_order_that_cannot_be_is_refused_in_one_line(arguments, words):
    with pytest.raises(ValueError, match=r"^expected ") as caught:
        batch_order(*arguments)
    message = str(caught.value)
    assert "\n" not in message
    assert [word for word in words if word not in message] == []


def test_the_order_hash_is_that_of_every_batch_length_and_index():
    digest = hashlib.sha256()
    for epoch in range(3):
        for batch in batch_order(10, 4, 7, epoch):
            digest.update(np.array([len(batch), *batch], dtype="<i8").tobytes())
    assert order_hash(10, 4, 7, 3) == digest.hexdigest()


@pytest.mark.parametrize("other", [(11, 4, 7, 3), (10, 5, 7, 3), (10, 4, 8, 3), (10, 4, 7, 2)])
def test_the_order_hash_tells_runs_apart(other):
    assert order_hash(*other) != order_hash(10, 4, 7, 3)


def test_the_order_hash_refuses_negative_epochs():
    with pytest.raises(ValueError, match="expected epochs >= 0, got -1; choose"):
        order_hash(10, 4, 7, -1)
