"""What an ndarray has, for a bounded array: its attributes and its methods."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import numpy as np


class Dispatch(NamedTuple):
    """What NumPy's calls on bounded arrays are handed to; each function takes the precision first."""

    apply_ufunc: Callable[..., Any]
    apply: Callable[..., Any]  # of functions such as np.where


class ArrayMethods:
    """The attributes and methods of an ndarray; those that move elements about do the same to the errors.

    The rules make bounded arrays, and so are not known here: `rounding.functions` sets `dispatch`.
    """

    __slots__ = ()
    dispatch: ClassVar[Dispatch]

    shape = property(lambda self: self.value.shape)
    ndim = property(lambda self: self.value.ndim)
    size = property(lambda self: self.value.size)
    dtype = property(lambda self: self.value.dtype)
    strides = property(lambda self: self.value.strides)
    flags = property(lambda self: self.value.flags)
    base = property(lambda self: self.value.base)
    itemsize = property(lambda self: self.value.itemsize)
    nbytes = property(lambda self: self.value.nbytes)
    real = property(lambda self: self._move(lambda a: a.view()))
    T = property(lambda self: self._move(lambda a: a.T))
    mT = property(lambda self: self._move(lambda a: a.mT))  # noqa: N815

    def view(self: Any) -> Any:
        """The same numbers as another array; TypeError for another dtype."""
        return self._move(lambda a: a.view())

    def compress(self: Any, condition: Any, axis: Any = None) -> Any:
        """The elements at which the condition holds."""
        return np.compress(condition, self, axis)

    def item(self: Any) -> Any:
        """The only number, as one of float64; ValueError where there are several."""
        return self._move(lambda a: a.reshape(())).astype(np.float64)

    def sort(self: Any, axis: int = -1) -> None:
        """Put the numbers in order, in place."""
        self._write(..., np.sort(self, axis))


def _as_method(func: Any) -> Any:
    """x.sum(…) is np.sum(x, …), and likewise for the rest."""
    return lambda self, *args, **kwargs: self.dispatch.apply(self.precision, func, (self, *args), kwargs)


def _as_move(name: str) -> Any:
    return lambda self, *args, **kwargs: self._move(lambda a: getattr(a, name)(*args, **kwargs))


for _func in (
    np.all, np.any, np.argmax, np.argmin, np.argsort, np.clip, np.cumprod, np.cumsum, np.dot, np.max, np.mean, np.min,
    np.nonzero, np.prod, np.put, np.std, np.sum, np.trace, np.var,
):  # fmt: skip
    setattr(ArrayMethods, _func.__name__, _as_method(_func))
for _name in (
    "conj",
    "conjugate",
    "copy",
    "diagonal",
    "flatten",
    "ravel",
    "repeat",
    "reshape",
    "squeeze",
    "swapaxes",
    "take",
    "transpose",
):
    setattr(ArrayMethods, _name, _as_move(_name))
