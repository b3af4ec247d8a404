"""Is it the right result of another function? The reference with one edit, tried against the manual numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, pairwise
from typing import NamedTuple

import numpy as np

from handgrad.compare.diagnosis.bisection import crossing
from handgrad.compare.diagnosis.cause import Explanation
from handgrad.compare.diagnosis.graph.details import Key
from handgrad.compare.diagnosis.graph.draw import most_telling
from handgrad.compare.diagnosis.graph.edits.edit import OTHER, ReferenceEdit
from handgrad.compare.diagnosis.graph.edits.forward.losses import of_losses
from handgrad.compare.diagnosis.graph.edits.forward.operations import of_operations
from handgrad.compare.diagnosis.graph.edits.forward.others import of_forms
from handgrad.compare.diagnosis.graph.edits.forward.several import of_inputs, of_numbers_everywhere, several
from handgrad.compare.diagnosis.graph.edits.kinds_of_operations import OPERATIONS
from handgrad.compare.diagnosis.graph.proof import SPARE, residual
from handgrad.compare.diagnosis.graph.record.notation import called
from handgrad.compare.diagnosis.graph.record.rerun import Changed, Rerun, with_number
from handgrad.compare.diagnosis.graph.record.trace import Trace
from handgrad.compare.diagnosis.graph.sentences import of_the_reference
from handgrad.compare.judge.case import Case

FITS = 16  # constants of the reference that are fitted
ENDS = (-8, -6, -4, -2, -1, -0.5, 0.5, 1, 2, 4, 6)  # powers of ten between which they are looked for
DIGITS = {np.dtype(np.float64): 7, np.dtype(np.float32): 4}  # of a mistyped number: with more, any would do
NEAR = 1e-6  # how near to one a fit must come to be tried as that one
Id = tuple[tuple[int, ...], Key]  # the operations of an edit and its key, which are the same on every draw


class OtherReference(NamedTuple):
    """A hypothesis: the reference with an edit, or with the same one in every turn of a loop."""

    edits: tuple[Id, ...]
    complexity: int
    number: float | None = None  # that is fitted
    depth: int = 0  # how far the reference is taken apart there

    @property
    def in_turns(self) -> bool:
        """Whether it is the same edit in every turn of a loop."""
        return len(self.edits) > 1


class EditableDraw(Rerun):
    """One draw, with all edits of its reference."""

    def __init__(self, case: Case, trace: Trace, target: str) -> None:
        super().__init__(trace, target)
        self.case, self.target = case, target
        together = {_id(e): e for e in several(trace, self.values)}
        single = (*of_operations(trace), *of_forms(trace))
        everywhere = (*of_numbers_everywhere(trace), *of_inputs(trace, target), *of_losses(trace, self.values))
        self.edits = {_id(e): e for e in (*single, *everywhere)} | together
        alike: dict[object, list[Id]] = {}
        for name, edit in together.items():
            nodes = [trace.nodes[i] for i in edit.changes]
            if all(n.op is not None for n in nodes):
                alike.setdefault((edit.kind, *((n.place, str(n.op)) for n in nodes)), []).append(name)
        self.several_in_turns = [names for names in alike.values() if len(names) > 1]

    def turns(self, edit: ReferenceEdit) -> list[Id]:
        """The same edit of one operation in every turn of a loop."""
        node = self.trace.nodes[edit.at]
        same = [n.index for n in self.trace.nodes if n.place == node.place and n.op is node.op]
        return [name for i in same if (name := ((i,), edit.key)) in self.edits]

    def changes(self, other: OtherReference) -> dict[int, Changed] | None:
        """The operations that are changed here; None where there is no such edit."""
        edits = [self.edits.get(name) for name in other.edits]
        found = {at: change for edit in edits if edit is not None for at, change in edit.changes.items()}
        if other.number is not None and edits[0] is not None and edits[0].number is not None:
            (at,) = found
            found[at] = Changed(with_number(self.trace.nodes[at], edits[0].number[0], other.number))
        return None if None in edits else found

    def made(self, other: OtherReference) -> np.ndarray | None:
        """The numbers that the other function gives on this draw."""
        changes = self.changes(other)
        y = None if changes is None else self.output(changes)
        if y is not None and self.target:
            y = self.gradient(y)
        return None if y is None else np.asarray(y.detach().numpy())


def _id(edit: ReferenceEdit) -> Id:
    return tuple(edit.changes), edit.key


def another_function(
    cases: Sequence[Case], taken_apart: Sequence[Sequence[Trace]], target: str
) -> tuple[list[Explanation], OtherReference | None]:
    """The edits that explain every case, of its output or of its gradient by the target; and the likeliest again."""
    found: dict[tuple[str, ...], tuple[Explanation, OtherReference]] = {}
    known: set[object] = set()
    for depth, traces in enumerate(taken_apart if _enough(cases) else ()):
        draws = [EditableDraw(case, t, target) for case, t in zip(cases, traces, strict=True)]
        here: set[object] = set()
        for other, explanation in _search(draws):
            what = _what(draws[0].edits[other.edits[0]], draws[0].trace)
            here.add(what)
            known_one = found.get(explanation.phrases)
            if what not in known and (known_one is None or explanation.complexity < known_one[0].complexity):
                found[explanation.phrases] = explanation, other._replace(depth=depth)
        known |= here  # the same edit of a reference that is taken apart further is only said again
    likeliest = sorted(found.values(), key=lambda f: f[0].complexity)
    return [f for f, _ in likeliest], likeliest[0][1] if likeliest else None


def as_the_output(
    cases: Sequence[Case], taken_apart: Sequence[Sequence[Trace]], target: str, other: OtherReference
) -> Explanation | None:
    """The gradient of the function that the output is known to be of, if it explains every case."""
    if other.depth >= len(taken_apart) or not _enough(cases):
        return None
    return _prove([EditableDraw(c, t, target) for c, t in zip(cases, taken_apart[other.depth], strict=True)], other)


def _enough(cases: Sequence[Case]) -> bool:
    return sum(int(c.where().sum()) for c in cases) >= SPARE


def _what(edit: ReferenceEdit, trace: Trace) -> object:
    """What an edit does, wherever it does it."""
    details = tuple((name, called(trace, v) if name == OTHER else v) for name, v in edit.details)
    return edit.kind, trace.nodes[edit.at].operation, details, edit.number


def _search(draws: list[EditableDraw]) -> Iterator[tuple[OtherReference, Explanation]]:
    draw = most_telling(draws)
    m = draw.case.manual
    near = 1e-9 * float(np.abs(m).max(initial=0))
    with np.errstate(all="ignore"):
        for other in chain(_hypotheses(draw), _fits(draw)):
            made = draw.made(other)
            fits = made is not None and made.shape == m.shape and np.allclose(made, m, 1e-6, near)
            if fits and (found := _prove(draws, other)) is not None:
                yield other, found


def _prove(draws: list[EditableDraw], other: OtherReference) -> Explanation | None:
    left = residual(draws, lambda draw: draw.made(other))
    if not left <= 1:
        return None
    edit = draws[0].edits[other.edits[0]]
    cause = of_the_reference(draws[0].trace, edit, draws[0].target, other.in_turns, other.number, left)
    return Explanation.of(other.complexity, [cause], left)


def _hypotheses(draw: EditableDraw) -> Iterator[OtherReference]:
    """Of one operation, of one in every turn of a loop, of several that belong together."""
    for name, edit in draw.edits.items():
        turns = [name] if len(edit.changes) > 1 else draw.turns(edit)
        if name in (turns[0], turns[-1]):  # of a loop's turns, a person goes wrong in all, the first or the last
            yield OtherReference((name,), edit.complexity)
        if name == turns[0] and len(turns) > 1:
            yield OtherReference(tuple(turns), edit.complexity)
    for names in draw.several_in_turns:
        yield OtherReference(tuple(names), draw.edits[names[0]].complexity)


def _fits(draw: EditableDraw) -> Iterator[OtherReference]:
    """Every constant of the reference with the decimal number, if there is one, that gives the manual numbers."""
    numbers = {(e.at, e.number): name for name, e in draw.edits.items() if e.number is not None and e.number[1]}
    for name in list(numbers.values())[:FITS]:
        number = _fitted(draw, name)
        if number is not None:
            yield OtherReference((name,), OPERATIONS["fitted number"].tier, number)


def _fitted(draw: EditableDraw, name: Id) -> float | None:
    """The number in the place of a constant that gives the manual number at the element that it moves most."""
    edit, manual = draw.edits[name], draw.case.manual
    assert edit.number is not None
    right = edit.number[1]

    def made(v: float) -> np.ndarray | None:
        found = draw.made(OtherReference((name,), 0, v))
        return found if found is not None and found.shape == manual.shape and np.isfinite(found).all() else None

    def gap(v: float) -> float | None:
        found = made(v)
        return None if found is None else float(found.flat[k] - manual.flat[k])

    here = made(right)
    others = [(v, a) for v in (right * 10.0**e for e in ENDS) if (a := made(v)) is not None]
    if here is None or len(others) < 2:
        return None
    k = int(np.max([np.abs(a - here) for _, a in others], axis=0).argmax())
    points = sorted((v, float(a.flat[k] - manual.flat[k])) for v, a in [(right, here), *others])
    for (low, first), (high, second) in pairwise(points):
        if first * second > 0:
            continue
        v = crossing(gap, low, high)
        if v is None:
            return None
        # what a person types has few digits: the fewest that are this number
        digits = range(2, DIGITS[manual.dtype] + 1)
        short = next((s for d in digits if abs((s := float(f"{v:.{d}g}")) - v) <= NEAR * abs(v)), 0.0)
        if short and abs(short - right) > 1e-3 * abs(right):
            return short
    return None
