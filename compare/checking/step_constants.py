"""The whole numbers that code compares its step count with: warm-ups, periods, thresholds.

They are heard while the code counts in numbers that know what they are compared with. Where it does not count in plain
numbers of Python, the whole numbers of its text stand for them.
"""

from __future__ import annotations

import math
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch

LEAST = 3.0  # below it stand exponents, halves and axes
DEPTH = 4  # functions that call functions
NO_CODE = (bool, str, bytes, type(None), types.ModuleType, np.ndarray, torch.Tensor, torch.optim.Optimizer)

Heard = set[float]
_FLOORS = {np.floor, np.ceil, np.rint, np.trunc}
_COMPARED = {
    np.greater, np.greater_equal, np.less, np.less_equal, np.equal, np.not_equal, np.minimum, np.maximum, np.fmin,
    np.fmax, np.remainder, np.fmod, np.floor_divide,
}  # fmt: skip


class _Counting:
    """A step count, or a multiple of it; `pace` is its growth from one step to the next."""

    heard: Heard
    pace: float

    def hear(self, other: Any) -> None:
        """Take note of the step at which this is the other number."""
        for number in (other, self) if isinstance(other, _Counting) else (other,):
            if isinstance(number, (int, float, np.number)) and self.pace:
                self.heard.add(self.steps_to(float(number)))

    def steps_to(self, number: float) -> float:
        """The step at which this is the number."""
        return abs(number / self.pace)

    def at_this_pace(self, value: Any, pace: float) -> Any:
        """The result of an operation, which still counts."""
        of_float = Inverse if isinstance(self, Inverse) else Share
        made: Any = Count(value) if type(value) is int else of_float(value) if type(value) is float else None
        if made is None:
            return value
        made.heard, made.pace = self.heard, pace
        return made

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        for x in inputs:
            if isinstance(x, _Counting) and ufunc in _FLOORS:
                x.hear(1)
            elif isinstance(x, _Counting) and ufunc in _COMPARED:
                for other in inputs:
                    if other is not x:
                        x.hear(other)
        plain = [x.plain() if isinstance(x, _Counting) else x for x in inputs]
        result: Any = getattr(ufunc, method)(*plain, **kwargs)
        return result

    def plain(self) -> Any:
        """The same as a number of Python."""
        return int.__int__(self) if isinstance(self, int) else float.__float__(self)  # type: ignore[arg-type]

    def __deepcopy__(self, memo: Any) -> Any:
        return self


class Count(_Counting, int):
    """A whole number that counts steps."""


class Share(_Counting, float):
    """A number that is proportional to a step count."""


class Inverse(_Counting, float):
    """A number that falls as one over a step count; `pace` is the product of the two."""

    def steps_to(self, number: float) -> float:
        return abs(self.pace / number) if number else math.inf


def _over(kind: Any) -> Any:
    own = kind.__rtruediv__

    def operation(self: Any, other: Any) -> Any:
        result = own(self, other)
        if type(result) is not float or not self.pace or not isinstance(other, (int, float)):
            return result
        made = Inverse(result)
        made.heard, made.pace = self.heard, float(other) / self.pace
        return made

    return operation


def _arithmetic(kind: type, name: str, pace: Callable[[float, Any], float], period: bool = False) -> Any:
    own = getattr(kind, name)

    def operation(self: Any, other: Any, *rest: Any) -> Any:
        number = other.plain() if isinstance(other, _Counting) else other
        result = own(self, number, *rest)
        if result is NotImplemented and isinstance(number, float) and kind is int:
            result = getattr(float, name)(float(self.plain()), number)
        if result is NotImplemented:
            return result
        if period:
            self.hear(other)
        grows = pace(self.pace, number) if number or name.endswith(("add__", "sub__", "mul__")) else self.pace
        return self.at_this_pace(result, grows)

    return operation


def _comparison(kind: type, name: str) -> Any:
    own = getattr(kind, name)

    def operation(self: Any, other: Any) -> Any:
        self.hear(other)
        number = other.plain() if isinstance(other, _Counting) else other
        result = own(self, number)
        return getattr(float, name)(float(self.plain()), number) if result is NotImplemented else result

    return operation


def _to_whole(kind: type, name: str) -> Any:
    own = getattr(kind, name)

    def operation(self: Any, *args: Any) -> Any:
        self.hear(1)
        result = own(self, *args)
        return result if name == "__int__" else self.at_this_pace(result, self.pace)  # int() wants one of its own

    return operation


def _of(kind: type, counting: type) -> None:
    """Give a counting type the operations of its plain one."""
    for name in ("add", "radd", "sub"):
        setattr(counting, f"__{name}__", _arithmetic(kind, f"__{name}__", lambda p, x: p))
    setattr(counting, "__rsub__", _arithmetic(kind, "__rsub__", lambda p, x: -p))  # noqa: B010 (mypy)
    for name in ("mul", "rmul"):
        setattr(counting, f"__{name}__", _arithmetic(kind, f"__{name}__", lambda p, x: p * float(x)))
    for name in ("truediv", "floordiv"):
        period = name == "floordiv"
        setattr(counting, f"__{name}__", _arithmetic(kind, f"__{name}__", lambda p, x: p / float(x), period))
    setattr(counting, "__mod__", _arithmetic(kind, "__mod__", lambda p, x: p, period=True))  # noqa: B010
    for name in ("lt", "le", "gt", "ge", "eq", "ne"):
        setattr(counting, f"__{name}__", _comparison(kind, f"__{name}__"))
    for name in ("floor", "ceil", "trunc", "round", "int"):
        if hasattr(kind, f"__{name}__"):
            setattr(counting, f"__{name}__", _to_whole(kind, f"__{name}__"))
    setattr(counting, "__hash__", kind.__hash__)  # noqa: B010


_of(int, Count)
_of(float, Share)
_of(float, Inverse)
setattr(Count, "__rtruediv__", _over(int))  # noqa: B010 (mypy)
setattr(Share, "__rtruediv__", _over(float))  # noqa: B010


def counting(value: int, heard: Heard) -> Count:
    """A count that says to `heard` at which steps it is compared with something."""
    made = Count(value)
    made.heard, made.pace = heard, 1.0
    return made


def count_in(thing: Any, heard: Heard) -> None:
    """Have the whole numbers that a thing holds, its attributes or entries, say what they are compared with."""
    if isinstance(thing, dict):
        for key, value in thing.items():
            if type(value) is int:
                thing[key] = counting(value, heard)
            elif isinstance(value, (dict, list)):
                count_in(value, heard)
    elif isinstance(thing, list):
        for i, value in enumerate(thing):
            if type(value) is int:
                thing[i] = counting(value, heard)
            elif isinstance(value, (dict, list)):
                count_in(value, heard)
    elif hasattr(thing, "__dict__"):
        for name, value in vars(thing).items():
            if type(value) is int:
                object.__setattr__(thing, name, counting(value, heard))


def steps_among(heard: Heard) -> list[int]:
    """The steps that were heard of, in order, but for those that a few steps pass."""
    return sorted({math.ceil(c) for c in heard if LEAST <= c < math.inf})


def whole_numbers(thing: Any, depth: int = DEPTH) -> set[int]:
    """The whole numbers in the text of a function, or of what an object holds: constants, closures, attributes."""
    return {int(n) for n in _numbers(thing, depth, set()) if n >= LEAST and float(n).is_integer()}


def reciprocals(thing: Any, depth: int = DEPTH) -> set[int]:
    """The whole numbers of which the text has one part, as 100 where 0.01 stands: a share of 1/t passes it there."""
    found = {round(1 / n) for n in _numbers(thing, depth, set()) if 0 < n < 1 / LEAST}
    return {c for c in found if any(n == 1 / c for n in _numbers(thing, depth, set()))}


def _numbers(thing: Any, depth: int, seen: set[int]) -> Iterator[float]:
    if isinstance(thing, NO_CODE) or id(thing) in seen or depth < 0:
        return
    if isinstance(thing, (int, float, np.number)):
        if math.isfinite(thing):
            yield float(thing)
        return
    seen.add(id(thing))
    if isinstance(thing, types.CodeType):
        for constant in thing.co_consts:
            yield from _numbers(constant, depth, seen)
    elif isinstance(thing, types.MethodType):
        yield from _numbers(thing.__func__, depth, seen)
        yield from _numbers(thing.__self__, depth, seen)
    elif isinstance(thing, types.FunctionType):
        yield from _of_function(thing, depth, seen)
    elif isinstance(thing, Mapping):
        for key, value in thing.items():
            yield from _numbers(key, depth - 1, seen)
            yield from _numbers(value, depth - 1, seen)
    elif isinstance(thing, (list, tuple, set, frozenset)):
        for item in thing:
            yield from _numbers(item, depth - 1, seen)
    elif not isinstance(thing, type):
        for value in getattr(thing, "__dict__", {}).values():
            yield from _numbers(value, depth - 1, seen)
        for name in ("__call__", "update", "step"):
            method = getattr(type(thing), name, None)
            if isinstance(method, types.FunctionType) and not method.__module__.startswith("torch."):
                yield from _numbers(method, depth - 1, seen)


def _of_function(f: types.FunctionType, depth: int, seen: set[int]) -> Iterator[float]:
    yield from _numbers(f.__code__, depth, seen)
    for value in (*(f.__defaults__ or ()), *(f.__kwdefaults__ or {}).values()):
        yield from _numbers(value, depth - 1, seen)
    for cell in f.__closure__ or ():
        try:
            yield from _numbers(cell.cell_contents, depth - 1, seen)
        except ValueError:  # an empty one
            continue
    for name in f.__code__.co_names:
        value = f.__globals__.get(name)
        if isinstance(value, (int, float, list, tuple)) or (
            isinstance(value, types.FunctionType) and value.__module__ == f.__module__
        ):
            yield from _numbers(value, depth - 1, seen)
