"""Arrays that carry a bound on their own rounding error.

A `Bounded` is a value and, element by element, a bound on how far *another* evaluation of the same expression
on the same numbers may lie from it, when both obey the standard model of floating-point arithmetic

    fl(x ∘ y) = (x ∘ y)(1 + ε) + η,     |ε| ≤ u,  |η| ≤ the smallest normal number            (1)
    |fl(Σ xᵢ) − Σ xᵢ| ≤ γ_{n−1} Σ |xᵢ|,   γ_n = n u / (1 − n u),  in any order of summation      (2)

(Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., eqs. 2.8, 4.4 and 3.13; η = 0 for sums). Each
operation adds the two sides' own rounding, hence a factor 2, to what it makes of its operands' errors. The
unchanged NumPy code of `manual/` runs on these arrays through NumPy's own dispatch, and the bound it returns is
the tolerance: nobody chose it.

What the other side may do differently is exactly this: sum and multiply in any order, fuse a multiply with an
add, divide by multiplying with the reciprocal, take powers by repeated multiplication, and use elementary
functions of its own, each within `LIBRARY_ULPS`. A formula that is worse conditioned is more than that, and
`handgrad.compare.judge.two_precision` measures it.

Bounds are float64 whatever the dtype of the values. Terms of relative size u within a bound are dropped.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partialmethod
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from handgrad.compare.rounding.methods import ArrayMethods
from handgrad.compare.rounding.model import NoRoundingRule, Precision, is_short, unseen_rounding
from handgrad.compare.rounding.thresholds import hear


class Bounded(ArrayMethods, NDArrayOperatorsMixin):
    """A value and a bound on its error, same shape; error None means exact, and costs nothing.

    The precision is that of the run, not of the value: code that drops to a lower precision on the way is
    allowed nothing for it.

    Run code on Bounded arrays under np.errstate(all="ignore"): a bound that overflows is an answer and no accident.

    A view keeps a reference to the array it is a view of, so that an error that either of them comes by later,
    when one is changed in place, is known to both.

    `terms` is the number of terms where the value is a sum (Σ, @): what is added to it may be added in any order.
    `same` says of which other arrays these are the very numbers (rounding.same_numbers).
    """

    __slots__ = ("__weakref__", "_error", "_origin", "_writes", "magnitude", "precision", "same", "terms", "value")

    def __init__(self, value: Any, error: Any = None, precision: Precision | None = None) -> None:
        if not isinstance(value, np.ndarray):
            scalar = isinstance(value, np.generic)
            value = np.asarray(value)
            value.flags.writeable = not scalar  # a NumPy scalar cannot be changed in place
        self.value = value
        self.precision = precision or Precision.of(value.dtype)
        self._error = None if error is None else np.asarray(error, np.float64)
        self._origin: tuple[Bounded, Any] | None = None
        self._writes = 0  # of a view they are its base's
        self.terms = 1
        self.same: tuple[Any, ...] = ()
        self.magnitude: Any = None  # of rounding.magnitudes, where the value cannot change
        if value.ndim:
            self.__class__ = _BoundedItems

    @property
    def error(self) -> Any:
        """The bound, float64 and of the value's shape, or None."""
        if self._error is None and self._origin is not None:
            base, moved = self._origin
            if base.error is not None:
                self._error = moved(base.error)
        return self._error

    @property
    def written(self) -> int:
        """How often these numbers, or others of the same memory, were changed in place."""
        return self._writes if self._origin is None else self._origin[0].written

    # --- NumPy's dispatch -------------------------------------------------------------------------------

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, out: Any = None, **kwargs: Any) -> Any:
        where = kwargs.pop("where", True) if out is not None and method == "__call__" else True
        hear(ufunc, inputs)
        result = self.dispatch.apply_ufunc(self.precision, ufunc, method, inputs, kwargs)
        if out is None:
            return result
        (target,) = out
        if not isinstance(target, Bounded):
            raise NoRoundingRule(f"np.{ufunc.__name__} writes a bounded result into a plain array")
        if target.value.ndim == 0 and target.value.base is None and not target.value.flags.writeable:
            return result  # x += 1 makes a new number of a NumPy scalar
        target._write(..., result if where is True else np.where(where, result, target))
        return target

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return self.dispatch.apply(self.precision, func, args, kwargs)

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise NoRoundingRule("the code turned a bounded array into a plain one (np.asarray, or a[i] = …)")

    def __float__(self, *args: Any) -> float:
        raise NoRoundingRule("the code turned a bounded number into a Python number (float(), math.…, a[i] = …)")

    __index__ = __complex__ = __float__

    def _to_whole(self, *args: Any, by: Any) -> Any:
        return by(self.value.item(), *args) if self.precision.decided else float(self)

    __int__ = __trunc__ = partialmethod(_to_whole, by=int)
    __round__ = partialmethod(_to_whole, by=round)
    __floor__ = partialmethod(_to_whole, by=math.floor)
    __ceil__ = partialmethod(_to_whole, by=math.ceil)

    def __bool__(self) -> bool:
        if not self.precision.decided and self.error is not None and np.any(self.error):
            raise NoRoundingRule("the code branches on a comparison that rounding decides")
        return bool(self.value)

    def __getattr__(self, name: str) -> Any:
        if hasattr(np.ndarray, name) and not name.startswith("__"):
            raise NoRoundingRule(f"ndarray.{name}")
        raise AttributeError(f"a bounded array has no attribute {name!r}, nor has an ndarray")

    # --- writing in place -------------------------------------------------------------------------------

    def _write(self, key: Any, new: Any) -> None:
        """self[key] = new, with its error; every view of these numbers sees both."""
        if not self.value.flags.writeable:
            raise ValueError("assignment destination is read-only")
        self._count_a_write()
        value, error = operand(self.precision, new)
        stored = self.value.dtype
        if getattr(value, "dtype", stored).itemsize > stored.itemsize and value.dtype.kind == stored.kind:
            rounding = 2 * self.precision.unit * np.abs(value, dtype=np.float64) + self.precision.tiny
            error = rounding if error is None else error + rounding
        if error is not None:
            if stored.kind != "f":
                raise NoRoundingRule(f"the code writes bounded numbers into {stored}")
            self._make_room()
        if self.error is not None:
            if self._origin is not None and not np.may_share_memory(self.error, self._origin[0].error):
                raise NoRoundingRule("the code changes a view in place")
            self.value[key] = value
            self.error[key] = 0 if error is None else error
        else:
            self.value[key] = value

    def _count_a_write(self) -> None:
        self._writes += 1
        self.same = ()
        if self._origin is not None:
            self._origin[0]._count_a_write()

    def _make_room(self) -> None:
        """Have an array of errors, and let every array that these numbers are a view of have one."""
        if self.error is None and self._origin is not None:
            self._origin[0]._make_room()
        elif self._error is None:
            self._error = np.zeros_like(self.value, dtype=np.float64)

    # --- what an ndarray has ----------------------------------------------------------------------------

    def __repr__(self) -> str:
        return f"Bounded({self.value!r}, error={self.error!r})"

    def __format__(self, spec: str) -> str:
        return format(self.value[()], spec)

    def _move(self, moved: Any) -> Bounded:
        """Apply a function that only moves elements about."""
        result = self._moved(moved)
        if self.same:
            result.same = tuple(s._replace(group=moved(s.group)) for s in self.same if hasattr(s, "group"))
        return result

    def _moved(self, moved: Any) -> Bounded:
        if self._error is None and self._origin is None and not self.value.flags.writeable:
            return Bounded(moved(self.value), None, self.precision)  # exact, and will stay so: view or copy is one
        value, error = moved(self.value), self.error
        if not _is_view(value, self.value):
            if error is not None and _is_view(shifted := moved(error), error):
                shifted = shifted.copy()
            return Bounded(value, None if error is None else shifted, self.precision)
        result = Bounded(value, None if error is None else moved(error), self.precision)
        if value.flags.writeable:
            result._origin = self, moved
        return result

    def astype(self, dtype: Any, copy: bool = True) -> Any:
        dtype = np.dtype(dtype)
        if dtype == self.dtype and not copy:
            return self
        if dtype.kind == "f":
            result = Bounded(np.empty_like(self.value, dtype), None, self.precision)
            result._write(..., self)
            return result
        if self.error is not None and np.any(self.error):
            raise NoRoundingRule(f"the code turns bounded numbers into {dtype}")
        return self.value.astype(dtype)

    def fill(self, value: Any) -> None:
        self._write(..., value)


class _BoundedItems(Bounded):
    """A Bounded with items. A single number has none: NumPy would take it for a sequence that lacks a length."""

    __slots__ = ()

    def __len__(self) -> int:
        return len(self.value)

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self.value)))

    def __getitem__(self, key: Any) -> Bounded:
        key = plain_index(key)
        return self._move(lambda a: a[key])

    def __setitem__(self, key: Any, new: Any) -> None:
        if isinstance(key, Bounded) and key.shape == self.shape and np.ndim(new) == 0:
            key, new = ..., np.where(key, new, self)  # a mask, some of which rounding may decide
        self._write(plain_index(key), new)


def _is_view(a: Any, b: Any) -> bool:
    base = getattr(a, "base", None)
    return a is b or (base is not None and (base is b or base is b.base))


# --- what an operand is ---------------------------------------------------------------------------


def operand(p: Precision, x: Any) -> tuple[Any, Any]:
    """(value, error) of anything an operation may be given; error None for exact.

    A Python number that float16 holds exactly (0, ½, 2, 1/16) means itself. Any other (0.1, 0.999) stands for a
    real number that each side had to round, and so does an integer beyond 1/u. A plain array means
    itself, unless the precision is wary.
    """
    if isinstance(x, Bounded):
        return x.value, x.error
    if p.wary and (isinstance(x, float) or (isinstance(x, np.ndarray) and x.dtype.kind == "f")):
        off = unseen_rounding(p, x)
        return x, off if off.any() else None
    if isinstance(x, float):
        return x, None if is_short(x) else 2 * p.unit * abs(x)
    if isinstance(x, int):
        return x, 2 * p.unit * abs(x) if abs(x) * p.unit > 1 else None
    if isinstance(x, (list, tuple)):
        x = np.asarray(x)
    if not isinstance(x, (np.ndarray, np.generic)) or x.dtype.kind not in "biuf":
        raise NoRoundingRule(f"an operation on a bounded array and {type(x).__name__} {x!r}")
    if x.dtype.kind in "iu":
        size = np.abs(x, dtype=np.float64)
        if np.any(size * p.unit > 1):
            return x, 2 * p.unit * size
    return x, None


def plain_index(key: Any) -> Any:
    """An index in which exact Bounded masks are plain; NoRoundingRule where rounding decides what is picked."""
    if isinstance(key, tuple):
        return tuple(plain_index(k) for k in key)
    if not isinstance(key, Bounded):
        return key
    if key.error is not None and np.any(key.error):
        raise NoRoundingRule("the code picks elements by a mask that rounding decides")
    return key.value
