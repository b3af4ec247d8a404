"""What went wrong, in words.

A cause is a statement about numbers: "if torch's derivation had this fault, it would give exactly what the manual
side gives". Each candidate array is made from torch's own quantities (compare/causes.py), multiplied by the named
constants, and compared to the manual result within that result's rounding bound, on every case at hand. A
cause is named only where this leaves nothing, so nothing is ever guessed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from compare import causes
from compare.causes import Case, Cause, Labelled
from compare.sides import Sides


@dataclass(frozen=True)
class Diagnosis:
    """The named causes of one tensor's difference, and where it is."""

    causes: tuple[Cause, ...]
    pattern: str = ""
    facts: tuple[str, ...] = field(default=())

    @property
    def named(self) -> bool:
        """Whether a cause was found."""
        return bool(self.causes)

    def lines(self) -> list[str]:
        """For the report."""
        out = [f"cause: {c}" for c in self.causes]
        others = dict.fromkeys(name for c in self.causes for name in c.alternatives)
        if others:
            out.append("       the same numbers also come from: " + "; ".join(others))
        if self.pattern:
            out.append(f"where: {self.pattern}")
        if not self.causes:
            out.append("cause: none of the known ones makes these numbers")
        return [*out, *self.facts]


def diagnose(sides: Sides, cases: Iterable[Case]) -> Diagnosis:
    """Name the causes that explain the difference of one output on every one of the cases.

    All cases are of the same output; each holds the manual and the torch result and the bound of that case.
    """
    cases = [case for case in cases if case.differs()]
    if not cases:
        return Diagnosis(())
    impure = causes.impurity(sides, cases[0])
    if impure:
        return Diagnosis((Cause(impure, 0.0),))
    for level in (whole_tensor, parts_of_tensor):
        found = level(sides, cases)
        if found is not None:
            return found
    if causes.is_rounding_noise(sides, cases[0]):
        return Diagnosis((Cause(causes.precision_name(sides, cases[0]), 0.0),))
    return Diagnosis((), pattern=causes.region_name(cases[0]), facts=(ratio_facts(cases[0]),))


def whole_tensor(sides: Sides, cases: list[Case]) -> Diagnosis | None:
    """A cause that explains every element."""
    explanations = _common(_explanations(sides, case) for case in cases)
    return _simplest(explanations)


def parts_of_tensor(sides: Sides, cases: list[Case]) -> Diagnosis | None:
    """A cause that explains the elements that differ, where others agree."""
    if any(case.manual.shape != case.torch.shape for case in cases):
        return None
    regions = [found for found in map(causes.region, cases) if found is not None]
    if len(regions) < len(cases):
        return None
    explanations = _common(_explanations(sides, case, mask) for case, (_, mask) in zip(cases, regions, strict=True))
    found = _simplest(explanations)
    names = sorted({name for name, _ in regions})
    if found is None:
        if not all(mask.sum() == 1 for _, mask in regions):
            return None
        factors = {
            f"{case.manual[mask][0] / case.torch[mask][0]:.12g}" for case, (_, mask) in zip(cases, regions, strict=True)
        }
        text = f"a single element is off: manual is {' or '.join(sorted(factors))} times torch"
        return Diagnosis((Cause(text, 0.0),), pattern=" or ".join(names))
    return Diagnosis(found.causes, " or ".join(names))


def _explanations(sides: Sides, case: Case, mask: Any = None) -> Iterator[tuple[int, str, float]]:
    """(complexity, name, residual) of every candidate that gives the manual numbers."""
    for complexity, name, candidate in causes.candidates(sides, case):
        if candidate.shape != case.manual.shape:
            continue
        for extra, label, residual in _scaled(case, candidate, mask):
            if name or label:
                yield complexity + extra, " and ".join(part for part in (name, label) if part), residual


def _scaled(case: Case, candidate: np.ndarray, mask: Any) -> Iterator[tuple[int, str, float]]:
    """The candidate as it is, and times every named constant that makes it the manual result."""
    m, s, allowed = case.manual, candidate, case.allowed
    if mask is not None:
        m, s, allowed = m[mask], s[mask], np.broadcast_to(allowed, case.manual.shape)[mask]
    largest = np.abs(s).max(initial=0)
    if largest == 0:
        if np.abs(m).max(initial=0) == 0:
            yield 0, "", 0.0
        return
    k = int(np.abs(s).argmax())
    ratio = m.flat[k] / s.flat[k]
    for complexity, label, value in (Labelled(0, "", 1.0), *case.constants):
        if abs(ratio / value - 1) > 1e-6 and abs(m.flat[k] - value * s.flat[k]) > allowed.flat[k]:
            continue
        residual = _residual(m, value * s, allowed, value)
        if residual <= 1:
            yield complexity, label, residual
    spread = allowed.flat[k] / largest
    if m.size > 1 and np.isfinite(ratio) and 1e-12 < abs(ratio) < 1e12 and abs(ratio - 1) > spread:
        residual = _residual(m, ratio * s, allowed + spread * np.abs(s), ratio)
        if residual <= 1:
            yield 20, f"a constant factor of {ratio:.6g}", residual


def _residual(m: np.ndarray, explained: np.ndarray, allowed: np.ndarray, factor: float) -> float:
    """The largest remaining difference as a fraction of the bound.

    The bound is that of the manual result; the candidate is torch's rounding times the factor, and a few
    operations of its own.
    """
    unit = np.finfo(np.float64).eps if m.dtype == np.float64 else np.finfo(m.dtype).eps
    room = allowed * max(1.0, abs(factor)) + 8 * unit * np.abs(explained) + np.finfo(m.dtype).tiny
    with np.errstate(all="ignore"):
        gap = np.abs(np.subtract(m, explained, dtype=np.float64)) / room
    gap = np.where(np.isfinite(gap), gap, np.inf)
    return float(gap.max(initial=0))


def _common(per_case: Iterable[Iterator[tuple[int, str, float]]]) -> dict[str, tuple[int, float]]:
    """The explanations that hold in every case, with the largest complexity and residual."""
    common: dict[str, tuple[int, float]] | None = None
    for found in per_case:
        here: dict[str, tuple[int, float]] = {}
        for complexity, name, residual in found:
            if name not in here or complexity < here[name][0]:
                here[name] = (complexity, residual)
        if common is None:
            common = here
        else:
            common = {
                name: (max(c, here[name][0]), max(r, here[name][1])) for name, (c, r) in common.items() if name in here
            }
        if not common:
            return {}
    return common or {}


def _simplest(explanations: dict[str, tuple[int, float]]) -> Diagnosis | None:
    """The least complex explanation; others of its kind give the same numbers."""
    if not explanations:
        return None
    least = min(complexity for complexity, _ in explanations.values())
    first, *others = [name for name, (complexity, _) in explanations.items() if complexity == least]
    residual = explanations[first][1]
    return Diagnosis(tuple(Cause(part, residual, tuple(others)) for part in first.split(" and ")))


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
