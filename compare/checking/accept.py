"""Differences that a person accepts by name: another subgradient at a kink or a tie, and a factor by convention.

What is accepted is still compared and said, as a note.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from handgrad.compare.diagnosis.cause import Cause
from handgrad.compare.foundation.errors import UsageError
from handgrad.compare.judge.agreement import Verdict
from handgrad.compare.judge.case import Case

SUBGRADIENT, FACTOR, TIES = "subgradient at ", "factor ", "ties"
ANY = "subgradient"  # at any kink and any tie
UNDECIDED = "undecided"  # what was not decided is a note


class Accepted(NamedTuple):
    """What is accepted: subgradients by their names, and factors manual ÷ torch."""

    subgradients: frozenset[str] = frozenset()
    factors: tuple[float, ...] = ()
    undecided: bool = False


NOTHING = Accepted()


def accepted(names: str | Iterable[str]) -> Accepted:
    """What these names accept: "subgradient at 0", "subgradient at ties", "subgradient", "factor 1/2", "undecided".

    UsageError for any other name.
    """
    subgradients, factors, undecided = set(), [], False
    if not isinstance(names, Iterable):
        raise UsageError(f'accept must be a name or several, such as {{"subgradient at 0"}}, got {names!r}: give these')
    for name in [names] if isinstance(names, str) else names:
        if name == ANY or (isinstance(name, str) and name.startswith(SUBGRADIENT)):
            subgradients.add(name)
        elif isinstance(name, str) and (factor := _factor(name)) is not None:
            factors.append(factor)
        elif name == UNDECIDED:
            undecided = True
        else:
            raise UsageError(
                f'accept must name "subgradient at 0", "subgradient at {TIES}", "subgradient", "factor 1/2" '
                f'(manual ÷ torch) or "{UNDECIDED}", got {name!r}: take the name from the report'
            )
    return Accepted(frozenset(subgradients), tuple(factors), undecided)


def _factor(name: str) -> float | None:
    if not name.startswith(FACTOR):
        return None
    try:
        value = float(Fraction(name.removeprefix(FACTOR)))
    except (ValueError, ZeroDivisionError, OverflowError):
        return None
    return value or None


def subgradient_name(point: str) -> str:
    """The name under which another subgradient at a point, a number or TIES, is accepted."""
    return SUBGRADIENT + point


def as_convention(verdict: Verdict, case: Case, causes: Sequence[Cause], allow: Accepted) -> tuple[Verdict, str] | None:
    """The verdict on what is left, and the note, where every cause is an accepted subgradient, or None."""
    given = {cause.constant for cause in causes}
    if not causes or not all(name and (name in allow.subgradients or ANY in allow.subgradients) for name in given):
        return None
    with np.errstate(all="ignore"):
        used = np.where(case.where(), 0, np.abs(case.manual - case.torch) / case.allowed)
    left = verdict._replace(agrees=True, beyond=0, fraction=float(np.nanmax(used, initial=0)))
    return left, f"accepted, {', '.join(sorted(given))}: {'; '.join(cause.phrase for cause in causes)}"


def as_factor(verdicts: Sequence[tuple[Verdict, Case | None]], allow: Accepted) -> tuple[Verdict, str] | None:
    """The verdict and the note where the manual numbers are an accepted multiple of torch's on every draw."""
    for factor in allow.factors:
        found = [_times(verdict, case, factor) for verdict, case in verdicts if case is not None]
        if len(found) == len(verdicts) and all(v is not None and v.agrees for v in found):
            worst = max((v for v in found if v is not None), key=lambda v: v.fraction)
            return worst, f"accepted: it is {Fraction(factor).limit_denominator(10**6)} times torch's"
    return None


def _times(verdict: Verdict, case: Case, factor: float) -> Verdict | None:
    """The verdict on the manual numbers beside so many times torch's, whose product rounds once more."""
    if case.manual.shape != case.torch.shape:
        return None
    theirs = case.torch * factor
    with np.errstate(all="ignore"):
        allowed = case.allowed + 2 * np.finfo(case.torch.dtype).eps * np.abs(theirs)
        used = np.where(case.manual == theirs, 0, np.abs(case.manual - theirs) / allowed)
        furthest = float(np.max(np.abs(case.manual - theirs), initial=0))
    fraction = float(np.max(np.where(np.isnan(used), np.inf, used), initial=0))
    return verdict._replace(
        agrees=fraction <= 1, fraction=fraction, largest_difference=furthest, beyond=int((used > 1).sum())
    )
