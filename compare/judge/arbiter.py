"""How far a bound must be widened because of rounding that it cannot know of: torch's, measured on torch alone.

Torch may use a worse-conditioned formula, and that is rounding too. How much that formula rounds is measured in float32
by the same numbers in float64, and in float64, which has no wider type, by random rounding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from handgrad.compare.foundation.debug import swallowed
from handgrad.compare.foundation.patience import Endless, as_long_as, counted
from handgrad.compare.foundation.torch_internals import DispatchMode
from handgrad.compare.judge.casts import in_full_precision
from handgrad.compare.judge.names import GRADS
from handgrad.compare.judge.sides import Arrays, Sides, is_float, is_large
from handgrad.compare.judge.torch_rounding import TorchRounding, in_default_float64
from handgrad.compare.judge.translated import on_bounds
from handgrad.compare.judge.two_precision import (
    DRAWS,
    MARGIN,
    UNIT_RATIO,
    in_double,
    in_single,
    neighbours,
    of_slices,
    tolerance,
)
from handgrad.compare.rounding.bounded import Bounded, NoRoundingRule, Precision

FEW = 4  # times what one rounding in float32 shows of an element
MANY_OPERATIONS = 200  # of torch in one evaluation, forward and back
MANY = 2**7  # of so many numbers moved at random none moves so many times further the next time


class Operations(DispatchMode):
    """Counts torch's operations."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        return func(*args, **(kwargs or {}))


class Arbiter:
    """Says how far a bound must be widened because of rounding that the bound cannot know of.

    Torch's is measured: torch is compared with itself only, so nothing that is wrong in the manual code can widen its
    own bound. Of the manual code's it is what plain numbers and arrays lose on their way out of `Bounded`'s sight.
    """

    def __init__(self, sides: Sides, inputs: Arrays) -> None:
        self.sides, self.inputs = sides, inputs

    @cached_property
    def as_it_is(self) -> Arrays:
        """Torch's results once more: those that are judged may come of a step that is not what it should be."""
        return self.sides.torch(self.inputs)

    @cached_property
    def tolerances(self) -> Arrays:
        """The two-precision tolerances of results that float32 can tell something of.

        They are taken at inputs that float32 holds. Where torch's result is another one there, by more than half of the
        digits of float32, or too small for it, they say nothing of this one; nor where one side does not run in it.
        """
        try:
            allowed = tolerance(self.sides, self.inputs)
            near = self.sides.torch(in_double(next(neighbours(self.inputs))))
        except (Exception, Endless) as error:
            swallowed(error, "the two-precision tolerance")
            return {}
        single, found = Precision.of(np.float32), {}
        for name, y in self.as_it_is.items():
            largest = _largest(y) if is_float(y) else 0.0
            apart = _largest(near[name] - y) if name in near and np.shape(near[name]) == np.shape(y) else np.inf
            if name in allowed and largest > single.tiny and apart <= np.sqrt(single.unit) * largest:
                found[name] = allowed[name]
        return found

    @cached_property
    def in_float64(self) -> Arrays:
        """Torch's results on the same numbers in float64."""
        return self.sides.torch(in_double(self.inputs))

    @cached_property
    def of_torch(self) -> TorchRounding:
        """What rounding does to torch's results in float64."""
        return TorchRounding(self.sides, in_double(self.inputs))

    def widened(self, name: str, ours: Bounded, torch: np.ndarray, followed: bool = True) -> np.ndarray:
        """The bound of the output `name`, widened, given both results; not `followed`, it is a tolerance.

        In float32 torch's rounding is the distance of its result from its float64 result on the same numbers: it
        is known, element by element, but for the rounding of the latter, about 2⁻²⁹ of it, for which 2^−14.5 is
        allowed, halfway on a logarithmic scale. In float64 it is measured by random rounding. To this is added how
        far torch's fused operations lie from their own parts, where that is rounding: where it is below 2^14.5
        roundings of the largest number on the way, or shrinks by as much from float32. A difference that is so far
        beyond what the first few random roundings allow is no rounding either, and then no more of them are made.
        What is the same as torch's but for a number that torch keeps in float32 is allowed to be. On large inputs and
        on trajectories one may be enough. None at all is made where an evaluation in float32 shows that much: rounding
        in float64 is 2²⁹ times smaller, and so much of it is allowed, `FEW` times, since one rounding is luck.
        """
        tiny = ours.precision.tiny
        with np.errstate(all="ignore"):
            here, difference = self.as_it_is[name], np.abs(ours.value - torch)
            own = np.zeros(ours.shape) if ours.error is None else np.asarray(ours.error)
            double = self.in_float64[name] if ours.precision.dtype == np.float32 else here
            far = self._is_beyond_float32(name, difference, double)
            bound = own if not followed or (far and self.is_costly) else self._of_manual(name, own)
            if ours.precision.dtype == np.float32:
                bound = bound + np.abs(here - double) * (1 + 1 / np.sqrt(UNIT_RATIO))
            if far:
                return np.asarray(bound + FEW * np.abs(self.in_float32[name] - double) / UNIT_RATIO)
            allowed = bound
            for draws in ((1,) if self.is_costly else ()) + (DRAWS // 4, DRAWS):
                noise = self._of_torch(name, double, draws)
                allowed = bound + noise
                if (difference > (allowed + tiny) * np.sqrt(UNIT_RATIO)).any():
                    break
                most = MANY * float(noise.max(initial=0)) if noise.size * draws >= MANY else np.inf
                if self.is_costly and (difference > bound + most + tiny).any():
                    break
            return self.kept_in_float32(name, Bounded(ours.value, allowed, ours.precision))

    def _is_beyond_float32(self, name: str, difference: np.ndarray, double: np.ndarray) -> bool:
        """Whether an element differs by 2^14.5 times what rounding in float32 does to any of torch's result."""
        single = self.in_float32.get(name)
        if single is None or single.shape != double.shape or not np.isfinite(single).all():
            return False
        rounding = _largest(single - double) + Precision.of(np.float32).unit * _largest(double)
        return bool((difference > rounding * np.sqrt(UNIT_RATIO)).any())

    @cached_property
    def is_costly(self) -> bool:
        """Whether random rounding takes long: on large inputs, on trajectories, of a reference of many operations."""
        return is_large(self.inputs) or GRADS in self.inputs or self._in_float32[1] > MANY_OPERATIONS

    @property
    def in_float32(self) -> Arrays:
        """Torch's results on the same numbers in float32; nothing where the reference does not run so."""
        return self._in_float32[0]

    @cached_property
    def _in_float32(self) -> tuple[Arrays, int]:
        """The same, and how many operations it took."""
        try:
            _, lines = counted(lambda: self.sides.torch(self.inputs))
            with Operations() as mode:
                found, _ = counted(lambda: self.sides.torch(in_single(self.inputs)), as_long_as(lines))
            return found, mode.count
        except (Exception, Endless) as error:
            swallowed(error, "the reference in float32")
            return {}, 0

    def kept_in_float32(self, name: str, ours: Bounded, torch: Any = None) -> np.ndarray:
        """The bound, and where the manual result is within it of torch's without its float32 numbers, these besides."""
        here, allowed = self.as_it_is[name], np.asarray(ours.error)
        if ours.precision.dtype == np.float64 and here.shape == ours.shape:
            with np.errstate(all="ignore"):
                for other in self._without_float32(name, here):
                    if (np.abs(ours.value - other) <= allowed + ours.precision.tiny).all():
                        return np.asarray(allowed + np.abs(here - other))
        return allowed

    def _of_manual(self, name: str, bound: np.ndarray) -> np.ndarray:
        """The bound itself, or where it is larger the one with constants that may have been computed out of sight."""
        wary = getattr(self.with_wary_constants.get(name), "error", None)
        return bound if wary is None or wary.shape != bound.shape else np.fmax(bound, wary)

    @cached_property
    def with_wary_constants(self) -> Arrays:
        """The manual results with their bounds where no plain number is trusted; nothing where the code has none."""
        dtype = next(x.dtype for x in self.inputs.values() if is_float(x))
        try:
            return on_bounds(self.sides, self.inputs, replace(Precision.of(dtype), wary=True))
        except Exception as error:
            if not isinstance(error, NoRoundingRule):
                swallowed(error, "the bound with wary constants")
            return {}

    def _without_float32(self, name: str, torch: np.ndarray) -> Iterator[np.ndarray]:
        """What torch gives where it does without numbers that it keeps in float32 although its tensors are float64.

        The reference's own, such as NAdam's product of momenta, are of the default dtype. Some kernels have constants
        of that precision, which torch's definition of the same operation has not: known by a distance of no more than a
        rounding in float32.
        """
        ways = [(self.in_default_float64, np.inf), (self.of_torch.in_parts, UNIT_RATIO * Precision.of(np.float64).unit)]
        for results, share in ways:
            other = results.get(name)
            if other is None or other.shape != torch.shape:
                continue
            if (np.abs(torch - other) <= share * self.of_torch.largest).all():
                yield other
        for results in self.in_full_precision:
            if (other := results.get(name)) is not None and other.shape == torch.shape:
                yield other

    @cached_property
    def in_full_precision(self) -> list[Arrays]:
        """Torch's results without what it keeps in a lower precision."""
        try:
            return list(in_full_precision(self.sides, self.inputs))
        except Exception as error:
            swallowed(error, "the reference in full precision")
            return []

    @cached_property
    def in_default_float64(self) -> Arrays:
        """Torch's results where float64 is its default dtype."""
        return in_default_float64(self.sides, self.inputs)

    def _of_torch(self, name: str, torch: np.ndarray, draws: int) -> np.ndarray:
        """What rounding does to torch's result, as so many random roundings show it."""
        self.of_torch.draw(draws)
        noise, in_parts = self.of_torch.noise.get(name), self.of_torch.in_parts.get(name)
        if noise is None or in_parts is None or noise.shape != torch.shape:
            return np.zeros(torch.shape)
        # a largest of a few is luck, and so is 0 beside others, as in two_precision.tolerance
        noise = np.maximum(MARGIN * noise, of_slices(noise))
        apart = np.abs(torch - in_parts)
        rounding = Precision.of(np.float64).unit * self.of_torch.largest
        if (apart > rounding * np.sqrt(UNIT_RATIO)).any():
            rounding = max(rounding, self.apart_in_float32.get(name, 0.0) / UNIT_RATIO)
        return noise + np.where(apart <= rounding * np.sqrt(UNIT_RATIO), apart, 0.0)

    @cached_property
    def apart_in_float32(self) -> dict[str, float]:
        """How far torch's fused operations lie from their parts in float32, per output."""
        in_parts = TorchRounding(self.sides, in_single(self.inputs), self.of_torch.most).in_parts
        whole = self.in_float32
        return {k: _largest(whole[k] - y) for k, y in in_parts.items() if k in whole and is_float(np.asarray(y))}


def _largest(x: Any) -> float:
    """The largest finite magnitude: float32 overflows where float64 does not, and that is not rounding."""
    magnitude = np.abs(x)
    return float(np.max(magnitude, where=np.isfinite(magnitude), initial=0))
