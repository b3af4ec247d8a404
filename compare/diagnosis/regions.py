"""Where a tensor differs, in words and as a mask."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from handgrad.compare.diagnosis.cause import Cause
from handgrad.compare.judge.case import Case

SINGLE = "single element"


class Region(NamedTuple):
    """A part of a tensor. An orderly one is described without looking at which elements differ one by one."""

    name: str
    mask: np.ndarray
    orderly: bool = True

    @property
    def single(self) -> bool:
        """Whether it is one element."""
        return bool(self.mask.sum() == 1)

    def of(self, case: Case) -> Case:
        """The case with the numbers of this part alone."""
        allowed = np.broadcast_to(case.allowed, self.mask.shape)[self.mask]
        fits = case.previous is not None and case.previous.shape == self.mask.shape
        previous = case.previous[self.mask] if fits and case.previous is not None else None
        manual, torch = case.manual[self.mask], case.torch[self.mask]
        return replace(case, manual=manual, torch=torch, allowed=allowed, previous=previous)


def region(case: Case) -> Region | None:
    """The part of the tensor that differs; None where that is all of it, or nothing."""
    if case.manual.shape != case.torch.shape:
        return None
    mask = case.where()
    if mask.all() or not mask.any():
        return None
    if mask.sum() == 1:
        (index,) = np.argwhere(mask)
        return Region(f"only element [{', '.join(map(str, index))}]", mask)
    for axis in range(mask.ndim):
        others = tuple(a for a in range(mask.ndim) if a != axis)
        touched = np.flatnonzero(mask.any(axis=others))
        if others and len(touched) == 1:
            whole = np.zeros_like(mask)
            whole[(slice(None),) * axis + (touched[0],)] = True
            return Region(f"only index {touched[0]} of axis {axis}", whole)
    for axis in range(mask.ndim):
        others = tuple(a for a in range(mask.ndim) if a != axis)
        touched = np.flatnonzero(mask.any(axis=others))
        first, last = int(touched[0]), int(touched[-1])
        if (
            others
            and 1 < len(touched) == last - first + 1 < mask.shape[axis]
            and 2 * mask.sum() > len(touched) * mask.size // mask.shape[axis]
        ):
            whole = np.zeros_like(mask)
            whole[(slice(None),) * axis + (slice(first, last + 1),)] = True
            return Region(f"only indices {first} to {last} of axis {axis}", whole)
    for name, label in (("x", "z"), ("output", "ŷ"), ("dy", "δ")):
        z = case.inputs.get(name)
        if isinstance(z, np.ndarray) and z.shape == mask.shape:
            for words, where in ((">", z > 0), ("<", z < 0), ("=", z == 0)):
                if not (mask & ~where).any() and mask.sum() * 2 > where.sum():
                    return Region(f"only where {label} {words} 0", where)
    return Region(f"in {int(mask.sum()):,} of {mask.size:,} elements", mask, orderly=False)


def region_name(case: Case) -> str:
    """The words of `region`."""
    found = region(case)
    return found.name if found else "everywhere"


def single_element(cases: list[Case]) -> Cause | None:
    """The same single element of every case, which alone differs; None where there is none."""
    regions = [r for case in cases if (r := region(case)) is not None and r.single]
    if not regions or len(regions) < len(cases) or len({tuple(np.argwhere(r.mask)[0]) for r in regions}) > 1:
        return None
    factors = set()
    for case, r in zip(cases, regions, strict=True):
        m, t = float(case.manual[r.mask][0]), float(case.torch[r.mask][0])
        factors.add(near_one(m / t) if t else f"{m:.6g} beside 0")
    where, one = regions[0].name, "a single element is off"
    if len(factors) == 1:
        factor = factors.pop()
        return Cause(SINGLE, f"{one}: manual is {factor} times torch", where, factor)
    return Cause(SINGLE, f"{one}, not always by the same factor", where)


def near_one(factor: float) -> str:
    """A factor, by what it has more than 1 where that is little."""
    more = factor - 1
    return f"{factor:.6g}" if abs(more) > 1e-2 else f"(1 {'+' if more > 0 else '−'} {abs(more):.2g})"


def ratio_facts(case: Case) -> str:
    """How the ratio manual / torch is distributed."""
    if case.manual.shape != case.torch.shape:
        return f"the shapes differ: manual {case.manual.shape}, torch {case.torch.shape}"
    with np.errstate(all="ignore"):
        ratio = (case.manual / case.torch)[np.asarray(case.torch != 0)]
    ratio = ratio[np.isfinite(ratio)]
    if ratio.size == 0:
        return "torch's result is zero throughout"
    low, quarter, middle, three, high = np.quantile(ratio, (0, 0.25, 0.5, 0.75, 1))
    return (
        f"ratio manual / torch: smallest {low:.4g}, quartiles {quarter:.4g}, {middle:.4g}, {three:.4g}, "
        f"largest {high:.4g} over {ratio.size:,} elements"
    )
