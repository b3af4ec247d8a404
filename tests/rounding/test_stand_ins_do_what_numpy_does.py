"""What stands in for functions of NumPy: the same values, shapes, dtypes, copies and views, with the errors on top."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from handgrad.compare.rounding.bounded import Bounded, NoRoundingRule, Precision
from handgrad.compare.rounding.stand_ins import stand_ins
from tests.rounding.test_rounding_is_sound import WIDE, inside

P = Precision.of(np.float64)
S = stand_ins(P)
X = np.random.default_rng(0).normal(size=(3, 4))


def off() -> Bounded:
    return Bounded(X.copy(), np.full(X.shape, 1e-3), P)


CALLS: dict[str, Callable[[Any, Any], Any]] = {
    "asarray": lambda f, x: f(np.asarray)(x), "asarray of a dtype": lambda f, x: f(np.asarray)(x, np.float32),
    "asarray, copied": lambda f, x: f(np.asarray)(x, copy=True), "asanyarray": lambda f, x: f(np.asanyarray)(x, float),
    "array": lambda f, x: f(np.array)(x), "array of a dtype": lambda f, x: f(np.array)(x, dtype="float64"),
    "array of rows": lambda f, x: f(np.array)([x[0], x[2] * 2]), "array of numbers": lambda f, x: f(np.array)(
        [[x[0, 0], 1.0], [2, x[1, 1]]]), "array of a tuple": lambda f, x: f(np.array)((x[0], [0.0] * 4)),
    "array with axes": lambda f, x: f(np.array)(x[0], ndmin=3), "ascontiguousarray": lambda f, x: f(
        np.ascontiguousarray)(x.T), "asfortranarray": lambda f, x: f(np.asfortranarray)(x),
    "ascontiguousarray of a number": lambda f, x: f(np.ascontiguousarray)(x[0, 0]),
    "full": lambda f, x: f(np.full)((2, 3), x[0, 0]), "full of a row": lambda f, x: f(np.full)((2, 4), x[0]),
    "full of a dtype": lambda f, x: f(np.full)(3, 0.5, np.float32), "full of integers": lambda f, x: f(np.full)(3, 2),
    "full_like": lambda f, x: f(np.full_like)(x, x[0]), "ones_like": lambda f, x: f(np.ones_like)(x, np.float32),
    "zeros": lambda f, x: f(np.zeros)(x.shape) + x, "zeros of a dtype": lambda f, x: f(np.zeros)(3, np.float32),
    "zeros of integers": lambda f, x: f(np.zeros)((2, 2), int), "ones": lambda f, x: f(np.ones)((3, 1), order="F") * x,
    "eye": lambda f, x: f(np.eye)(3, 4, 1) * x, "identity": lambda f, x: f(np.identity)(3) @ x,
    "bincount": lambda f, x: f(np.bincount)(np.array([0, 2, 2, 1]), weights=x[0], minlength=5),
    "counts": lambda f, x: f(np.bincount)(np.array([0, 2, 2, 1])), "as_strided": lambda f, x: f(
        np.lib.stride_tricks.as_strided)(x, (2, 3), (x.strides[0], x.strides[1])),
    "float": lambda f, x: np.stack([f(float)(x[0, 0]), f(float)(x[1, 1])]), "erf": lambda f, x: f(math.erf)(x[0, 0]),
    "exp": lambda f, x: f(math.exp)(x[0, 0]), "pow": lambda f, x: f(math.pow)(x[0, 0] * x[0, 0], 1.5),
    "vectorize": lambda f, x: f(np.vectorize)(lambda a, b: a * b if a > b else a - b)(x, 0.5),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_the_values_are_those_of_numpy(name: str) -> None:
    want = CALLS[name](lambda function: function, X)
    got = CALLS[name](S.__getitem__, off())
    value = got.value if isinstance(got, Bounded) else got
    assert np.shape(value) == np.shape(want)
    assert np.asarray(value).dtype == np.asarray(want).dtype
    assert np.allclose(value, want, rtol=2e-16, atol=0)


@pytest.mark.parametrize("name", CALLS)
def test_the_errors_hold_what_the_numbers_may_be(name: str) -> None:
    rng = np.random.default_rng(1)
    got = CALLS[name](S.__getitem__, off())
    error = got.error if isinstance(got, Bounded) and got.error is not None else np.zeros(np.shape(got))
    for _ in range(20):
        moved = X + rng.uniform(-1e-3, 1e-3, X.shape)
        exact = np.asarray(CALLS[name](lambda function: function, moved)).astype(WIDE)
        inside(getattr(got, "value", got), exact, np.asarray(error), 1e-6, name)


def test_what_is_a_view_in_numpy_is_one_here_and_a_copy_a_copy() -> None:
    x = off()
    S[np.asarray](x)[0] = 1.0
    assert np.array_equal(x.value[0], np.ones(4))
    S[np.array](x)[1] = 1.0
    S[np.asarray](x, copy=True)[1] = 1.0
    assert np.array_equal(x.value[1], X[1])
    assert S[np.asarray](x) is x
    with pytest.raises(ValueError, match="read-only"):
        S[np.lib.stride_tricks.as_strided](x, (2, 2), (8, 8))[0] = 1.0


def test_plain_arrays_stay_plain_where_no_buffer_is_made() -> None:
    for function in (np.asarray, np.array, np.ascontiguousarray, np.bincount):
        assert type(S[function](np.arange(3))) is np.ndarray
    assert type(S[np.zeros](3, int)) is np.ndarray
    assert isinstance(S[np.zeros](3), Bounded)
    assert type(S[math.exp](1.0)) is float


def test_what_code_asks_of_a_type_is_answered_as_for_plain_numbers() -> None:
    array, number = S[np.ndarray], S[float]
    assert isinstance(off(), array)
    assert isinstance(X, array)
    assert not isinstance([1.0], array)
    assert isinstance(1.5, number)
    assert isinstance(number(off()[0, 0]), number)
    assert not isinstance(1, number)
    assert np.zeros(2, number).dtype == np.float64
    assert number("1.5") == 1.5
    with pytest.raises(NoRoundingRule):
        number(off())


@pytest.mark.parametrize("name", ["erf", "erfc"])
def test_erf_moves_no_further_than_its_bound(name: str) -> None:
    function = getattr(math, name)
    for x in np.linspace(-6, 6, 121):
        for e in (0.0, 1e-12, 1e-3, 1.0):
            error = S[function](Bounded(np.asarray(x), np.asarray(e), P)).error
            for t in (-1, -0.3, 0.5, 1):
                assert abs(function(x + t * e) - function(x)) <= error


def test_a_number_without_its_error_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bug this file is about."""
    monkeypatch.setitem(S, np.array, lambda x, *args, **kwargs: Bounded(np.array([a.value for a in x]), None, P))
    with pytest.raises(AssertionError):
        test_the_errors_hold_what_the_numbers_may_be("array of rows")
