"""Which hypotheses about a whole result explain every case, as they are or times a factor."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from handgrad.compare.diagnosis.cause import Cause, Explanation
from handgrad.compare.diagnosis.regions import near_one
from handgrad.compare.diagnosis.residual import gap
from handgrad.compare.diagnosis.whole.factors import Labelled
from handgrad.compare.diagnosis.whole.hypothesis import Hypothesis
from handgrad.compare.judge.case import Case

FITTED = 20  # the complexity of a constant factor that has no name
FEW = 3  # numbers that may fit another formula by chance
SIMPLE = 6  # the reference's own result, zeros and ones: all that so few numbers can tell
NONE = Labelled(0, (), 1.0)


class Fit(NamedTuple):
    """A hypothesis made on one case, and the factors, from low to high, that give the manual numbers at its largest."""

    case: Case
    made: np.ndarray
    low: float
    high: float

    @property
    def spread(self) -> float:
        """How well the factor is known."""
        return (self.high - self.low) / 2


def explanations(
    cases: Sequence[Case],
    hypotheses: Iterable[Hypothesis],
    named: Sequence[Sequence[Labelled]],
    fitted: bool = True,
) -> list[Explanation]:
    """The hypotheses, each times every factor, that hold in every case; `named` are the factors of each case.

    `fitted` allows a factor that has no name.
    """
    few = sum(case.manual.size for case in cases) < FEW
    by_name = [{factor.names: factor for factor in reversed([NONE, *factors])} for factors in named]
    return [
        explanation
        for hypothesis in hypotheses
        if not (few and hypothesis.complexity > SIMPLE)
        for explanation in _explained(cases, hypothesis, by_name, fitted)
    ]


def _explained(
    cases: Sequence[Case], hypothesis: Hypothesis, named: Sequence[dict[tuple[str, ...], Labelled]], fitted: bool
) -> Iterator[Explanation]:
    fits: list[Fit] = []
    for case in cases:
        with np.errstate(all="ignore"):
            made = hypothesis.made(case)
            fit = None if made is None or made.shape != case.manual.shape else _fit(case, made)
        if fit is None:
            return
        fits.append(fit)
    first = [] if hypothesis.cause is None else [hypothesis.cause]
    for names in reversed(named[0]):
        factors = [known.get(names) for known in named]
        residual = max(_left(fit, factor) for fit, factor in zip(fits, factors, strict=True))
        causes = [*first, *(Cause("factor", name, constant=name) for name in names)]
        if residual <= 1 and causes:
            worst = max(factor.complexity for factor in factors if factor is not None)
            yield _explanation(hypothesis.complexity + worst, causes, residual)
    low, high = max(f.low for f in fits), min(f.high for f in fits)
    factor = (low + high) / 2
    sensible = low <= high and 1e-12 < abs(factor) < 1e12 and not low <= 1 <= high
    if fitted and sensible and sum(case.manual.size for case in cases) > 1:
        residual = max(_left(fit, Labelled(FITTED, (), factor), fit.spread) for fit in fits)
        if residual <= 1:
            value = near_one(factor)
            causes = [*first, Cause("fitted factor", f"a constant factor of {value}", constant=value)]
            yield _explanation(hypothesis.complexity + FITTED, causes, residual)


def _fit(case: Case, made: np.ndarray) -> Fit | None:
    """None where no factor gives the manual numbers."""
    if not np.isfinite(made).all():
        return None
    k = int(np.abs(made).argmax()) if made.size else 0
    largest = abs(float(made.flat[k])) if made.size else 0.0
    if largest == 0:
        return Fit(case, made, -np.inf, np.inf) if not np.abs(case.manual).max(initial=0) > 0 else None
    factor = float(case.manual.flat[k] / made.flat[k])
    spread = float(np.broadcast_to(case.allowed, made.shape).flat[k]) / largest
    spread += 8 * float(np.finfo(case.manual.dtype).eps) * abs(factor)
    if not np.isfinite(factor) or gap(case, factor * made, factor, made, spread) > 1:
        return None
    return Fit(case, made, factor - spread, factor + spread)


def _left(fit: Fit, factor: Labelled | None, spread: float = 0.0) -> float:
    """What the factor leaves of the difference; infinite where the case has no such factor."""
    if factor is None or not np.isfinite(fit.low):
        return np.inf if factor is None or factor.names else 0.0
    return gap(fit.case, factor.value * fit.made, factor.value, fit.made if spread else None, spread)


def _explanation(complexity: int, causes: list[Cause], residual: float) -> Explanation:
    return Explanation(complexity, tuple(replace(cause, residual=residual) for cause in causes))
