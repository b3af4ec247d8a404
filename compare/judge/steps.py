"""Functions that rise in steps: floor, round, the remainder, the place among edges. Which of their steps were taken?

A wrap at 1440 minutes is nothing to numbers of 4, and one that is taken off once is right up to twice of that.
"""

from __future__ import annotations

import builtins
import math
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

DOWN, ZERO, UP = "down", "zero", "up"
BEFORE, AMONG, BEHIND = "before", "among", "behind"
WORDS = {
    DOWN: "never gave a step beyond −1", ZERO: "never gave step 0", UP: "never gave a step beyond 1",
    BEFORE: "never fell before the first edge", AMONG: "never fell between two edges",
    BEHIND: "never fell behind the last edge",
}  # fmt: skip
REACHED = {
    DOWN: "gives a step beyond −1", ZERO: "gives step 0", UP: "gives a step beyond 1",
    BEFORE: "falls before the first edge", AMONG: "falls between two edges", BEHIND: "falls behind the last edge",
}  # fmt: skip
Quotient = Callable[
    [Any, tuple[Any, ...]], tuple[Any, Any]
]  # of a result and its operands: the step, and what it is of


class Taken(NamedTuple):
    """What one evaluation of a function in steps reached."""

    all_sides: tuple[str, ...]  # that its operands have: what is never negative has no step below 0
    taken: dict[str, bool]
    touched: dict[str, bool]


def _of_itself(result: Any, operands: tuple[Any, ...]) -> tuple[Any, Any]:
    return np.asarray(result), np.asarray(operands[0])


def _rest(towards: Callable[[Any], Any]) -> Quotient:
    def quotient(_: Any, operands: tuple[Any, ...]) -> tuple[Any, Any]:
        share = np.true_divide(operands[0], operands[1])
        return towards(share), share

    return quotient


STEPS: dict[Any, Quotient] = {
    **dict.fromkeys(
        (
            np.floor, np.ceil, np.trunc, np.rint, np.round, np.around, np.fix, builtins.int, builtins.round,
            math.floor, math.ceil, math.trunc,
        ),
        _of_itself,
    ),
    **dict.fromkeys((np.remainder, np.floor_divide, operator.mod, operator.floordiv), _rest(np.floor)),
    **dict.fromkeys((builtins.divmod, np.divmod), _rest(np.floor)),
    **dict.fromkeys((np.fmod, math.fmod), _rest(np.trunc)),
}  # fmt: skip
PLACES = {np.searchsorted: (0, 1), np.digitize: (1, 0)}  # where the edges stand, and the numbers
METHODS = {"round": np.round, "astype": np.trunc, "searchsorted": np.searchsorted}  # of arrays


def steps(f: Any, result: Any, operands: tuple[Any, ...]) -> Taken | None:
    """The steps that a call of this function took; None where its operands are sizes and counts, or no numbers."""
    numbers = [np.asarray(x) for x in operands[:2]]
    if not all(x.dtype.kind in "iuf" for x in numbers) or all(isinstance(x, (int, np.integer)) for x in operands[:2]):
        return None
    if f in PLACES:
        edges, values = (numbers[i] for i in PLACES[f])
        return _places(np.asarray(result), edges, values)
    with np.errstate(all="ignore"):
        found = stepped(*STEPS[f](result, operands))
    if all(x.dtype.kind in "iu" for x in numbers):  # classes and places lie where they are to
        found = found._replace(touched=dict.fromkeys(found.all_sides, True))
    return found


def stepped(step: Any, of: Any) -> Taken:
    """The sides of a step that is a share, made whole in some way."""
    sides = [ZERO, *([DOWN] if np.any(of < 0) else []), *([UP] if np.any(of > 0) else [])]
    taken = {ZERO: bool(np.any(step == 0)), UP: bool(np.any(step > 1)), DOWN: bool(np.any(step < -1))}
    touched = {UP: bool(np.any(step == 1)), DOWN: bool(np.any(step == -1))}
    return Taken(tuple(sides), {side: taken[side] for side in sides}, touched)


def _places(place: np.ndarray, edges: np.ndarray, values: np.ndarray) -> Taken:
    taken = {BEFORE: bool(np.any(place == 0)), BEHIND: bool(np.any(place == len(edges)))}
    if len(edges) > 1:
        taken[AMONG] = bool(np.any((place > 0) & (place < len(edges))))
    touched = {BEFORE: bool(np.any(values == edges.min())), BEHIND: bool(np.any(values == edges.max()))}
    return Taken(tuple(taken), taken, touched)
