"""Where a function of one number crosses 0: how a mistyped constant is found."""

from __future__ import annotations

from collections.abc import Callable

HALVINGS = 50


def crossing(over: Callable[[float], float | None], low: float, high: float) -> float | None:
    """The number between two at which the function is 0; None where it has no value on the way.

    At the two it must not have the same sign.
    """
    below, above = over(low), over(high)
    if below is None or above is None:
        return None
    rising = above > below
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        value = over(middle)
        if value is None:
            return None
        low, high = (low, middle) if (value > 0) == rising else (middle, high)
    return high
