"""What rounding may sway: choices, and functions that look at values and return no floating-point number."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from handgrad.compare.rounding.bounded import Bounded, NoRoundingRule, Precision, operand
from handgrad.compare.rounding.results import settled
from handgrad.compare.rounding.rules import plus, undecided
from handgrad.compare.rounding.same_numbers import chosen


def plain(x: Any) -> Any:
    """The same thing with every Bounded replaced by its value: in tuples, lists, dicts and dataclasses too."""
    if isinstance(x, Bounded):
        return x.value
    if isinstance(x, dict):
        return {key: plain(item) for key, item in x.items()}
    if isinstance(x, (list, tuple)):
        items = [plain(item) for item in x]
        return type(x)(*items) if hasattr(x, "_fields") else type(x)(items)
    if dataclasses.is_dataclass(x) and not isinstance(x, type):
        x = copy.copy(x)
        for f in dataclasses.fields(x):
            object.__setattr__(x, f.name, plain(getattr(x, f.name)))
    return x


def any_bounded(x: Any) -> bool:
    """Whether there is a Bounded among the arguments."""
    if isinstance(x, dict):
        x = tuple(x.values())
    return isinstance(x, Bounded) or (isinstance(x, (list, tuple)) and any(any_bounded(item) for item in x))


def _decided(func: Callable[..., Any]) -> Callable[..., Any]:
    """np.any and its kin: where no element may be taken for 0 or not."""

    def rule(p: Precision, x: Any, *args: Any, **kwargs: Any) -> Any:
        if any_bounded((args, kwargs)) or undecided(operand(p, x)) is not None:
            raise NoRoundingRule(f"the code branches on np.{func.__name__} of numbers that rounding decides")
        return func(plain(x), *args, **kwargs)

    return rule


def _exact(func: Callable[..., Any]) -> Callable[..., Any]:
    """np.allclose and its kin, of exact numbers only."""

    def rule(p: Precision, *args: Any, **kwargs: Any) -> Any:
        if any(isinstance(x, Bounded) and x.error is not None and np.any(x.error) for x in (*args, *kwargs.values())):
            raise NoRoundingRule(f"the code branches on np.{func.__name__} of rounded numbers")
        return func(*plain(args), **plain(kwargs))

    return rule


def _argextreme(func: Callable[..., Any], sign: int) -> Callable[..., Any]:
    """np.argmax and np.argmin: no other element may come within reach of the one that is found."""

    def rule(p: Precision, x: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
        found = func(x.value, axis=axis, keepdims=keepdims)
        if x.error is not None:
            v, e = (x.value.ravel(), x.error.ravel()) if axis is None else (x.value, x.error)
            axis = 0 if axis is None else axis
            at = np.expand_dims(func(v, axis=axis), axis)
            best, reach = np.take_along_axis(v, at, axis), np.take_along_axis(e, at, axis)
            close = (sign * np.subtract(best, v, dtype=np.float64) <= e + reach) & (e + reach > 0)
            np.put_along_axis(close, at, False, axis)
            if np.any(close):
                raise NoRoundingRule(f"the code picks elements by np.{func.__name__}, which rounding decides")
        return found

    return rule


def _argsort(p: Precision, x: Any, axis: Any = -1, **kwargs: Any) -> Any:
    x, axis = (np.ravel(x), -1) if axis is None else (x, axis)
    order = np.argsort(x.value, axis, **kwargs)
    if x.error is not None:
        v, e = (np.moveaxis(np.take_along_axis(a, order, axis), axis, -1) for a in (x.value, x.error))
        reach = e[..., 1:] + e[..., :-1]
        if np.any((np.diff(v.astype(np.float64), axis=-1) <= reach) & (reach > 0)):
            raise NoRoundingRule("the code sorts numbers whose order rounding decides")
    return order


def _where(p: Precision, condition: Any, x: Any, y: Any) -> Bounded:
    """The chosen side's error; where rounding decides the choice, the two sides' difference as well."""
    (c, ec), (vx, ex), (vy, ey) = (operand(p, item) for item in (condition, x, y))
    error: Any = None
    if ex is not None or ey is not None:
        error = np.where(c, 0.0 if ex is None else ex, 0.0 if ey is None else ey)
    sway = undecided((c, ec))
    if sway is not None:
        apart = plus(np.abs(np.subtract(vx, vy, dtype=np.float64)), ex, ey)
        error = plus(error, np.where(sway > 0, apart, 0.0))
    return settled(p, np.where(c, vx, vy), error)


def _clip(p: Precision, x: Any, a_min: Any = None, a_max: Any = None, *, min: Any = None, max: Any = None) -> Any:
    low, high = a_min if min is None else min, a_max if max is None else max
    y = x if low is None else np.maximum(x, low)
    y = y if high is None else np.minimum(y, high)
    if low is None and high is None:
        return x.copy()
    return y if low is None or high is None else chosen(y, x, low, high)


CHOICES: dict[Callable[..., Any], Callable[..., Any]] = {
    np.where: _where,
    np.clip: _clip,
    np.argmax: _argextreme(np.argmax, 1),
    np.argmin: _argextreme(np.argmin, -1),
    np.argsort: _argsort,
}
CHOICES |= {f: _decided(f) for f in (np.any, np.all, np.count_nonzero, np.nonzero, np.flatnonzero, np.argwhere)}
CHOICES |= {f: _exact(f) for f in (np.array_equal, np.allclose, np.isclose)}
