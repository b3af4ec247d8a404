"""One draw of the inputs: its case, and what flows where in the true derivation of the reference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
import torch

from handgrad.compare.diagnosis.graph.details import Key
from handgrad.compare.diagnosis.graph.edits.backward.every import steps
from handgrad.compare.diagnosis.graph.edits.backward.step import Step
from handgrad.compare.diagnosis.graph.edits.backward.sums import other_weights
from handgrad.compare.diagnosis.graph.edits.edit import StepEdit
from handgrad.compare.diagnosis.graph.factors import MISSING, NONE, Factor, Name, scaling
from handgrad.compare.diagnosis.graph.record.node import Edge, Replacement, Tensor
from handgrad.compare.diagnosis.graph.record.rerun import DOES_NOT_FIT
from handgrad.compare.diagnosis.graph.record.trace import Trace
from handgrad.compare.diagnosis.likelihood import Tier
from handgrad.compare.judge.case import Case

MOST_NAMES = 4  # of one factor


class Draw:
    """One case with its trace, and the factors that its terms may gain or lose."""

    def __init__(self, case: Case, trace: Trace, target: str, named: Mapping[Name, Factor]) -> None:
        self.case, self.trace = case, trace
        self.named = {NONE: Factor(0, 1.0), MISSING: Factor(Tier.LOST, 0.0), **named}
        self.target = trace.inputs[target]
        self.leading = trace.leading_to(self.target)
        self.flows = trace.down({trace.output: trace.upstream}, self.leading)
        self._edits: dict[int, dict[tuple[Edge, Key], StepEdit]] = {}
        self._tangents: list[dict[int, Any]] = []
        self._ways: dict[tuple[int, int], frozenset[int]] = {}

    def gradient(self) -> np.ndarray | None:
        """The true one."""
        found = self.flows.get(self.target)
        return np.asarray(found.numpy()) if isinstance(found, Tensor) else None

    def is_sound(self) -> bool:
        """Whether the trace gives torch's own gradient."""
        t, right = self.case.torch, self.gradient()
        if right is None or right.shape != t.shape:
            return False
        near = 1e-4 if t.dtype == np.float32 else 1e-9
        return bool(np.abs(right - t).max() <= near * max(np.abs(t).max(), 1e-30))

    def edits(self, flows: Mapping[int, Any], below: int | None = None) -> Iterator[StepEdit]:
        """Every edit; only the likely ones at the operations before one, if it is given."""
        reached = None if below is None else self.trace.before(below)
        for edit in steps(self.trace, flows, self.target, likely=below is not None):
            if reached is None or edit.edge[0] in reached:
                yield edit

    def edit(self, edge: Edge, key: Key) -> StepEdit | None:
        """One of the edits, by edge and key."""
        if edge[0] not in self._edits:
            at = steps(self.trace, self.flows, self.target, at=edge[0])
            self._edits[edge[0]] = {(e.edge, e.key): e for e in at}
        found = self._edits[edge[0]].get((edge, key))
        if found is None and key[0] == "another δ":
            return Step(self.trace, self.flows, edge).another_upstream(**dict(key[1]))
        if found is None and key[0] == "weights of a mixture":
            return other_weights(Step(self.trace, self.flows, edge), **dict(key[1]))
        return found

    def probes(self, count: int) -> np.ndarray:
        """Random directions, the same for every draw of the same shape."""
        return np.random.default_rng(0).normal(0, 1, (count, *self.case.torch.shape)).reshape(count, -1)

    def tangents(self, count: int) -> list[dict[int, Any]]:
        """How every result moves with the input, along each direction."""
        if not self._tangents:
            shape = self.case.torch.shape
            directions = [torch.from_numpy(u.reshape(shape)) for u in self.probes(count)]
            self._tangents = [self.trace.tangents(self.target, u) for u in directions]
        return self._tangents

    def flows_with(self, wrong: Mapping[Edge, Replacement]) -> dict[int, Any] | None:
        """What flows where with other rules for some edges; None where these do not fit."""
        try:
            with np.errstate(all="ignore"):
                return self.trace.down({self.trace.output: self.trace.upstream}, self.leading, wrong)
        except DOES_NOT_FIT:
            return None

    def result(self, wrong: Mapping[Edge, Replacement]) -> np.ndarray | None:
        """The gradient with other rules for some edges; None where there is none that is finite."""
        flows = self.flows_with(wrong)
        if flows is None:
            return None
        found = flows.get(self.target)
        if not isinstance(found, Tensor):
            return np.zeros(self.case.torch.shape)
        made = np.asarray(found.detach().numpy())
        return made if made.shape == self.case.torch.shape and np.isfinite(made).all() else None

    def names(self, value: float, near: float, edge: Edge | None = None) -> list[Name]:
        """The names of a factor: before what flows along an edge, or before the whole."""
        way = self.way(edge)
        near *= max(1.0, abs(value))
        return [
            name for name, f in self.named.items()
            if name not in (NONE, MISSING) and abs(f.value - value) <= near and f.fits(way)
        ][:MOST_NAMES]  # fmt: skip

    def way(self, edge: Edge | None) -> frozenset[int]:
        """The operations that the paths along an edge go through, from the output to the target, and their factors."""
        late, early = (self.trace.output, self.target) if edge is None else (edge[0], edge[2])
        if (late, early) not in self._ways:
            above = {i for i in self.leading if i >= late and late in self.trace.before(i)}
            below = self.trace.before(early) & self.leading
            self._ways[late, early] = scaling(self.trace, self.leading if edge is None else frozenset(above | below))
        return self._ways[late, early]


class OfACase(Protocol):
    """What has a case."""

    case: Case


D = TypeVar("D", bound=OfACase)


def most_telling(draws: Sequence[D]) -> D:
    """The one that tells the most, of the sizes that the first has: its numbers are the ones that are named."""
    alike = [d for d in draws if d.case.manual.shape == draws[0].case.manual.shape]
    return max(alike, key=lambda d: int(d.case.where().sum()))
