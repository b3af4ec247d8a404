"""A theory of what is wrong, worked out in full on every case: it holds only where the bound holds everywhere."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from handgrad.compare.diagnosis.graph.constants import Factor, scaling
from handgrad.compare.diagnosis.graph.edge import Borrowed, Place, Slip, named_term, path, power_lost, rule_of, scaled
from handgrad.compare.diagnosis.graph.slips import slips
from handgrad.compare.diagnosis.graph.slips_of_mixtures import other_weights
from handgrad.compare.diagnosis.graph.trace import Edge, Rule, Trace
from handgrad.compare.diagnosis.graph.words import called, formula
from handgrad.compare.diagnosis.regions import near_one
from handgrad.compare.diagnosis.residual import gap
from handgrad.compare.judge.case import Case

FITTED = "a constant factor"  # one without a name, the same in every case
SPARE = 3  # numbers that must be explained beyond those fitted
EITHER = re.compile(r"the (first|second) (?=.* in )")  # of two arguments of one name
ONE_TURN = "one turn"  # the key of what leaves out all turns of a loop but one
FREE = {"": 1.0, "missing": 0.0}


class Part(NamedTuple):
    """A slip, with the factor that it comes with, by its name."""

    edges: tuple[Edge, ...]  # several in a loop
    key: Any
    label: str
    complexity: int
    words: str
    keys: tuple[Any, ...] = ()  # of each edge, where they are not the same

    @classmethod
    def of(cls, slip: Slip, label: str, more: int = 0) -> Part:
        """At one edge; `more` is the complexity of the factor."""
        true = slip.key == "true"
        complexity = (
            (10 if label in ("missing", "the sign is flipped") else 1 + more) if true else slip.complexity + more
        )
        return cls((slip.edge,), slip.key, label, complexity, slip.words)


class Theory(NamedTuple):
    """One slip or two, and perhaps a factor before the whole."""

    parts: tuple[Part, ...]
    overall: str = ""
    more: int = 0

    @property
    def complexity(self) -> int:
        """Of all that went wrong."""
        return sum(part.complexity for part in self.parts) + self.more


class Found(NamedTuple):
    """What gives the manual numbers in every case."""

    complexity: int
    words: tuple[str, ...]
    residual: float


class Room:
    """One case with its trace: what flows where in the true derivation."""

    def __init__(self, case: Case, trace: Trace, target: str, named: dict[str, Factor]) -> None:
        self.case, self.trace, self.named = case, trace, named
        self.target = trace.inputs[target]
        self.leading = trace.leading_to(self.target)
        self.flows = trace.down({trace.output: trace.upstream}, self.leading)
        self._every: dict[int, dict[tuple[Edge, Any], Slip]] = {}
        self._tangents: list[dict[int, Any]] = []
        self._ways: dict[int, frozenset[int]] = {}

    def sound(self) -> bool:
        """Whether the trace gives torch's own gradient."""
        t, right = self.case.torch, self.flows.get(self.target)
        if right is None or right.shape != t.shape:
            return False
        near = 1e-4 if t.dtype == np.float32 else 1e-9
        return bool(np.abs(right.numpy() - t).max() <= near * max(np.abs(t).max(), 1e-30))

    def slips(self, flows: dict[int, Any], below: int | None = None) -> Iterator[Slip]:
        """Every slip; only the likely ones at the operations before one, if it is given."""
        reached = None if below is None else self._before(below)
        for slip in slips(self.trace, flows, self.target, likely=below is not None):
            if reached is None or slip.edge[0] in reached:
                yield slip

    def _before(self, index: int) -> set[int]:
        found = {index}
        for node in reversed(self.trace.nodes[: index + 1]):
            if node.index in found:
                found.update(node.sources())
        return found

    def slip(self, edge: Edge, key: Any) -> Slip | None:
        """One of the slips, by edge and key."""
        if edge[0] not in self._every:
            at = slips(self.trace, self.flows, self.target, at=edge[0])
            self._every[edge[0]] = {(s.edge, s.key): s for s in at}
        found = self._every[edge[0]].get((edge, key))
        if found is None and isinstance(key, tuple) and key[0] == "δ of":
            place = Place(self.trace, self.flows, self.trace.nodes[edge[0]], *edge[1:])
            return place.slip(key, 13, "", Borrowed(place.right, -1, self.flows[key[1]]))
        if found is None and isinstance(key, tuple) and key[0] == "weights":
            return other_weights(Place(self.trace, self.flows, self.trace.nodes[edge[0]], *edge[1:]), *key[1:])
        return found

    def probes(self, count: int) -> np.ndarray:
        """Random directions, the same for every room of the same shape."""
        return np.random.default_rng(0).normal(0, 1, (count, *self.case.torch.shape)).reshape(count, -1)

    def tangents(self, count: int) -> list[dict[int, Any]]:
        """How every result moves with the input, along each direction."""
        if not self._tangents:
            shape = self.case.torch.shape
            directions = [torch.from_numpy(u.reshape(shape)) for u in self.probes(count)]
            self._tangents = [self.trace.tangents(self.target, u) for u in directions]
        return self._tangents

    def flows_with(self, wrong: Mapping[Edge, Rule]) -> dict[int, Any] | None:
        """What flows where with other rules for some edges; None where these do not fit."""
        try:
            return self.trace.down({self.trace.output: self.trace.upstream}, self.leading, wrong)
        except (RuntimeError, IndexError, TypeError, ValueError):
            return None

    def result(self, wrong: Mapping[Edge, Rule]) -> np.ndarray | None:
        """The gradient with other rules for some edges; None where there is none."""
        flows = self.flows_with(wrong)
        found = None if flows is None else flows.get(self.target)
        if found is None:
            return None if flows is None else np.zeros(self.case.torch.shape)
        return np.asarray(found.detach().numpy()) if found.shape == self.case.torch.shape else None

    def value(self, label: str) -> float:
        """The factor of this name, in this case."""
        return FREE[label] if label in FREE else self.named[label].value

    def complexity(self, label: str) -> int:
        """How unlikely the factor of this name is."""
        return self.named[label].complexity

    def labels(self, factor: float, near: float, edge: Edge | None = None) -> list[str]:
        """The names of a factor: before what flows along an edge, or before the whole."""
        way = scaling(self.trace, self.leading) if edge is None else self.way(edge)
        near *= max(1.0, abs(factor))
        return [k for k, f in self.named.items() if abs(f.value - factor) <= near and f.fits(way)][:4]

    def way(self, edge: Edge) -> frozenset[int]:
        """The operations that the paths along an edge go through, from the output to the target, and their factors."""
        late, _, early = edge
        for index in (late, -1 - early):
            if index not in self._ways:
                below = self._before(early) if index < 0 else set()
                above = {i for i in self.leading if i >= late and late in self._before(i)} if index >= 0 else set()
                self._ways[index] = frozenset(below & self.leading if index < 0 else above)
        key = -1 - early - len(self.trace.nodes) * (late + 1)
        if key not in self._ways:
            self._ways[key] = scaling(self.trace, self._ways[late] | self._ways[-1 - early])
        return self._ways[key]


def prove(rooms: Sequence[Room], theory: Theory) -> Found | None:
    """Work the theory out in every case; None unless what is left is everywhere within the bound."""
    worst, numbers = 0.0, 0
    low, high = -np.inf, np.inf
    for room in rooms:
        wrong: dict[Edge, tuple[Rule, str]] = {}
        for part in theory.parts:
            for edge, key in zip(part.edges, part.keys or (part.key,) * len(part.edges), strict=True):
                slip = room.slip(edge, key)
                if slip is None or (part.label not in (*FREE, FITTED) and part.label not in room.named):
                    return None
                wrong[edge] = slip.rule, part.label
        if theory.overall and theory.overall not in room.named:
            return None
        overall = room.value(theory.overall)
        made = _made(room, wrong, 0.0)
        if made is None or not np.isfinite(made).all():
            return None
        fitted, spread = None, 0.0
        if any(part.label == FITTED for part in theory.parts):
            one = _made(room, wrong, 1.0)
            if one is None or not np.isfinite(one).all():
                return None
            fitted = one - made
            k = int(np.abs(fitted).argmax())
            if fitted.flat[k] == 0:
                return None
            factor = float((room.case.manual.flat[k] - made.flat[k]) / fitted.flat[k])
            allowed = float(np.broadcast_to(room.case.allowed, made.shape).flat[k])
            spread = allowed / abs(float(fitted.flat[k])) + 1e-14 * abs(factor)
            low, high = max(low, factor - spread), min(high, factor + spread)
            made = made + factor * fitted
        left = gap(room.case, overall * made, max(1.0, abs(overall)), fitted, spread)
        if not (left <= 1 and low <= high):
            return None
        worst, numbers = max(worst, left), numbers + int(room.case.where().sum())
    if numbers < SPARE + sum(part.label not in FREE for part in theory.parts):
        return None
    words = [_words(rooms[0].trace, part, (low + high) / 2) for part in theory.parts]
    alike = [_either(rooms[0], part) for part in theory.parts]
    words = [EITHER.sub("one of the two ", w, 1) if a else w for w, a in zip(words, alike, strict=True)]
    return Found(theory.complexity, (*words, *([theory.overall] if theory.overall else [])), worst)


def _either(room: Room, part: Part) -> bool:
    """Whether a slip at the other argument of the same operation would give the same numbers: the two are alike."""
    late, place, _ = part.edges[0]
    sources = room.trace.nodes[late].sources()
    if part.key != "true" or len(part.edges) > 1 or len(sources) != 2 or place < 0 or part.label == FITTED:
        return False
    made = []
    for edge in (part.edges[0], (late, 1 - place, sources[1 - place])):
        slip = room.slip(edge, "true")
        made.append(None if slip is None else room.result({edge: scaled(slip.rule, room.value(part.label))}))
    first, second = made
    return first is not None and second is not None and np.allclose(first, second, 1e-10, 1e-12)


def _made(room: Room, wrong: Mapping[Edge, tuple[Rule, str]], fitted: float) -> np.ndarray | None:
    def factor(label: str) -> float:
        return fitted if label == FITTED else room.value(label)

    with np.errstate(all="ignore"):
        return room.result({edge: scaled(rule, factor(label)) for edge, (rule, label) in wrong.items()})


def _words(trace: Trace, part: Part, factor: float) -> str:
    if part.key == ONE_TURN:
        return part.words
    edge = part.edges[0]
    often = ", in every turn of the loop" if len(part.edges) > 1 and part.key not in ("swapped", "weights") else ""
    if part.key == "true":
        way = path(trace, edge)
        if part.label == "missing" and (lost := power_lost(trace, edge)):
            return f"{lost}{often}"
        if part.label == "missing" and (name := named_term(trace, edge)):
            held = f"{called(trace, edge[2])} is held constant in {formula(trace, edge[0])}"
            return f"{name} is missing: {held}{often}"
        if part.label == "missing":
            return f"{way} is missing: it is held constant there{rule_of(trace, edge)}{often}"
        if part.label == "the sign is flipped":
            return f"{way} has the wrong sign{often}"
    text = part.words + often
    if part.label == FITTED:
        return f"{text}: a constant factor of {near_one(factor)}"
    return f"{text}: {part.label}" if part.label else text
