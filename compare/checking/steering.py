"""Draws that take the sides of comparisons and branches that no other draw takes, found by a search.

What is compared may be computed: a norm, a sum, a size. So inputs are scaled, shifted, zeroed and resized, and what
reaches a new side is kept, where torch has a finite answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np

from handgrad.compare.checking.beyond import on_both_sides
from handgrad.compare.checking.coverage import Coverage, Trial
from handgrad.compare.checking.draws import Draw, Drawn, Kind
from handgrad.compare.foundation.debug import swallowed
from handgrad.compare.judge.seen import ABOVE, BELOW, FALSE, FIRST, INSIDE, NEGATIVE, POSITIVE, SECOND, TRUE, Side
from handgrad.compare.judge.sides import Arrays, Sides, is_float, is_large

MANY, FEW = 120, 24  # trials, and those of large inputs
MOST = 4  # draws that are added
STEPS = (1, -1, 2, -2, 3, -3, 4, -4, 6, -6, -8, -10, -12, -14)  # powers of 10 by which inputs are scaled

Change = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Freedom:
    """What of a draw may be changed.

    free     the inputs whose numbers are ours to choose
    resized  each makes a draw of other sizes
    """

    free: Sequence[str] = ()
    resized: Sequence[Callable[[], Arrays]] = ()


def steered(sides: Sides, drawn: Sequence[Draw], notes: tuple[str, ...], freedom: Freedom) -> Drawn:
    """The draws, more of them that reach what these do not, and what is reached by none."""
    coverage = Coverage(sides)
    for draw in drawn:
        trial = coverage.trial(draw.arrays, draw.kind is Kind.KINKS)
        # numbers that nobody asked for show nothing where torch has no answer
        if trial.run.is_defined or draw.kind in (Kind.PLAIN, Kind.OTHER_BATCH):
            coverage.adopt(trial)
    coverage.limit()
    coverage.probe(drawn[0].arrays)
    base = drawn[0].arrays
    search = _Search(coverage, base, freedom, FEW if is_large(base) else MANY)
    return Drawn(sides, [*drawn, *search.found()], notes, coverage.gaps(searched=bool(freedom.free)))


@dataclass
class _Search:
    coverage: Coverage
    base: Arrays
    freedom: Freedom
    left: int  # trials that may still be made: not seconds, so that no verdict depends on the machine

    def found(self) -> list[Draw]:
        """The draws that are to be added; those of guards stand alone."""
        draws: list[Draw] = []
        for kind in (Kind.STEERED, Kind.GUARD, Kind.STEERED):  # again, for what lies behind the branches taken first
            draws += self._of(kind, MOST - len(draws))
        return draws

    def _of(self, kind: Kind, most: int) -> list[Draw]:
        """At most so many draws of this kind, each of which reaches more than what remains."""
        missing = self.coverage.missing()
        guards = {side for side in missing if self.coverage.is_guard(side)}
        sizes = self.coverage.missing_sizes()
        wanted = [*(side for side in missing if kind is Kind.GUARD or side not in guards), *sizes]
        trials: list[tuple[set[Side], Trial]] = []
        remaining = set(wanted)
        for inputs in self._candidates(wanted, sizes, kind):
            if self.left <= 0 or not remaining:
                break
            self.left -= 1
            trial = self.coverage.trial(inputs)
            reached = trial.reached()
            if trial.run.is_defined and reached & set(wanted) and not (kind is Kind.STEERED and reached & guards):
                trials.append((reached & set(wanted), trial))
                if trial.run.is_finite:
                    remaining -= reached
        draws: list[Draw] = []
        remaining = set(wanted)
        while len(draws) < most and trials:
            gained, trial = max(trials, key=lambda t: (len(t[0] & remaining), t[1].run.is_finite))
            if not gained & remaining:
                break
            side = next(side for side in wanted if side in gained & remaining)
            words = f"{self.coverage.where(side)}: {self.coverage.what(side)} {REACHED[side.side]}"
            self.coverage.adopt(trial)
            remaining -= gained
            draws.append(Draw(words, trial.inputs, kind))
        return draws

    def _candidates(self, wanted: list[Side], sizes: list[Side], kind: Kind) -> Iterator[Arrays]:
        """Inputs to try, the mild ones first."""
        for make in self.freedom.resized if sizes else ():
            try:
                yield make()
            except Exception as problem:  # of sizes that torch does not take
                swallowed(problem, "a draw of other sizes")
        numbers = [side for side in wanted if side not in sizes]
        if not numbers:
            return
        base, free = self.base, [name for name in self.freedom.free if is_float(self.base.get(name))]
        rng = np.random.default_rng(0)
        changes = [*_changes(rng, self.coverage.constants(numbers)), *(_degenerate() if kind is Kind.GUARD else ())]
        for change in changes:
            for names in (*([name] for name in free), *([free] if len(free) > 1 else [])):
                yield base | {name: np.asarray(change(base[name]), base[name].dtype) for name in names}
        for name in free:
            for other in free:
                if name != other and base[name].shape == base[other].shape:
                    near = np.where(np.arange(base[name].size).reshape(base[name].shape) % 2, 1.0, 1 + 1e-3)
                    yield base | {name: np.asarray(base[other] * near, base[name].dtype)}


REACHED = {
    TRUE: "is true", FALSE: "is false", FIRST: "takes its first argument", SECOND: "takes its second argument",
    BELOW: "cuts off below", INSIDE: "cuts nothing off", ABOVE: "cuts off above",
    NEGATIVE: "meets a negative number", POSITIVE: "meets a positive number",
}  # fmt: skip


def _changes(rng: np.random.Generator, constants: list[float]) -> Iterator[Change]:
    """What is done to the numbers of an input."""
    if constants:
        yield lambda x: on_both_sides(rng, x, constants)
        ends = sorted({*constants, *(-c for c in constants)})
        if between := [(a + b) / 2 for a, b in pairwise(ends)]:
            yield lambda x: np.where(rng.random(x.shape) < 0.75, rng.choice(between, x.shape), x)
    yield np.abs
    yield lambda x: -np.abs(x)
    yield from (partial(np.add, by) for by in (1, -1, 10, -10))
    yield partial(_by_rows, powers=(0, -1, 1, -2))
    yield partial(_by_rows, powers=(0, -4, 2, -6))
    yield from (partial(_peaked, by=by) for by in (10, 40, 100, 800))
    yield _sorted
    yield lambda x: -_sorted(-x)
    yield np.round
    yield from (partial(np.multiply, 10.0**power) for power in STEPS)
    yield from (partial(np.add, by) for by in (100, -100, 1000, -1000))


def _degenerate() -> Iterator[Change]:
    """Changes after which there may be no derivative: rows of one number, of zeros, and nothing but zeros."""
    yield lambda x: _rows(x, lambda row: np.full_like(row, row.flat[0]))
    yield lambda x: _rows(x, np.zeros_like)
    yield np.zeros_like


def _sorted(x: np.ndarray) -> np.ndarray:
    return np.sort(x) if x.ndim else x


def _by_rows(x: np.ndarray, powers: tuple[int, ...]) -> np.ndarray:
    """Every row scaled by another power of 10."""
    if x.ndim == 0:
        return x * 10.0 ** powers[-1]
    scales = 10.0 ** np.resize(np.array(powers), len(x))
    return x * scales.reshape(-1, *(1,) * (x.ndim - 1))


def _peaked(x: np.ndarray, by: float) -> np.ndarray:
    """Every second row with one number that is far above the others."""
    return _rows(x, lambda row: row + by * (np.arange(row.size) == 0).reshape(row.shape))


def _rows(x: np.ndarray, change: Change) -> np.ndarray:
    """Every second row changed, the first one among them; all of an input without rows."""
    new = x.copy()
    if x.ndim < 2:
        return change(new)
    for row in range(0, len(x), 2):
        new[row] = change(new[row])
    return new
