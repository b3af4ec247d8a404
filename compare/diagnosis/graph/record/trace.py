"""The reference as a list of operations, and its true derivation run backwards over them, one edge at a time.

Torch's own gradient is a sum over paths. Here every operation of the reference is kept with its inputs, so that a
single edge of the derivation can be left out, scaled or changed.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch

from handgrad.compare.diagnosis.graph.record.node import JUMP, Call, Edge, Node, Replacement, Tensor, is_ref
from handgrad.compare.foundation.torch_internals import gradients, tree_map

T = TypeVar("T")


@dataclass
class Trace:
    """The operations of a reference on one set of inputs, in order."""

    nodes: list[Node]
    inputs: dict[str, int]
    output: int
    upstream: Tensor
    calls: list[Call] = field(default_factory=list)
    still: frozenset[int] = frozenset()  # inputs that nothing is differentiated by, as the target of a loss
    leaves: dict[int, tuple[list[Any], Any]] = field(default_factory=dict)  # see `local`
    known: dict[Hashable, Any] = field(default_factory=dict)  # see `once`

    def __post_init__(self) -> None:
        self.variable = set(self.inputs.values()) - self.still  # what depends on the others
        for node in self.nodes:
            if any(s in self.variable for s in node.sources()):
                self.variable.add(node.index)

    def once(self, key: Hashable, work: Callable[[], T]) -> T:
        """What is worked out from the trace once, and then known."""
        if key not in self.known:
            self.known[key] = work()
        found: T = self.known[key]
        return found

    def source(self, node: Node, place: int = 0) -> Node:
        """The operation whose result is an argument."""
        return self.nodes[node.sources()[place]]

    def before(self, index: int) -> frozenset[int]:
        """Every operation that has a part in one, and itself."""

        def work() -> frozenset[int]:
            found = {index}
            for node in reversed(self.nodes[: index + 1]):
                if node.index in found:
                    found.update(node.sources())
            return frozenset(found)

        return self.once(("before", index), work)

    def run(self, node: Node, values: Callable[[int], Any]) -> tuple[Any, list[Any]]:
        """The operation once more: its result, and its arguments as they were given, in order."""
        given: list[Any] = []

        def fill(a: Any) -> Any:
            if not is_ref(a):
                return a
            given.append(values(a.index))
            return given[-1]

        if node.flat:
            args, kwargs = [fill(a) for a in node.args], node.kwargs
        else:
            args, kwargs = tree_map(fill, (node.args, node.kwargs), is_leaf=is_ref)
        if node.item is not None:
            return given[0][node.item], given
        return (node.op(*args, **kwargs) if node.instead is None else node.instead(given)), given

    def local(self, i: int) -> tuple[list[Any], Any]:
        """The arguments of an operation as leaves of their own, and its result on them."""
        if i not in self.leaves:
            self.leaves[i] = self.at(i, {})
        return self.leaves[i]

    def at(self, i: int, instead: Mapping[int, Tensor]) -> tuple[list[Any], Any]:
        """The same with other numbers for some of its arguments, by their place."""
        place = iter(range(1000))

        def leaf(k: int) -> Any:
            v = instead.get(next(place), self.nodes[k].value)
            if not isinstance(v, Tensor):
                return v
            return v.detach().clone().requires_grad_(v.is_floating_point() and k in self.variable)

        with torch.enable_grad():
            out, given = self.run(self.nodes[i], leaf)
        return given, out

    def pull(
        self, i: int, upstream: Any, at: tuple[list[Any], Any] | None = None, places: Container[int] | None = None
    ) -> list[Tensor | None]:
        """δ of every argument of an operation, given δ of its result: the local Jacobian, transposed, times δ.

        With `places`, only of the arguments there.
        """
        leaves, out = at or self.local(i)
        asked = [
            isinstance(v, Tensor) and v.requires_grad and (places is None or p in places) for p, v in enumerate(leaves)
        ]
        if isinstance(out, (tuple, list)):
            pairs = [(out[k], g) for k, g in upstream.items() if out[k].requires_grad]
        else:
            pairs = [(out, upstream)] if out.requires_grad else []
        if not any(asked) or not pairs:
            return [None] * len(leaves)
        outs, ups = zip(*pairs, strict=True)
        if any(o.shape != u.shape for o, u in pairs):
            raise ValueError("δ does not have the shape of the result")
        found = iter(gradients(outs, ups, [v for v, wanted in zip(leaves, asked, strict=True) if wanted]))
        return [next(found) if wanted else None for wanted in asked]

    def edges_of(self, node: Node, upstream: Any, only: frozenset[int] | None = None) -> Iterator[tuple[Edge, Tensor]]:
        """Every edge of an operation with the δ that flows along it; with `only`, to these operations."""
        sources = node.sources()
        if node.item is not None:
            if only is None or sources[0] in only:
                yield (node.index, 0, sources[0]), upstream
            return
        places = None if only is None else [p for p, source in enumerate(sources) if source in only]
        for place, g in enumerate(self.pull(node.index, upstream, places=places)):
            if g is not None:
                yield (node.index, place, sources[place]), g

    def down(
        self,
        start: Mapping[int, Any],
        only: frozenset[int] | None = None,
        wrong: Mapping[Edge, Replacement] | None = None,
    ) -> dict[int, Any]:
        """δ of every operation at or before the given ones, from δ of those; `wrong` has other rules for some edges."""
        found: dict[int, Any] = dict(start)
        jumps = {e[0]: e for e in wrong or () if e[1] == JUMP}
        for node in reversed(self.nodes[: max(start) + 1]):
            g = found.get(node.index)
            if g is None or (node.op is None and node.item is None):
                continue
            if wrong and node.index in jumps:
                edge = jumps[node.index]
                part = wrong[edge].of(g, found)
                found[edge[2]] = found[edge[2]] + part if edge[2] in found else part
                continue
            for edge, right in self.edges_of(node, g, only):
                source = edge[2]
                part = wrong[edge].of(g, found) if wrong and edge in wrong else right
                if node.item is not None:
                    into = found.setdefault(source, {})
                    into[node.item] = into[node.item] + part if node.item in into else part
                else:
                    found[source] = found[source] + part if source in found else part
        return found

    def between(self, late: int, early: int, only: frozenset[int] | None = None) -> int:
        """How many operations lie between, where everything from late to the inputs goes through early; or 0.

        With `only`, just the operations among these are looked at.
        """
        seen, waiting = {late}, [late]
        while waiting:
            for s in self.nodes[waiting.pop()].sources():
                if s not in seen and (only is None or s in only):
                    seen.add(s)
                    if s != early:
                        waiting.append(s)
        if early not in seen or any(i in seen for i in self.inputs.values() if i != early):
            return 0
        return sum(self.nodes[i].op is not None for i in seen) - (self.nodes[early].op is not None)

    def leading_to(self, target: int) -> frozenset[int]:
        """Every operation that the target has a part in, and the target."""

        def work() -> frozenset[int]:
            found = {target}
            for node in self.nodes[target + 1 :]:
                if any(s in found for s in node.sources()):
                    found.add(node.index)
            return frozenset(found)

        return self.once(("leading to", target), work)

    def tangents(self, target: int, direction: Tensor) -> dict[int, Any]:
        """How every result changes when one input moves along a direction.

        J t of an operation is the derivative of Jᵀ v by v in the direction t, whatever v is.
        """
        moved: dict[int, Any] = {target: direction}
        for node in self.nodes[target + 1 :]:
            along = {p: moved[s] for p, s in enumerate(node.sources()) if s in moved}
            if not along:
                continue
            if node.item is not None:
                if node.item in along[0]:
                    moved[node.index] = along[0][node.item]
                continue
            try:
                found = self._pushed(node, along)
            except RuntimeError:  # an operation whose derivative has no derivative in torch
                found = self._pushed_by_difference(node, along)
            if isinstance(node.value, (tuple, list)) and found:
                moved[node.index] = found
            elif 0 in found:
                moved[node.index] = found[0]
        return moved

    def _pushed(self, node: Node, along: dict[int, Tensor]) -> dict[int, Tensor]:
        """The tangents of an operation's results."""
        leaves, out = self.local(node.index)
        found = {}
        wanted = [p for p in along if leaves[p].requires_grad]
        for k, y in enumerate(out if isinstance(out, (tuple, list)) else (out,)):
            if not (isinstance(y, Tensor) and y.requires_grad and wanted):
                continue
            v = torch.zeros_like(y, requires_grad=True)
            inputs = [leaves[p] for p in wanted]
            g = gradients((y,), (v,), inputs, differentiable=True)
            total = sum((h * along[p]).sum() for p, h in zip(wanted, g, strict=True) if h is not None)
            if isinstance(total, Tensor) and total.requires_grad:
                found[k] = gradients((total,), (torch.ones_like(total),), (v,))[0].detach()
        return found

    def _pushed_by_difference(self, node: Node, along: dict[int, Tensor]) -> dict[int, Tensor]:
        """The same by a central difference: good enough to search with."""
        step = 1e-5
        ends = []
        for h in (step, -step):
            moved = {p: self.nodes[node.sources()[p]].value + h * t for p, t in along.items()}
            _, out = self.at(node.index, moved)
            ends.append(out if isinstance(out, (tuple, list)) else (out,))
        return {
            k: ((a - b) / (2 * step)).detach()
            for k, (a, b) in enumerate(zip(*ends, strict=True))
            if isinstance(a, Tensor) and a.is_floating_point()
        }
