"""Σ |a| |b| for a rounding bound, in float32 where that is quicker: a bound needs to be large enough, not exact.

With u = 2⁻²⁴ and η = 2⁻¹²⁶ of float32, A = |a| and B = |b|, and Â, B̂ their float32 roundings,

    A ≤ (1 + 2u) Â + η,     Σ Â B̂ ≤ (S + n η) / (1 − γ_n)     for the float32 sum S of n products,

so that Σ A B ≤ (S + n η (1 + 2 max Â + 2 max B̂)) / (1 − (2n + 16) u). The largest magnitudes must lie in `RANGE`, where
the term in η is 2⁻¹⁰⁰ n at most, and nothing overflows; otherwise, and for small products, it is done in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from compare.rounding.model import PRECISIONS

SINGLE = PRECISIONS[np.dtype(np.float32)]
LEAST_WORK = 1 << 18  # multiplications from which on float32 is quicker, its conversions included
MOST_TERMS = 1 << 16  # with which the factor is still 1.008
RANGE = 2.0**-24, 2.0**24


def absolute_product(product: Callable[..., Any], a: Any, b: Any, n: int, size: int) -> Any:
    """At least Σ |a| |b|, a new float64 array, of `size` elements that are sums of n products each."""
    if size * n >= LEAST_WORK and n <= MOST_TERMS:
        (small_a, largest_a), (small_b, largest_b) = _in_float32(a), _in_float32(b)
        if RANGE[0] <= largest_a <= RANGE[1] and RANGE[0] <= largest_b <= RANGE[1]:
            total = product(small_a, small_b).astype(np.float64)
            total += n * SINGLE.tiny * (1 + 2 * largest_a + 2 * largest_b)
            total *= 1 / (1 - (2 * n + 17) * SINGLE.unit)  # 17: and this factor's own rounding
            return total
    return product(np.abs(_plain(a), dtype=np.float64), np.abs(_plain(b), dtype=np.float64))


def _plain(x: Any) -> Any:
    value = getattr(x, "value", x)
    return value if isinstance(value, np.ndarray) and value.dtype.kind == "f" else np.asarray(value, np.float64)


def _in_float32(x: Any) -> tuple[Any, float]:
    """|x| in float32 and its largest; kept with a Bounded that cannot change, for the next product it is in."""
    kept = getattr(x, "magnitude", None)
    if kept is not None:
        return kept
    with np.errstate(over="ignore"):
        small = np.abs(_plain(x), dtype=np.float32, casting="same_kind")
    found = small, float(small.max(initial=0))
    if hasattr(x, "magnitude") and not x.value.flags.writeable:
        x.magnitude = found
    return found
