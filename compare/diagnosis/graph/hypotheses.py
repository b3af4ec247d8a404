"""The edits of a draw, and those of them, one or two, that random directions cannot tell from the manual numbers.

The gradient is linear in the δ that flows along an edge: with a wrong δ' where δ belongs it is t − J δ + c J δ', J the
derivation from there down to the input. Looking for it needs no J: with u random, ⟨u, J δ⟩ = ⟨Jᵀ u, δ⟩, and Jᵀ u is the
same for all edits at a place, one forward-mode pass. A few such numbers rule out all wrong edits at once, for any
constant c. What is left over is worked out in full, on every draw, and must lie within the bound (`proof`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import torch

from handgrad.compare.diagnosis.graph.details import Key
from handgrad.compare.diagnosis.graph.draw import Draw
from handgrad.compare.diagnosis.graph.edits.edit import RIGHT, StepEdit
from handgrad.compare.diagnosis.graph.edits.kinds_of_steps import STEPS
from handgrad.compare.diagnosis.graph.factors import FITTED, MISSING, NONE
from handgrad.compare.diagnosis.graph.hypothesis import FactoredEdit, Hypothesis
from handgrad.compare.diagnosis.graph.record.node import Edge, Node, Tensor
from handgrad.compare.diagnosis.graph.record.rerun import DOES_NOT_FIT
from handgrad.compare.diagnosis.likelihood import STANDS, Tier

OF_A_CONSTANT = {"constant left out", "constant twice", "constant of another size"}  # kinds of factors
PROBES = 6  # random directions; two of them are used up by constants
ALMOST = 1e-7  # what the search lets through, relative; the proof in full is by the bound
PAIRED = 600  # edits that are tried in pairs
MATCHING = 64  # pairs that are looked at again
LIKELY = Tier.ODD  # how unlikely an edit may be to be tried in a pair
LIKELY_FACTOR = Tier.RARE  # and a factor
LIKELY_ABOVE = Tier.KNOWN  # and an edit above another one
SWAPPED = 2000  # pairs of results whose δ may be swapped


@dataclass
class Budget:
    """How much work is left: counted, not timed, so that the same check says the same on every machine."""

    left: int


class Projected(NamedTuple):
    """The edits of a draw with their projections on random directions, beside those of both sides."""

    edits: list[StepEdit]
    wrong: np.ndarray  # (edits, probes)
    right: np.ndarray  # what the right rule of the same edge gives
    manual: np.ndarray  # (probes,)
    torch: np.ndarray
    allowed: np.ndarray  # what rounding may do

    @classmethod
    def of(
        cls, draw: Draw, flows: Mapping[int, Any], below: int | None = None, paths: bool = False
    ) -> Projected | None:
        """All edits, or those at the operations below one, given what flows where; or the right rules of the paths."""
        u, tangents = draw.probes(PROBES), draw.tangents(PROBES)
        edits, wrong, right, last = [], [], [], np.zeros(PROBES)
        along: dict[int, Tensor] = {}  # the tangents of every source, side by side
        for edit in draw.edits(flows, below):
            source, is_right = edit.edge[2], edit.kind == RIGHT
            if (paths and not is_right) or source not in tangents[0]:
                continue
            flow = _flow(edit, flows)
            if flow is None or flow.shape != tangents[0][source].shape:
                continue
            if source not in along:
                here = [t.get(source, torch.zeros_like(tangents[0][source])) for t in tangents]
                along[source] = torch.stack(here).reshape(len(here), -1)
            projected = (along[source] @ flow.reshape(-1).to(along[source].dtype)).numpy()
            last = projected if is_right else last
            if is_right or (np.isfinite(projected).all() and not np.allclose(projected, last, 1e-12, 0)):
                edits.append(edit)
                wrong.append(projected)
                right.append(last)
        if not edits:
            return None
        m, t = draw.case.manual.astype(np.float64).ravel(), flows[draw.target].numpy().ravel()
        allowed = np.broadcast_to(draw.case.allowed, draw.case.torch.shape).ravel()
        return cls(edits, np.array(wrong), np.array(right), u @ m, u @ t, np.abs(u) @ allowed)

    def fitting(self, base: np.ndarray, part: np.ndarray, scale: Any) -> tuple[np.ndarray, np.ndarray]:
        """The factors with which the parts come nearest to a base, and whether they then come near enough."""
        factor = (part * base).sum(1) / (part * part).sum(1)
        size = scale + np.abs(factor) * np.abs(part).max(1)
        return factor, (np.abs(base - factor[:, None] * part) <= self.allowed + ALMOST * size[:, None]).all(1)


def _flow(edit: StepEdit, flows: Mapping[int, Any]) -> Tensor | None:
    try:
        flow = edit.with_factor(1.0).of(flows[edit.edge[0]], {})
    except DOES_NOT_FIT:
        return None
    return flow.detach() if isinstance(flow, Tensor) else None


def singles(draw: Draw, made: Projected) -> Iterator[Hypothesis]:
    """One edit with any factor, or one edit and a factor before the whole."""
    size, whole, rest = np.abs(made.torch).max(), made.torch - made.right + made.wrong, made.torch - made.right
    with np.errstate(all="ignore"):
        factor, fits = made.fitting(made.manual - rest, made.wrong, size + np.abs(made.right).max(1))
        overall, whole_fits = made.fitting(made.manual, whole, np.abs(made.manual).max())
        of_rest, rest_fits = made.fitting(made.manual, rest, np.abs(made.manual).max())
    for i in np.flatnonzero(fits & (np.abs(made.wrong).max(1) > 0)):
        yield from _with_factor(draw, made.edits[i], float(factor[i]))
    for edit, c in _chosen(made, whole_fits & (np.abs(whole).max(1) > 0), overall):
        if edit.kind != RIGHT:
            yield from _before_the_whole(draw, FactoredEdit.of(edit), c)
    for edit, c in _chosen(made, rest_fits & (np.abs(rest).max(1) > ALMOST * size), of_rest):
        if edit.kind == RIGHT:
            yield from _before_the_whole(draw, FactoredEdit.of(edit, MISSING), c)


def _chosen(made: Projected, which: np.ndarray, factors: np.ndarray) -> Iterator[tuple[StepEdit, float]]:
    yield from ((made.edits[i], float(factors[i])) for i in np.flatnonzero(which & (np.abs(factors - 1) > ALMOST)))


def _before_the_whole(draw: Draw, edit: FactoredEdit, value: float) -> Iterator[Hypothesis]:
    for name in draw.names(value, ALMOST):
        yield Hypothesis((edit,), name, draw.named[name].complexity)


def _with_factor(draw: Draw, edit: StepEdit, value: float) -> Iterator[Hypothesis]:
    """One edit with a factor before what flows along its edge, which is left out where it is one."""
    if abs(value - 1) < ALMOST:
        if edit.kind != RIGHT:
            yield Hypothesis((FactoredEdit.of(edit),))
    elif edit.kind == RIGHT and abs(value) < ALMOST:
        yield Hypothesis((FactoredEdit.of(edit, MISSING),))
    else:
        for name in draw.names(value, ALMOST, edit.edge):
            factor = draw.named[name]
            node = draw.trace.nodes[edit.edge[0]]
            in_it = factor.inside and name.kind in OF_A_CONSTANT and bool(factor.at & draw.trace.before(node.index))
            stands = in_it and node.operation in ("mul", "div")
            yield Hypothesis((FactoredEdit.of(edit, name, factor.complexity + STANDS * stands),))
        if edit.kind == RIGHT:  # a number without a name on top of an edit is no cause
            yield Hypothesis((FactoredEdit.of(edit, FITTED, Tier.NAMELESS),))


def _changes(draw: Draw, made: Projected) -> list[tuple[FactoredEdit, np.ndarray]]:
    """Every likely edit, and every edge left out, of the wrong sign or with a named factor: what it changes."""
    found: list[tuple[FactoredEdit, np.ndarray]] = []
    for edit, wrong, right in zip(made.edits, made.wrong, made.right, strict=True):
        if edit.kind != RIGHT:
            if edit.complexity <= LIKELY:
                found.append((FactoredEdit.of(edit), wrong - right))
        elif np.abs(right).max() > 0:
            way = draw.way(edit.edge)
            for name, factor in draw.named.items():
                if name != NONE and factor.complexity <= LIKELY_FACTOR and factor.fits(way):
                    found.append((FactoredEdit.of(edit, name, factor.complexity), (factor.value - 1) * right))
    return sorted(found, key=lambda f: f[0].complexity)


def pairs(draw: Draw, made: Projected) -> Iterator[Hypothesis]:
    """Two edits, each as if the other were not there."""
    unique: dict[Any, tuple[FactoredEdit, np.ndarray]] = {}
    size = np.abs(made.torch).max()
    for edit, change in _changes(draw, made) if size > 0 else ():
        if np.abs(change).max() > ALMOST * size:
            unique.setdefault(tuple(np.round(change / size, 9)), (edit, change))
    chosen = list(unique.values())[:PAIRED]
    if len(chosen) < 2:
        return
    V = np.stack([change for _, change in chosen])
    gap = made.manual - made.torch
    tolerance = made.allowed + ALMOST * (size + np.abs(gap).max())
    rest = gap[None, None, :] - V[:, None, :] - V[None, :, :]
    a, b = np.nonzero(np.triu((np.abs(rest) <= tolerance).all(-1), 1))
    unlikely = np.array([edit.complexity for edit, _ in chosen])
    for k in np.argsort(unlikely[a] + unlikely[b], kind="stable")[:MATCHING]:  # more fit only where the bound is loose
        yield Hypothesis((chosen[a[k]][0], chosen[b[k]][0]))


def exchanges(draw: Draw, made: Projected) -> Iterator[Hypothesis]:
    """The δ of two results of the same shape, changed for one another."""
    tangents, flows = draw.tangents(PROBES), draw.flows
    alike: dict[Any, list[Node]] = {}
    for node in draw.trace.nodes:
        if node.op is not None and isinstance(flows.get(node.index), Tensor) and node.index in tangents[0]:
            alike.setdefault((tuple(node.value.shape), node.operation), []).append(node)
    scale = np.abs(made.manual).max() + np.abs(made.torch).max()
    every = [pair for nodes in alike.values() for pair in combinations(nodes, 2)]
    for a, b in every[:SWAPPED]:
        gap = flows[b.index] - flows[a.index]
        change = np.array([float(((t[a.index] - t[b.index]) * gap).sum()) for t in tangents])
        if (np.abs(made.manual - made.torch - change) <= made.allowed + ALMOST * scale).all():
            edges: dict[Edge, Key] = {
                (n.index, place, s): ("another δ", (("other", other.index),))
                for n, other in ((a, b), (b, a))
                for place, s in enumerate(n.sources())
                if s in draw.leading
            }
            key = "δ exchanged", (("one", a.index), ("two", b.index))
            yield Hypothesis((FactoredEdit(tuple(edges), tuple(edges.values()), key, STEPS[key[0]].tier),))


def nested(draw: Draw, made: Projected, budget: Budget, paths: bool = False) -> Iterator[Hypothesis]:
    """An edit, and another one on the way from there to the input, the likeliest first, as far as the budget goes.

    The other one may be any edit, or only a path left out, of the wrong sign or with a factor, which is soon seen.
    """
    every = {(e.edge, e.key): e for e in made.edits}
    seen = set()
    size = np.abs(made.torch).max()
    for first, change in _changes(draw, made):
        edge, key = first.edges[0], first.keys[0]
        mark = edge, tuple(np.round(change / size, 9))
        if first.complexity > LIKELY_ABOVE or mark in seen or not np.abs(change).max() > 0:
            continue
        seen.add(mark)
        flows = draw.flows_with({edge: every[edge, key].with_factor(draw.named[first.factor].value)})
        after = None if flows is None else Projected.of(draw, flows, edge[2], paths)
        if after is None:
            continue
        budget.left -= len(after.edits) + len(draw.trace.nodes)
        for second in singles(draw, after):
            if second.overall == NONE and not second.is_fitted:
                yield Hypothesis((first, *second.edits))
        if budget.left <= 0:
            return
