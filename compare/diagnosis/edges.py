"""Which one edge of the true derivation, or which two, must be wrong to give the manual numbers?

The gradient is linear in the δ that flows along an edge: with a wrong δ' where δ belongs it is t − J δ + c J δ', J the
derivation from there down to the input. Looking for it needs no J: with u random, ⟨u, J δ⟩ = ⟨Jᵀ u, δ⟩, and Jᵀ u is the
same for all slips at a place, one forward-mode pass. A few such numbers rule out all wrong slips at once, for any
constant c. What is left over is worked out in full, on every case, and must lie within the bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from compare.diagnosis.causes import Case, constants
from compare.diagnosis.slips import Slip, rule_of, slips
from compare.diagnosis.trace import Trace, traces
from compare.judge.sides import LossSides, Sides

PROBES = 6  # random directions; two of them are used up by constants
ALMOST = 1e-7  # what the search lets through, relative; the proof in full is by the bound
MOST = 12  # hits that are worked out in full
UNNAMED = 20  # the complexity of a factor without a name
PAIRED = 300  # slips that are tried in pairs
SPARE = 3  # numbers that must be explained beyond those fitted


class Part(NamedTuple):
    """A slip and the factor it comes with."""

    edge: tuple[int, int, int]
    key: Any
    complexity: int
    words: str
    label: str  # of the factor; empty for 1 and for a fitted one
    factor: float | None  # None where it is fitted in each case


class Found(NamedTuple):
    """Slips that give the manual numbers in every case."""

    complexity: int
    words: tuple[str, ...]
    residual: float


def target_of(sides: Sides, output: str) -> str:
    """Which input of the trace a gradient is with respect to; empty where it is no gradient."""
    if output == "input gradient":
        return "x"
    if output == "loss gradient" and isinstance(sides, LossSides):
        return "ŷ"
    return output.removeprefix("gradient of ") if output.startswith("gradient of ") else ""


class Room:
    """One case with its trace: what flows where in the true derivation."""

    def __init__(self, sides: Sides, case: Case, trace: Trace) -> None:
        self.case, self.trace = case, trace
        self.target = trace.inputs[target_of(sides, case.output)]
        self.flows = trace.down({trace.output: trace.upstream})
        self.leading = trace.leading_to(self.target)
        self.right = self.flows.get(self.target)
        self.named = _constants(case, trace)

    def sound(self) -> bool:
        """Whether the trace gives torch's own gradient."""
        t = self.case.torch
        if self.right is None or self.right.shape != t.shape:
            return False
        near = 1e-4 if t.dtype == np.float32 else 1e-9
        return bool(np.abs(self.right.numpy() - t).max() <= near * max(np.abs(t).max(), 1e-30))

    def all(self, wanted: Any = lambda key: True) -> dict[Any, Slip]:
        """The slips by edge and key."""
        return {(s.edge, s.key): s for s in slips(self.trace, self.flows, self.target, wanted)}

    def reaching(self, source: int, flow: torch.Tensor) -> np.ndarray:
        """The part of the gradient that comes from this δ of an operation."""
        found = self.trace.down({source: flow}, self.leading).get(self.target)
        result: np.ndarray = np.zeros(self.case.torch.shape) if found is None else found.numpy()
        return result


def wrong_edges(sides: Sides, cases: Sequence[Case]) -> Found | None:
    """The simplest slip, or pair of slips, that explains every case; None where there is none."""
    if not cases or not target_of(sides, cases[0].output) or any(c.manual.shape != c.torch.shape for c in cases):
        return None
    best: Found | None = None
    for many in zip(*(traces(sides, case.inputs) for case in cases), strict=False):
        rooms = [Room(sides, case, trace) for case, trace in zip(cases, many, strict=True)]
        if not all(room.sound() for room in rooms) or len({len(room.trace.nodes) for room in rooms}) > 1:
            continue
        found = _search(rooms)
        if found is not None and (best is None or found.complexity < best.complexity):
            best = found
    return best


def _search(rooms: list[Room]) -> Found | None:
    room = max(rooms, key=lambda r: int(r.case.where().sum()))
    every = room.all()
    if not every:
        return None
    probes = _probes(room, every)
    for hits in (_singles(room, every, probes), _pairs(room, every, probes)):
        proven = [found for hit in hits[:MOST] if (found := _prove(rooms, hit)) is not None]
        if proven:
            return min(proven, key=lambda f: f.complexity)
    return None


class Probes(NamedTuple):
    """Projections on random directions: of every slip, of the truth on its edge, and of both sides."""

    keys: list[Any]
    slip: np.ndarray  # (slips, probes)
    true: np.ndarray
    manual: np.ndarray  # (probes,)
    torch: np.ndarray
    room: np.ndarray


def _probes(room: Room, every: dict[Any, Slip]) -> Probes:
    generator = torch.Generator().manual_seed(0)
    shape = room.case.torch.shape
    directions = [torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(PROBES)]
    tangents = [room.trace.tangents(room.target, u) for u in directions]

    def projected(s: Slip) -> list[float]:
        source = s.edge[2]
        return [float((t[source] * s.flow).sum()) if source in t else 0.0 for t in tangents]

    keys = list(every)
    slip = np.array([projected(s) for s in every.values()])
    rows = {k: i for i, k in enumerate(keys)}
    true = slip[[rows[(edge, "true")] for edge, _ in keys]]
    u = np.stack([d.numpy() for d in directions]).reshape(PROBES, -1)
    m, t = room.case.manual.astype(np.float64).ravel(), room.case.torch.astype(np.float64).ravel()
    allowed = np.broadcast_to(room.case.allowed, shape).ravel()
    return Probes(keys, slip, true, u @ m, u @ t, np.abs(u) @ allowed)


def _singles(room: Room, every: dict[Any, Slip], p: Probes) -> list[list[Part]]:
    """One slip, with any factor; and then with a factor of the whole as well."""
    usable = np.isfinite(p.slip).all(1) & (np.abs(p.slip).max(1) > 0)
    left = p.manual - p.torch + p.true
    hits: list[list[Part]] = []
    with np.errstate(all="ignore"):
        factor = (p.slip * left).sum(1) / (p.slip * p.slip).sum(1)
        gap = np.abs(left - factor[:, None] * p.slip)
        scale = np.abs(p.torch).max() + np.abs(p.true).max(1) + np.abs(factor[:, None] * p.slip).max(1)
        fits = usable & (gap <= p.room + ALMOST * scale[:, None]).all(1)
    for i in np.flatnonzero(fits):
        slip = every[p.keys[i]]
        part = _part(room, slip, float(factor[i]))
        if part is not None:
            hits.append([part])
    return sorted(hits, key=lambda parts: parts[0].complexity)


def _part(room: Room, slip: Slip, factor: float) -> Part | None:
    node, source = room.trace.nodes[slip.edge[0]], slip.edge[2]
    del source
    if slip.key != "true" and abs(factor - 1) < ALMOST:
        return Part(slip.edge, slip.key, slip.complexity, slip.words, "", 1.0)
    if slip.key == "true":
        if abs(factor) < ALMOST:
            words = f"{slip.words} is missing: it is held constant there{rule_of(node)}"
            return Part(slip.edge, slip.key, 10, words, "missing", 0.0)
        if abs(factor + 1) < ALMOST:
            return Part(slip.edge, slip.key, 10, f"{slip.words} has the wrong sign", "sign", -1.0)
    labels = [k for k in room.named if abs(k[1] - factor) <= ALMOST * max(1, abs(factor))]
    complexity = slip.complexity + (labels[0][0] if labels else UNNAMED)
    return Part(slip.edge, slip.key, complexity, slip.words, "fitted", None)


def _pairs(room: Room, every: dict[Any, Slip], p: Probes) -> list[list[Part]]:
    """Two slips on different edges, each with a factor of 0, −1, or as it is, or one that has a name."""
    parts: list[Part] = []
    vectors = []
    for i, key in enumerate(p.keys):
        slip = every[key]
        if not np.isfinite(p.slip[i]).all() or not np.abs(p.true[i]).max() > 0:
            continue
        if slip.key != "true":
            if slip.complexity <= 13:
                parts.append(Part(slip.edge, slip.key, slip.complexity, slip.words, "", 1.0))
                vectors.append(p.slip[i] - p.true[i])
            continue
        node = room.trace.nodes[slip.edge[0]]
        for complexity, value, words in (
            (10, 0.0, f"{slip.words} is missing: it is held constant there{rule_of(node)}"),
            (10, -1.0, f"{slip.words} has the wrong sign"),
            *((c + 1, v, f"{slip.words}: {w}") for c, v, w in room.named if c <= 12),
        ):
            parts.append(Part(slip.edge, slip.key, complexity, words, words, value))
            vectors.append((value - 1) * p.true[i])
    if len(parts) < 2:
        return []
    unique: dict[Any, int] = {}
    for k in sorted(range(len(parts)), key=lambda k: parts[k].complexity):
        unique.setdefault(tuple(np.round(vectors[k] / np.abs(p.torch).max(), 9)), k)
    chosen = list(unique.values())[: PAIRED * 2]
    V = np.stack([vectors[k] for k in chosen])
    gap = p.manual - p.torch
    tolerance = p.room + ALMOST * (np.abs(p.torch).max() + np.abs(gap).max())
    rest = gap[None, None, :] - V[:, None, :] - V[None, :, :]
    pairs = np.argwhere((np.abs(rest) <= tolerance).all(-1))
    hits = [[parts[chosen[a]], parts[chosen[b]]] for a, b in pairs if a < b]
    return sorted(hits, key=lambda h: sum(part.complexity for part in h))


def _prove(rooms: list[Room], parts: list[Part]) -> Found | None:
    """Work the slips out in full in every case; None unless all lie within the bound and mean the same."""
    worst, numbers = 0.0, 0
    labels: list[str] | None = None
    factors: list[tuple[float, float]] = []
    complexity = 0
    for room in rooms:
        keys = {(part.edge, part.key) for part in parts} | {(part.edge, "true") for part in parts}
        made = room.all(lambda k, keys=keys: k in keys)
        if any(k not in made for k in keys):
            return None
        m = room.case.manual.astype(np.float64)
        total = room.case.torch.astype(np.float64)
        size = np.abs(total).max()
        fitted: np.ndarray | None = None
        for part in parts:
            true = room.reaching(part.edge[2], made[(part.edge, "true")].flow)
            wrong = true if part.key == "true" else room.reaching(part.edge[2], made[(part.edge, part.key)].flow)
            size = max(size, np.abs(true).max(), np.abs(wrong).max())
            total = total - true + (part.factor * wrong if part.factor is not None else 0)
            fitted = wrong if part.factor is None else fitted
        if not (np.isfinite(total).all() and np.isfinite(size)):
            return None
        kind = np.finfo(np.float64)
        room_for = np.broadcast_to(room.case.allowed, m.shape) + 64 * kind.eps * size + kind.tiny
        if room.case.torch.dtype == np.float32:  # torch's own numbers are rounded
            room_for = room_for + 4 * float(np.finfo(np.float32).eps) * np.abs(room.case.torch)
        if fitted is not None:
            k = int(np.abs(fitted).argmax())
            if fitted.flat[k] == 0:
                return None
            factor = float((m - total).flat[k] / fitted.flat[k])
            spread = float(room_for.flat[k] / abs(fitted.flat[k])) + 8 * kind.eps * abs(factor)
            here = [w for c, v, w in room.named if abs(v - factor) <= spread + 1e-9 * abs(v)]
            labels = here if labels is None else [w for w in labels if w in here]
            factors.append((factor, spread))
            complexity = max([complexity, *(c for c, v, w in room.named if w in here[:1])])
            total = total + factor * fitted
            room_for = room_for * max(1.0, abs(factor)) + spread * np.abs(fitted)
        gap = float((np.abs(m - total) / room_for).max())
        if not gap <= 1:
            return None
        worst, numbers = max(worst, gap), numbers + int(room.case.where().sum())
    if numbers < SPARE + len(parts) and len(rooms) < SPARE:
        return None
    words, total_complexity = [], 0
    for part in parts:
        text = part.words
        total_complexity += part.complexity
        if part.factor is None:
            same = max(f - s for f, s in factors) <= min(f + s for f, s in factors)
            if labels:
                text += ": " + ", which here is also ".join(labels[:3])
            elif same:
                text += f": a constant factor of {factors[0][0]:.6g}"
            else:
                return None
        words.append(text)
    return Found(total_complexity, tuple(words), worst)


def _constants(case: Case, trace: Trace) -> list[tuple[int, float, str]]:
    """(complexity, value, words) of the factors that a term loses or gains: sizes, and the formula's own constants."""
    found = [(c.complexity, c.value, c.names[0]) for c in constants(case) if len(c.names) == 1 and c.value != -1]
    own: dict[float, None] = {}
    sizes: dict[float, None] = {}
    for node in trace.nodes:
        for a in (*(node.args if isinstance(node.args, (tuple, list)) else ()), *node.kwargs.values()):
            if isinstance(a, float) and a not in (0.0, 1.0, 2.0, 0.5) and np.isfinite(a) and abs(a) < 1e6 and abs(a) > 1e-6:
                own.setdefault(a)
        if isinstance(node.value, torch.Tensor):
            for n in node.value.shape:
                if n > 2:
                    sizes.setdefault(float(n))
    known = [v for _, v, _ in found]
    for a in own:
        found.append((11, 1 / a, f"the constant {a:.6g} is left out"))
        found.append((12, a, f"the constant {a:.6g} is applied twice"))
    for n in sizes:
        if not any(abs(n - v) < 1e-9 for v in known):
            found.append((12, n, f"{n:g} times too large: not divided by {n:g}, the size of an axis"))
            found.append((12, 1 / n, f"{n:g} times too small: divided by {n:g}, the size of an axis"))
            found.append((14, n**0.5, f"√{n:g} times too large: not divided by the root of {n:g}, the size of an axis"))
            found.append((14, n**-0.5, f"√{n:g} times too small: divided by the root of {n:g}, the size of an axis"))
    found += [(13, 3.0, "a factor 3 too much"), (13, 1 / 3, "a factor ⅓ too much (a 3 is missing)")]
    found += [(13, 4.0, "a factor 4 too much"), (13, 0.25, "a factor ¼ too much (a 4 is missing)")]
    found += [(13, 2**0.5, "a factor √2 too much"), (13, 0.5**0.5, "a factor 1/√2 too much (a √2 is missing)")]
    return sorted(found, key=lambda f: f[0])
