"""Draws that take the sides of comparisons and branches that no other draw takes, found by a search.

What is compared may be computed: a norm, a sum, a size. So inputs are scaled, shifted, zeroed and resized, and what
reaches a new side is kept, where torch has a finite answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from handgrad.compare.checking.changes import candidates, guarded, peaks, whole
from handgrad.compare.checking.coverage import Coverage, Trial, beside
from handgrad.compare.checking.draws import Draw, Drawn, Kind
from handgrad.compare.foundation.debug import swallowed
from handgrad.compare.judge.seen import ABOVE, BELOW, FALSE, FIRST, INSIDE, NEGATIVE, POSITIVE, SECOND, TRUE, Side
from handgrad.compare.judge.sides import Arrays, Sides, is_large
from handgrad.compare.judge.steps import REACHED as STEPPED

EACH, FEW = 12, 24  # trials for each draw that is judged, which costs more than they do; trials of large inputs
AGAIN = 64  # draws of a person's generator
MOST = 4  # draws that are added


@dataclass(frozen=True)
class Freedom:
    """What of a draw may be changed.

    free     the inputs whose numbers are ours to choose
    resized  each makes a draw of other sizes
    larger   each makes a draw of one size that is beyond a hundred
    whole    inputs of whole numbers or of True and False, with what they lie below, where that is known
    given    inputs by a person's generator
    again    makes another draw with a generator of this number
    """

    free: Sequence[str] = ()
    resized: Sequence[Callable[[], Arrays]] = ()
    larger: Sequence[Callable[[], Arrays]] = ()
    whole: Mapping[str, int | None] = field(default_factory=dict)
    given: frozenset[str] = frozenset()
    again: Callable[[int], Arrays] | None = None


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
    search = _Search(coverage, base, freedom, FEW if is_large(base) else EACH * len(drawn))
    found = search.found()
    gaps, said = coverage.gaps(bool(freedom.free or freedom.whole), base, freedom.given & base.keys())
    domain = f"in {AGAIN} draws by your own function" if search.drew_again else "by your own function"
    return Drawn(sides, [*drawn, *found], (*notes, *(f"{words}, {domain}" for words in said)), gaps)


@dataclass
class _Search:
    coverage: Coverage
    base: Arrays
    freedom: Freedom
    left: int  # trials that may still be made: not seconds, so that no verdict depends on the machine
    tried: list[Trial] = field(default_factory=list)
    streams: dict[str, Iterator[Arrays]] = field(default_factory=dict)  # what is to be tried yet
    known: list[float] = field(default_factory=list)
    drew_again: bool = False

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
        sizes = self.coverage.missing_sizes() if kind is Kind.STEERED else []
        wanted = [*(side for side in missing if (side in guards) == (kind is Kind.GUARD)), *sizes]
        trials: list[tuple[set[Side], Trial]] = []
        remaining = set(wanted)
        for trial in self._trials(wanted, sizes, kind):
            reached = trial.reached()
            if trial.run.is_defined and reached & set(wanted) and not (kind is Kind.STEERED and reached & guards):
                trials.append((reached & set(wanted), trial))
                if trial.run.is_finite:
                    remaining -= reached
            if not remaining:
                break
        draws: list[Draw] = []
        remaining = set(wanted)
        while len(draws) < most and trials:
            gained, trial = max(trials, key=lambda t: (len(t[0] & remaining), t[1].run.is_finite))
            if not gained & remaining:
                break
            side = next(side for side in wanted if side in gained & remaining)
            words = f"{self.coverage.where(side)}: {self.coverage.what(side)} {REACHED[side.side]}{beside(side)}"
            self.coverage.adopt(trial)
            remaining -= gained
            draws.append(Draw(words, trial.inputs, kind))
        return draws

    def _trials(self, wanted: list[Side], sizes: list[Side], kind: Kind) -> Iterator[Trial]:
        """What was tried, and then what was not."""
        if not wanted:
            return
        yield from [*self.tried]
        if sizes:
            yield from self._run(self.streams.setdefault("sizes", self._made(self.freedom.resized)))
        numbers = [side for side in wanted if side not in sizes]
        if not numbers:
            return
        constants = self.coverage.constants(numbers)
        if kind is Kind.GUARD:
            guards = guarded(self.base, self.freedom.free, constants)
            yield from self._run(self.streams.setdefault("guards", guards))
        if "numbers" not in self.streams or not set(constants) <= set(self.known):
            self.known = constants
            self.streams["numbers"] = self._numbers(constants)
        yield from self._run(self.streams["numbers"])

    def _run(self, stream: Iterator[Arrays]) -> Iterator[Trial]:
        while self.left > 0 and (inputs := next(stream, None)) is not None:
            self.left -= 1
            self.tried.append(self.coverage.trial(inputs))
            yield self.tried[-1]

    def _made(self, makers: Sequence[Callable[[], Arrays]]) -> Iterator[Arrays]:
        for make in makers:
            try:
                yield make()
            except Exception as problem:  # of sizes that torch does not take, or of a person's function
                swallowed(problem, "a draw of other sizes")

    def _numbers(self, constants: list[float]) -> Iterator[Arrays]:
        """Inputs to try, the mild ones first."""
        freedom = self.freedom
        if freedom.again is not None and not self.drew_again:
            self.drew_again = True
            self.left += AGAIN
            again = freedom.again
            yield from self._made([lambda i=i: again(i) for i in range(AGAIN)])  # type: ignore[misc]
        yield from whole(self.base, {k: n for k, n in freedom.whole.items() if k in self.base}, constants)
        room = self.left - len(freedom.larger) * (1 + len(freedom.free))
        yield from islice(candidates(self.base, freedom.free, constants), max(0, room))
        for inputs in self._made(freedom.larger):
            yield inputs
            yield from peaks(inputs, freedom.free)


REACHED = {
    TRUE: "is true", FALSE: "is false", FIRST: "takes its first argument", SECOND: "takes its second argument",
    BELOW: "cuts off below", INSIDE: "cuts nothing off", ABOVE: "cuts off above",
    NEGATIVE: "meets a negative number", POSITIVE: "meets a positive number",
    **STEPPED,
}  # fmt: skip
