"""A number that is fitted: where a difference changes its sign."""

from __future__ import annotations

from collections.abc import Callable

HALVINGS = 50


def crossing(gap: Callable[[float], float], low: float, high: float, above: bool) -> float:
    """Where a gap changes its sign, by bisection; `above` says whether it is positive at the high end."""
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if (gap(middle) > 0) == above else (middle, high)
    return high
