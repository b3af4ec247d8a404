"""The precision ladder: from float32 to float64 rounding shrinks by 2²⁹, and a wrong derivation does not.

It has two uses. Where the manual code uses something without a rounding rule it gives the tolerance. Where a
rounding bound is exceeded it is the arbiter: torch may use a worse-conditioned formula, and that is rounding
too; how much that formula rounds is measured on torch alone.
"""

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import numpy as np

from compare.judge.agreement import EXCUSED, LADDER, Verdict, judge
from compare.judge.sides import Arrays, Sides, bounded, is_float
from compare.rounding.bounded import Bounded, Precision

DRAWS = 16  # one draw's rounding is luck; the largest of several neighbours is the formula's
RUNG = 2.0**29  # u(float32) / u(float64)


def neighbours(inputs: Arrays, draws: int = DRAWS) -> Iterator[Arrays]:
    """float32 inputs a few units in the last place nearer to zero than the given ones, a different rounding each.

    Nearer to zero, so that a probability stays one.
    """
    rng = np.random.default_rng(0)
    for _ in range(draws):
        yield {
            name: x.astype(np.float32)
            if name == "target" and is_float(x)  # a target may have to stay what it is: 0 or 1, or a probability
            else (x * (1 - rng.integers(0, 17, np.shape(x)) * 2.0**-23)).astype(np.float32)
            if is_float(x)
            else x
            for name, x in inputs.items()
        }


def in_double(inputs: Arrays) -> Arrays:
    """The same numbers in float64."""
    return {k: x.astype(np.float64) if is_float(x) else x for k, x in inputs.items()}


class Arbiter:
    """Says how far a bound must be widened because torch's formula rounds more than the manual one.

    Torch is compared with itself only, so nothing that is wrong in the manual code can widen its own bound.
    """

    def __init__(self, sides: Sides, inputs: Arrays) -> None:
        self.sides, self.inputs = sides, inputs

    @cached_property
    def in_float64(self) -> Arrays:
        """Torch's results on the same numbers in float64."""
        return self.sides.torch(in_double(self.inputs))

    @cached_property
    def kappa(self) -> dict[str, float]:
        """κ of `conditioning`; none where the twin cannot run in float32, and then nothing is excused."""
        try:
            return conditioning(self.sides, self.inputs)
        except Exception:
            return {}

    @cached_property
    def tolerance(self) -> dict[str, float]:
        """The ladder's own tolerance; none, so zero, where the code cannot run in float32."""
        try:
            return tolerance(self.sides, self.inputs)
        except Exception:
            return {}

    @cached_property
    def unsteadiness(self) -> Arrays:
        """By how much torch's results change, element by element, where each input moves by one ulp or not at all.

        As in stochastic arithmetic (Vignes 1993; Parker 1997), inputs that one rounding may have left, with no
        precision changed, show what torch's formula makes of rounding on these very numbers.
        """
        rng = np.random.default_rng(0)
        try:
            here = self.sides.torch(self.inputs)
            largest = {name: np.zeros(np.shape(y)) for name, y in here.items() if is_float(np.asarray(y))}
            for _ in range(DRAWS):
                there = self.sides.torch({k: _one_ulp(v, k, rng) for k, v in self.inputs.items()})
                for name, most in largest.items():
                    with np.errstate(all="ignore"):
                        change = np.abs(np.subtract(there[name], here[name], dtype=np.float64))
                    np.maximum(most, np.where(np.isfinite(change), change, 0.0), out=most)
            return largest
        except Exception:
            return {}

    def widened(self, name: str, torch: np.ndarray, error: Any, precision: Precision) -> np.ndarray:
        """The bound of the output `name`, widened, given torch's result.

        In float32 torch's rounding is the distance of its result from its float64 result on the same numbers: it
        is known, element by element, but for the rounding of the latter, about 2⁻²⁹ of it, for which 2^−14.5 is
        allowed, halfway on a logarithmic scale. In float64 it can only be estimated, one rung down: as κ bounds;
        or, where the bound is below one rounding of torch's number, by the ladder's tolerance, since the manual
        side is then exact by its formula, as in the mean of one number, and no multiple of its bound says how
        torch rounds.
        What is below the smallest normal number of float32 the ladder cannot see. And where torch's formula rounds
        in float64 only, since one rung down its terms happen to cancel exactly, `unsteadiness` shows it.
        """
        bound = np.zeros(torch.shape) if error is None else np.asarray(error)
        with np.errstate(all="ignore"):
            if precision.dtype == np.float32:
                return bound + np.abs(torch - self.in_float64[name]) * (1 + 1 / np.sqrt(RUNG))
            wide = (1 + self.kappa.get(name, 0.0)) * bound + Precision.of(np.float32).tiny
            exact = bound < precision.unit * np.abs(torch)
        if exact.any():
            wide = np.where(exact, self.tolerance.get(name, 0.0), wide)
        noise = self.unsteadiness.get(name)
        if noise is None or noise.shape != wide.shape:
            return wide
        # Halfway, on a logarithmic scale, to the bound one rung down it is no rounding: the function jumps there.
        return wide + np.where(noise <= bound * np.sqrt(RUNG), noise, 0.0)


def _one_ulp(x: Any, name: str, rng: np.random.Generator) -> Any:
    """The input with each number, by chance, one ulp nearer to zero."""
    if not is_float(x) or name == "target":
        return x
    return np.where(rng.integers(0, 2, x.shape) == 1, np.nextafter(x, np.zeros_like(x)), x)


def arbitrated(
    ours: Bounded, torch: np.ndarray, widened: Callable[[], np.ndarray]
) -> tuple[Verdict, np.ndarray | None]:
    """The verdict on a result with its bound, and the error allowed: where it is exceeded, what the arbiter widens."""
    verdict = judge(ours, torch)
    if verdict.agrees or verdict.problem or not np.isfinite(verdict.fraction):
        return verdict, ours.error
    error = widened()
    second = judge(Bounded(ours.value, error, ours.precision), torch)
    return (second._replace(rule=EXCUSED) if second.agrees else verdict), error


def unfollowed(ours: np.ndarray, torch: np.ndarray, allowed: float, precision: Precision) -> tuple[Verdict, np.ndarray]:
    """The verdict on a result that has no bound, and the error that the ladder's tolerance allows."""
    error = np.full(ours.shape, allowed)
    return judge(Bounded(ours, error, precision), torch)._replace(rule=LADDER), error


def conditioning(sides: Sides, inputs: Arrays) -> dict[str, float]:
    """κ: by how many times the bound of the manual formula torch's own formula rounds, per output.

    Measured as |torch in float32 − torch in float64| over the float32 rounding bound, at neighbours of the
    inputs. With κ the difference between the sides may reach (1 + κ) bounds by rounding alone. Torch is
    compared with itself, so nothing that is wrong in the manual code can enlarge κ.
    """
    single = Precision.of(np.float32)
    kappa: dict[str, float] = {}
    for near in neighbours(inputs):
        low, high = sides.torch(near), sides.torch(in_double(near))
        bounds = sides.manual(bounded(near, single))
        for name, y in low.items():
            bound = bounds.get(name)
            if not isinstance(bound, Bounded) or bound.shape != np.shape(y):
                continue
            with np.errstate(all="ignore"):
                error = 0 if bound.error is None else bound.error
                ratio = np.abs(y - high[name]) / (error + single.tiny)
            finite = np.isfinite(ratio)  # float32 overflows where float64 does not; that is not rounding
            kappa[name] = max(kappa.get(name, 0.0), float(np.max(ratio, where=finite, initial=0)))
    return kappa


def tolerance(sides: Sides, inputs: Arrays) -> dict[str, float]:
    """A tolerance per output, for code that has no rounding bound.

    Let S be what rounding does in float32: the manual side's |float32 − float64|, plus torch's, plus one
    rounding of the largest element. In float32 two sides that compute the same function differ by at most S.
    In float64 they differ by about S / 2²⁹ if they do, and by S or more if they do not; the tolerance stands
    halfway between the two on a logarithmic scale, at S / 2^14.5. Each side is compared with itself only, so
    nothing that is wrong in the manual code enlarges its own tolerance.
    """
    in_float32 = all(x.dtype == np.float32 for x in inputs.values() if is_float(x))
    unit = Precision.of(np.float32).unit
    largest: dict[str, float] = {}
    for near in neighbours(inputs):
        double = in_double(near)
        reference = sides.torch(double)
        parts = [(sides.manual(near), sides.manual(double)), (sides.torch(near), reference)]
        for name, y in reference.items():
            if not is_float(np.asarray(y)):
                continue
            size = unit * _largest(y)
            for low, high in parts:
                if name in low:
                    size += _largest(np.asarray(low[name], np.float64) - high[name])
            largest[name] = max(largest.get(name, 0.0), size)
    return {name: s if in_float32 else s / np.sqrt(RUNG) for name, s in largest.items()}


def _largest(x: Any) -> float:
    """The largest finite magnitude: float32 overflows where float64 does not, and that is not rounding."""
    magnitude = np.abs(x)
    return float(np.max(magnitude, where=np.isfinite(magnitude), initial=0))
