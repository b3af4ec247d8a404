"""One chart: lines, points, and coloured regions over two labelled axes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

# Okabe and Ito's palette, whose colours every kind of colour vision tells apart.
COLOURS = (
    (0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (230, 159, 0), (86, 180, 233), (90, 90, 90),
    (0, 0, 0), (120, 94, 40), (150, 60, 170),
)  # fmt: skip
TICKS = 6


class Series(NamedTuple):
    """What one call of `line` or `points` gave."""

    x: np.ndarray  # (n,)
    y: np.ndarray  # (n,)
    name: str
    colour: tuple[int, int, int]
    marker: str  # "line", "dashed", "disc" or "cross"


class Axis:
    """The range of an axis, its ticks, and where a number lies on it, from 0 to 1."""

    def __init__(self, numbers: Sequence[np.ndarray], log: bool, limits: tuple[float, float] | None) -> None:
        self.log = log
        values = np.concatenate([np.ravel(n) for n in numbers]) if numbers else np.zeros(1)
        values = values[np.isfinite(values) & (values > 0 if log else True)]
        low, high = limits or ((values.min(), values.max()) if values.size else (0.0, 1.0))
        if log:
            low, high = math.log10(low), math.log10(high)
        if high <= low:
            low, high = low - 0.5, high + 0.5
        room = 0.0 if limits else 0.04 * (high - low)
        self.low, self.high = low - room, high + room

    def place(self, values: np.ndarray) -> np.ndarray:
        """Numbers → fractions of the axis's length, same shape; NaN for what a logarithm does not have."""
        with np.errstate(all="ignore"):
            scaled = np.log10(values) if self.log else np.asarray(values, float)
        fractions: np.ndarray = (np.where(np.isfinite(scaled), scaled, np.nan) - self.low) / (self.high - self.low)
        return fractions

    def ticks(self) -> list[tuple[float, str]]:
        """(number, text) of every tick: 1, 2 or 5 times a power of ten apart, or whole decades."""
        if self.log and self.high - self.low >= 1:
            first, last = math.ceil(self.low), math.floor(self.high)
            step = -(-(last - first + 1) // (TICKS + 1))
            return [(10.0**e, f"1e{e}" if abs(e) > 3 else f"{10.0**e:g}") for e in range(first, last + 1, step)]
        low, high = (10**self.low, 10**self.high) if self.log else (self.low, self.high)
        raw = (high - low) / TICKS
        power = 10.0 ** math.floor(math.log10(raw))
        step = next(power * m for m in (1, 2, 5, 10) if raw <= power * m)
        found = np.arange(math.ceil(low / step), math.floor(high / step) + 1) * step
        return [(float(v), f"{v:.6g}") for v in found]


class Panel:
    """A chart to be drawn by `Picture`. Limits are taken from what is drawn unless given."""

    def __init__(
        self,
        title: str,
        x: str,
        y: str,
        log_x: bool = False,
        log_y: bool = False,
        x_limits: tuple[float, float] | None = None,
        y_limits: tuple[float, float] | None = None,
    ) -> None:
        self.title, self.x_label, self.y_label = title, x, y
        self.log_x, self.log_y, self.x_limits, self.y_limits = log_x, log_y, x_limits, y_limits
        self.series: list[Series] = []
        self.regions: list[tuple[Callable[[np.ndarray], np.ndarray], Sequence[int]]] = []
        self.image: np.ndarray | None = None

    def line(self, x: Any, y: Any, name: str = "", colour: int | None = None, dashed: bool = False) -> None:
        """A line through (x, y), each (n,); it is broken where a number is not finite."""
        self._add(x, y, name, colour, "dashed" if dashed else "line")

    def points(self, x: Any, y: Any, name: str = "", colour: int | None = None, cross: bool = False) -> None:
        """A disc, or a cross, at every (x, y), each (n,)."""
        self._add(x, y, name, colour, "cross" if cross else "disc")

    def region(self, classify: Callable[[np.ndarray], np.ndarray], colours: Sequence[int] = (0, 1)) -> None:
        """Colour the background by the class, an integer (n,), of points (n, 2)."""
        self.regions.append((classify, colours))

    def picture(self, pixels: np.ndarray) -> None:
        """Show grey pixels (rows, columns), from 0 (white) to 1 (black), in place of a chart."""
        self.image = pixels

    def axes(self) -> tuple[Axis, Axis]:
        """The two axes, wide enough for every series."""
        return (
            Axis([s.x for s in self.series], self.log_x, self.x_limits),
            Axis([s.y for s in self.series], self.log_y, self.y_limits),
        )

    def _add(self, x: Any, y: Any, name: str, colour: int | None, marker: str) -> None:
        xs, ys = np.asarray(x, float), np.asarray(y, float)
        if xs.shape != ys.shape or xs.ndim != 1:
            raise ValueError(f"a series takes x and y of one shape (n,), got {xs.shape} and {ys.shape}: align them")
        index = len(self.series) if colour is None else colour
        self.series.append(Series(xs, ys, name, COLOURS[index % len(COLOURS)], marker))
