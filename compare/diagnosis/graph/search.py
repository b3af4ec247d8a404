"""Which one step of the true derivation, or which two, must be wrong to give the manual numbers?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch

from handgrad.compare.diagnosis.graph.constants import constants_of, own_constants
from handgrad.compare.diagnosis.graph.functions import Change, another_function, as_the_output
from handgrad.compare.diagnosis.graph.loops import loops
from handgrad.compare.diagnosis.graph.mixtures import mixtures
from handgrad.compare.diagnosis.graph.other_values import other_values
from handgrad.compare.diagnosis.graph.proof import FITTED, Found, Room, Theory, gap, prove
from handgrad.compare.diagnosis.graph.record import traces
from handgrad.compare.diagnosis.graph.theories import Budget, Made, nested, pairs, singles, swaps
from handgrad.compare.diagnosis.graph.trace import Trace
from handgrad.compare.diagnosis.graph.words import called, operation, silent
from handgrad.compare.diagnosis.whole.factors import Labelled
from handgrad.compare.judge.case import Case
from handgrad.compare.judge.sides import LossSides, Sides

BUDGET = 1000  # slips that are made anew below another one
PATHS = 8000  # paths that are left out, or get a factor, below another slip
LIKELIEST = 11  # no change of the reference is likelier
FORWARD = 250  # changes of the forward pass whose values are put into the derivative, over all outputs of a check
LOOPED = 600  # slips that are made in all turns of a loop at once, over all outputs of a check
MOST = 16  # theories that are worked out in full


def target_of(sides: Sides, output: str) -> str:
    """Which input of the trace a gradient is with respect to; empty where it is no gradient."""
    if output == "input gradient":
        return "x"
    if output == "loss gradient" and isinstance(sides, LossSides):
        return "ŷ"
    return output.removeprefix("gradient of ") if output.startswith("gradient of ") else ""


@dataclass
class Clues:
    """What has been found for the outputs of a check so far, and the work that is left: for the outputs to come."""

    theories: list[tuple[int, Theory]] = field(default_factory=list)
    loops: Budget = field(default_factory=lambda: Budget(LOOPED))
    change: Change | None = None  # of the reference, that explains the output
    forward: Budget = field(default_factory=lambda: Budget(FORWARD))

    def add(self, depth: int, theory: Theory) -> None:
        """A slip, at the same edge of the same operation, may be seen in several gradients: first all of it."""
        parts = [theory._replace(parts=(part,), overall="", more=0) for part in theory.parts]
        for one in dict.fromkeys((theory, *parts)):
            if (depth, one) not in self.theories and all(part.label != FITTED for part in one.parts):
                self.theories.append((depth, one))


class TheReference:
    """The reference taken apart on every case, and what can be wrong with one or two of its steps."""

    def __init__(
        self, sides: Sides, cases: Sequence[Case], agreeing: Sequence[Case] = (), clues: Clues | None = None
    ) -> None:
        self.budget = Budget(BUDGET)
        self.clues = Clues() if clues is None else clues
        self.cases = [*cases, *agreeing]
        self.target = target_of(sides, cases[0].output)
        fits = all(c.manual.shape == c.torch.shape for c in cases)
        looked_at = fits and (self.target or cases[0].output in ("output", "loss"))
        self.traces: list[list[Trace]] = []
        if looked_at:
            self.traces = traces(sides, [case.inputs for case in self.cases])
            if not self.traces and len(agreeing):  # the reference does something else there
                self.cases = list(cases)
                self.traces = traces(sides, [case.inputs for case in cases])
        self._rooms: list[list[Room]] | None = None
        self._made: dict[int, Made | None] = {}

    @property
    def stopped_early(self) -> bool:
        """Whether slips were left untried."""
        return self.budget.left <= 0

    def own(self) -> list[list[Labelled]]:
        """The reference's own constant factors, for every case."""
        return [own_constants([many[k] for many in self.traces], self.target) for k in range(len(self.cases))]

    def rooms(self) -> list[list[Room]]:
        """Every way of taking it apart that gives torch's own gradient."""
        if self._rooms is None:
            self._rooms = []
            for many in self.traces if self.target else ():
                pairs = zip(self.cases, many, strict=True)
                rooms = [Room(case, trace, self.target, constants_of(case, trace)) for case, trace in pairs]
                if all(room.sound() for room in rooms):
                    self._rooms.append(rooms)
        return self._rooms

    def _slips(self, depth: int) -> Made | None:
        """All slips of the case that tells the most."""
        if depth not in self._made:
            main = _main(self.rooms()[depth])
            self._made[depth] = Made.of(main, main.flows)
        return self._made[depth]

    def one_slip(self) -> list[Found]:
        """Single slips of the derivation, and other functions, that explain every case."""
        found = self._as_elsewhere() or self._as_the_output()
        if found:
            return found
        found = self._found(singles, swaps, mixtures, partial(loops, budget=self.clues.loops))
        if min((f.complexity for f in found), default=99) > LIKELIEST:
            others, likeliest = another_function(self.cases, self.traces, self.target)
            found += others
            if likeliest is not None and not self.target:
                self.clues.change = likeliest
        return found

    def _as_the_output(self) -> list[Found]:
        """The change of the reference that explains the output, if this is the gradient of that function."""
        if not self.target or self.clues.change is None:
            return []
        found = as_the_output(self.cases, self.traces, self.target, self.clues.change)
        return [] if found is None else [found]

    def _as_elsewhere(self) -> list[Found]:
        """The slip that explains another output of the same check, if it explains this one too."""
        rooms = self.rooms()
        for depth, theory in self.clues.theories:
            if depth < len(rooms) and (found := prove(rooms[depth], theory)) is not None:
                return [found]
        return []

    def forward_slip(self) -> list[Found]:
        """A slip of the forward pass whose values the gradient is worked out with."""
        return (
            other_values(self.cases, self.traces, self.target, self.clues.forward, self.clues.change)
            if self.target
            else []
        )

    def two_slips(self) -> list[Found]:
        """Two slips of the derivation together."""
        on_paths = partial(nested, budget=Budget(PATHS), paths=True)
        return self._found(pairs, on_paths, partial(nested, budget=self.budget))

    def _found(self, *sources: Callable[[Room, Made], Iterator[Theory]]) -> list[Found]:
        proven: list[tuple[Found, int, Theory | None]] = []
        kinds: set[Any] = set()  # what was found in a reference that is taken apart less is only said again
        for depth, rooms in enumerate(self.rooms()):  # what is taken apart the least is likelier
            if min((f.complexity for f, _, _ in proven), default=99) <= LIKELIEST:
                break  # nothing that is likelier can come
            main, made = _main(rooms), self._slips(depth)
            here: list[tuple[Found, Theory | None]] = []
            if singles in sources:
                here = [(f, None) for f in (*_whole(rooms), *_late(rooms))]
            if made is None:
                continue
            new: set[Any] = set()
            for source in sources:
                theories = _first(_said_plainly(main, t) for t in source(main, made))
                found = [(f, t) for t in theories if _kind(t) not in kinds and (f := prove(rooms, t)) is not None]
                here += found
                new |= {_kind(t) for _, t in found}
                if here:
                    break
            proven += [(f._replace(complexity=f.complexity + depth), depth, t) for f, t in here]
            kinds |= new
        simplest: dict[tuple[str, ...], Found] = {}
        for k, (f, depth, theory) in enumerate(sorted(proven, key=lambda p: p[0].complexity)):
            simplest.setdefault(f.words, f)
            if k == 0 and theory is not None:
                self.clues.add(depth, theory)
        return list(simplest.values())


def _kind(theory: Theory) -> Any:
    """What is wrong, wherever it is."""
    return tuple((part.key[0] if isinstance(part.key, tuple) else part.key, part.label) for part in theory.parts)


def _main(rooms: list[Room]) -> Room:
    """The one that tells the most, of the sizes that the first has: its numbers are the ones that are named."""
    alike = [r for r in rooms if r.case.manual.shape == rooms[0].case.manual.shape]
    return max(alike, key=lambda r: int(r.case.where().sum()))


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


def _late(rooms: list[Room]) -> Iterator[Found]:
    """A factor that is multiplied in at the end, after the derivative of something else that it does not pass."""
    shape = rooms[0].case.torch.shape
    for node in rooms[0].trace.nodes:
        if operation(node) not in ("mul", "div") or len(node.sources()) != 2:
            continue
        for place, source in enumerate(node.sources() if operation(node) == "mul" else node.sources()[:1]):
            p = 1 - place
            other, worst = node.sources()[p], 0.0
            if source not in rooms[0].leading or not _fits(rooms[0].trace.nodes[other].value, shape):
                continue
            for room in rooms:
                slip = room.slip((node.index, place, source), ("one", p))
                made = None if slip is None else room.result({slip.edge: slip.rule})
                b = room.trace.nodes[other].value.numpy()
                if made is not None:
                    made = made * b if operation(node) == "mul" else made / b
                fits = made is not None and np.isfinite(made).all()
                worst = max(worst, gap(room.case, made)) if fits and made is not None else np.inf
                if not worst <= 1:
                    break
            if worst <= 1:
                what = called(rooms[0].trace, other)
                how = f"multiplied with {what}" if operation(node) == "mul" else f"divided by {what}"
                words = f"it is {how} at the end, after the rest of the derivative, where it belongs before it"
                yield Found(14, (words,), worst)  # where nothing is mixed, before and after are the same


def _fits(b: Any, shape: tuple[int, ...]) -> bool:
    """Whether it is no number, and can be broadcast to a shape."""
    if not isinstance(b, torch.Tensor) or not b.is_floating_point() or b.numel() < 2 or b.dim() > len(shape):
        return False
    return all(m in (1, n) for m, n in zip(b.shape[::-1], shape[::-1], strict=False))


def _first(theories: Iterator[Theory]) -> list[Theory]:
    """The likeliest; of edges left out, or with a factor, one of a kind: along an unbranched path all are the same."""
    seen, chosen = set(), []
    for theory in sorted(theories, key=lambda t: t.complexity):
        kind = tuple((part.key, part.label) for part in theory.parts)
        if len(theory.parts) > 1 or theory.parts[0].key != "true" or kind not in seen:
            chosen.append(theory)
        seen.add(kind)
    return chosen[:MOST]


def _said_plainly(room: Room, theory: Theory) -> Theory:
    """A little less likely where the operation only moves numbers about: it is said better elsewhere."""
    moves = sum(silent(room.trace.nodes[part.edges[0][0]]) for part in theory.parts)
    return theory._replace(more=theory.more + 2 * moves) if moves else theory
