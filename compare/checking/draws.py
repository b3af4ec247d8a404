"""Inputs for a check: drawn from a generator, away from degenerate values, or small dyadic numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import Enum, auto
from typing import Any, NamedTuple

import numpy as np
import torch

from handgrad.compare.checking.specs import Indices, Mask, as_given, drawn
from handgrad.compare.foundation.errors import UsageError
from handgrad.compare.foundation.validation import is_whole, require_dimensions, require_memory
from handgrad.compare.judge.sides import Arrays, Sides

LARGE = 4.0  # times the numbers of a plain draw
COPIES = 16  # of an input: both sides', their gradients, bounds, and several draws

# What a person may give for x, output, target or theta.
Spec = tuple[int, ...] | np.ndarray | Callable[[np.random.Generator], np.ndarray]


class Kind(Enum):
    """What a draw is for."""

    PLAIN = auto()
    OTHER_BATCH = auto()  # another batch size, so that a factor N is told apart from a plain number
    LARGE = auto()  # four times the numbers
    DYADIC = auto()  # numbers with few bits, of which no sum or product rounds
    BEYOND = auto()  # both sides of every constant that the reference or the derivation compares with
    STEERED = auto()  # sides of comparisons and branches that none of the others takes
    GUARD = auto()  # numbers next to 0 or 1 that one side keeps from a division: there may be no derivative, either
    KINKS = auto()  # points at which there may be no derivative
    # of what agrees on all of these alone:
    SIZES = auto()  # named sizes that are long, 1, equal
    BATCHES = auto()  # a batch of one and a long one, where the size of a batch was given as a number
    ALIKE = auto()  # rows of zeros and rows alike, parameters that are 0 or all the same, complex numbers that are real
    NOT_FINITE = auto()  # gradients of ∞ or NaN, over which an optimizer passes, and a rate of 0
    NUMBERS = auto()  # zeros, tiny and mixed ones, classes and masks that are all the same
    SCALES = auto()  # zeros and mixed scales, up to fifty times a plain draw, where a forward pass may be another one
    ROWS = auto()  # some of the rows that were given
    UNASKED = auto()  # classes and masks that nobody gave, which a derivation need not take
    ENDS = auto()  # indices that count from the end, which a derivation need not take
    WIDTHS = auto()  # other sizes of axes that were given as numbers, which may stand in a derivation
    AXES = auto()  # one more axis, or one of 1 that is broadcast, which a forward pass may take for something else


class Draw(NamedTuple):
    """The inputs of one evaluation of both sides."""

    label: str  # as reports name it
    arrays: Arrays
    kind: Kind = Kind.PLAIN


class Aside(NamedTuple):
    """A draw for two sides of its own: an update rule over other tensors than those that were given."""

    draw: Draw
    sides: Sides
    fair: bool  # whether a difference is one; if not, nothing is decided by it


class Drawn(NamedTuple):
    """Two sides, the draws on which they are compared, and what is to be said of these."""

    sides: Sides
    draws: list[Draw]
    notes: tuple[str, ...] = ()
    gaps: tuple[str, ...] = ()  # what the draws do not reach, as `Report.gaps`
    # More draws, notes and gaps, which only a derivation meets that agrees on these.
    more: Callable[[], Drawn] | None = None
    asides: tuple[Aside, ...] = ()


def draw(spec: Any, rng: np.random.Generator, dtype: Any, scale: float = 1.0, what: str = "x") -> np.ndarray:
    """An array for `spec`: a shape is drawn, an array is copied, a function of a generator is called.

    The result is contiguous, writable and in the machine's byte order, whatever was given; floats are of `dtype`.
    Raises TypeError for anything else, ValueError for an empty array or one that is not finite, and UsageError for a
    shape that does not fit into memory.
    """
    if callable(spec):
        try:
            value = spec(rng)
        except Exception as problem:
            raise ValueError(
                f"{what} must be made by its function, but that raises {type(problem).__name__}: {problem}: mend it"
            ) from problem
    elif isinstance(spec, (np.ndarray, list, float, complex, torch.Tensor)):
        value = spec
    elif isinstance(spec, (Indices, Mask)):
        require_room(spec.shape, what)
        value = drawn(spec, rng)
    elif is_whole(spec) or is_shape(spec):
        require_room(spec, what)
        value = away_from_zero(rng, spec) * scale
    else:
        shown = repr(spec) if isinstance(spec, (tuple, str, int)) else type(spec).__name__
        raise TypeError(
            f"{what} must be a shape such as (4, 8), an array, or a function of a generator, got {shown}: give one"
        )
    value = as_given(value)
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{what} must be an array without a mask, got a masked one: fill it first")
    try:
        value = np.array(value)  # a copy, and no subclass
    except ValueError as problem:
        raise ValueError(f"{what} must have rows of one length, got others: {problem}") from None
    if value.dtype.kind not in "biufc":
        raise TypeError(f"{what} must be floating-point numbers, got {value.dtype}: convert them to float first")
    wanted = {"f": np.dtype(dtype), "c": np.result_type(dtype, np.complex64)}.get(value.dtype.kind, value.dtype)
    with np.errstate(over="ignore"):  # what is too large for float32 is named below
        value = value.astype(wanted.newbyteorder("="))
    require_dimensions(what, value.ndim)
    if value.size == 0:
        raise ValueError(f"{what} must have at least one element, got shape {value.shape}: give it some")
    if value.dtype.kind in "fc" and not np.isfinite(value).all():
        count = int(np.count_nonzero(~np.isfinite(value)))
        raise ValueError(
            f"{what} must be finite in {value.dtype}, but {count} of {value.size} elements are not: replace them"
        )
    return value


def draw_floats(spec: Any, rng: np.random.Generator, dtype: Any, scale: float = 1.0, what: str = "x") -> np.ndarray:
    """As `draw`; TypeError for whole numbers, which have no derivative."""
    value = draw(spec, rng, dtype, scale, what)
    if value.dtype.kind != "f":
        raise TypeError(
            f"{what} must be floating-point numbers, got {value.dtype}: nothing has a derivative by a whole "
            "number; keep such an input inside the layer, or make it a float"
        )
    return value


def draw_numbers(spec: Any, rng: np.random.Generator, dtype: Any, what: str = "x") -> np.ndarray:
    """As `draw`, complex numbers too; TypeError for whole numbers, which have no derivative."""
    value = draw(spec, rng, dtype, what=what)
    if value.dtype.kind not in "fc":
        raise TypeError(
            f"{what} must be floating-point numbers, got {value.dtype}: nothing has a derivative by a whole number; "
            "give it among inputs=, or make it a float"
        )
    return value


def as_real(values: np.ndarray) -> np.ndarray:
    """The real and imaginary parts of complex numbers in a last axis of two; other numbers as they are."""
    return np.stack([values.real, values.imag], -1) if values.dtype.kind == "c" else values


def require_room(shape: Any, what: str) -> None:
    """UsageError, before memory is taken, for a shape that cannot be: negative, or too large for this machine."""
    sizes = shape if isinstance(shape, tuple) else (shape,)
    require_dimensions(what, len(sizes))
    if any(n < 0 for n in sizes):
        raise UsageError(f"{what} must have a shape of whole numbers of at least 1, got {shape}: choose another")
    needed = COPIES * 8 * math.prod(int(n) for n in sizes)
    require_memory("a check", needed, f"{COPIES} arrays of shape {shape}, for {what},", "use a smaller shape")


def away_from_zero(rng: np.random.Generator, shape: Any) -> np.ndarray:
    """±(1/8 + |normal|): no element near a kink at 0, none tiny, none equal to another."""
    return rng.choice([-1.0, 1.0], shape) * (0.125 + np.abs(rng.normal(0, 1, shape)))


def apart(arrays: list[np.ndarray]) -> list[np.ndarray]:
    """Dyadic arrays, each moved by another small step, so that no number of one ties with a number of another."""
    finest = min((float(np.abs(a).min()) for a in arrays), default=1.0) * 2.0 ** -max(1, len(arrays) - 1).bit_length()
    return [np.asarray(a + j * finest, a.dtype) for j, a in enumerate(arrays)]


def dyadic(rng: np.random.Generator, shape: Any) -> np.ndarray:
    """Small numbers with few bits, so that sums and products of a few of them are exact in any precision.

    No two are equal and none is 0: at a tie or at 0 there may be no derivative to compare.
    """
    size = math.prod(np.atleast_1d(shape).tolist())
    whole = rng.permutation(np.arange(1, size + 1)) * rng.choice([-1.0, 1.0], size)
    step = 2.0 ** -max(2, math.ceil(math.log2(size / 4)))  # so that the largest is about 4
    return (whole * step).reshape(shape)


def is_shape(spec: Any) -> bool:
    """Whether the spec, a tuple of whole numbers, leaves the values, and so the batch size, to us."""
    return isinstance(spec, tuple) and all(is_whole(n) for n in spec)


def other_batch(spec: Any) -> Any:
    """The same shape with another batch size, so that a factor N is told apart from a plain number."""
    return (spec[0] + 3, *spec[1:]) if is_shape(spec) and len(spec) > 1 else spec
