"""Inputs for a check: drawn from a generator, away from degenerate values, or small dyadic numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

# What a person may give for x, output, target or theta.
Spec = tuple[int, ...] | np.ndarray | Callable[[np.random.Generator], np.ndarray]


def draw(spec: Any, rng: np.random.Generator, dtype: Any, scale: float = 1.0, what: str = "x") -> np.ndarray:
    """An array for `spec`: a shape is drawn, an array is copied, a function of a generator is called.

    Raises TypeError for anything else, and ValueError for an empty array or one that is not finite.
    """
    if callable(spec):
        value = np.asarray(spec(rng))
    elif isinstance(spec, np.ndarray):
        value = spec.copy()
    elif isinstance(spec, int) or (isinstance(spec, tuple) and all(isinstance(n, int) for n in spec)):
        value = away_from_zero(rng, spec) * scale
    elif isinstance(spec, (list, float)):
        value = np.asarray(spec)
    else:
        raise TypeError(f"{what} must be a shape, an array, or a function of a generator, got {type(spec).__name__}")
    if value.dtype.kind in "fc":
        value = value.astype(dtype)
    if value.size == 0:
        raise ValueError(f"{what} must have at least one element, got shape {value.shape}")
    if value.dtype.kind == "f" and not np.isfinite(value).all():
        raise ValueError(f"{what} must be finite: {int(np.count_nonzero(~np.isfinite(value)))} elements are not")
    return value


def away_from_zero(rng: np.random.Generator, shape: Any) -> np.ndarray:
    """±(1/8 + |normal|): no element near a kink at 0, none tiny, none equal to another."""
    return rng.choice([-1.0, 1.0], shape) * (0.125 + np.abs(rng.normal(0, 1, shape)))


def dyadic(rng: np.random.Generator, shape: Any) -> np.ndarray:
    """Small numbers with few bits, so that sums and products of a few of them are exact in any precision.

    No two are equal and none is 0: at a tie or at 0 there may be no derivative to compare.
    """
    size = math.prod(np.atleast_1d(shape).tolist())
    whole = rng.permutation(np.arange(1, size + 1)) * rng.choice([-1.0, 1.0], size)
    step = 2.0 ** -max(2, math.ceil(math.log2(size / 4)))  # so that the largest is about 4
    return (whole * step).reshape(shape)


def is_shape(spec: Any) -> bool:
    """Whether the spec leaves the values, and so the batch size, to us."""
    return isinstance(spec, tuple)


def other_batch(spec: Any) -> Any:
    """The same shape with another batch size, so that a factor N is told apart from a plain number."""
    return (spec[0] + 3, *spec[1:]) if is_shape(spec) and len(spec) > 1 else spec
