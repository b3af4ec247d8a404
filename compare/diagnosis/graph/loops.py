"""The same edit in every turn of a loop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch

from handgrad.compare.diagnosis.cause import ALSO
from handgrad.compare.diagnosis.graph.details import Key, detail
from handgrad.compare.diagnosis.graph.draw import Draw
from handgrad.compare.diagnosis.graph.edits.edit import OTHER, RIGHT, StepEdit
from handgrad.compare.diagnosis.graph.edits.kinds_of_steps import STEPS
from handgrad.compare.diagnosis.graph.factors import MISSING, NONE, SIGN, Name
from handgrad.compare.diagnosis.graph.hypotheses import LIKELY, Budget, Projected
from handgrad.compare.diagnosis.graph.hypothesis import FactoredEdit, Hypothesis
from handgrad.compare.diagnosis.graph.record.node import Edge, Node
from handgrad.compare.diagnosis.graph.record.trace import Trace
from handgrad.compare.diagnosis.likelihood import MOVED

LOOPED = 150  # edits that are made in all turns at once, where a check has used up its share
OF_ANOTHER = {"at another quantity", "another factor"}  # edits with another quantity in them
ByKey = Mapping[Any, list[StepEdit]]


class Looped(NamedTuple):
    """An edit in every turn: the first of its kind, its factor, and one edit for each turn."""

    filled: bool  # with something else in the first turn
    first: FactoredEdit
    every: list[StepEdit]


def loops(draw: Draw, made: Projected, budget: Budget) -> Iterator[Hypothesis]:
    """The same edit in every turn of a loop."""
    turns: dict[Any, dict[Any, list[StepEdit]]] = {}
    for edit in made.edits:
        node = draw.trace.nodes[edit.edge[0]]
        place = node.place, str(node.op), edit.edge[1]
        turns.setdefault(place, {}).setdefault(_as_seen_from(draw.trace, edit), []).append(edit)
    for by_key in turns.values():
        yield from _one_turn(draw, by_key.get((RIGHT, ()), []))
    waiting = [looped for by_key in turns.values() for looped in _looped(draw.trace, by_key)]
    most = None  # how unlikely another name for the same numbers may be
    for tried, looped in enumerate(sorted(waiting, key=lambda w: (w.filled, w.first.complexity))):
        if most is not None and looped.first.complexity > most:
            continue
        budget.left -= 1
        if tried >= LOOPED and budget.left <= 0:
            return
        value = draw.named[looped.first.factor].value
        if _gives(draw, looped.every, value):
            yield Hypothesis((looped.first.at(looped.every),))
            if most is None:
                most = looped.first.complexity + ALSO + MOVED


def _gives(draw: Draw, edits: list[StepEdit], factor: float) -> bool:
    """Whether these edits together, with a factor, give about the manual numbers."""
    made = draw.result({edit.edge: edit.with_factor(factor) for edit in edits})
    return made is not None and np.allclose(made, draw.case.manual, 1e-6, 0)


def _one_turn(draw: Draw, paths: list[StepEdit]) -> Iterator[Hypothesis]:
    """What the turns give to the same quantity, assigned where it should be added: only one turn is left."""
    if len(paths) < 3 or len({path.edge[2] for path in paths}) > 1:
        return
    ordered = sorted(paths, key=lambda path: path.edge[0])
    for which, others in (("first", ordered[1:]), ("last", ordered[:-1])):
        if _gives(draw, others, 0.0):
            key = "one turn only", (("which", which),)
            edit = FactoredEdit((), (), key, STEPS[key[0]].tier, MISSING)
            yield Hypothesis((edit.at(others),))


def _looped(trace: Trace, by_key: ByKey) -> Iterator[Looped]:
    """Every edit of one operation of a loop that is likely, in all turns."""
    if len(by_key.get((RIGHT, ()), ())) < 2:
        return
    for edits in by_key.values():
        factors: tuple[Name, ...] = (MISSING, SIGN) if edits[0].kind == RIGHT else (NONE,)
        for factor in factors if len(edits) >= 2 and edits[0].complexity <= LIKELY else ():
            first = FactoredEdit.of(edits[0], factor)
            yield Looped(False, first, _all_turns(trace, edits, by_key))
            yield from (Looped(True, first, every) for every in _with_another_first(edits, by_key))


def _all_turns(trace: Trace, edits: list[StepEdit], by_key: ByKey) -> list[StepEdit]:
    """The edits, one a turn; where there is none in a turn, one that has the same numbers in it."""
    every = {edit.edge: edit for edit in edits}
    for edge in [path.edge for path in by_key[RIGHT, ()] if path.edge not in every]:
        if edits[0].kind in OF_ANOTHER and (same := _same_numbers(trace, edits[0], edge, by_key)) is not None:
            every[edge] = same
    return list(every.values())


def _with_another_first(edits: list[StepEdit], by_key: ByKey) -> Iterator[list[StepEdit]]:
    """Where another quantity of the turn before has none before the first turn, what may be there."""
    have = {edit.edge: edit for edit in edits}
    without = [path.edge for path in by_key[RIGHT, ()] if path.edge not in have]
    if len(without) == 1 and edits[0].kind in OF_ANOTHER:
        for others in by_key.values():
            if others[0].kind in ("derivative as 1", edits[0].kind):
                yield from ([*have.values(), edit] for edit in others if edit.edge == without[0])


def _same_numbers(trace: Trace, like: StepEdit, edge: Edge, by_key: ByKey) -> StepEdit | None:
    """The edit of another turn that has the same numbers in it: at the beginning several quantities may be alike."""
    here, other = trace.nodes[like.edge[0]], trace.nodes[detail(like.key, OTHER)]
    turn = _turn(trace, trace.nodes[edge[0]]) + _turn(trace, other) - _turn(trace, here)
    wanted = [n for n in trace.nodes if n.place == other.place and n.op is other.op and _turn(trace, n) == turn]
    for edit in (edit for edits in by_key.values() for edit in edits if edit.edge == edge and wanted):
        alike = _but_for_the_other(edit.key) == _but_for_the_other(like.key)
        if alike and torch.equal(trace.nodes[detail(edit.key, OTHER)].value, wanted[0].value):
            return edit
    return None


def _but_for_the_other(key: Key) -> Any:
    return key[0], [d for d in key[1] if d[0] != OTHER]


def _as_seen_from(trace: Trace, edit: StepEdit) -> Any:
    """The key of an edit that has another quantity in it: where in the code that is, and how many turns away."""
    if edit.kind not in OF_ANOTHER | {"another δ"}:
        return edit.key
    here, other = trace.nodes[edit.edge[0]], trace.nodes[detail(edit.key, OTHER)]
    away = _turn(trace, other) - _turn(trace, here)
    return edit.kind, tuple(edit.details[:-1]), other.place, str(other.op), away


def _turn(trace: Trace, node: Node) -> int:
    """In which turn of its loop an operation is."""
    return sum(n.place == node.place and n.op is node.op for n in trace.nodes[: node.index])
