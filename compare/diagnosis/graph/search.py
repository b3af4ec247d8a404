"""Which one edge of the true derivation, or which two, must be wrong to give the manual numbers?

The gradient is linear in the δ that flows along an edge: with a wrong δ' where δ belongs it is t − J δ + c J δ', J the
derivation from there down to the input. Looking for it needs no J: with u random, ⟨u, J δ⟩ = ⟨Jᵀ u, δ⟩, and Jᵀ u is the
same for all slips at a place, one forward-mode pass. A few such numbers rule out all wrong slips at once, for any
constant c. What is left over is worked out in full, on every case, and must lie within the bound (`proof`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from compare.diagnosis.causes import Case
from compare.diagnosis.graph.constants import constants_of
from compare.diagnosis.graph.functions import another_function
from compare.diagnosis.graph.proof import FITTED, Found, Part, Room, Theory, gap, prove
from compare.diagnosis.graph.record import traces
from compare.diagnosis.graph.slips import Slip
from compare.diagnosis.graph.trace import Edge, Rule
from compare.diagnosis.graph.words import called, formula, operation, silent
from compare.judge.sides import LossSides, Sides

PROBES = 6  # random directions; two of them are used up by constants
ALMOST = 1e-7  # what the search lets through, relative; the proof in full is by the bound
MOST = 16  # theories that are worked out in full
PAIRED = 600  # slips that are tried in pairs
LIKELY = 13  # how unlikely a slip may be to be tried in a pair
NESTED = 3000  # slips that are made anew below a first one
LOOPED = 400  # slips that are made in all turns of a loop at once


def target_of(sides: Sides, output: str) -> str:
    """Which input of the trace a gradient is with respect to; empty where it is no gradient."""
    if output == "input gradient":
        return "x"
    if output == "loss gradient" and isinstance(sides, LossSides):
        return "ŷ"
    return output.removeprefix("gradient of ") if output.startswith("gradient of ") else ""


class TheTwin:
    """The twin taken apart on every case, and what can be wrong with one or two of its steps."""

    def __init__(self, sides: Sides, cases: Sequence[Case]) -> None:
        self.cases = cases
        self.target = target_of(sides, cases[0].output)
        fits = all(c.manual.shape == c.torch.shape for c in cases)
        looked_at = fits and (self.target or cases[0].output in ("output", "loss"))
        self.traces = traces(sides, [case.inputs for case in cases]) if looked_at else []
        self._rooms: list[tuple[list[Room], _Made]] | None = None

    def rooms(self) -> list[tuple[list[Room], _Made]]:
        """Every way of taking it apart that gives torch's own gradient, with all slips."""
        if self._rooms is None:
            self._rooms = []
            for many in self.traces if self.target else ():
                pairs = zip(self.cases, many, strict=True)
                rooms = [Room(case, trace, self.target, constants_of(case, trace)) for case, trace in pairs]
                if all(room.sound() for room in rooms):
                    made = _Made.of(_main(rooms), _main(rooms).flows)
                    if made is not None:
                        self._rooms.append((rooms, made))
        return self._rooms

    def one_slip(self) -> list[Found]:
        """Single slips of the derivation, and other functions, that explain every case."""
        return [*self._found(_singles, _loops), *another_function(self.cases, self.traces, self.target)]

    def two_slips(self) -> list[Found]:
        """Two slips of the derivation together."""
        return self._found(_pairs, _nested)

    def _found(self, *sources: Callable[[Room, _Made], Iterator[Theory]]) -> list[Found]:
        found: list[Found] = []
        for depth, (rooms, made) in enumerate(self.rooms()):  # what is taken apart the least is likelier
            here = list(_whole(rooms)) if _singles in sources else []
            for source in sources:
                here += [
                    f
                    for t in _first(_said_plainly(_main(rooms), t) for t in source(_main(rooms), made))
                    if (f := prove(rooms, t)) is not None
                ]
                if here:
                    break
            found += [f._replace(complexity=f.complexity + depth) for f in here]
        simplest: dict[tuple[str, ...], Found] = {}
        for f in sorted(found, key=lambda f: f.complexity):
            simplest.setdefault(f.words, f)
        return list(simplest.values())


def _main(rooms: list[Room]) -> Room:
    return max(rooms, key=lambda r: int(r.case.where().sum()))


def _whole(rooms: list[Room]) -> Iterator[Found]:
    """A quantity of the derivation too often, or not at all, as a factor of the whole gradient."""
    for node in rooms[0].trace.nodes:
        for words, power, complexity in (("too much", 1, 12), ("is missing", -1, 12), ("is missing twice", -2, 14)):
            worst = 0.0
            for room in rooms:
                v, t = room.trace.nodes[node.index].value, room.case.torch
                v = v.numpy() if isinstance(v, torch.Tensor) and v.is_floating_point() else np.zeros(())
                fits = 0 < v.ndim <= t.ndim and all(
                    a in (1, b) for a, b in zip(v.shape[::-1], t.shape[::-1], strict=False)
                )
                with np.errstate(all="ignore"):
                    made = t * v.astype(np.float64) ** power if fits else None
                    worst = max(worst, np.inf if made is None or not np.isfinite(made).all() else gap(room.case, made))
                if not worst <= 1:
                    break
            if worst <= 1:
                yield Found(complexity, (f"a factor {called(rooms[0].trace, node.index)} {words}",), worst)


def _first(theories: Iterator[Theory]) -> list[Theory]:
    return sorted(theories, key=lambda t: t.complexity)[:MOST]


def _said_plainly(room: Room, theory: Theory) -> Theory:
    """A little less likely where the edge is one of an operation that only moves numbers: it is said better elsewhere."""
    moves = sum(silent(room.trace.nodes[part.edges[0][0]]) for part in theory.parts)
    return theory._replace(more=theory.more + 2 * moves) if moves else theory


class _Made(NamedTuple):
    """The slips of a trace with their projections on random directions, beside those of both sides."""

    slips: list[Slip]
    wrong: np.ndarray  # (slips, probes)
    true: np.ndarray  # what the right rule of the same edge gives
    manual: np.ndarray  # (probes,)
    torch: np.ndarray
    room: np.ndarray  # what rounding may do

    @classmethod
    def of(cls, room: Room, flows: dict[int, Any], below: int | None = None) -> _Made | None:
        """All slips, or those at the operations below one, given what flows where."""
        shape = room.case.torch.shape
        u = room.probes(PROBES)
        tangents = room.tangents(PROBES)
        slips, wrong, true, last = [], [], [], np.zeros(PROBES)
        for slip in room.slips(flows, below):
            source = slip.edge[2]
            flow = _flow(slip, flows) if source in tangents[0] else None
            if flow is None or flow.shape != tangents[0][source].shape:
                continue
            projected = np.array([float((t[source] * flow).sum()) if source in t else 0.0 for t in tangents])
            last = projected if slip.key == "true" else last
            if slip.key == "true" or (np.isfinite(projected).all() and not np.allclose(projected, last, 1e-12, 0)):
                slips.append(slip)
                wrong.append(projected)
                true.append(last)
        if not slips:
            return None
        m, allowed = room.case.manual.astype(np.float64).ravel(), np.broadcast_to(room.case.allowed, shape).ravel()
        t = flows[room.target].numpy().ravel()
        return cls(slips, np.array(wrong), np.array(true), u @ m, u @ t, np.abs(u) @ allowed)


def _flow(slip: Slip, flows: dict[int, Any]) -> torch.Tensor | None:
    try:
        flow = slip.rule(flows[slip.edge[0]])
    except (RuntimeError, IndexError, TypeError, ValueError):
        return None
    return flow.detach() if isinstance(flow, torch.Tensor) else None


def _singles(room: Room, made: _Made) -> Iterator[Theory]:
    """One slip with any factor, or one slip and a factor before the whole."""
    with np.errstate(all="ignore"):
        left = made.manual - made.torch + made.true
        factor = (made.wrong * left).sum(1) / (made.wrong * made.wrong).sum(1)
        scale = np.abs(made.torch).max() + np.abs(made.true).max(1) + np.abs(factor[:, None] * made.wrong).max(1)
        fits = (np.abs(left - factor[:, None] * made.wrong) <= made.room + ALMOST * scale[:, None]).all(1)
        for i in np.flatnonzero(fits & (np.abs(made.wrong).max(1) > 0)):
            yield from _theories(room, made.slips[i], float(factor[i]))
        whole = made.torch - made.true + made.wrong
        factor = (whole * made.manual).sum(1) / (whole * whole).sum(1)
        scale = np.abs(made.manual).max() + np.abs(factor) * np.abs(whole).max(1)
        fits = (np.abs(made.manual - factor[:, None] * whole) <= made.room + ALMOST * scale[:, None]).all(1)
        dropped = made.torch - made.true
        drop_factor = (dropped * made.manual).sum(1) / (dropped * dropped).sum(1)
        drop_fits = (np.abs(made.manual - drop_factor[:, None] * dropped) <= made.room + ALMOST * scale[:, None]).all(1)
    for i in np.flatnonzero(fits & (np.abs(whole).max(1) > 0)):
        if made.slips[i].key != "true" and abs(factor[i] - 1) > ALMOST:
            for label in room.labels(float(factor[i]), ALMOST):
                yield Theory((Part.of(made.slips[i], ""),), label, room.complexity(label))
    for i in np.flatnonzero(drop_fits & (np.abs(dropped).max(1) > ALMOST * np.abs(made.torch).max())):
        if made.slips[i].key == "true" and abs(drop_factor[i] - 1) > ALMOST:
            for label in room.labels(float(drop_factor[i]), ALMOST):
                yield Theory((Part.of(made.slips[i], "missing"),), label, room.complexity(label))


def _theories(room: Room, slip: Slip, factor: float) -> Iterator[Theory]:
    if abs(factor - 1) < ALMOST:
        if slip.key != "true":
            yield Theory((Part.of(slip, ""),))
        return
    if slip.key == "true" and abs(factor) < ALMOST:
        yield Theory((Part.of(slip, "missing"),))
        return
    here = formula(room.trace, slip.edge[0])
    for label in room.labels(factor, ALMOST):
        words = label.split(" ")
        constant = words[words[1] == "division" and 3 or 2] if words[1:2] in (["constant"], ["division"]) else ""
        stands = bool(constant) and constant in here and operation(room.trace.nodes[slip.edge[0]]) in ("mul", "div")
        yield Theory((Part.of(slip, label, room.complexity(label) - 2 * stands),))
    if abs(factor) > ALMOST:
        yield Theory((Part.of(slip, FITTED, 20),))


def _parts(room: Room, made: _Made) -> Iterator[tuple[Part, np.ndarray]]:
    """Every likely slip, and every edge left out, of the wrong sign or with a named factor: what it changes."""
    for i, slip in enumerate(made.slips):
        if slip.key != "true":
            if slip.complexity <= LIKELY:
                yield Part.of(slip, ""), made.wrong[i] - made.true[i]
        elif np.abs(made.true[i]).max() > 0:
            yield Part.of(slip, "missing"), -made.true[i]
            for label, (complexity, value) in room.named.items():
                if complexity <= 12:
                    yield Part.of(slip, label, complexity), (value - 1) * made.true[i]


def _pairs(room: Room, made: _Made) -> Iterator[Theory]:
    """Two slips, each as if the other were not there."""
    unique: dict[Any, tuple[Part, np.ndarray]] = {}
    size = np.abs(made.torch).max()
    if not size > 0:
        return
    for part, change in sorted(_parts(room, made), key=lambda p: p[0].complexity):
        if np.abs(change).max() > ALMOST * size:
            unique.setdefault(tuple(np.round(change / size, 9)), (part, change))
    chosen = list(unique.values())[:PAIRED]
    if len(chosen) < 2:
        return
    V = np.stack([change for _, change in chosen])
    gap = made.manual - made.torch
    tolerance = made.room + ALMOST * (size + np.abs(gap).max())
    rest = gap[None, None, :] - V[:, None, :] - V[None, :, :]
    for a, b in np.argwhere((np.abs(rest) <= tolerance).all(-1)):
        if a < b:
            yield Theory((chosen[a][0], chosen[b][0]))


def _loops(room: Room, made: _Made) -> Iterator[Theory]:
    """The same slip in every turn of a loop."""
    turns: dict[Any, dict[Any, list[Slip]]] = {}
    for slip in made.slips:
        node = room.trace.nodes[slip.edge[0]]
        turns.setdefault((node.place, str(node.op), slip.edge[1]), {}).setdefault(slip.key, []).append(slip)
    tried = 0
    for by_key in turns.values():
        most = len(by_key.get("true", ()))
        if most < 2:
            continue
        for key, slips in by_key.items():
            for label in ("missing", "the sign is flipped") if key == "true" else ("",):
                tried += 1
                if len(slips) < 2 or tried > LOOPED or slips[0].complexity > LIKELY:
                    continue
                part = Part.of(slips[0], label)._replace(edges=tuple(s.edge for s in slips))
                with np.errstate(all="ignore"):
                    numbers = room.result({s.edge: _scaled(s.rule, room.value(label)) for s in slips})
                if numbers is not None and np.allclose(numbers, room.case.manual, 1e-6, 0):
                    yield Theory((part,))


def _scaled(rule: Rule, factor: float) -> Rule:
    return rule if factor == 1 else lambda up: factor * rule(up)


def _nested(room: Room, made: _Made) -> Iterator[Theory]:
    """A slip, and another one on the way from there to the input."""
    tried = 0
    rules: dict[tuple[Edge, Any], Callable[..., Any]] = {(s.edge, s.key): s.rule for s in made.slips}
    seen = set()
    size = np.abs(made.torch).max()
    for part, change in sorted(_parts(room, made), key=lambda p: p[0].complexity):
        mark = (part.edges, tuple(np.round(change / size, 9)))
        if part.complexity > 11 or mark in seen or not np.abs(change).max() > 0:
            continue
        seen.add(mark)
        edge = part.edges[0]
        flows = room.flows_with({edge: _scaled(rules[edge, part.key], room.value(part.label))})
        after = None if flows is None else _Made.of(room, flows, below=edge[2])
        if after is None:
            continue
        tried += len(after.slips)
        for theory in _singles(room, after):
            if not theory.overall and all(p.label != FITTED for p in theory.parts):
                yield Theory((part, *theory.parts))
        if tried > NESTED:
            return
