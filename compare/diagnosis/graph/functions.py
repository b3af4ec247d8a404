"""Is it the right result of another function? The twin with one operation changed, tried against the manual numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from compare.diagnosis.causes import Case
from compare.diagnosis.graph.mutants import mutants, with_number
from compare.diagnosis.graph.proof import Found, gap
from compare.diagnosis.graph.readings import readings
from compare.diagnosis.graph.rerun import Mutant, Rerun
from compare.diagnosis.graph.swaps import of_inputs, swaps
from compare.diagnosis.graph.trace import Trace
from compare.diagnosis.graph.words import OF_ANOTHER

SPARE = 3  # numbers that must be explained
FITS = 16  # constants of the twin that are fitted


def another_function(cases: Sequence[Case], taken_apart: Sequence[Sequence[Trace]], target: str) -> list[Found]:
    """The changes of one operation that explain every case: of its output, or of its gradient by the target."""
    found: dict[str, Found] = {}
    if sum(int(c.where().sum()) for c in cases) < SPARE:
        return []
    for traces in taken_apart:
        said = {f.words[0].partition(" in ")[0] for f in found.values()}  # the same change of a twin taken apart less
        for f in _search([_Rerun(case, t, target) for case, t in zip(cases, traces, strict=True)]):
            if f.words[0].partition(" in ")[0] in said:
                continue
            if f.words[0] not in found or f.complexity < found[f.words[0]].complexity:
                found[f.words[0]] = f
    return sorted(found.values(), key=lambda f: f.complexity)


Wrong = Callable[["_Rerun"], "dict[int, Mutant] | None"]  # of one case, the operations that are changed there


class _Rerun(Rerun):
    """One case."""

    def __init__(self, case: Case, t: Any, target: str) -> None:
        super().__init__(t, target)
        self.case, self.target = case, target
        self.every = {(m.at, m.key): m for m in mutants(t)}
        self.swaps = {
            **dict(swaps(t)), **dict(of_inputs(t, t.inputs.get(target, -1))), **dict(readings(t, self.values))
        }  # fmt: skip

    def made(self, wrong: dict[int, Mutant]) -> np.ndarray | None:
        """The numbers that the changed function gives for this case."""
        y = self.output(wrong)
        if y is not None and self.target:
            y = self.gradient(y)
        if y is None or y.shape != self.case.manual.shape:
            return None
        made = np.asarray(y.detach().numpy())
        return made if np.isfinite(made).all() else None

    def turns(self, m: Mutant) -> dict[int, Mutant]:
        """The same change in every turn of a loop."""
        node = self.trace.nodes[m.at]
        same = [n.index for n in self.trace.nodes if n.place == node.place and n.op is node.op]
        return {i: self.every[i, m.key] for i in same if (i, m.key) in self.every}


def _search(rooms: list[_Rerun]) -> Iterator[Found]:
    alike = [r for r in rooms if r.case.manual.shape == rooms[0].case.manual.shape]
    room = max(alike, key=lambda r: int(r.case.where().sum()))
    m = room.case.manual
    near = 1e-9 * float(np.abs(m).max(initial=0))
    seen = set()
    with np.errstate(all="ignore"):
        for complexity, words, wrong in _changes(room):
            made = room.made(wrong(room) or {})
            if made is None or not np.allclose(made, m, 1e-6, near):
                continue
            found = _proven(rooms, complexity, words, wrong)
            if found is not None:
                yield found
        numbers = {(x.at, x.number): x for x in room.every.values() if x.number is not None and x.number[1]}
        for number in list(numbers.values())[:FITS]:
            fitted = _fitted(room, number)
            if fitted is not None and fitted.words not in seen:
                seen.add(fitted.words)
                for r in rooms:
                    place, value = fitted.number or (None, 0.0)
                    made_so = with_number(r.trace, r.trace.nodes[fitted.at], place, value)
                    r.every[fitted.at, fitted.key] = fitted._replace(made=made_so)
                found = _proven(rooms, fitted.complexity, fitted.words, partial(_one, fitted))
                if found is not None:
                    yield found


def _changes(room: _Rerun) -> Iterator[tuple[int, str, Wrong]]:
    """(complexity, words, the operations changed) of one operation, of one in every turn of a loop, of two numbers."""
    for mutant in room.every.values():
        yield mutant.complexity, mutant.words, partial(_one, mutant)
        if len(room.turns(mutant)) > 1:
            yield mutant.complexity, f"{mutant.words}, in every turn of the loop", partial(_in_every_turn, mutant)
    for key, (words, wrong) in room.swaps.items():
        yield max(m.complexity for m in wrong.values()), words, partial(_swapped, key)


def _one(mutant: Mutant, room: _Rerun) -> dict[int, Mutant] | None:
    here = room.every.get((mutant.at, mutant.key))
    return None if here is None else {here.at: here}


def _in_every_turn(mutant: Mutant, room: _Rerun) -> dict[int, Mutant] | None:
    return room.turns(mutant) or None


def _swapped(key: Any, room: _Rerun) -> dict[int, Mutant] | None:
    return room.swaps[key][1] if key in room.swaps else None


def _proven(rooms: list[_Rerun], complexity: int, words: str, wrong: Wrong) -> Found | None:
    worst = 0.0
    for room in rooms:
        changed = wrong(room)
        made = None if changed is None else room.made(changed)
        if made is None:
            return None
        left = gap(room.case, made)
        if not left <= 1:
            return None
        worst = max(worst, left)
    return Found(complexity, ((OF_ANOTHER if rooms[0].target else "") + words,), worst)


def _fitted(room: _Rerun, m: Mutant) -> Mutant | None:
    """The round number in the place of a constant that gives the manual numbers at the element that it moves most."""
    assert m.number is not None
    place, value = m.number
    node = room.trace.nodes[m.at]
    manual = room.case.manual

    def at(v: float) -> np.ndarray | None:
        changed = m._replace(made=with_number(room.trace, node, place, v))
        return room.made({m.at: changed})

    ends = [value * 10.0**e for e in (-8, -6, -4, -2, -1, -0.5, 0.5, 1, 2, 4, 6)]
    here = at(value)
    made = [(v, a) for v in ends if (a := at(v)) is not None]
    if here is None or len(made) < 2:
        return None
    spread = np.max([np.abs(a - here) for _, a in made], axis=0)
    k = int(spread.argmax())
    points = sorted([(value, here), *made], key=lambda p: p[0])
    for (low, a), (high, b) in pairwise(points):
        if (a.flat[k] - manual.flat[k]) * (b.flat[k] - manual.flat[k]) > 0:
            continue
        rising = b.flat[k] > a.flat[k]
        for _ in range(50):
            middle = (low + high) / 2
            found = at(middle)
            if found is None:
                return None
            low, high = (low, middle) if (found.flat[k] > manual.flat[k]) == rising else (middle, high)
        snapped = float(f"{high:.4g}")
        if abs(snapped - value) <= 1e-3 * abs(value):
            continue
        words = m.words.partition(" is ")[0]
        inside = m.words.rpartition(" in ")[2]
        words = f"{words} is {snapped:g}, not {value:g}, in {inside}"
        made_so = with_number(room.trace, node, place, snapped)
        return Mutant(m.at, ("fitted", place, snapped), 13, words, made_so, (place, snapped))
    return None
