"""Which sides of every comparison, branch, maximum, clip and sign a person's code has taken, over all of its runs.

The code is compiled over again with the recorder's methods in the place of its comparisons and calls (`watched_code`).
"""

from __future__ import annotations

import builtins
import math
import operator
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from types import BuiltinMethodType
from typing import Any, NamedTuple

import numpy as np

from handgrad.compare.judge import steps
from handgrad.compare.judge.turns import Turns, as_operand, print_of

TRUE, FALSE = "true", "false"
FIRST, SECOND = "first", "second"
BELOW, INSIDE, ABOVE = "below", "inside", "above"
NEGATIVE, POSITIVE = "negative", "positive"
WORDS = {
    TRUE: "was never true", FALSE: "was never false",
    FIRST: "never took its first argument", SECOND: "never took its second argument",
    BELOW: "never cut off below", INSIDE: "always cut off", ABOVE: "never cut off above",
    NEGATIVE: "never met a negative number", POSITIVE: "never met a positive number",
    **steps.WORDS,
}  # fmt: skip

OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "Eq": operator.eq, "NotEq": operator.ne, "Lt": operator.lt, "LtE": operator.le, "Gt": operator.gt,
    "GtE": operator.ge,
}  # fmt: skip
MAXIMUM, MINIMUM, CLIP, SIGN, HOLDS, WHERE, STEP = "maximum", "minimum", "clip", "sign", "holds", "where", "step"
WATCHED = {
    id(f): kind
    for kind, functions in {
        MAXIMUM: (np.maximum, np.fmax, builtins.max),
        MINIMUM: (np.minimum, np.fmin, builtins.min),
        CLIP: (np.clip,),
        SIGN: (np.sign, np.abs, np.fabs, np.signbit, np.heaviside, builtins.abs),
        HOLDS: (
            np.greater, np.greater_equal, np.less, np.less_equal, np.equal, np.not_equal,
            np.isclose, np.allclose, np.array_equal,
        ),
        WHERE: (np.where,),
        STEP: (*steps.STEPS, *steps.PLACES),
    }.items()
    for f in functions
}  # fmt: skip


class Side(NamedTuple):
    """One side of a site."""

    site: Any  # a number of a person's site, or a key of the reference's
    side: str
    beside: float | None = None  # the constant, where a site compares with several


@dataclass
class Record:
    """What became of one site."""

    sides: set[str] = field(default_factory=set)
    all_sides: tuple[str, ...] = ()
    prints: set[Any] = field(default_factory=set)  # of its operands, two at most
    numbers: dict[int, set[float]] = field(default_factory=dict)  # single ones, by their place among the operands
    whole: bool = False  # whether a whole number is compared, as a size is
    touched: set[str] = field(default_factory=set)  # sides whose border was met
    least: float = math.inf  # of plain whole numbers in the place of a truth value, as len(x) is
    turns: Turns = field(default_factory=Turns)

    @property
    def constants(self) -> set[float]:
        """The numbers that are the same every time, in absolute value."""
        single = {abs(x) for found in self.numbers.values() if len(found) == 1 for x in found}
        return single | {abs(c) for c in self.turns.several()}

    def missing(self) -> list[tuple[str, float | None]]:
        """The sides that were not taken, and where they were, those that were not taken beside a constant."""
        found: list[tuple[str, float | None]] = [(side, None) for side in self.all_sides if side not in self.sides]
        beside = [(c, taken) for c, taken in self.turns.several().items()]
        return [*found, *((s, c) for s in self.all_sides if s in self.sides for c, t in beside if s not in t)]

    def reached(self) -> list[tuple[str, float | None]]:
        """The sides that were taken, also beside each constant."""
        return [*((side, None) for side in self.sides), *self.turns.reached()]


class TooLong(Exception):
    """A run that goes on for much longer than those on ordinary numbers: a loop may never end on these."""


class Seen:
    """Takes note of the sides that are taken."""

    def __init__(self) -> None:
        self.records: dict[Any, Record] = {}
        self.probing = False  # whether only the operands count, which then are other numbers than a draw's
        self.evaluations = 0  # of sites, in this run
        self.most = math.inf  # that a run may have
        self.turn: dict[Any, int] = {}  # evaluations of every site in this run
        self.at_points = False  # whether only what is equal counts: a series around 0 is 1 at 0, right or wrong

    def missing(self) -> list[Side]:
        """Every side that was not taken, of sites whose operands were not always the same."""
        return [
            Side(n, side, beside) for n, r in self.records.items() if len(r.prints) > 1 for side, beside in r.missing()
        ]

    def add(self, records: dict[Any, Record]) -> None:
        """Take over what was seen elsewhere."""
        for n, other in records.items():
            mine = self.records.setdefault(n, Record(all_sides=other.all_sides))
            mine.all_sides = tuple(dict.fromkeys((*mine.all_sides, *other.all_sides)))
            mine.sides |= other.sides
            mine.turns.add(other.turns)
            mine.prints |= other.prints
            for i, found in other.numbers.items():
                mine.numbers.setdefault(i, set()).update(found)
            mine.least = min(mine.least, other.least)
            mine.whole = mine.whole or other.whole
            mine.touched |= other.touched

    def note(
        self, n: Any, all_sides: tuple[str, ...], taken: Callable[[], dict[str, bool]], operands: tuple[Any, ...],
        touched: Callable[[], dict[str, bool]] | None = None, equality: bool = False,
        each: Callable[[], dict[str, Any]] | None = None,
    ) -> None:  # fmt: skip
        """Take note of one evaluation of a site. Raises TooLong after more of these than a run may have.

        `each` gives every side's elements, where it may be that the numbers that are compared with are several.
        """
        self.evaluations += 1
        if self.evaluations > self.most:
            raise TooLong
        record = self.records.setdefault(n, Record())
        if each is not None and not self.at_points:
            self.turn[n] = self.turn.get(n, 0) + 1
            record.turns.note(self.turn[n], operands, None if self.probing else each)
        record.all_sides = tuple(dict.fromkeys((*record.all_sides, *all_sides)))
        if len(record.sides) == len(record.all_sides):
            return
        if len(record.prints) < 2:
            record.prints.add(tuple(map(print_of, operands)))
        if self.probing or (self.at_points and not equality):
            return
        for i, x in enumerate(map(as_operand, operands)):
            if _is_number(x) and np.isfinite(x):
                record.numbers.setdefault(i, set()).add(float(x))
        record.whole = all(isinstance(x, int) for x in operands)
        record.sides |= {side for side, is_taken in taken().items() if is_taken}
        record.touched |= {side for side, is_touched in (touched() if touched else {}).items() if is_touched}

    # --- what instrumented code calls -----------------------------------------------------------------------

    def compare(self, n: int, op: str, left: Any, right: Any) -> Any:
        """The result of one comparison."""
        result = OPERATORS[op](left, right)
        self._holds(n, result, (left, right), op in ("Eq", "NotEq"))
        return result

    def step(self, n: int, op: str, left: Any, right: Any) -> Any:
        """The result of left // right, or of left % right."""
        f = operator.floordiv if op == "FloorDiv" else operator.mod
        result = f(left, right)
        with suppress(TypeError, ValueError, ZeroDivisionError):  # no numbers: a word and what is put into it
            self._stepped(n, f, (left, right), result)
        return result

    def chain(self, n: int, ops: tuple[str, ...], *operands: Any) -> Any:
        """The result of a < b < c."""
        result: Any = True
        for i, op in enumerate(ops):
            result = self.compare(n + i, op, operands[i], operands[i + 1])
            if not result:
                return result
        return result

    def mask(self, n: int, value: Any) -> Any:
        """What several comparisons give together."""
        self._holds(n, value, (value,))
        return value

    def test(self, n: int, value: Any, names: tuple[Any, ...]) -> Any:
        """A number in the place of a truth value; `names` are what it was computed of."""
        if _is_number(value):
            self.note(n, (TRUE, FALSE), lambda: {TRUE: bool(value), FALSE: not value}, names)
            if type(value) is int:
                self.records[n].least = min(self.records[n].least, value)
        return value

    def call(self, n: int, f: Any) -> Any:
        """The function, or one that takes note of its arguments and calls it."""
        kind = WATCHED.get(id(f))
        if kind is None:
            if type(f) is not BuiltinMethodType or not isinstance(f.__self__, np.ndarray):
                return f
            kind = CLIP if f.__name__ == CLIP else STEP
            if kind == STEP and f.__name__ not in steps.METHODS:
                return f
        own = (f.__self__,) if isinstance(getattr(f, "__self__", None), np.ndarray) else ()

        def watched(*args: Any, **kwargs: Any) -> Any:
            result = f(*args, **kwargs)
            with suppress(TypeError, ValueError):  # no numbers, or none of one shape
                if kind == STEP:
                    self._stepped(n, steps.METHODS[f.__name__] if own else f, (*own, *args), result)
                else:
                    self._called(n, kind, (*own, *args), kwargs, result)
            return result

        return watched

    def _called(self, n: int, kind: str, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        if kind == HOLDS:
            self._holds(n, result, args)
        elif kind in (MAXIMUM, MINIMUM):
            if len(args) == 2 and not kwargs.keys() & {"key", "where"}:
                a, b = args if kind == MAXIMUM else args[::-1]
                self.note(
                    n,
                    (FIRST, SECOND),
                    lambda: {FIRST: _any(a, ">", b), SECOND: _any(a, "<", b)},
                    args,
                    lambda: dict.fromkeys((FIRST, SECOND), _any(a, "==", b)),
                    each=lambda: {FIRST: np.greater(a, b), SECOND: np.less(a, b)},
                )
        elif kind == CLIP:
            low, high = (*args[1:3], None, None)[:2]
            low = kwargs.get("a_min", kwargs.get("min", low))
            high = kwargs.get("a_max", kwargs.get("max", high))
            self._clipped(n, args[0], low, high)
        elif kind == SIGN:
            x = args[0]
            self.note(
                n,
                (NEGATIVE, POSITIVE),
                lambda: {NEGATIVE: _any(x, "<", 0), POSITIVE: _any(x, ">", 0)},
                (x,),
                lambda: dict.fromkeys((NEGATIVE, POSITIVE), _any(x, "==", 0)),
            )
        elif kind == WHERE and len(args) == 3 and np.asarray(args[0]).dtype != bool:
            self._holds(n, np.asarray(args[0]) != 0, (args[0],))

    def _stepped(self, n: int, f: Any, operands: tuple[Any, ...], result: Any) -> None:
        if f is np.trunc and len(operands) > 1 and np.asarray(result).dtype.kind not in "iu":
            return  # made another dtype, but no whole numbers
        numbers = operands[:2] if f in steps.PLACES or steps.STEPS[f] is not steps.STEPS[np.floor] else operands[:1]
        found = steps.steps(f, result, numbers)
        if found is not None:
            self.note(n, found.all_sides, lambda: found.taken, numbers, lambda: found.touched)

    def _clipped(self, n: int, x: Any, low: Any, high: Any) -> None:
        taken: dict[str, Callable[[], bool]] = {INSIDE: lambda: bool(np.any(_inside(x, low, high)))}
        if low is not None:
            taken[BELOW] = lambda: _any(x, "<", low)
        if high is not None:
            taken[ABOVE] = lambda: _any(x, ">", high)
        limits = {side: v for side, v in ((BELOW, low), (ABOVE, high)) if v is not None}
        self.note(
            n,
            tuple(taken),
            lambda: {side: f() for side, f in taken.items()},
            (x, *limits.values()),
            lambda: {side: _any(x, "==", v) for side, v in limits.items()},
            each=lambda: (
                {side: np.less(x, v) if side == BELOW else np.greater(x, v) for side, v in limits.items()}
                | {INSIDE: _inside(x, low, high)}
            ),
        )

    def _holds(self, n: int, result: Any, operands: tuple[Any, ...], equality: bool = False) -> None:
        if not all(isinstance(x, np.ndarray) or _is_number(x) for x in operands):
            return  # a word, a type, a list: what is asked for, and no number
        if isinstance(result, (bool, np.bool_)) or (isinstance(result, np.ndarray) and result.dtype == bool):
            taken = {TRUE: bool(np.any(result)), FALSE: not np.all(result)}
            each = (lambda: {TRUE: result, FALSE: np.logical_not(result)}) if len(operands) == 2 else None
            self.note(n, (TRUE, FALSE), lambda: taken, operands, equality=equality, each=None if equality else each)


COMPARED = {">": np.greater, "<": np.less, "==": np.equal}


def _any(a: Any, op: str, b: Any) -> bool:
    return bool(np.any(COMPARED[op](a, b)))


def _inside(x: Any, low: Any, high: Any) -> Any:
    above = True if low is None else np.greater(x, low)
    return above & (True if high is None else np.less(x, high))


def _is_number(x: Any) -> bool:
    return isinstance(x, (int, float, np.integer, np.floating)) and not isinstance(x, bool)
