"""The constants of a site that has several: one for each column of an array, or one for each turn of a loop.

A number that is the same from run to run is a constant, a computed one too. With several of them both sides of each are
to be taken.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

SAMPLE = 4096  # numbers of an array that tell it from another
MOST = 64  # constants of one array, and turns of a loop that are told apart


class _Print(NamedTuple):
    """What tells an operand from another one; one of another shape has other numbers where its values are others."""

    shape: tuple[int, ...]
    hash: int
    values: frozenset[float] | None  # None where they are too many, or no constants of data

    def is_as(self, other: _Print) -> bool:
        """Whether it is the same constant."""
        if self.shape == other.shape:
            return self.hash == other.hash
        return self.values is not None and self.values == other.values


@dataclass
class _Turn:
    prints: list[_Print | None]  # of its operands, None for one that was not always the same
    taken: dict[tuple[int, float], set[str]] = field(default_factory=dict)  # by operand and constant


@dataclass
class Turns:
    """What each evaluation of a site in a run was, over all of the runs."""

    turns: dict[int, _Turn] = field(default_factory=dict)

    def note(self, turn: int, operands: tuple[Any, ...], each: Callable[[], dict[str, Any]] | None) -> None:
        """Take note of one evaluation; `each` gives the elements of every side."""
        if turn > MOST:
            return
        is_real = any(np.asarray(x).dtype.kind == "f" for x in operands)  # places and sizes are no constants of data
        found = _Turn([_printed(x, is_real) for x in operands])
        if all(p is None for p in found.prints):
            return
        for i, x in enumerate(operands if each is not None else ()):
            p = found.prints[i]
            if p is not None and p.values:
                _take(found.taken, i, x, each() if each is not None else {})
        self._add(turn, found)

    def add(self, other: Turns) -> None:
        """Take over what was seen elsewhere."""
        for turn, found in other.turns.items():
            self._add(turn, found)

    def _add(self, turn: int, found: _Turn) -> None:
        mine = self.turns.get(turn)
        if mine is None:
            self.turns[turn] = _Turn(list(found.prints), {k: set(v) for k, v in found.taken.items()})
            return
        pairs = zip(mine.prints, found.prints, strict=False)
        mine.prints = [a if a is not None and b is not None and a.is_as(b) else None for a, b in pairs]
        for key, sides in found.taken.items():
            mine.taken.setdefault(key, set()).update(sides)

    def several(self) -> dict[float, set[str]]:
        """The sides that were taken beside each of several constants; nothing where there is but one."""
        found: dict[float, set[str]] = {}
        for turn in self.turns.values():
            if all(p is not None for p in turn.prints):
                continue  # nothing here is data
            for (i, c), sides in turn.taken.items():
                p = turn.prints[i] if i < len(turn.prints) else None
                if p is not None and p.values and c in p.values:
                    found.setdefault(c, set()).update(sides)
        return found if len(found) > 1 else {}

    def reached(self) -> list[tuple[str, float]]:
        """Every side with the constant beside which it was taken."""
        return [(side, c) for turn in self.turns.values() for (_, c), sides in turn.taken.items() for side in sides]


def as_operand(x: Any) -> Any:
    """A single number of an array without axes as such."""
    return x[()] if isinstance(x, np.ndarray) and x.ndim == 0 and x.dtype.kind in "iuf" else x


def _printed(x: Any, is_real: bool) -> _Print | None:
    x = np.asarray(x)
    if x.dtype.kind not in "iuf":
        return None
    values = np.unique(x[np.isfinite(x)]) if is_real and x.size <= SAMPLE else np.empty(0)
    constants = frozenset(map(float, values)) if 0 < len(values) <= MOST else None
    return _Print(x.shape, hash(x.tobytes()), constants)


def _take(taken: dict[tuple[int, float], set[str]], i: int, x: Any, each: dict[str, Any]) -> None:
    for side, where in each.items():
        where, numbers = np.broadcast_arrays(where, x)
        for c in np.unique(numbers[where]):
            taken.setdefault((i, float(c)), set()).add(side)
    for c in np.unique(np.asarray(x)):
        taken.setdefault((i, float(c)), set())


def print_of(x: Any) -> Any:
    """What tells an operand from another one."""
    if isinstance(x, np.ndarray):
        if x.dtype == object:
            return "objects", x.shape
        some = x.ravel()[:: max(1, x.size // SAMPLE)]
        return x.shape, hash(some.tobytes())
    if isinstance(x, (int, float, complex, str, np.generic, type(None))):
        return repr(x)
    return type(x).__name__
