"""The reference as a list of operations, and its true derivation run backwards over them, one edge at a time.

Torch's own gradient is a sum over paths. Here every operation of the reference is kept with its inputs, so that a
single edge of the derivation can be left out, scaled or changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch

from handgrad.compare.foundation.torch_internals import tree_leaves, tree_map

Tensor = torch.Tensor
# An operation, the place of one of its arguments, the operation that the argument is. With place JUMP: an operation and
# an earlier one that everything before it goes through.
Edge = tuple[int, int, int]
JUMP = -1
Rule = Callable[[Tensor], Tensor]  # δ of an operation → δ that flows along an edge


class Ref(NamedTuple):
    """The result of an earlier operation, as an argument."""

    index: int  # type: ignore[assignment]  # a tuple has a method of this name, which nobody calls here


def _by_rule(rule: Rule, up: Tensor, flows: Mapping[int, Any]) -> Tensor:
    """What a rule makes of δ; one that takes the δ of something else is told what flows so far."""
    among: Callable[[Mapping[int, Any]], Tensor] | None = getattr(rule, "among", None)
    return rule(up) if among is None else among(flows)


def is_ref(x: Any) -> bool:
    """Whether it is one."""
    return isinstance(x, Ref)


@dataclass(eq=False)
class Node:
    """One operation of the reference with its result; where op is None, an input, a constant, or one result of
    several.
    """

    index: int
    op: Any
    args: Any
    kwargs: Any
    value: Any
    name: str = ""
    item: int | None = None  # which of its source's results this is
    place: int = 0  # where in the code it is: the same for every turn of a loop

    def __post_init__(self) -> None:
        leaves = tree_leaves((self.args, self.kwargs), is_leaf=is_ref)
        self._sources = [a.index for a in leaves if is_ref(a)]
        self.flat = len(self._sources) == sum(is_ref(a) for a in self.args)  # no list of results among the arguments

    def sources(self) -> list[int]:
        """The operations whose results are its arguments, in order, each as often as it is used."""
        return self._sources


class Call(NamedTuple):
    """One of torch's losses as it was called: its name, the operation that is its result, and its arguments."""

    loss: str
    at: int
    given: dict[str, Any]  # Ref for what is a result of the trace


@dataclass
class Trace:
    """The operations of a reference on one set of inputs, in order."""

    nodes: list[Node]
    inputs: dict[str, int]
    output: int
    upstream: Tensor
    leaves: dict[int, tuple[list[Any], Any]] = field(default_factory=dict)
    formulas: dict[int, str] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    still: frozenset[int] = frozenset()  # inputs that nothing is differentiated by, as the target of a loss
    kept: dict[Any, Any] = field(default_factory=dict)  # what was worked out from it once

    def __post_init__(self) -> None:
        self.variable = set(self.inputs.values()) - self.still  # what depends on the others
        for node in self.nodes:
            if any(s in self.variable for s in node.sources()):
                self.variable.add(node.index)

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
        return node.op(*args, **kwargs), given

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

    def pull(self, i: int, upstream: Any, at: tuple[list[Any], Any] | None = None) -> list[Tensor | None]:
        """δ of every argument of an operation, given δ of its result: the local Jacobian, transposed, times δ."""
        leaves, out = at or self.local(i)
        wanted = [v for v in leaves if isinstance(v, Tensor) and v.requires_grad]
        if isinstance(out, (tuple, list)):
            pairs = [(out[k], g) for k, g in upstream.items() if out[k].requires_grad]
        else:
            pairs = [(out, upstream)] if out.requires_grad else []
        if not wanted or not pairs:
            return [None] * len(leaves)
        outs, ups = zip(*pairs, strict=True)
        if any(o.shape != u.shape for o, u in pairs):
            raise ValueError("δ does not have the shape of the result")
        found = iter(torch.autograd.grad(outs, wanted, ups, retain_graph=True, allow_unused=True))
        return [next(found) if isinstance(v, Tensor) and v.requires_grad else None for v in leaves]

    def edges_of(self, node: Node, upstream: Any) -> Iterator[tuple[Edge, Tensor]]:
        """Every edge of an operation with the δ that flows along it."""
        if node.item is not None:
            yield (node.index, 0, node.sources()[0]), upstream
            return
        for place, (source, g) in enumerate(zip(node.sources(), self.pull(node.index, upstream), strict=True)):
            if g is not None:
                yield (node.index, place, source), g

    def down(
        self, start: Mapping[int, Any], only: frozenset[int] | None = None, wrong: Mapping[Edge, Rule] | None = None
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
                part = _by_rule(wrong[edge], g, found)
                found[edge[2]] = found[edge[2]] + part if edge[2] in found else part
                continue
            for edge, right in self.edges_of(node, g):
                source = edge[2]
                if only is not None and source not in only:
                    continue
                part = _by_rule(wrong[edge], g, found) if wrong and edge in wrong else right
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
        found = {target}
        for node in self.nodes[target + 1 :]:
            if any(s in found for s in node.sources()):
                found.add(node.index)
        return frozenset(found)

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
            g = torch.autograd.grad(y, inputs, v, create_graph=True, allow_unused=True, retain_graph=True)
            total = sum((h * along[p]).sum() for p, h in zip(wanted, g, strict=True) if h is not None)
            if isinstance(total, Tensor) and total.requires_grad:
                found[k] = torch.autograd.grad(total, v, retain_graph=True)[0].detach()
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
