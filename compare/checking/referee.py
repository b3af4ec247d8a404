"""A third opinion that neither side wrote: the numerical derivative of the manual forward pass.

Central differences at shrinking steps, extrapolated to step zero (Richardson; Ridders 1982, Advances in
Engineering Software 4:75), in NumPy's long double, with the extrapolation's own disagreement as error bar.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from handgrad.compare.judge.names import is_upstream
from handgrad.compare.judge.objective import objective, terms
from handgrad.compare.judge.sides import Arrays, Sides, is_float

SHRINK, ROWS = 1.4, 10  # each step is this much smaller than the last; so many of them


class Side(StrEnum):
    """Which side the numerical derivative agrees with."""

    MANUAL = "it agrees with manual"
    TORCH = "it agrees with torch"
    NEITHER = "it agrees with neither"
    UNDECIDED = "it cannot tell the two apart"
    NONE = "no derivative exists: the point is a kink"


@dataclass(frozen=True)
class Opinion:
    """What the referee says of one element."""

    index: tuple[int, ...]
    value: float
    error: float
    manual: float
    torch: float
    allowed: float = 0.0  # what rounding explains on either side
    kink: bool = False

    def side(self) -> Side:
        """Which side the numerical derivative agrees with."""
        if self.kink:
            return Side.NONE
        near = [
            side
            for side, theirs in ((Side.MANUAL, self.manual), (Side.TORCH, self.torch))
            if abs(theirs - self.value) <= self.error + self.allowed
        ]
        if len(near) == 1:
            return near[0]
        return Side.UNDECIDED if near else Side.NEITHER

    def __str__(self) -> str:
        where = f"[{', '.join(map(str, self.index))}]"
        if self.kink:
            return f"referee at {where}: {self.side()}"
        return (
            f"referee at {where}: the numerical derivative of the manual forward is "
            f"{self.value:.15g} ± {self.error:.1g} (manual {self.manual:.15g}, torch {self.torch:.15g}): {self.side()}"
        )


def derivative(f: Callable[[np.longdouble], np.longdouble], scale: float) -> tuple[float, float]:
    """f'(0) and an error bar, by Ridders' method with a first step of `scale`."""
    step = np.longdouble(scale)
    table = np.zeros((ROWS, ROWS), np.longdouble)
    best, error = np.longdouble(np.nan), np.longdouble(np.inf)
    for i in range(ROWS):
        table[0, i] = (f(step) - f(-step)) / (2 * step)
        factor = np.longdouble(SHRINK) ** 2
        for j in range(1, i + 1):
            table[j, i] = (table[j - 1, i] * factor - table[j - 1, i - 1]) / (factor - 1)
            factor *= np.longdouble(SHRINK) ** 2
            spread = max(abs(table[j, i] - table[j - 1, i]), abs(table[j, i] - table[j - 1, i - 1]))
            if spread <= error:
                best, error = table[j, i], spread
        step /= SHRINK
    return float(best), float(2 * error)


def opinion(
    sides: Sides,
    inputs: Arrays,
    wrt: str,
    index: tuple[int, ...],
    manual: float,
    torch: float,
    allowed: float,
) -> Opinion:
    """The derivative of ⟨dy, manual outputs⟩, or of the manual loss, by one element of the input `wrt`."""
    wide = {k: v.astype(np.longdouble) if is_float(v) else v for k, v in inputs.items() if not is_upstream(k)}

    def moved_by(h: np.longdouble) -> Any:
        moved = wide[wrt].copy()
        moved[index] += h
        return objective(sides.manual({**wide, wrt: moved}), inputs)

    with np.errstate(all="ignore"):
        scale = max(abs(float(inputs[wrt][index])), 0.1) * 1e-2
        value, error = derivative(moved_by, scale)
        noise = _noise(sides, wide, inputs)
        error += noise / (scale / SHRINK ** (ROWS - 1))
        # one-sided slopes at two steps: at a kink their difference does not shrink with the step
        gaps = [_slope_gap(moved_by, scale * s) for s in (1e-4, 1e-6)]
    size = max(abs(value), abs(manual), abs(torch), 1e-300)
    rounding = 4 * noise / (scale * 1e-6)  # that of the four values in the last gap
    kink = gaps[1] > 1e-3 * size + rounding and gaps[1] > 0.5 * gaps[0]
    return Opinion(index, value, error, manual, torch, allowed, kink)


def _noise(sides: Sides, wide: Arrays, inputs: Arrays) -> float:
    """A bound on the rounding of the objective itself: γ_n of its terms, n their number and the widest sum inside."""
    summed = terms(sides.manual(wide), inputs)
    size = sum(float((np.abs(np.asarray(y, np.longdouble)) * np.abs(dy)).sum()) for y, dy in summed)
    count = sum(np.size(y) for y, _ in summed) + max(max(v.shape, default=1) for v in wide.values() if is_float(v))
    return count * float(np.finfo(np.longdouble).eps) * size


def _slope_gap(f: Callable[[np.longdouble], np.longdouble], scale: float) -> float:
    h, here = np.longdouble(scale), f(np.longdouble(0))
    return abs(float((f(h) - here) / h - (here - f(-h)) / h))
