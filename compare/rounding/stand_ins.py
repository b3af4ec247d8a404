"""What stands in for the functions of NumPy, and of math, that NumPy's dispatch does not bring to a bounded array.

`y = np.zeros(shape)` makes a plain array, which cannot take in bounded numbers; `np.asarray(x)` and `math.exp(x)` ask
for plain ones. `stand_ins` has for each such function one that makes, or takes, a `Bounded`. Nothing is put in their
place here: whoever runs a person's code hands them to it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from handgrad.compare.rounding.bounded import Bounded
from handgrad.compare.rounding.choices import any_bounded
from handgrad.compare.rounding.elementary import smooth
from handgrad.compare.rounding.functions import apply
from handgrad.compare.rounding.model import Precision
from handgrad.compare.rounding.results import settled

Function = Callable[..., Any]


def stand_ins(p: Precision) -> dict[Function, Function]:
    """By function, what does the same for a run in precision `p`, bounded arrays included."""
    found: dict[Function, Function] = {f: partial(_fresh, p, f) for f in (np.zeros, np.ones, np.empty, np.eye)}
    found |= {np.identity: partial(_fresh, p, np.identity), np.full: partial(_full, p)}
    found |= {f: partial(_like, p, f) for f in (np.zeros_like, np.ones_like, np.empty_like, np.full_like)}
    found |= {f: partial(_as_array, p, f) for f in (np.asarray, np.asanyarray)}
    found |= {f: partial(_contiguous, p, f) for f in (np.ascontiguousarray, np.asfortranarray)}
    found |= {f: partial(_rule_or, p, f) for f in (np.bincount, np.lib.stride_tricks.as_strided)}
    found |= {getattr(math, name): partial(_elementary, getattr(math, name), getattr(np, name)) for name in MATH}
    found |= {getattr(math, name): partial(_elementary, getattr(math, name), partial(_error_function, name))
              for name in ("erf", "erfc")}  # fmt: skip
    return found | {
        np.array: partial(_array, p), math.pow: partial(_elementary, math.pow, np.power), np.vectorize: _Vectorized,
        np.ndarray: _Array, float: _Float,
    }  # fmt: skip


MATH = (
    "sqrt", "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan", "sinh", "cosh", "tanh",
    "atan", "asin", "acos", "asinh", "acosh", "atanh", "fabs", "hypot", "atan2",
)  # fmt: skip


def _kept(p: Precision, value: Any) -> Any:
    """A new array of floats as a bounded one, which is exact so far; any other as it is."""
    return Bounded(value, None, p) if value.dtype.kind == "f" else value


def _fresh(p: Precision, func: Function, *args: Any, **kwargs: Any) -> Any:
    return _kept(p, func(*args, **kwargs))


def _full(p: Precision, shape: Any, fill_value: Any, dtype: Any = None, **kwargs: Any) -> Any:
    if dtype is None:
        dtype = fill_value.dtype if isinstance(fill_value, Bounded) else np.asarray(fill_value).dtype
    result = _kept(p, np.empty(shape, dtype, **kwargs))
    result[...] = fill_value
    return result


def _like(p: Precision, func: Function, prototype: Any, *args: Any, **kwargs: Any) -> Any:
    if any_bounded((prototype, args, kwargs)):
        return apply(p, func, (prototype, *args), kwargs)
    return _kept(p, func(prototype, *args, **kwargs))


def _as_array(p: Precision, func: Function, x: Any, dtype: Any = None, *args: Any, **kwargs: Any) -> Any:
    """np.asarray: x itself where it is one, and a bounded array of what a list holds."""
    if not any_bounded(x):
        return func(x, dtype, *args, **kwargs)
    if kwargs.get("copy"):
        return _array(p, x, dtype)
    result = _stacked(x)
    return result if dtype is None else result.astype(dtype, copy=False)


def _array(p: Precision, x: Any, dtype: Any = None, *args: Any, ndmin: int = 0, **kwargs: Any) -> Any:
    """np.array: a copy, unless it is told otherwise."""
    if not any_bounded(x):
        return np.array(x, dtype, *args, ndmin=ndmin, **kwargs)
    result = _stacked(x)
    result = result if dtype is None else result.astype(dtype, copy=False)
    if result is x and kwargs.get("copy", True):
        result = result.copy()
    return result.reshape((1,) * max(0, ndmin - result.ndim) + result.shape)


def _contiguous(p: Precision, func: Function, x: Any, dtype: Any = None, **kwargs: Any) -> Any:
    if not any_bounded(x):
        return func(x, dtype, **kwargs)
    result: Any = np.atleast_1d(_stacked(x)) if func is np.ascontiguousarray else _stacked(x)
    flag = "C_CONTIGUOUS" if func is np.ascontiguousarray else "F_CONTIGUOUS"
    result = result if result.value.flags[flag] else result.copy(order=flag[0])
    return result if dtype is None else result.astype(dtype, copy=False)


def _stacked(x: Any) -> Any:
    """A Bounded of what lists of lists hold."""
    return np.stack([_stacked(item) for item in x]) if isinstance(x, (list, tuple)) else x


def _rule_or(p: Precision, func: Function, *args: Any, **kwargs: Any) -> Any:
    """By its rule, for bounded arguments; NumPy's own for others."""
    return apply(p, func, args, kwargs) if any_bounded((args, kwargs)) else func(*args, **kwargs)


def _elementary(func: Function, ours: Function, *args: Any) -> Any:
    """A function of math, which computes in float64."""
    if not any_bounded(args):
        return func(*args)
    return ours(*(x.astype(np.float64) if isinstance(x, Bounded) else x for x in args))


def _error_function(name: str, x: Bounded) -> Bounded:
    """erf and erfc, of slope ±2 e^(−x²) / √π; both are within an ulp in C libraries."""
    value = np.asarray(getattr(math, name)(float(x.value)))
    rule = smooth(lambda v, e: 2 / np.sqrt(np.pi) * np.exp(-(np.maximum(np.abs(v) - e, 0) ** 2)))
    return settled(x.precision, value, rule(x.precision, value, (x.value, x.error)))


class _AnyArray(type):
    """Of the class that stands in for np.ndarray, bounded arrays are instances too."""

    def __instancecheck__(cls, x: Any) -> bool:
        return isinstance(x, (np.ndarray, Bounded))


class _Array(np.ndarray, metaclass=_AnyArray):
    """np.ndarray, as code asks whether something is one."""


class _AnyFloat(type):
    def __instancecheck__(cls, x: Any) -> bool:
        return isinstance(x, float) or (isinstance(x, Bounded) and x.ndim == 0 and x.dtype == np.float64)

    def __subclasscheck__(cls, kind: type) -> bool:
        return issubclass(kind, float)


class _Float(float, metaclass=_AnyFloat):
    """float, which leaves a bounded number one; NumPy takes it for the dtype that float is."""

    dtype = np.dtype(float)

    def __new__(cls, x: Any = 0.0) -> Any:
        return x.astype(np.float64) if isinstance(x, Bounded) and x.ndim == 0 else float(x)


class _Vectorized(np.vectorize):
    """np.vectorize, which calls its function with one bounded number after another."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if kwargs or self.excluded or self.signature or not any_bounded(args):
            return super().__call__(*args, **kwargs)
        arrays = np.broadcast_arrays(*(x if isinstance(x, Bounded) else np.asarray(x) for x in args))
        results = [self.pyfunc(*(x[index] for x in arrays)) for index in np.ndindex(arrays[0].shape)]
        return np.stack([x if isinstance(x, Bounded) else np.asarray(x) for x in results]).reshape(arrays[0].shape)
