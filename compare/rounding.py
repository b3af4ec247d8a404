"""Arrays that carry a bound on their own rounding error.

A `Bounded` is a value and, element by element, a bound on how far *another* evaluation of the same expression
on the same numbers may lie from it, when both obey the standard model of floating-point arithmetic

    fl(x ∘ y) = (x ∘ y)(1 + ε) + η,     |ε| ≤ u,  |η| ≤ the smallest normal number            (1)
    |fl(Σ xᵢ) − Σ xᵢ| ≤ γ_{n−1} Σ |xᵢ|,   γ_n = n u / (1 − n u),  in any order of summation      (2)

(Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., eqs. 2.8, 4.4 and 3.13). Each operation adds
the two sides' own rounding, hence a factor 2, to what it makes of its operands' errors. The unchanged NumPy
code of `manual/` runs on these arrays through NumPy's own dispatch, and the bound it returns is the tolerance:
nobody chose it.

What the other side may do differently is exactly this: sum and multiply in any order, fuse a multiply with an
add, divide by multiplying with the reciprocal, and use elementary functions of its own, each within
`LIBRARY_ULPS`. A formula that is worse conditioned is more than that, and `compare.ladder` measures it.

Bounds are float64 whatever the dtype of the values. Terms of relative size u within a bound are dropped.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from compare import rounding_functions, rounding_rules


class NoRoundingRule(TypeError):
    """The code used something whose rounding `Bounded` cannot follow; the precision ladder takes over."""


@dataclass(frozen=True)
class Precision:
    """What the standard model needs to know of a dtype."""

    dtype: np.dtype[Any]
    unit: float  # u, half the distance from 1 to the next number
    tiny: float  # the smallest normal number

    @staticmethod
    def of(dtype: Any) -> Precision:
        """The precision of a float dtype; TypeError for any other."""
        try:
            return PRECISIONS[np.dtype(dtype)]
        except KeyError:
            raise TypeError(
                f"a rounding bound needs float64, float32 or float16 numbers, got {np.dtype(dtype)}: convert them first"
            ) from None

    def gamma(self, n: int) -> float:
        """γ_n = n u / (1 − n u), and ∞ where n u ≥ 1 and the model says nothing."""
        nu = n * self.unit
        return nu / (1 - nu) if nu < 1 else np.inf


PRECISIONS = {
    np.dtype(t): Precision(np.dtype(t), float(np.finfo(t).eps) / 2, float(np.finfo(t).tiny))
    for t in (np.float64, np.float32, np.float16)
}


class Bounded(NDArrayOperatorsMixin):
    """A value and a bound on its error, same shape; error None means exact, and costs nothing.

    The precision is that of the run, not of the value: code that drops to a lower precision on the way is not
    excused for it.
    """

    __slots__ = ("error", "precision", "value")

    def __init__(self, value: Any, error: Any = None, precision: Precision | None = None) -> None:
        self.value = value if isinstance(value, np.ndarray) else np.asarray(value)
        self.error = error
        self.precision = precision or Precision.of(self.value.dtype)

    # --- NumPy's dispatch -------------------------------------------------------------------------------

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        out = kwargs.pop("out", None)
        result = rounding_rules.apply(self.precision, ufunc, method, inputs, kwargs)
        if out is None:
            return result
        (target,) = out
        if not isinstance(target, Bounded):
            raise NoRoundingRule(f"np.{ufunc.__name__} writes a bounded result into a plain array")
        target[...] = result
        return target

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return rounding_functions.apply(self.precision, func, args, kwargs)

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise NoRoundingRule("the code turned a bounded array into a plain one (np.asarray, or a[i] = …)")

    def __float__(self) -> float:
        raise NoRoundingRule("the code turned a bounded number into a Python float (float(), math.…)")

    def __bool__(self) -> bool:
        if self.error is not None and np.any(self.error):
            raise NoRoundingRule("the code branches on a comparison that rounding decides")
        return bool(self.value)

    # --- what an ndarray has ----------------------------------------------------------------------------

    shape = property(lambda self: self.value.shape)
    ndim = property(lambda self: self.value.ndim)
    size = property(lambda self: self.value.size)
    dtype = property(lambda self: self.value.dtype)
    T = property(lambda self: self._move(lambda a: a.T))

    def __len__(self) -> int:
        return len(self.value)

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self.value)))

    def __repr__(self) -> str:
        return f"Bounded({self.value!r}, error={self.error!r})"

    def _move(self, moved: Any) -> Bounded:
        """Apply a function that only moves elements about."""
        error = None if self.error is None else moved(self.error)
        return Bounded(moved(self.value), error, self.precision)

    def __getitem__(self, key: Any) -> Bounded:
        key = rounding_functions.plain_index(key)
        return self._move(lambda a: a[key])

    def __setitem__(self, key: Any, new: Any) -> None:
        key = rounding_functions.plain_index(key)
        value, error = (new.value, new.error) if isinstance(new, Bounded) else (new, None)
        if self.error is None and error is not None:
            if self.value.base is not None:  # the array it is a view of would not learn of the error
                raise NoRoundingRule("the code changes a view in place")
            self.error = np.zeros(self.shape)
        self.value[key] = value
        if self.error is not None:
            self.error[key] = 0 if error is None else error

    def astype(self, dtype: Any, copy: bool = True) -> Any:
        if np.dtype(dtype).kind != "f":
            if self.error is not None and np.any(self.error):
                raise NoRoundingRule(f"the code turns bounded numbers into {np.dtype(dtype)}")
            return self.value.astype(dtype)
        error = None if self.error is None else self.error.copy()
        return Bounded(self.value.astype(dtype), error, self.precision)

    def reshape(self, *shape: Any, **kwargs: Any) -> Bounded:
        return self._move(lambda a: a.reshape(*shape, **kwargs))

    def transpose(self, *axes: Any) -> Bounded:
        return self._move(lambda a: a.transpose(*axes))

    def swapaxes(self, first: int, second: int) -> Bounded:
        return self._move(lambda a: a.swapaxes(first, second))

    def ravel(self) -> Bounded:
        return self._move(np.ravel)

    flatten = ravel

    def squeeze(self, axis: Any = None) -> Bounded:
        return self._move(lambda a: a.squeeze(axis))

    def copy(self) -> Bounded:
        return self._move(np.copy)

    def repeat(self, repeats: Any, axis: Any = None) -> Bounded:
        return self._move(lambda a: a.repeat(repeats, axis))

    def take(self, indices: Any, axis: Any = None) -> Bounded:
        return self._move(lambda a: a.take(indices, axis))

    def diagonal(self, *args: Any, **kwargs: Any) -> Bounded:
        return self._move(lambda a: a.diagonal(*args, **kwargs))


def _as_method(func: Any) -> Any:
    """x.sum(…) is np.sum(x, …), and likewise for the rest."""

    def method(self: Bounded, *args: Any, **kwargs: Any) -> Any:
        return rounding_functions.apply(self.precision, func, (self, *args), kwargs)

    return method


METHODS = {
    "all": np.all, "any": np.any, "argmax": np.argmax, "argmin": np.argmin, "argsort": np.argsort,
    "clip": np.clip, "cumsum": np.cumsum, "dot": np.dot, "max": np.max, "mean": np.mean, "min": np.min,
    "prod": np.prod, "std": np.std, "sum": np.sum, "trace": np.trace, "var": np.var,
}  # fmt: skip
for _name, _func in METHODS.items():
    setattr(Bounded, _name, _as_method(_func))
