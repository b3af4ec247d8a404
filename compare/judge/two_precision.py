"""The two-precision tolerance: from float32 to float64 rounding shrinks by 2²⁹, and a wrong derivation does not.

Where the manual code uses something without a rounding rule it gives the tolerance. Where a rounding bound is exceeded,
`handgrad.compare.judge.arbiter` says how far torch's own rounding widens it.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from handgrad.compare.foundation.debug import swallowed
from handgrad.compare.foundation.patience import Endless, as_long_as, counted
from handgrad.compare.judge import wider
from handgrad.compare.judge.agreement import TWO_PRECISION, WITHIN_REFERENCE, Verdict, judge
from handgrad.compare.judge.names import TARGET
from handgrad.compare.judge.sides import Arrays, Sides, is_float
from handgrad.compare.rounding.bounded import Bounded, Precision

DRAWS = 16  # one draw's rounding is luck; the largest of several is the formula's
UNIT_RATIO = 2.0**29  # u(float32) / u(float64)
MARGIN = 32  # over the largest of the draws; see `tolerance`


def neighbours(inputs: Arrays, draws: int = DRAWS) -> Iterator[Arrays]:
    """float32 inputs a few units in the last place nearer to zero than the given ones, a different rounding each.

    Nearer to zero, so that a probability stays one. Arrays without an axis stay arrays.
    """
    rng = np.random.default_rng(0)
    for _ in range(draws):
        yield {
            name: x.astype(np.float32)
            if name == TARGET and is_float(x)  # a target may have to stay what it is: 0 or 1, or a probability
            else np.asarray(x * (1 - rng.integers(0, 17, np.shape(x)) * 2.0**-23), np.float32)
            if is_float(x)
            else x
            for name, x in inputs.items()
        }


def in_single(inputs: Arrays) -> Arrays:
    """The numbers rounded to float32."""
    return {k: x.astype(np.float32) if is_float(x) else x for k, x in inputs.items()}


def in_double(inputs: Arrays) -> Arrays:
    """The same numbers in float64."""
    return {k: x.astype(np.float64) if is_float(x) else x for k, x in inputs.items()}


Widen = Callable[[Bounded, np.ndarray], np.ndarray]


def arbitrated(ours: Bounded, torch: np.ndarray, widened: Widen) -> tuple[Verdict, Any]:
    """The verdict on a result with its bound, and the error allowed: where it is exceeded, as the arbiter widens it."""
    verdict = judge(ours, torch)
    if verdict.agrees or verdict.problem or not np.isfinite(verdict.fraction):
        return verdict, ours.error
    error = widened(ours, torch)
    second = judge(Bounded(ours.value, error, ours.precision), torch)
    if second.agrees:
        return second._replace(rule=WITHIN_REFERENCE), error
    worst = np.unravel_index(verdict.flat, torch.shape)
    if np.abs(ours.value[worst] - torch[worst]) <= error[worst] + ours.precision.tiny:
        return second, error  # what was the worst lies within it
    return verdict._replace(beyond=second.beyond), error  # counted as the diagnosis and the pictures of it count


def unfollowed(
    ours: np.ndarray, torch: np.ndarray, allowed: Any, precision: Precision, widened: Widen | None = None
) -> tuple[Verdict, np.ndarray]:
    """The verdict on a result that has no bound, and the error that the two-precision tolerance allows.

    `allowed` is of torch's shape, or a number.
    """
    alike = ours.shape == torch.shape
    bounded = Bounded(ours, np.broadcast_to(allowed, torch.shape) if alike else np.zeros(ours.shape), precision)
    if widened is None or judge(bounded, torch).agrees:
        return judge(bounded, torch)._replace(rule=TWO_PRECISION), bounded.error
    verdict, error = arbitrated(bounded, torch, widened)
    return (verdict if verdict.agrees else verdict._replace(rule=TWO_PRECISION)), error


def tolerance(sides: Sides, inputs: Arrays) -> Arrays:
    """A tolerance per output, element by element, for code that has no rounding bound; float64, of torch's shape.

    It is taken of float32 beside float64. Where float32 does not hold the inputs, or the code, which waits for more
    digits, never ends in it, nothing is learnt there: then it is taken of float64 beside what is wider.
    """
    if not _held_by_float32(inputs):
        return _of_float64(sides, inputs)
    try:
        found, overflown = _of_float32(sides, inputs)
    except Endless:
        return _of_float64(sides, inputs)
    if any(map(np.any, overflown.values())):
        wide = _of_float64(sides, inputs)
        found = {name: np.where(overflown[name], wide[name], t) if name in wide else t for name, t in found.items()}
    return found


def _of_float64(sides: Sides, inputs: Arrays) -> Arrays:
    """The tolerances by what float64 rounds beside what is wider: M S, and the slices', as for float32."""
    found = wider.roundings(sides, in_double(inputs), DRAWS)
    return {name: np.maximum(MARGIN * s, of_slices(s)) for name, s in found.items()}


def beside_wider(sides: Sides, inputs: Arrays, name: str, found: Any) -> Any:
    """A tolerance, and at least what float64 rounds beside what is wider, where the code takes that.

    A derivation may keep float64 numbers of its own, which stay what they are beside inputs in float32.
    """
    if not all(x.dtype == np.float64 for x in inputs.values() if is_float(x)):
        return found
    try:
        wide = _of_float64(sides, inputs).get(name, found)
    except Exception as problem:
        swallowed(problem, "the derivation in a wider precision")
        return found
    return np.maximum(found, wide) if np.shape(wide) == np.shape(found) else found


def _held_by_float32(inputs: Arrays) -> bool:
    """Whether every number is 0 or a normal one in float32."""
    kind = np.finfo(np.float32)
    sizes = [np.abs(x) for x in inputs.values() if is_float(x)]
    return all(np.all((s == 0) | ((s >= kind.tiny) & (s <= kind.max))) for s in sizes)


def _of_float32(sides: Sides, inputs: Arrays) -> tuple[Arrays, Arrays]:
    """The tolerances, and where there is none because float32 does not hold the results. Endless for some code.

    Let S be what rounding does to an element in float32: the manual side's |float32 − float64|, plus torch's, plus one
    rounding of the element, and of all this the largest over 16 draws. Each side is compared with itself only, so
    nothing that is wrong in the manual code enlarges its own tolerance.

    A largest of 16 is luck. If the errors of the draws have exponential tails, which are heavier than those of any sum
    of roundings, the next one exceeds M times the largest of them with probability 1 / C(M + 16, 16): 4·10⁻¹³ for
    M = `MARGIN` = 32. In float32 the tolerance is M S. An element whose rounding is 0 on every draw may be rounded on
    the next: the tolerance is at least the smallest of the largest S in the slices that go through the element, one
    along each axis, so that neither a row nor a column of large numbers hides an error in small ones.

    In float64 two sides that compute the same function differ by about S / 2²⁹, and by S or more if they do not; the
    tolerance stands halfway between the two on a logarithmic scale, at S / 2^14.5, which needs no further margin. It is
    at least M / 2²⁹ of the largest S of the tensor, which is rounding in float64 of whatever numbers went into it.
    """
    in_float32 = all(x.dtype == np.float32 for x in inputs.values() if is_float(x))
    found: Arrays = {}
    for near in neighbours(inputs):
        for name, once in _roundings(sides, near).items():
            found[name] = np.fmax(found.get(name, np.nan), once)
    overflown = {name: ~np.isfinite(largest) for name, largest in found.items()}  # on every draw
    for name, largest in found.items():
        most = float(np.max(largest, where=np.isfinite(largest), initial=0))
        s = np.where(np.isfinite(largest), largest, most)
        sliced = np.maximum(s, of_slices(s))
        found[name] = (
            np.maximum(MARGIN * s, sliced)
            if in_float32
            else np.maximum(sliced / np.sqrt(UNIT_RATIO), MARGIN * most / UNIT_RATIO)
        )
    return found, {} if in_float32 else overflown


def _roundings(sides: Sides, near: Arrays) -> Arrays:
    """|float32 − float64| of both sides at one draw, per output; NaN where float32 does not hold a side's result."""
    double = in_double(near)
    parts: list[tuple[Arrays, Arrays]] = []
    found: Arrays = {}
    with np.errstate(all="ignore"):
        for side in (sides.torch, sides.manual):
            high, lines = counted(partial(side, double))
            parts.append((counted(partial(side, near), as_long_as(lines))[0], high))
        for name, y in parts[0][1].items():
            if not is_float(np.asarray(y)):
                continue
            total = Precision.of(np.float32).unit * np.abs(y)
            for low, high in parts:
                if name in low and np.shape(low[name]) == np.shape(high[name]) == np.shape(y):
                    total = total + np.abs(np.subtract(low[name], high[name], dtype=np.float64))
            held = np.isfinite(total) & (np.max(np.abs(y), initial=0) >= Precision.of(np.float32).tiny or not np.any(y))
            found[name] = np.where(held | ~np.isfinite(y), np.where(np.isfinite(total), total, 0.0), np.nan)
    return found


def of_slices(s: np.ndarray) -> Any:
    """The smallest, over the axes, of the largest of s at the same index of that axis; of one axis s itself."""
    if s.ndim < 2:
        return s
    others = [tuple(j for j in range(s.ndim) if j != i) for i in range(s.ndim)]
    return np.minimum.reduce(np.broadcast_arrays(*(s.max(axis=axes, keepdims=True, initial=0) for axes in others)))
