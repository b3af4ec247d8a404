""" "allowed 0" is said where nothing but underflow is allowed; a tolerance that is only small is said as a number."""

from __future__ import annotations

import numpy as np
import pytest

from handgrad.compare.judge.agreement import judge
from handgrad.compare.rounding.bounded import Bounded, Precision


def verdict(dtype: type, bound: float | None, off: float = 1.0):
    theirs = np.ones(3, dtype)
    error = None if bound is None else np.full(3, bound)
    return judge(Bounded((theirs + off).astype(dtype), error, Precision.of(dtype)), theirs)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("bound", [None, 0.0])
def test_without_a_bound_it_is_zero(dtype: type, bound: float | None) -> None:
    found = verdict(dtype, bound)
    assert found.no_rounding
    assert ", allowed 0 (rounding bound); differs in 3 of 3 elements" in found.describe()


def test_so_it_is_where_a_few_results_may_have_underflowed() -> None:
    assert verdict(np.float64, 7 * float(np.finfo(np.float64).tiny)).no_rounding


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("bound", [1e-20, 1e-25, 1e-30])
def test_a_small_bound_is_a_number(dtype: type, bound: float) -> None:
    found = verdict(dtype, bound)
    assert not found.no_rounding
    assert f", allowed {bound:.3g} (rounding bound)" in found.describe()


def test_where_it_differs_takes_the_place_of_the_count() -> None:
    said = verdict(np.float64, 1e-20).describe("rows 0 and 3 of 4")
    assert said.endswith("; differs in rows 0 and 3 of 4")
