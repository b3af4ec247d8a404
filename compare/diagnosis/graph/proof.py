"""A hypothesis worked out in full on every draw: it explains the difference only where the bound holds everywhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from handgrad.compare.diagnosis.cause import Explanation
from handgrad.compare.diagnosis.graph.draw import D, Draw
from handgrad.compare.diagnosis.graph.factors import FITTED, MISSING, NONE
from handgrad.compare.diagnosis.graph.hypothesis import FactoredEdit, Hypothesis
from handgrad.compare.diagnosis.graph.record.node import Edge, Replacement
from handgrad.compare.diagnosis.graph.sentences import of_a_factor, of_an_edit
from handgrad.compare.diagnosis.residual import gap
from handgrad.compare.judge.case import Case

SPARE = 3  # numbers that must be explained beyond those fitted


def residual(draws: Sequence[D], made: Callable[[D], np.ndarray | None]) -> float:
    """What an array leaves of the difference at worst, as a fraction of the bound; infinite where there is none."""
    worst = 0.0
    for draw in draws:
        numbers = made(draw)
        fits = numbers is not None and numbers.shape == draw.case.manual.shape and bool(np.isfinite(numbers).all())
        worst = max(worst, gap(draw.case, numbers)) if fits and numbers is not None else np.inf
        if not worst <= 1:
            return np.inf
    return worst


def prove(draws: Sequence[Draw], hypothesis: Hypothesis) -> Explanation | None:
    """Work the hypothesis out on every draw; None unless what is left is everywhere within the bound."""
    worst, numbers, low, high = 0.0, 0, -np.inf, np.inf
    for draw in draws:
        overall, made = draw.named.get(hypothesis.overall), _made(draw, hypothesis, 0.0)
        if made is None or overall is None:
            return None
        fitted, spread = None, 0.0
        if hypothesis.is_fitted:
            one = _made(draw, hypothesis, 1.0)
            if one is None or not (one != made).any():
                return None
            fitted = one - made
            factor, spread = _fit(draw.case, made, fitted)
            low, high = max(low, factor - spread), min(high, factor + spread)
            made = made + factor * fitted
        left = gap(draw.case, overall.value * made, max(1.0, abs(overall.value)), fitted, spread)
        if not (left <= 1 and low <= high):
            return None
        worst, numbers = max(worst, left), numbers + int(draw.case.where().sum())
    if numbers < SPARE + sum(edit.factor not in (NONE, MISSING) for edit in hypothesis.edits):
        return None
    causes = [of_an_edit(draws[0], e, (low + high) / 2, _either(draws[0], e), worst) for e in hypothesis.edits]
    if hypothesis.overall != NONE:
        causes.append(of_a_factor(draws[0].trace, hypothesis.overall, worst))
    return Explanation.of(hypothesis.complexity, causes, worst)


def _fit(case: Case, made: np.ndarray, fitted: np.ndarray) -> tuple[float, float]:
    """The factor of what is fitted, as the element that it moves most has it, and how far it may be off."""
    k = int(np.abs(fitted).argmax())
    factor = float((case.manual.flat[k] - made.flat[k]) / fitted.flat[k])
    allowed = float(np.broadcast_to(case.allowed, made.shape).flat[k])
    return factor, allowed / abs(float(fitted.flat[k])) + 1e-14 * abs(factor)


def _made(draw: Draw, hypothesis: Hypothesis, fitted: float) -> np.ndarray | None:
    """The gradient with the edits, and with this number for a factor that has no name; None where there is none."""
    wrong: dict[Edge, Replacement] = {}
    for part in hypothesis.edits:
        named = draw.named.get(part.factor)
        for edge, key in zip(part.edges, part.keys, strict=True):
            edit = draw.edit(edge, key)
            if edit is None or (named is None and part.factor != FITTED):
                return None
            wrong[edge] = edit.with_factor(fitted if named is None else named.value)
    return draw.result(wrong)


def _either(draw: Draw, part: FactoredEdit) -> bool:
    """Whether an edit at the other argument of the same operation would give the same numbers: the two are alike."""
    late, place, _ = part.edges[0]
    sources = draw.trace.nodes[late].sources()
    if not part.is_path or len(part.edges) > 1 or len(sources) != 2 or place < 0 or part.factor == FITTED:
        return False
    other = part._replace(edges=((late, 1 - place, sources[1 - place]),))
    first, second = (_made(draw, Hypothesis((p,)), 0.0) for p in (part, other))
    return first is not None and second is not None and np.allclose(first, second, 1e-10, 1e-12)
