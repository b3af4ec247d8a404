"""Is it the right result of another function? The twin with one operation changed, tried against the manual numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from compare.diagnosis.causes import Case
from compare.diagnosis.graph.mutants import Mutant, Rerun, mutants, with_number
from compare.diagnosis.graph.proof import Found, gap
from compare.diagnosis.graph.trace import Trace

SPARE = 3  # numbers that must be explained
FITS = 16  # constants of the twin that are fitted


def another_function(cases: Sequence[Case], taken_apart: Sequence[Sequence[Trace]], target: str) -> list[Found]:
    """The changes of one operation that explain every case: of its output, or of its gradient by the target."""
    found: dict[str, Found] = {}
    if sum(int(c.where().sum()) for c in cases) < SPARE:
        return []
    for traces in taken_apart:
        for f in _search([_Rerun(case, t, target) for case, t in zip(cases, traces, strict=True)]):
            if f.words[0] not in found or f.complexity < found[f.words[0]].complexity:
                found[f.words[0]] = f
    return sorted(found.values(), key=lambda f: f.complexity)


class _Rerun(Rerun):
    """One case."""

    def __init__(self, case: Case, t: Any, target: str) -> None:
        super().__init__(t, target)
        self.case, self.target = case, target
        self.every = {(m.at, m.key): m for m in mutants(t)}

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
    room = max(rooms, key=lambda r: int(r.case.where().sum()))
    m = room.case.manual
    near = 1e-9 * float(np.abs(m).max(initial=0))
    seen = set()
    with np.errstate(all="ignore"):
        for mutant in room.every.values():
            for often in (False, True):
                wrong = room.turns(mutant) if often else {mutant.at: mutant}
                if often and len(wrong) < 2:
                    continue
                made = room.made(wrong)
                if made is None or not np.allclose(made, m, 1e-6, near):
                    continue
                found = _proven(rooms, mutant, often)
                if found is not None:
                    yield found
        numbers = {(x.at, x.number): x for x in room.every.values() if x.number is not None and x.number[1]}
        for fitted in list(numbers.values())[:FITS]:
            mutant = _fitted(room, fitted)
            if mutant is not None and mutant.words not in seen:
                seen.add(mutant.words)
                for r in rooms:
                    node = r.trace.nodes[mutant.at]
                    made_so = with_number(r.trace, node, *mutant.key[1:])  # type: ignore[index]
                    r.every[mutant.at, mutant.key] = mutant._replace(made=made_so)
                found = _proven(rooms, mutant, False)
                if found is not None:
                    yield found


def _proven(rooms: list[_Rerun], mutant: Mutant, often: bool) -> Found | None:
    worst = 0.0
    for room in rooms:
        here = room.every.get((mutant.at, mutant.key))
        made = None if here is None else room.made(room.turns(here) if often else {mutant.at: here})
        if made is None:
            return None
        left = gap(room.case, made)
        if not left <= 1:
            return None
        worst = max(worst, left)
    words = f"it is the gradient of another function: {mutant.words}" if rooms[0].target else mutant.words
    return Found(mutant.complexity, (words + (", in every turn of the loop" if often else ""),), worst)


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
    for (low, a), (high, b) in zip(points, points[1:], strict=False):
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
        return Mutant(m.at, ("fitted", place, snapped), 13, f"{words} is {snapped:g}, not {value:g}, in {inside}", with_number(room.trace, node, place, snapped))  # fmt: skip
    return None
