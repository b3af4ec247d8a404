"""The slips of a trace, and those of them, one or two, that random directions cannot tell from the manual numbers.

The gradient is linear in the δ that flows along an edge: with a wrong δ' where δ belongs it is t − J δ + c J δ', J the
derivation from there down to the input. Looking for it needs no J: with u random, ⟨u, J δ⟩ = ⟨Jᵀ u, δ⟩, and Jᵀ u is the
same for all slips at a place, one forward-mode pass. A few such numbers rule out all wrong slips at once, for any
constant c. What is left over is worked out in full, on every case, and must lie within the bound (`proof`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import torch

from handgrad.compare.diagnosis.graph.edits.backward.step import Slip, scaled
from handgrad.compare.diagnosis.graph.proof import FITTED, Part, Room, Theory
from handgrad.compare.diagnosis.graph.record.notation import formula, operation
from handgrad.compare.diagnosis.graph.record.trace import Edge, Node

PROBES = 6  # random directions; two of them are used up by constants
ALMOST = 1e-7  # what the search lets through, relative; the proof in full is by the bound
PAIRED = 600  # slips that are tried in pairs
MATCHING = 64  # pairs that are looked at again
LIKELY = 13  # how unlikely a slip may be to be tried in a pair
SWAPPED = 2000  # pairs of results whose δ may be swapped


class Made(NamedTuple):
    """The slips of a trace with their projections on random directions, beside those of both sides."""

    slips: list[Slip]
    wrong: np.ndarray  # (slips, probes)
    true: np.ndarray  # what the right rule of the same edge gives
    manual: np.ndarray  # (probes,)
    torch: np.ndarray
    room: np.ndarray  # what rounding may do

    @classmethod
    def of(cls, room: Room, flows: dict[int, Any], below: int | None = None, paths: bool = False) -> Made | None:
        """All slips, or those at the operations below one, given what flows where; or the right rules of the paths."""
        shape = room.case.torch.shape
        u = room.probes(PROBES)
        tangents = room.tangents(PROBES)
        slips, wrong, true, last = [], [], [], np.zeros(PROBES)
        for slip in room.slips(flows, below):
            source = slip.edge[2]
            if paths and slip.key != "true":
                continue
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


@dataclass
class Budget:
    """How much work is left: counted, not timed, so that the same check says the same on every machine."""

    left: int


def _flow(slip: Slip, flows: dict[int, Any]) -> torch.Tensor | None:
    try:
        flow = slip.rule(flows[slip.edge[0]])
    except (RuntimeError, IndexError, TypeError, ValueError):
        return None
    return flow.detach() if isinstance(flow, torch.Tensor) else None


def singles(room: Room, made: Made) -> Iterator[Theory]:
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
    for label in room.labels(factor, ALMOST, slip.edge):
        words = label.split(" ")
        constant = words[(words[1] == "division" and 3) or 2] if words[1:2] in (["constant"], ["division"]) else ""
        stands = bool(constant) and constant in here and operation(room.trace.nodes[slip.edge[0]]) in ("mul", "div")
        yield Theory((Part.of(slip, label, room.complexity(label) - 2 * stands),))
    if abs(factor) > ALMOST and slip.key == "true":  # a number without a name on top of a slip is no cause
        yield Theory((Part.of(slip, FITTED, 20),))


def _parts(room: Room, made: Made) -> Iterator[tuple[Part, np.ndarray]]:
    """Every likely slip, and every edge left out, of the wrong sign or with a named factor: what it changes."""
    for i, slip in enumerate(made.slips):
        if slip.key != "true":
            if slip.complexity <= LIKELY:
                yield Part.of(slip, ""), made.wrong[i] - made.true[i]
        elif np.abs(made.true[i]).max() > 0:
            yield Part.of(slip, "missing"), -made.true[i]
            way = room.way(slip.edge)
            for label, factor in room.named.items():
                if factor.complexity <= 12 and factor.fits(way):
                    yield Part.of(slip, label, factor.complexity), (factor.value - 1) * made.true[i]


def pairs(room: Room, made: Made) -> Iterator[Theory]:
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
    a, b = np.nonzero(np.triu((np.abs(rest) <= tolerance).all(-1), 1))
    unlikely = np.array([part.complexity for part, _ in chosen])
    for k in np.argsort(unlikely[a] + unlikely[b], kind="stable")[:MATCHING]:  # more fit only where the bound is loose
        yield Theory((chosen[a[k]][0], chosen[b[k]][0]))


def swaps(room: Room, made: Made) -> Iterator[Theory]:
    """The δ of two results of the same shape, changed for one another."""
    trace, tangents = room.trace, room.tangents(PROBES)
    found: dict[Any, list[Node]] = {}
    for node in trace.nodes:
        if node.op is not None and isinstance(room.flows.get(node.index), torch.Tensor) and node.index in tangents[0]:
            found.setdefault((tuple(node.value.shape), operation(node)), []).append(node)
    scale = np.abs(made.manual).max() + np.abs(made.torch).max()
    tried = 0
    for alike in found.values():
        for a, b in combinations(alike, 2):
            tried += 1
            if tried > SWAPPED:
                return
            gap = room.flows[b.index] - room.flows[a.index]
            change = np.array([float(((t[a.index] - t[b.index]) * gap).sum()) for t in tangents])
            if (np.abs(made.manual - made.torch - change) <= made.room + ALMOST * scale).all():
                edges = [
                    ((n.index, place, s), ("δ of", other.index))
                    for n, other in ((a, b), (b, a))
                    for place, s in enumerate(n.sources())
                    if s in room.leading
                ]
                words = f"δ of {formula(trace, a.index)} and δ of {formula(trace, b.index)} are swapped"
                keys = tuple(k for _, k in edges)
                yield Theory((Part(tuple(e for e, _ in edges), "swapped", "", 11, words, keys),))


def nested(room: Room, made: Made, budget: Budget, paths: bool = False) -> Iterator[Theory]:
    """A slip, and another one on the way from there to the input, the likeliest first, as far as the budget goes.

    The other one may be any slip, or only a path left out, of the wrong sign or with a factor, which is soon seen.
    """
    rules: dict[tuple[Edge, Any], Callable[..., Any]] = {(s.edge, s.key): s.rule for s in made.slips}
    seen = set()
    size = np.abs(made.torch).max()
    for part, change in sorted(_parts(room, made), key=lambda p: p[0].complexity):
        mark = (part.edges, tuple(np.round(change / size, 9)))
        if part.complexity > 11 or mark in seen or not np.abs(change).max() > 0:
            continue
        seen.add(mark)
        edge = part.edges[0]
        flows = room.flows_with({edge: scaled(rules[edge, part.key], room.value(part.label))})
        after = None if flows is None else Made.of(room, flows, edge[2], paths)
        if after is None:
            continue
        budget.left -= len(after.slips) + len(room.trace.nodes)
        for theory in singles(room, after):
            if not theory.overall and all(p.label != FITTED for p in theory.parts):
                yield Theory((part, *theory.parts))
        if budget.left <= 0:
            return
