"""A comparison of an array with its own numbers is decided by their values; 0 + x, 1 · x and x / 1 round nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from handgrad.compare.rounding.bounded import Bounded, Precision

P = Precision.of(np.float64)


def off(*shape: int, seed: int = 0, by: float = 1e-12) -> Bounded:
    x = np.random.default_rng(seed).normal(size=shape)
    return Bounded(x, np.full(shape, by), P)


def open_where(mask: Any) -> Any:
    """Where rounding decides a mask."""
    error = mask.error if isinstance(mask, Bounded) else None
    return np.zeros(np.shape(getattr(mask, "value", mask)), bool) if error is None else error > 0


DECIDED: dict[str, Callable[[Any], Any]] = {
    "the smallest of rows": lambda d: d == d.min(axis=1, keepdims=True),
    "the largest of all": lambda d: d == d.max(),
    "no smaller than the largest": lambda d: d >= np.max(d, axis=0),
    "with a new axis": lambda d: d == np.max(d, axis=1)[:, np.newaxis],
    "spread by zeros": lambda d: d == np.zeros_like(d) + np.amax(d, axis=1)[:, None],
    "from the other side": lambda d: np.min(d, axis=1, keepdims=True) != d,
    "clipped": lambda d: np.clip(d, -0.5, 0.5) == d,
    "shut": lambda d: np.maximum(d, 0) == d,
    "the larger of two": lambda d: np.maximum(d, d[::-1] * 1.5) == d,
    "the larger of two that are gone": lambda d: np.maximum(d * 0.3, d) == d,
}


@pytest.mark.parametrize("name", DECIDED)
def test_it_is_decided(name: str) -> None:
    mask = DECIDED[name](off(4, 5))
    assert not open_where(mask).any()
    assert np.array_equal(getattr(mask, "value", mask), DECIDED[name](off(4, 5).value))


def close() -> Bounded:
    """Rows whose two largest numbers lie within rounding of each other, but for the last row."""
    x = np.array([[3.0, 1.0, 3.0 - 1e-13], [3.0, 3.0, 1.0], [1.0, 2.0, 3.0]])
    return Bounded(x, np.full(x.shape, 1e-12), P)


def test_a_tie_within_rounding_stays_open() -> None:
    x = close()
    for m in (x.max(axis=1, keepdims=True), x.max(axis=1)[:, None], np.zeros_like(x) + x.max(axis=1)[:, None]):
        assert np.array_equal(open_where(x == m), [[True, False, True], [True, True, False], [False] * 3])


def test_near_its_edges_a_clipped_number_stays_open() -> None:
    x = Bounded(np.array([0.2, 0.5, 0.5 + 1e-13, 0.9]), np.full(4, 1e-12), P)
    assert np.array_equal(open_where(np.clip(x, -0.5, 0.5) == x), [False, True, True, False])


def test_what_was_changed_since_is_another_array() -> None:
    x = off(4, 5)
    m = x.max(axis=1, keepdims=True)
    x[0, 0] = m[0, 0] * 1.0
    assert open_where(x == m).any()
    x = off(4, 5)
    m = x.max(axis=1, keepdims=True)
    x.T[0] += 0.5  # by a view
    assert open_where(x == m).any()
    y = off(4, 5)
    assert open_where(y == off(4, 5).max(axis=1, keepdims=True)).any()  # equal numbers, but of another computation


NEUTRAL: dict[str, Callable[[Any], Any]] = {
    "plus 0": lambda x: x + 0, "plus 0.0": lambda x: 0.0 + x, "minus zeros": lambda x: x - np.zeros(x.shape),
    "plus zeros": lambda x: np.zeros((2, 4, 5)) + x, "zeros minus": lambda x: np.zeros(x.shape) - x,
    "times 1": lambda x: x * 1, "times ones": lambda x: np.ones(x.shape) * x, "by 1": lambda x: x / 1,
    "by ones": lambda x: x / np.ones(x.shape), "times −1": lambda x: np.full(x.shape, -1.0) * x, "minus": lambda x: -x,
    "abs": abs, "copy": lambda x: x.copy(),
}  # fmt: skip


@pytest.mark.parametrize("name", NEUTRAL)
def test_a_neutral_element_rounds_nothing(name: str) -> None:
    exact, f = Bounded(off(4, 5).value, None, P), NEUTRAL[name]
    error = f(exact).error
    assert error is None or not error.any()
    assert np.allclose(f(off(4, 5)).error, 1e-12, rtol=1e-12, atol=0)


def test_what_may_be_another_number_is_no_neutral_element() -> None:
    x, zero, one = off(3), Bounded(np.zeros(3), np.full(3, 1e-3), P), Bounded(np.ones(3), np.full(3, 1e-3), P)
    assert np.all((x + zero).error > 1e-3)
    assert np.all((x * one).error >= 1e-3 * np.abs(x.value))
    assert np.all((x + 1e-300).error > x.error)
