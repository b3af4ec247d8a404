"""What went wrong, in words.

A cause is a statement about numbers: "if torch's derivation had this fault, it would give exactly what the manual
side gives". Each candidate array is made from torch's own quantities (candidates.py), multiplied by the named
constants, and compared to the manual result within that result's rounding bound, on every case at hand. A
cause is named only where this leaves nothing, so nothing is ever guessed.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple, TypeVar

import numpy as np

from handgrad.compare.diagnosis import noise
from handgrad.compare.diagnosis.candidates import candidates, fits
from handgrad.compare.diagnosis.causes import Candidate, Cause, Labelled, constants
from handgrad.compare.diagnosis.graph.proof import Explanation as Found
from handgrad.compare.diagnosis.graph.search import Clues, TheReference
from handgrad.compare.diagnosis.regions import near_one, region, region_name, single_element
from handgrad.compare.judge.case import Case
from handgrad.compare.judge.sides import Sides

FITTED = 20  # the complexity of a constant factor that has no name
PART = 5  # and of a cause that explains a part of the tensor only
ALSO = 4  # other names for the same numbers are listed up to so much more complexity
SIMPLE = 6  # torch's own result, zeros and ones
OBVIOUS = 10  # what needs no look at the reference's operations
AGREEING = 2  # agreeing draws that are looked at
# Some 20,000 slips are tried. Where the bound is more than 1 / 20,000 of the largest number, the chance that one of
# them comes that near to it is no longer small, and the other numbers of the tensor, mostly smaller, tell even less.
LOOSE = 2.0**-14.5
EARLY = "the search for a cause stopped early: the reference has many operations"
FEW = 3  # numbers that may fit another formula by chance


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


class Explanation(NamedTuple):
    """What explains a case: the residual as a fraction of the bound, and the fitted factor, from low to high."""

    complexity: int
    residual: float
    low: float = 1.0
    high: float = 1.0


Explanations = dict[tuple[str, ...], Explanation]
Source = Callable[[], list[Found]]
Candidates = Callable[[Sides, Case, Callable[[tuple[str, ...]], bool]], Iterator[Candidate]]
T = TypeVar("T")


def diagnose(
    sides: Sides, cases: Iterable[Case], agreeing: Sequence[Case] = (), clues: Clues | None = None
) -> Diagnosis:
    """Name the causes that explain the difference of one output on every one of the cases.

    All cases are of the same output; each holds the manual and the torch result and the bound of that case. A slip of
    the reference's own operations must also leave the agreeing ones as they are. The clues are what was found for other
    outputs of the same check.
    """
    cases = [case for case in cases if case.differs() or case.manual.dtype != case.torch.dtype]
    if not cases:
        return Diagnosis(())
    sure = noise.impurity(sides, cases[0]) or noise.widened(cases[0]) or noise.changed_in_place(sides, cases[0])
    if sure:
        return Diagnosis((Cause(sure, 0.0),))
    for side, arrays in (("torch's", [c.torch for c in cases]), ("the manual side's", [c.manual for c in cases])):
        lost = sum(int(np.count_nonzero(~np.isfinite(a))) for a in arrays)
        if lost:
            return Diagnosis((), facts=(f"{side} result is infinite or undefined in {lost:,} elements",))
    if all(_is_loose(case) for case in cases):
        loose = "the bound is too large a part of these numbers for a cause to be told from others"
        return Diagnosis((), pattern=region_name(cases[0]), facts=(ratio_facts(cases[0]), loose))
    single = single_element(cases)
    reference = cache(lambda: TheReference(sides, cases, agreeing[:AGREEING], clues))
    own = _guarded(lambda: reference().own())[: len(cases)] or [[]] * len(cases)
    sources: list[Source] = [lambda: _known(sides, cases, own)]
    if single is None:
        sources.append(lambda: _guarded(lambda: reference().one_slip()))
    found = _simplest(sides, cases, sources, own)
    if found is None and single is not None:
        return Diagnosis((Cause(single[0], 0.0),), pattern=single[1])
    if found is not None and found.named:
        return found
    lower = noise.lower_precision(sides, cases)
    if lower:
        return Diagnosis((Cause(lower, 0.0),))
    rest = [lambda: _guarded(lambda: reference().forward_slip()), lambda: _guarded(lambda: reference().two_slips())]
    for source in (*rest, lambda: _known(sides, cases, own, fits)):
        found = _simplest(sides, cases, [source], own)
        if found is not None:
            return found
    early = _guarded(lambda: [EARLY] if reference().stopped_early else [])
    return Diagnosis((), pattern=region_name(cases[0]), facts=(ratio_facts(cases[0]), *early))


def _is_loose(case: Case) -> bool:
    if case.manual.shape != case.torch.shape or case.torch.dtype != np.float64:
        return False
    largest = max(np.abs(case.torch).max(initial=0), np.abs(case.manual).max(initial=0))
    return bool(np.max(case.allowed, initial=0) > LOOSE * largest)


def _simplest(
    sides: Sides, cases: list[Case], sources: Sequence[Source], own: Sequence[list[Labelled]]
) -> Diagnosis | None:
    """The least complex explanation of the whole tensor, or of the part that differs; None where there is none."""
    theories: list[Found] = []
    for source in sources:
        # what changes the output is looked for all the same: its gradients may be of that function
        if min((t.complexity for t in theories), default=99) > OBVIOUS or cases[0].output == "output":
            theories += source()
    whole = _best(theories)
    if whole is not None and whole[0] <= FITTED + PART:
        return Diagnosis(whole[1])
    part = None
    regions = [region(case) for case in cases]
    if all(r is not None and r.orderly for r in regions):
        part = _best(_theories(_common(sides, cases, [r.mask for r in regions if r is not None], own)))
    if part is not None and (whole is None or part[0] + PART < whole[0]):
        return Diagnosis(part[1], " or ".join(sorted({r.name for r in regions if r is not None})))
    return Diagnosis(whole[1]) if whole is not None else None


def _known(sides: Sides, cases: list[Case], own: Sequence[list[Labelled]], of: Candidates = candidates) -> list[Found]:
    """Torch's own quantities, put together as in a known fault."""
    return _theories(_common(sides, cases, [None] * len(cases), own, of))


def _theories(found: Explanations) -> list[Found]:
    return [Found(e.complexity, _worded(names, e), e.residual) for names, e in found.items()]


def _guarded(look: Callable[[], list[T]]) -> list[T]:
    """What is found; nothing for a reference whose operations cannot be taken apart, which costs a name, not the
    check.
    """
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return look()
    except Exception:
        return []


def _best(theories: list[Found]) -> tuple[int, tuple[Cause, ...]] | None:
    """The least complex of the explanations, and others of about the same complexity as its alternatives."""
    if not theories:
        return None
    best, *others = sorted(theories, key=lambda t: t.complexity)
    also = dict.fromkeys(
        " and ".join(t.words)
        for t in others
        if t.complexity <= best.complexity + ALSO and len(t.words) <= len(best.words) and t.words != best.words
    )
    return best.complexity, tuple(Cause(word, best.residual, tuple(also)[:3]) for word in best.words)


def _worded(names: tuple[str, ...], e: Explanation) -> tuple[str, ...]:
    if names[-1:] != ("a constant factor",):
        return names
    return (*names[:-1], f"a constant factor of {near_one((e.low + e.high) / 2)}")


def _common(
    sides: Sides, cases: list[Case], masks: list[Any], own: Sequence[list[Labelled]], of: Candidates = candidates
) -> Explanations:
    """The explanations that hold in every case, with the largest complexity and residual."""
    common: Explanations | None = None
    numbers = sum(int(mask.sum()) if mask is not None else c.manual.size for c, mask in zip(cases, masks, strict=True))
    for case, mask, its in zip(cases, masks, own, strict=True):
        alive = None if common is None else set(common)
        here: Explanations = {}
        for names, e in _explanations(sides, case, mask, numbers, alive, its, of):
            if names not in here or e.complexity < here[names].complexity:
                here[names] = e
        if common is not None:
            both = {n: _both(e, here[n]) for n, e in common.items() if n in here}
            here = {n: joint for n, joint in both.items() if joint is not None}
        common = here
        if not common:
            return {}
    return common or {}


def _both(a: Explanation, b: Explanation) -> Explanation | None:
    """One explanation of two cases; None where a fitted factor is not the same."""
    low, high = max(a.low, b.low), min(a.high, b.high)
    if low > high:
        return None
    return Explanation(max(a.complexity, b.complexity), max(a.residual, b.residual), low, high)


def _explanations(
    sides: Sides,
    case: Case,
    mask: Any,
    numbers: int,
    alive: set[tuple[str, ...]] | None,
    own: list[Labelled],
    of: Candidates,
) -> Iterator[tuple[tuple[str, ...], Explanation]]:
    """Every candidate, times a constant, that gives the manual numbers. `alive` are the names still in question."""
    named = [*own, *constants(case)]

    def wanted(names: tuple[str, ...]) -> bool:
        return alive is None or any(n[: len(names)] == names for n in alive)

    for candidate in of(sides, case, wanted):
        if candidate.array.shape != case.manual.shape:
            continue
        if (mask is not None or numbers < FEW) and candidate.complexity > SIMPLE:
            return  # a part, or very few numbers, may look like another formula by chance
        if wanted(candidate.names):
            yield from _scaled(case, candidate, mask, named, numbers)


def _scaled(
    case: Case, candidate: Candidate, mask: Any, named: list[Labelled], numbers: int
) -> Iterator[tuple[tuple[str, ...], Explanation]]:
    """The candidate as it is, and times every constant that makes it the manual result."""
    m, s, allowed = case.manual, candidate.array, np.broadcast_to(case.allowed, case.manual.shape)
    if mask is not None:
        m, s, allowed = m[mask], s[mask], allowed[mask]
    size = np.abs(s)
    k = int(size.argmax())
    largest = float(size.flat[k])
    if largest == 0:
        if candidate.names and not np.abs(m).max(initial=0) > 0:
            yield candidate.names, Explanation(candidate.complexity, 0.0)
        return
    here, there, room = float(m.flat[k]), float(s.flat[k]), float(allowed.flat[k])
    for complexity, labels, value in (Labelled(0, (), 1.0), *named):
        if abs(here - value * there) > 1e-6 * abs(value * there) + room:
            continue
        residual = _residual(m, value * s, allowed, value)
        if residual <= 1 and (candidate.names or labels):
            yield (*candidate.names, *labels), Explanation(candidate.complexity + complexity, residual)
    ratio, spread = here / there, room / largest
    spread += 8 * float(np.finfo(m.dtype).eps) * abs(ratio)
    enough = numbers > 1 if mask is None else mask.sum() >= FEW
    if enough and 1e-12 < abs(ratio) < 1e12 and abs(ratio - 1) > spread:
        residual = _residual(m, ratio * s, allowed + spread * np.abs(s), ratio)
        if residual <= 1:
            found = Explanation(candidate.complexity + FITTED, residual, ratio - spread, ratio + spread)
            yield (*candidate.names, "a constant factor"), found


def _residual(m: np.ndarray, explained: np.ndarray, allowed: np.ndarray, factor: float) -> float:
    """The largest remaining difference as a fraction of the bound.

    The bound is that of the manual result; the candidate is torch's rounding times the factor, and a few
    operations of its own.
    """
    kind = np.finfo(m.dtype)
    room = allowed * max(1.0, abs(factor)) + 8 * kind.eps * np.abs(explained) + kind.tiny
    with np.errstate(all="ignore"):
        gap = np.abs(np.subtract(m, explained, dtype=np.float64)) / room
    gap = np.where(np.isfinite(gap), gap, np.inf)
    return float(gap.max(initial=0))


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
