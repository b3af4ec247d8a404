"""Which arrays hold one another's computed numbers, so that a comparison of the two is decided by their values.

m = max(x) is one of the numbers of x, on either side: where no other element comes within reach of the largest,
`x == m` holds for that one and for no other, however x was rounded. And where clip(x, a, b) has left x alone, it is x.
"""

from __future__ import annotations

import weakref
from typing import Any, NamedTuple

import numpy as np

from handgrad.compare.rounding.bounded import Bounded, Precision, operand
from handgrad.compare.rounding.elementary import Operand

COMPARISONS = {np.equal, np.not_equal, np.greater, np.greater_equal, np.less, np.less_equal}
LARGER = {np.maximum, np.minimum, np.fmax, np.fmin}


class Seen(NamedTuple):
    """An array as it was when others were made of it."""

    array: weakref.ref[Bounded]
    writes: int

    def is_still(self, x: Any) -> bool:
        """Whether x is that array, and nothing has been written into it since."""
        there = self.array()
        return there is not None and there is x and there.written == self.writes


class Extreme(NamedTuple):
    """Each element is the extreme of a group of another array's; `group` numbers these, in the elements' own shape."""

    of: Seen
    group: Any


class Choice(NamedTuple):
    """Each element is another array's at the same place, where it `won`, or one of its plain rivals'."""

    of: Seen
    won: Any  # a mask, or True
    rivals: tuple[Any, ...]


def seen(x: Bounded) -> Seen:
    """A Bounded as it is now."""
    return Seen(weakref.ref(x), x.written)


def extreme_of(x: Bounded, result: Bounded) -> Bounded:
    """The same result, known as the extremes of x along some axes."""
    result.same = (Extreme(seen(x), np.arange(result.size).reshape(result.shape)),)
    return result


def chosen(result: Any, x: Any, *rivals: Any) -> Any:
    """The same result, known as the numbers of x but where a rival won."""
    if isinstance(result, Bounded) and isinstance(x, Bounded) and x.error is not None and x.shape == result.shape:
        won: Any = True
        for rival in rivals:
            if isinstance(rival, Bounded):  # which may be changed, or gone, by the time of a comparison
                won = won & _apart(x.precision, x, rival)
        plain = tuple(rival for rival in rivals if not isinstance(rival, Bounded))
        result.same = (*result.same, Choice(seen(x), won, plain))
    return result


def added_to_zero(ufunc: np.ufunc, result: Bounded, inputs: Any, operands: list[Operand]) -> None:
    """Let the sum of an array and exact zeros be known as what the array is known as."""
    for i in (0,) if ufunc is np.subtract else (0, 1):
        held, (zero, error) = getattr(inputs[i], "same", ()), operands[1 - i]
        if held and not np.any(zero) and not np.any(error):  # None is no error
            result.same = tuple(
                Extreme(s.of, np.broadcast_to(s.group, result.shape)) for s in held if isinstance(s, Extreme)
            )


def decided(p: Precision, undecided: Any, inputs: Any) -> Any:
    """Where rounding decides a comparison of the two inputs: less what is the same number, None where nothing is left.

    `undecided` is where the bounds leave it open.
    """
    for m, x in (inputs, inputs[::-1]):
        for s in getattr(m, "same", ()):
            if not s.of.is_still(x) or x.shape != undecided.shape:
                continue
            alike = (undecided > 0) & (x.value == m.value)
            if isinstance(s, Extreme):  # and the only one of its group
                group = np.broadcast_to(s.group, undecided.shape)
                counts = np.bincount(group[undecided > 0], minlength=int(group.max(initial=0)) + 1)
                alike &= counts[group] == 1
            else:
                alike &= s.won
                for rival in s.rivals:
                    alike &= _apart(p, x, rival)
            undecided = np.where(alike, 0.0, undecided)
    return undecided if np.any(undecided) else None


def _apart(p: Precision, x: Bounded, rival: Any) -> Any:
    """Where rounding does not decide which of x and its rival is the larger one."""
    value, error = operand(p, rival)
    reach = x.error + (0.0 if error is None else error)
    return np.abs(np.subtract(x.value, value, dtype=np.float64)) > reach
