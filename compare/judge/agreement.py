"""Two tensors side by side: do they agree, and if not, where and by how much."""

import math
from typing import Any, NamedTuple

import numpy as np

from handgrad.compare.rounding.bounded import Bounded

# Which rule gave the tolerance.
EXACT, BOUND, TWO_PRECISION, WITHIN_REFERENCE = (
    "exact draw",
    "rounding bound",
    "two-precision tolerance",
    "within the reference's own rounding",
)


BLOCK = 1 << 14  # elements of a large tensor that are looked at together

# What is allowed where there is no bound at all: the smallest normal number, or in float64 a few of them added up.
NO_BOUND = {0.0, *(float(np.finfo(t).tiny) for t in (np.float16, np.float32))}
FEW_UNDERFLOWS = 2.0**-1000


class Verdict(NamedTuple):
    """One tensor of one stage, judged element by element."""

    agrees: bool
    fraction: float  # the largest |Δ| / allowed; NaN where only one side is finite
    flat: int  # the position of that element in the flattened tensor
    manual: float
    torch: float
    allowed: float
    largest_difference: float
    looseness: float  # the largest tolerance ÷ the largest magnitude of the tensor
    beyond: int  # the number of elements that differ by more than allowed
    shape: tuple[int, ...]
    problem: str = ""  # shape or dtype, where these already differ
    rule: str = BOUND
    unseen: int = 0  # the number of elements that are NaN or ∞ on both sides, of which no number is compared

    @property
    def at(self) -> tuple[int, ...]:
        """The index of the worst element; empty where no element was looked at."""
        return index(self.flat, self.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def vacuous(self) -> bool:
        """The tolerance is as large as the tensor, so that agreement says nothing."""
        return self.looseness >= 1

    @property
    def no_rounding(self) -> bool:
        """Nothing is allowed but underflow, because nothing rounds there: a bound that is only small is a bound."""
        return self.allowed in NO_BOUND or self.allowed < FEW_UNDERFLOWS

    def describe(self, where: str = "") -> str:
        """One line for a disagreement: index, both values, difference, allowed; `where` it differs, or how often."""
        if self.problem:
            return self.problem
        allowed = "0" if self.no_rounding else f"{self.allowed:.3g}"
        place = f"[{', '.join(map(str, self.at))}] " if self.at else ""
        return (
            f"{place}manual {self.manual!r}, torch {self.torch!r}, "
            f"|Δ| {abs(self.manual - self.torch):.3g}, allowed {allowed} ({self.rule}); "
            f"differs in {where or f'{self.beyond:,} of {self.size:,} elements'}"
        )


# The position of the element with the largest fraction, |Δ| there, and what is allowed.
Worst = tuple[int, float, float]


def index(flat: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The index of a position in the flattened tensor; empty for −1, none."""
    return () if flat < 0 else tuple(int(i) for i in np.unravel_index(flat, shape))


def mismatched(problem: str, size: int) -> Verdict:
    """The verdict on tensors whose shapes or dtypes differ: no value is looked at, nothing is broadcast."""
    return Verdict(False, np.inf, -1, np.nan, np.nan, 0, np.inf, 0, size, (size,), problem)


def judge(manual: Bounded | np.ndarray, torch: np.ndarray) -> Verdict:
    """Compare the manual side's result, with its bound, to torch's. A plain array has the bound zero.

    A difference below the smallest normal number is underflow and agrees.
    """
    value, error, tiny = (
        (manual.value, manual.error, manual.precision.tiny)
        if isinstance(manual, Bounded)
        else (manual, None, float(np.finfo(torch.dtype).tiny))
    )
    if value.shape != torch.shape:
        return mismatched(f"shape {value.shape} beside torch's {torch.shape}", torch.size)
    if value.dtype != torch.dtype:
        return mismatched(f"dtype {value.dtype} beside torch's {torch.dtype}", torch.size)
    if torch.size == 0:
        return Verdict(True, 0, -1, np.nan, np.nan, 0, 0, 0, 0, torch.shape)
    if error is None and np.array_equal(value, torch):
        both = float(torch.flat[0])
        return Verdict(True, 0, 0, both, both, 0, 0, 0, 0, torch.shape)
    if error is not None and torch.size > BLOCK and (verdict := _agreeing(value, error, torch, tiny)) is not None:
        return verdict
    with np.errstate(all="ignore"):
        difference = np.asarray(np.subtract(value, torch, dtype=np.float64))
        np.abs(difference, out=difference)
        allowed = tiny if error is None else error + tiny
        ratio = np.asarray(difference / allowed)
        flat = int(ratio.argmax())  # NaN counts as the largest
        fraction, unseen = float(ratio.flat[flat]), 0
        if not fraction <= 1:  # not `> 1`, which NaN would pass
            # ∞ beside ∞, NaN beside NaN; after an overflow either may come of the other, but no finite number
            same = (value == torch) | (np.isnan(value) & np.isnan(torch))
            same |= np.isinf(allowed) & ~np.isfinite(value) & ~np.isfinite(torch)
            nowhere = same & ~np.isfinite(torch)
            unseen = int(np.count_nonzero(nowhere))
            allowed = np.where(nowhere, tiny, allowed)
            ratio = np.where(same, 0, np.where(np.isnan(ratio), np.inf, ratio))
            difference = np.where(same, 0, difference)
            flat = int(ratio.argmax())
            fraction = float(ratio.flat[flat])
        magnitude = max(float(torch.max()), -float(torch.min()))
        largest_allowed = float(allowed.max()) if isinstance(allowed, np.ndarray) else float(allowed)
    agrees = fraction <= 1
    return Verdict(
        agrees=agrees,
        fraction=fraction,
        flat=flat,
        manual=float(value.flat[flat]),
        torch=float(torch.flat[flat]),
        allowed=float(allowed.flat[flat]) if isinstance(allowed, np.ndarray) else float(allowed),
        largest_difference=float(difference.max()),
        looseness=looseness(largest_allowed, magnitude, tiny),
        beyond=0 if agrees else int(np.count_nonzero(ratio > 1)),
        shape=torch.shape,
        unseen=unseen,
    )


@np.errstate(all="ignore")
def _agreeing(value: np.ndarray, error: Any, torch: np.ndarray, tiny: float) -> Verdict | None:
    """The verdict of `judge` on a large tensor where every element plainly agrees, and None where one may not.

    Block by block, so that what is made on the way stays in the cache and takes no memory to speak of.
    """
    flat_value, flat_error, flat_torch = value.ravel(), error.ravel(), torch.ravel()
    fraction, at, furthest, loosest, magnitude = -1.0, 0, 0.0, 0.0, 0.0
    for start in range(0, torch.size, BLOCK):
        here = slice(start, start + BLOCK)
        difference = np.subtract(flat_value[here], flat_torch[here], dtype=np.float64)
        np.abs(difference, out=difference)
        furthest = max(furthest, float(difference.max()))
        allowed = flat_error[here] + tiny
        loosest = max(loosest, float(allowed.max()))
        difference /= allowed
        worst = int(difference.argmax())  # NaN counts as the largest
        if not difference[worst] <= 1:
            return None
        if difference[worst] > fraction:
            fraction, at = float(difference[worst]), start + worst
        magnitude = max(magnitude, float(flat_torch[here].max()), -float(flat_torch[here].min()))
    return Verdict(
        True, fraction, at, float(flat_value[at]), float(flat_torch[at]), float(flat_error[at] + tiny), furthest,
        looseness(loosest, magnitude, tiny), 0, torch.shape,
    )  # fmt: skip


def looseness(largest_allowed: float, magnitude: float, tiny: float) -> float:
    """Tolerance over signal; 0 where the tolerance is underflow alone, whatever the signal."""
    if largest_allowed == math.inf:
        return np.inf
    if largest_allowed <= 2 * tiny or not math.isfinite(magnitude):
        return 0.0
    return largest_allowed / magnitude if magnitude > 0 else np.inf
