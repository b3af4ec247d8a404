"""Σ |a| |b| of a rounding bound, in float32 where that is quicker: a bound must be large enough, not exact.

Let u = 2⁻²⁴ and η = 2⁻¹²⁶ be those of float32, A = |a| and B = |b|, Â and B̂ their float32 roundings, and S the float32
sum of the n products Â B̂. Then A ≤ (1 + 2u) Â + η and Σ Â B̂ ≤ (S + n η) / (1 − γ_n) (Higham 2002, eqs. 2.8 and 3.5), so

    Σ A B ≤ (S + n η (1 + 2 max Â + 2 max B̂)) / (1 − (2n + 16) u).

That is 0.05 % above the true sum at most, and the term in η is below 2⁻⁸⁰: the largest magnitudes must lie in `RANGE`,
and n be at most `MOST_TERMS`. Otherwise, and where the product is small, it is done in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from handgrad.compare.rounding.model import PRECISIONS

SINGLE = PRECISIONS[np.dtype(np.float32)]
LEAST_WORK = 1 << 20  # multiplications from which on float32 is quicker, its conversions included
MOST_TERMS = 1 << 12
RANGE = 2.0**-24, 2.0**24


def absolute_product(product: Callable[..., Any], a: Any, b: Any, n: int, size: int) -> Any:
    """At least Σ |a| |b| as a new float64 array of `size` elements, each a sum of n products."""
    if size * n >= LEAST_WORK and n <= MOST_TERMS:
        (small_a, largest_a), (small_b, largest_b) = _in_float32(a), _in_float32(b)
        if RANGE[0] <= largest_a <= RANGE[1] and RANGE[0] <= largest_b <= RANGE[1]:  # not where it is NaN
            total = product(small_a, small_b).astype(np.float64)
            total += n * SINGLE.tiny * (1 + 2 * largest_a + 2 * largest_b)
            total *= 1 / (1 - (2 * n + 17) * SINGLE.unit)  # 17: and the rounding of these two lines
            return total
    return product(np.abs(_value(a), dtype=np.float64), np.abs(_value(b), dtype=np.float64))


def _value(x: Any) -> Any:
    """The numbers of a Bounded, or what is no Bounded as an array."""
    return x.value if hasattr(x, "magnitude") else np.asarray(x)


def _in_float32(x: Any) -> tuple[Any, float]:
    """|x| in float32 and its largest; kept with a Bounded that cannot change, for the next product it takes part in."""
    kept = getattr(x, "magnitude", None)
    if kept is None:
        small = _value(x).astype(np.float32)
        np.abs(small, out=small)
        kept = small, float(small.max(initial=0))
        if hasattr(x, "magnitude") and not x.value.flags.writeable:
            x.magnitude = kept
    return kept
