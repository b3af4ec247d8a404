"""Code that writes in place: no error is lost on the way, no other array changes, and nothing read-only is written."""

import numpy as np
import pytest

from handgrad.compare.judge.sides import exact
from handgrad.compare.rounding.bounded import Bounded, NoRoundingRule, Precision

P = Precision.of(np.float64)


def off(*shape, by=1e-3):
    """Numbers with an error, in memory of their own."""
    return Bounded(np.arange(1.0, 1 + np.prod(shape)).reshape(shape), np.full(shape, by), P)


def zeros(*shape):
    return np.zeros_like(Bounded(np.empty(shape), None, P))


def error(x):
    return np.zeros(x.shape) if x.error is None else x.error


VIEWS = {
    "row": (lambda a: a[1], np.s_[1]),
    "column": (lambda a: a[:, 2], np.s_[:, 2]),
    "steps": (lambda a: a[::2, ::-1], np.s_[::2, ::-1]),
    "transpose": (lambda a: a.T, ...),
    "reshape": (lambda a: a.reshape(-1), ...),
    "ravel": (np.ravel, ...),
    "new axis": (lambda a: a[:, np.newaxis], ...),
    "view of a view": (lambda a: a[1:][:, 1:].T, np.s_[1:, 1:]),
    "swapaxes": (lambda a: np.swapaxes(a, 0, 1), ...),
    "flip": (np.flip, ...),
    "half": (lambda a: np.split(a, 2, axis=1)[0], np.s_[:, :2]),
}


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("start", [zeros, off])
def test_a_view_and_its_base_share_their_errors_both_ways(view, start):
    take, place = VIEWS[view]
    base = start(4, 4)
    before = error(base).copy()
    part = take(base)
    part += off(1, by=0.5)[0]
    touched = np.zeros((4, 4), bool)
    touched[place] = True
    assert np.all(error(base)[touched] >= 0.5)
    assert np.array_equal(error(base)[~touched], before[~touched])
    assert np.array_equal(error(part), error(take(base)))

    base = start(4, 4)
    part = take(base)
    base[...] = off(4, 4, by=0.25)
    assert np.all(error(part) == 0.25)
    assert np.array_equal(part.value, take(base.value))


@pytest.mark.parametrize("layout", [lambda a: a.T, lambda a: a.T.copy(), lambda a: (a * 2).T + 1, lambda a: -a.T])
def test_a_change_through_a_reshape_is_the_one_that_numpy_makes(layout):
    x, plain = layout(off(3, 4)), layout(off(3, 4).value)
    flat, plain_flat = x.reshape(-1), plain.reshape(-1)
    flat[0] = off(1, by=0.5)[0]
    plain_flat[0] = 1
    assert np.array_equal(x.value, plain)
    assert (error(x)[0, 0] == 0.5) == np.shares_memory(plain_flat, plain)


COPIES = {
    "minus": lambda x: -x, "plus": lambda x: +x, "abs": abs, "copy": lambda x: x.copy(),
    "flatten": lambda x: x.flatten(),
    "astype": lambda x: x.astype(np.float64), "fancy": lambda x: x[[0, 1, 2]], "maximum": lambda x: np.maximum(x, 0),
    "times one": lambda x: x * 1, "concatenate": lambda x: np.concatenate([x]), "where": lambda x: np.where(True, x, 0),
    "sum over nothing": lambda x: np.sum(x, axis=()), "clip": lambda x: np.clip(x, None, None),
    "max over nothing": lambda x: x.max(axis=()), "einsum": lambda x: np.einsum("i->i", x), "np.copy": np.copy,
    "take": lambda x: x.take([0, 1, 2]), "mean of one": lambda x: x.reshape(3, 1).mean(axis=1), "square": np.square,
    "np.array": lambda x: np.tile(x, 1), "heaviside": lambda x: np.heaviside(1, x), "pad": lambda x: np.pad(x, 0),
}  # fmt: skip


@pytest.mark.parametrize("copied", COPIES)
def test_what_is_a_copy_in_numpy_is_one_here(copied):
    x = off(3)
    y = COPIES[copied](x)
    y[...] = 100
    y += 1
    assert np.array_equal(x.value, [1, 2, 3])
    assert np.array_equal(x.error, [1e-3] * 3)


def test_an_augmented_assignment_to_a_part_of_fresh_zeros_is_followed():
    dW, x, dy = zeros(3, 2), off(5, 2), off(5, 3)
    for n in range(5):
        dW += np.outer(dy[n], x[n])
        dW[0] += x[n]
        dW[1, 0] -= x[n, 0]
    want = dy.T @ x
    assert np.allclose(dW.value[2], want.value[2])
    assert np.all(error(dW)[2] >= error(want)[2] * (1 - 1e-9))
    assert error(dW)[1, 0] > error(dW)[1, 1]


def test_a_scalar_is_replaced_and_not_changed():
    total = off(3).sum()
    first = total
    total += 1
    assert (float(first.value), float(total.value)) == (6, 7)
    item = (x := off(3))[0]
    item *= 5
    assert x.value[0] == 1


def test_an_input_cannot_be_written():
    x = exact(np.ones(3), P)
    y = x
    for write in (
        lambda: y.__iadd__(1),
        lambda: y.__iadd__(off(3)),
        lambda: y.__setitem__(0, 2),
        lambda: y[1:].__setitem__(0, off(1)[0]),
        lambda: y.fill(0),
        lambda: np.add(y, 1, out=y),
        lambda: np.add.at(y, [0], off(1)),
        lambda: np.put_along_axis(y, np.array([0]), off(1), 0),
        lambda: y.reshape(3, 1).__imul__(2),
    ):
        with pytest.raises(ValueError, match="read-only"):
            write()
    assert np.array_equal(x.value, np.ones(3))
    assert x.error is None


def test_out_is_followed_into_a_bounded_array_and_refused_into_a_plain_one():
    x, y = off(3), zeros(3)
    assert np.multiply(x, 2, out=y) is y
    assert np.array_equal(error(y), [2e-3] * 3)
    np.divide(1, x, out=y, where=np.array([True, False, True]))
    assert np.array_equal(y.value, [1, 4, 1 / 3])
    assert error(y)[1] == 2e-3
    plain = np.zeros(3)
    for write in (
        lambda: np.add(x, 1, out=plain),
        lambda: plain.__iadd__(x),
        lambda: plain.__setitem__(slice(None), x),
        lambda: plain.__setitem__(0, x[0]),  # NumPy hides the reason in a ValueError where the item is a sequence
        lambda: np.add.at(plain, [0], x[:1]),
        lambda: np.put_along_axis(plain, np.array([0]), x[:1], 0),
        lambda: np.sum(x, out=plain),
        lambda: np.copyto(plain, x),
    ):
        with pytest.raises(NoRoundingRule):
            write()
    assert not plain.any()


def test_a_mask_assignment_knows_what_rounding_decides():
    x, dx = off(3), off(3, by=0)
    dx[x < 2.0005] = 0
    assert np.array_equal(dx.value, [0, 0, 3])
    assert np.array_equal(error(dx), [0, 2, 0])
    with pytest.raises(NoRoundingRule):
        x[x < 2.0005]
    dx[x < 1.5] = off(1, by=0.5)
    assert np.array_equal(error(dx), [0.5, 2, 0])


def test_numbers_are_rounded_where_they_are_stored():
    single = Precision.of(np.float32)
    x = np.zeros_like(Bounded(np.empty(3, np.float32), None, single))
    x[...] = np.full(3, 0.1)
    assert np.all(np.abs(x.value.astype(np.float64) - 0.1) <= x.error / 2)
    x[0] = 0.3
    assert x.error[0] >= 2 * single.unit * 0.3
    wide = Bounded(np.full(3, 0.1), np.zeros(3), single)
    assert np.all(np.abs(wide.astype(np.float32).value - 0.1) <= wide.astype(np.float32).error / 2)
    dropped = Bounded(np.full(3, 0.1), None, P).astype(np.float32).astype(np.float64)  # no rounding of a float64 run
    assert np.all(dropped.error < 1e-15)


def test_add_at_and_put_along_axis_carry_errors_to_where_they_put_values():
    x = zeros(4, 2)
    rows = off(3, 2)
    np.add.at(x, np.array([1, 1, 3]), rows)
    assert np.array_equal(x.value, [[0, 0], [4, 6], [0, 0], [5, 6]])
    assert np.array_equal(error(x) >= [[0, 0], [2e-3, 2e-3], [0, 0], [1e-3, 1e-3]], np.ones((4, 2), bool))
    assert not error(x)[[0, 2]].any()
    part = x[1:3]
    np.subtract.at(part, np.array([0]), rows[:1])
    assert np.all(error(x)[1] > 3e-3)
    y = zeros(2, 3)
    np.put_along_axis(y, np.array([[2], [0]]), off(2, 1), axis=1)
    assert np.array_equal(y.value, [[0, 0, 1], [2, 0, 0]])
    assert np.array_equal(error(y), [[0, 0, 1e-3], [1e-3, 0, 0]])


def test_the_shared_view_is_what_keeps_the_error(monkeypatch):
    """The bug this file is about: a view that does not know its base."""
    monkeypatch.setattr(Bounded, "_make_room", lambda self: setattr(self, "_error", np.zeros(self.shape)))
    monkeypatch.setattr(np, "may_share_memory", lambda a, b: True)
    with pytest.raises((AssertionError, AttributeError)):
        test_a_view_and_its_base_share_their_errors_both_ways("row", zeros)
