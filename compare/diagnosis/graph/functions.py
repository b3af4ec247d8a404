"""Is it the right result of another function? The reference with one operation changed, tried against the manual
numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from handgrad.compare.diagnosis.bisection import crossing
from handgrad.compare.diagnosis.graph.mutants import mutants, with_number
from handgrad.compare.diagnosis.graph.mutants_of_forms import of_forms
from handgrad.compare.diagnosis.graph.proof import Found, gap
from handgrad.compare.diagnosis.graph.readings import readings
from handgrad.compare.diagnosis.graph.rerun import Mutant, Rerun
from handgrad.compare.diagnosis.graph.several import several
from handgrad.compare.diagnosis.graph.swaps import of_inputs, swaps
from handgrad.compare.diagnosis.graph.trace import Trace
from handgrad.compare.diagnosis.graph.words import OF_ANOTHER, number
from handgrad.compare.judge.case import Case

SPARE = 3  # numbers that must be explained
FITS = 16  # constants of the reference that are fitted
DIGITS = {np.dtype(np.float64): 7, np.dtype(np.float32): 4}  # of a mistyped number: with more, any would do
NEAR = 1e-6  # how near to one a fit must come to be tried as that one


class Change(NamedTuple):
    """A change of the reference that holds on every draw."""

    complexity: int
    words: str
    wrong: Callable[[Changeable], dict[int, Mutant] | None]  # of one case, the operations that are changed there
    depth: int = 0  # how far the reference is taken apart there


def another_function(
    cases: Sequence[Case], taken_apart: Sequence[Sequence[Trace]], target: str
) -> tuple[list[Found], Change | None]:
    """The changes that explain every case, of its output or of its gradient by the target; and the likeliest again."""
    found: dict[str, tuple[Found, Change]] = {}
    if sum(int(c.where().sum()) for c in cases) < SPARE:
        return [], None
    for depth, traces in enumerate(taken_apart):
        said = {words.partition(" in ")[0] for words in found}  # the same change of a reference taken apart less
        for f, change in _search([Changeable(case, t, target) for case, t in zip(cases, traces, strict=True)]):
            if f.words[0].partition(" in ")[0] in said:
                continue
            if f.words[0] not in found or f.complexity < found[f.words[0]][0].complexity:
                found[f.words[0]] = f, change._replace(depth=depth)
    likeliest = sorted(found.values(), key=lambda f: f[0].complexity)
    return [f for f, _ in likeliest], likeliest[0][1] if likeliest else None


def as_the_output(
    cases: Sequence[Case], taken_apart: Sequence[Sequence[Trace]], target: str, change: Change
) -> Found | None:
    """The gradient of the function that the output is known to be of, if it explains every case."""
    if change.depth >= len(taken_apart) or sum(int(c.where().sum()) for c in cases) < SPARE:
        return None
    rooms = [Changeable(case, t, target) for case, t in zip(cases, taken_apart[change.depth], strict=True)]
    return _proven(rooms, change)


class Changeable(Rerun):
    """One case, with all changes of its reference."""

    def __init__(self, case: Case, t: Any, target: str) -> None:
        super().__init__(t, target)
        self.case, self.target = case, target
        self.every = {(m.at, m.key): m for m in (*mutants(t), *of_forms(t))}
        self.swaps = {
            **dict(swaps(t)), **dict(of_inputs(t, t.inputs.get(target, -1))), **dict(readings(t, self.values))
        }  # fmt: skip
        self.several = dict(several(t))

    def made(self, wrong: dict[int, Mutant]) -> np.ndarray | None:
        """The numbers that the changed function gives for this case."""
        y = self.output(wrong)
        if y is not None and self.target:
            y = self.gradient(y)
        if y is None or y.shape != self.case.manual.shape:
            return None
        made = np.asarray(y.detach().numpy())
        return made if np.isfinite(made).all() else None

    def several_in_turns(self) -> list[list[Any]]:
        """The keys of the same changes in every turn of a loop."""
        alike: dict[Any, list[Any]] = {}
        for key, (_, _, changes) in self.several.items():
            nodes = [self.trace.nodes[i] for i in changes]
            if all(n.op is not None for n in nodes):
                alike.setdefault((key[0], *((n.place, str(n.op)) for n in nodes)), []).append(key)
        return [keys for keys in alike.values() if len(keys) > 1]

    def turns(self, m: Mutant) -> dict[int, Mutant]:
        """The same change in every turn of a loop."""
        node = self.trace.nodes[m.at]
        same = [n.index for n in self.trace.nodes if n.place == node.place and n.op is node.op]
        return {i: self.every[i, m.key] for i in same if (i, m.key) in self.every}


def _search(rooms: list[Changeable]) -> Iterator[tuple[Found, Change]]:
    alike = [r for r in rooms if r.case.manual.shape == rooms[0].case.manual.shape]
    room = max(alike, key=lambda r: int(r.case.where().sum()))
    m = room.case.manual
    near = 1e-9 * float(np.abs(m).max(initial=0))
    with np.errstate(all="ignore"):
        for change in _changes(room):
            made = room.made(change.wrong(room) or {})
            if made is None or not np.allclose(made, m, 1e-6, near):
                continue
            found = _proven(rooms, change)
            if found is not None:
                yield found, change
        numbers = {(x.at, x.number): x for x in room.every.values() if x.number is not None and x.number[1]}
        for constant in list(numbers.values())[:FITS]:
            fitted = _fitted(room, constant)
            found = None if fitted is None else _proven(rooms, fitted)
            if found is not None and fitted is not None:
                yield found, fitted


def _changes(room: Changeable) -> Iterator[Change]:
    """Of one operation, of one in every turn of a loop, of two numbers, of several that belong together."""
    for mutant in room.every.values():
        turns = room.turns(mutant)
        if mutant.at in (min(turns), max(turns)):  # of a loop's turns, a person slips in all, the first or the last
            yield Change(mutant.complexity, mutant.words, partial(_one, mutant))
        if mutant.at == min(turns) < max(turns):
            words = f"{mutant.words}, in every turn of the loop"
            yield Change(mutant.complexity, words, partial(_in_every_turn, mutant))
    for key, (words, wrong) in room.swaps.items():
        yield Change(max(m.complexity for m in wrong.values()), words, partial(_swapped, key))
    for key, (complexity, words, _) in room.several.items():
        yield Change(complexity, words, partial(_several, (key,)))
    for keys in room.several_in_turns():
        complexity, words, _ = room.several[keys[0]]
        yield Change(complexity, f"{words}, in every turn of the loop", partial(_several, keys))


def _one(mutant: Mutant, room: Changeable) -> dict[int, Mutant] | None:
    here = room.every.get((mutant.at, mutant.key))
    return None if here is None else {here.at: here}


def _in_every_turn(mutant: Mutant, room: Changeable) -> dict[int, Mutant] | None:
    return room.turns(mutant) or None


def _swapped(key: Any, room: Changeable) -> dict[int, Mutant] | None:
    return room.swaps[key][1] if key in room.swaps else None


def _several(keys: Sequence[Any], room: Changeable) -> dict[int, Mutant] | None:
    if any(key not in room.several for key in keys):
        return None
    return {at: mutant for key in keys for at, mutant in room.several[key][2].items()}


def _proven(rooms: list[Changeable], change: Change) -> Found | None:
    worst = 0.0
    for room in rooms:
        changed = change.wrong(room)
        made = None if changed is None else room.made(changed)
        if made is None:
            return None
        left = gap(room.case, made)
        if not left <= 1:
            return None
        worst = max(worst, left)
    return Found(change.complexity, ((OF_ANOTHER if rooms[0].target else "") + change.words,), worst)


def _fitted(room: Changeable, m: Mutant) -> Change | None:
    """The decimal number in the place of a constant that gives the manual numbers at the element that it moves most."""
    assert m.number is not None
    _, value = m.number
    manual = room.case.manual

    def at(v: float) -> np.ndarray | None:
        return room.made(_with_number(m, v, room))

    ends = [value * 10.0**e for e in (-8, -6, -4, -2, -1, -0.5, 0.5, 1, 2, 4, 6)]
    here = at(value)
    made = [(v, a) for v in ends if (a := at(v)) is not None]
    if here is None or len(made) < 2:
        return None
    spread = np.max([np.abs(a - here) for _, a in made], axis=0)
    k = int(spread.argmax())

    def over(v: float) -> float | None:
        found = at(v)
        return None if found is None else float(found.flat[k] - manual.flat[k])

    points = sorted([(value, here), *made], key=lambda p: p[0])
    for (low, a), (high, b) in pairwise(points):
        if (a.flat[k] - manual.flat[k]) * (b.flat[k] - manual.flat[k]) > 0:
            continue
        crossed = crossing(over, low, high)
        if crossed is None:
            return None
        # what a person types has few digits: the fewest that are this number
        digits = range(2, DIGITS[manual.dtype] + 1)
        snapped = next(
            (v for d in digits if abs((v := float(f"{crossed:.{d}g}")) - crossed) <= NEAR * abs(crossed)), 0.0
        )
        if not snapped or abs(snapped - value) <= 1e-3 * abs(value):
            continue
        what, inside = m.words.partition(" is ")[0].removesuffix(f" {number(value)}"), m.words.rpartition(" in ")[2]
        words = f"{what} is {snapped:.10g}, not {value:.10g}, in {inside}"
        return Change(13, words, partial(_with_number, m, snapped))
    return None


def _with_number(m: Mutant, value: float, room: Changeable) -> dict[int, Mutant]:
    place, _ = m.number or (None, 0.0)
    return {m.at: m._replace(made=with_number(room.trace, room.trace.nodes[m.at], place, value))}
