"""The same slip in every turn of a loop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

from handgrad.compare.diagnosis.graph.edits.backward.step import Slip, scaled
from handgrad.compare.diagnosis.graph.hypotheses import LIKELY, Budget, Made
from handgrad.compare.diagnosis.graph.proof import ONE_TURN, Part, Room, Theory
from handgrad.compare.diagnosis.graph.record.notation import called
from handgrad.compare.diagnosis.graph.record.trace import Edge, Node, Trace

LOOPED = 150  # slips that are made in all turns at once, where a check has used up its share


def loops(room: Room, made: Made, budget: Budget) -> Iterator[Theory]:
    """The same slip in every turn of a loop."""
    turns: dict[Any, dict[Any, list[Slip]]] = {}
    for slip in made.slips:
        node = room.trace.nodes[slip.edge[0]]
        key = _as_seen_from(room.trace, slip)
        turns.setdefault((node.place, str(node.op), slip.edge[1]), {}).setdefault(key, []).append(slip)
    for by_key in turns.values():
        yield from _one_turn(room, by_key.get("true", []))
    waiting: list[tuple[int, int, str, list[Slip], list[Slip]]] = []
    for by_key in turns.values():
        if len(by_key.get("true", ())) < 2:
            continue
        for key, slips in by_key.items():
            for label in ("missing", "the sign is flipped") if key == "true" else ("",):
                if len(slips) >= 2 and slips[0].complexity <= LIKELY:
                    for filled in (False, True):
                        waiting += [
                            (filled, Part.of(slips[0], label).complexity, label, slips, every)
                            for every in _all_turns(room.trace, slips, by_key, filled)
                        ]
    for tried, (_, _, label, slips, every) in enumerate(sorted(waiting, key=lambda w: w[:2])):
        budget.left -= 1
        if tried >= LOOPED and budget.left <= 0:
            return
        part = Part.of(slips[0], label)._replace(edges=tuple(s.edge for s in every), keys=tuple(s.key for s in every))
        with np.errstate(all="ignore"):
            numbers = room.result({s.edge: scaled(s.rule, room.value(label)) for s in every})
        if numbers is not None and np.allclose(numbers, room.case.manual, 1e-6, 0):
            yield Theory((part,))


def _one_turn(room: Room, slips: list[Slip]) -> Iterator[Theory]:
    """What the turns give to the same quantity, assigned where it should be added: only one turn is left."""
    if len(slips) < 3 or len({s.edge[2] for s in slips}) > 1:
        return
    ordered = sorted(slips, key=lambda s: s.edge[0])
    what = called(room.trace, slips[0].edge[2])
    for which, others in (("first", ordered[1:]), ("last", ordered[:-1])):
        numbers = room.result({s.edge: scaled(s.rule, 0.0) for s in others})
        if numbers is not None and np.allclose(numbers, room.case.manual, 1e-6, 0):
            words = f"the turns of the loop overwrite each other in the gradient of {what}: only the {which} one counts"
            edges = tuple(s.edge for s in others)
            yield Theory((Part(edges, ONE_TURN, "missing", 11, words, ("true",) * len(others)),))


def _all_turns(trace: Trace, slips: list[Slip], by_key: Mapping[Any, list[Slip]], filled: bool) -> Iterator[list[Slip]]:
    """The slips, one a turn; where another quantity of the turn before has none before the first, what may be there."""
    every = {s.edge: s for s in slips}
    if not filled:
        for edge in (s.edge for s in by_key["true"] if s.edge not in every):
            if (same := _same_numbers(trace, slips[0], edge, by_key)) is not None:
                every[edge] = same
        yield list(every.values())
        return
    without = [s.edge for s in by_key["true"] if s.edge not in every]
    kind = slips[0].key[0] if isinstance(slips[0].key, tuple) else ""
    if len(without) != 1 or kind not in ("at", "instead"):
        return
    for key, others in by_key.items():
        if key == "one" or (isinstance(key, tuple) and key[0] == kind):
            yield from ([*every.values(), s] for s in others if s.edge == without[0])


def _same_numbers(trace: Trace, like: Slip, edge: Edge, by_key: Mapping[Any, list[Slip]]) -> Slip | None:
    """The slip of another turn that has the same numbers in it: at the beginning several quantities may be alike."""
    if not (isinstance(like.key, tuple) and like.key[0] in ("at", "instead")):
        return None
    key: tuple[Any, ...] = like.key
    here, other = trace.nodes[like.edge[0]], trace.nodes[key[-1]]
    turn = _turn(trace, trace.nodes[edge[0]]) + _turn(trace, other) - _turn(trace, here)
    wanted = [n for n in trace.nodes if n.place == other.place and n.op is other.op and _turn(trace, n) == turn]
    for slips in by_key.values():
        for s in slips:
            if not (wanted and isinstance(s.key, tuple) and s.key[:-1] == key[:-1] and s.edge == edge):
                continue
            if torch.equal(trace.nodes[s.key[-1]].value, wanted[0].value):
                return s
    return None


def _as_seen_from(trace: Trace, slip: Slip) -> Any:
    """The key of a slip that has another quantity in it: where in the code that is, and how many turns away."""
    if not (isinstance(slip.key, tuple) and slip.key[0] in ("at", "instead", "δ of")):
        return slip.key
    here, other = trace.nodes[slip.edge[0]], trace.nodes[slip.key[-1]]
    return (*slip.key[:-1], other.place, str(other.op), _turn(trace, other) - _turn(trace, here))


def _turn(trace: Trace, node: Node) -> int:
    """In which turn of its loop an operation is."""
    return sum(n.place == node.place and n.op is node.op for n in trace.nodes[: node.index])
