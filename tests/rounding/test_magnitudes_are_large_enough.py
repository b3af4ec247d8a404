"""Σ |a| |b| in float32 is never below the true sum, and hardly above it; what it cannot hold is done in float64."""

import numpy as np
import pytest

from handgrad.compare.rounding import magnitudes
from handgrad.compare.rounding.bounded import Bounded

SCALES = [1e-300, 1e-30, 1e-8, 1.0, 1e6, 1e30, 1e300]
CASES = [
    (dtype, a, b) for dtype in (np.float64, np.float32) for a in SCALES for b in SCALES
    if dtype is np.float64 or 1e-38 < min(a, b) <= max(a, b) < 1e38
]  # fmt: skip


def true_sum(a, b):
    """The sum in extended precision, less the rounding of a float64 sum, which every bound leaves out (γ_n of γ_n)."""
    exact = np.abs(a).astype(np.longdouble) @ np.abs(b).astype(np.longdouble)
    return exact * (1 - a.shape[1] * np.longdouble(2.0) ** -52)


@pytest.mark.parametrize(("dtype", "scale_a", "scale_b"), CASES)
def test_never_below_the_true_sum(dtype, scale_a, scale_b):
    rng = np.random.default_rng(0)
    with np.errstate(all="ignore"):
        a = (rng.normal(size=(128, 784)) * 10.0 ** rng.uniform(-45, 0, (128, 784)) * scale_a).astype(dtype)
        b = (rng.normal(size=(784, 16)) * scale_b).astype(dtype)
        a[0], b[:, 0] = 0, 0
        found, exact = magnitudes.absolute_product(np.matmul, a, b, 784, 128 * 16), true_sum(a, b)
    assert found.dtype == np.float64
    underflow = 784 * np.finfo(np.float64).tiny  # which a contraction's bound has on top of this
    overflow = exact > np.finfo(np.float64).max
    assert np.all(found + underflow >= exact)
    assert np.all((found <= exact * 1.001 + exact.max() * 1e-20 + underflow) | overflow)


def test_float32_is_what_is_used_and_its_margin_is_needed(monkeypatch):
    """Without the factor the float32 sum is too small somewhere: the test above can fail."""
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(128, 784)), rng.normal(size=(784, 16))
    found = magnitudes.absolute_product(np.matmul, a, b, 784, 128 * 16)
    in_double = np.abs(a) @ np.abs(b)
    assert not np.array_equal(found, in_double)
    bare = (np.abs(a).astype(np.float32) @ np.abs(b).astype(np.float32)).astype(np.float64)
    assert np.any(bare < true_sum(a, b))
    monkeypatch.setattr(magnitudes, "LEAST_WORK", 1 << 60)
    assert np.array_equal(magnitudes.absolute_product(np.matmul, a, b, 784, 128 * 16), in_double)


def test_a_magnitude_is_kept_only_where_the_numbers_cannot_change():
    x, w = np.random.default_rng(2).random((128, 784)), np.ones((784, 16))
    changing = Bounded(x.copy())
    first = (changing @ w).error.copy()
    changing[...] = 2 * x
    assert np.allclose((changing @ w).error, 2 * first)
    assert changing.magnitude is None
    fixed = x.view()
    fixed.flags.writeable = False
    kept = Bounded(fixed)
    assert np.array_equal((kept @ w).error, first)
    assert kept.magnitude is not None
    assert np.array_equal((kept @ w).error, first)
