"""Both sides run on every draw, to see which sides of their comparisons and branches were taken, and which never."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from handgrad.compare.checking.reference_seen import ReferenceSeen, name_of
from handgrad.compare.foundation.debug import swallowed
from handgrad.compare.judge.rebuilt_code import Translator
from handgrad.compare.judge.seen import FALSE, WORDS, Record, Seen, Side
from handgrad.compare.judge.sides import Arrays, Sides, is_float, own_copies
from handgrad.compare.judge.translated import rebuilt
from handgrad.compare.judge.watched_code import RECORDER, site, watched

APART = 1.0625  # times the numbers of a draw: what changes with them is no configuration
MANY_TIMES, ENOUGH = 10, 1000  # of a derivation's loops
GUARD = 2.0**-26  # √u, with a little room: a number that is kept from being so small is kept from being a divisor


class Run(NamedTuple):
    """What both sides give on one draw; None where a side raises."""

    manual: Arrays | None
    torch: Arrays | None

    @property
    def is_defined(self) -> bool:
        """Whether torch has a finite answer, and the manual side gives one."""
        return self.manual is not None and self.torch is not None and _finite(self.torch)

    @property
    def is_finite(self) -> bool:
        """Whether the manual side's answer is finite."""
        return self.manual is not None and _finite(self.manual)


class Trial(NamedTuple):
    """One run, and what it saw."""

    inputs: Arrays
    run: Run
    ours: dict[Any, Record]
    theirs: dict[Any, Record]
    evaluations: int  # of the derivation's sites

    def reached(self) -> set[Side]:
        """Every side that was taken."""
        both = (self.ours, self.theirs)
        return {Side(n, *taken) for records in both for n, r in records.items() for taken in r.reached()}


def _apart(x: Any) -> Any:
    return x * np.asarray(APART, x.dtype) if is_float(x) else x


def _prints(records: dict[Any, Record], n: Any) -> set[Any]:
    return records[n].prints if n in records else set()


def _finite(arrays: Arrays) -> bool:
    return all(np.isfinite(y).all() for y in arrays.values() if getattr(y, "dtype", np.dtype(bool)).kind in "fc")


@dataclass
class Coverage:
    """What both sides have reached so far."""

    sides: Sides
    ours: Seen = field(default_factory=Seen)
    theirs: Seen = field(default_factory=Seen)
    longest: int = 0  # evaluations of the derivation's sites in one run
    undefined: set[Side] = field(default_factory=set)  # reached where torch has no finite answer

    def __post_init__(self) -> None:
        self._manual = rebuilt(self.sides, Translator({}, watched, {RECORDER: self.ours}))

    def run(self, inputs: Arrays, at_points: bool = False) -> Run:
        """Both sides once on these inputs; `at_points`, where these are points without a derivative."""
        self.ours.at_points = self.theirs.at_points = at_points
        self.ours.evaluations = 0
        self.ours.turn, self.theirs.turn = {}, {}
        manual: Arrays | None = None
        torch: Arrays | None = None
        with np.errstate(all="ignore"):
            try:
                manual = {} if self._manual is self.sides else dict(self._manual.manual(own_copies(inputs)))
            except Exception as problem:
                swallowed(problem, "the look at what a derivation reaches")
            try:
                with ReferenceSeen(self.theirs):
                    torch = self.sides.torch(inputs)
            except Exception as problem:
                swallowed(problem, "the look at what a reference reaches")
        return Run(manual, torch)

    def trial(self, inputs: Arrays, at_points: bool = False) -> Trial:
        """Both sides once, of which nothing is kept but which borders were met, and what is reached without torch."""
        kept = self.ours.records, self.theirs.records
        self.ours.records, self.theirs.records = {}, {}
        try:
            run = self.run(inputs, at_points)
            trial = Trial(inputs, run, self.ours.records, self.theirs.records, self.ours.evaluations)
        finally:
            self.ours.records, self.theirs.records = kept
        for seen, records in ((self.ours, trial.ours), (self.theirs, trial.theirs)):
            for n in records.keys() & seen.records.keys():
                seen.records[n].touched |= records[n].touched
        if not run.is_defined:
            self.undefined |= trial.reached()
        return trial

    def adopt(self, trial: Trial) -> None:
        """Count what a trial has reached."""
        self.longest = max(self.longest, trial.evaluations)
        self.ours.add(trial.ours)
        self.theirs.add(trial.theirs)

    def limit(self) -> None:
        """From now on a run that goes on for much longer than those before is ended: on any numbers, loops may not."""
        self.ours.most = MANY_TIMES * self.longest + ENOUGH

    def probe(self, inputs: Arrays) -> None:
        """Find out what depends on the numbers, and what is the same whatever they are."""
        self.ours.probing = self.theirs.probing = True
        try:
            self.run({k: _apart(v) for k, v in inputs.items()})
        finally:
            self.ours.probing = self.theirs.probing = False

    def missing(self) -> list[Side]:
        """Every side that no draw has reached, the derivation's first."""
        return [*self.ours.missing(), *self.theirs.missing()]

    def record(self, n: Any) -> Record:
        """What became of a site."""
        return self.ours.records.get(n) or self.theirs.records[n]

    def is_guard(self, side: Side) -> bool:
        """Whether a side is that of numbers next to 0, or to 1, which are kept from a division or a logarithm."""
        constants = self._compared_with(side) - {0.0}
        return bool(constants) and all(c <= GUARD or 0 < abs(1 - c) <= GUARD for c in constants)

    def _compared_with(self, side: Side) -> set[float]:
        return self.record(side.site).constants if side.beside is None else {abs(side.beside)}

    def missing_sizes(self) -> list[Side]:
        """The missing sides of comparisons of whole numbers, which may be sizes; also where no draw has another one."""
        records = [(n, r) for n, r in self.ours.records.items() if r.whole]
        found = [Side(n, side) for n, r in records for side in r.all_sides if side not in r.sides]
        return [side for side in found if not self.excused(side)]

    def constants(self, missing: Iterable[Side]) -> list[float]:
        """The constants that are compared with where a side is missing, or in all of the derivation; not 0."""
        found = [self._compared_with(side) for side in missing]
        if not all(found):  # of what is made of several comparisons
            found += [r.constants for r in self.ours.records.values()]
        return sorted(set().union(*found) - {0.0})

    def is_a_size(self, side: Side) -> bool:
        """Whether a missing side is that of a plain whole number which is 0, as len(x) never is."""
        return side.side == FALSE and 1 <= self.record(side.site).least < math.inf

    def excused(self, side: Side) -> bool:
        """Whether a missing side cannot be told from its border, or lies where torch has no finite answer.

        A variance is 0 at the least: that `np.maximum(variance, 0)` never takes the 0 is no gap where they were equal.
        """
        record = self.record(side.site)
        if record.whole and record.constants == {0.0}:  # no size is 0
            others = [x for found in record.numbers.values() if found != {0.0} for x in found]
            return bool(others) and min(others) >= 1
        beside_nothing = self.is_guard(side) or record.constants == {0.0}
        return (side.beside is None and side.side in record.touched) or (beside_nothing and side in self.undefined)

    def gaps(self, searched: bool, base: Arrays, given: frozenset[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The sentences for what is missing, one a line of code: gaps, and what a person's own generator never meets.

        `searched`, where draws could be steered; `given` are the inputs that such a generator makes.
        """
        asked = [side for side in self.missing() if not self.is_a_size(side)]
        missing = [side for side in asked if not (searched and self.excused(side))]
        theirs = self._of_others(base, given) if missing and given else None
        gaps: dict[str, str] = {}
        notes: dict[str, str] = {}
        for side in missing:
            found = gaps if theirs is None or side.site in theirs else notes
            found.setdefault(self.where(side), f"{self.what(side)} {WORDS[side.side]}{beside(side)}")
        said = [tuple(f"{where}: {what}" for where, what in found.items()) for found in (gaps, notes)]
        return said[0], said[1]

    def _of_others(self, base: Arrays, given: frozenset[str]) -> set[Any]:
        """The sites whose operands change with other inputs than these."""
        found = [self.trial(base), self.trial({k: v if k in given else _apart(v) for k, v in base.items()})]
        changed = set()
        for one, other in ((found[0].ours, found[1].ours), (found[0].theirs, found[1].theirs)):
            changed |= {n for n in one.keys() | other.keys() if _prints(one, n) != _prints(other, n)}
        return changed

    def where(self, side: Side) -> str:
        """The place of a side: a line of the derivation, or an operation of the reference."""
        if side.site not in self.ours.records:
            return f"the reference, {name_of(side.site)}"
        place = site(side.site)
        return f"{place.file}, line {place.line}"

    def what(self, side: Side) -> str:
        """What stands there."""
        return f"`{site(side.site).text}`" if side.site in self.ours.records else "it"


def beside(side: Side) -> str:
    """The words for the one of several constants."""
    return "" if side.beside is None else f" beside {side.beside:g}"
