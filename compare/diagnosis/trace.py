"""The twin as a list of operations, and its true derivation run backwards over them, one edge at a time.

Torch's own gradient is a sum over paths. Here every operation of the twin is kept with its inputs (the fused ones
taken apart, `decompositions`), so that a single edge of the derivation can be left out, scaled or changed.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from compare.diagnosis.decompositions import TEXTBOOK
from compare.judge.sides import Arrays, FunctionSides, LayerSides, LossSides, Sides, parameters_among

DEEPEST = 4  # textbook forms within textbook forms
LONGEST = 400  # operations of a twin that is looked at

Tensor = torch.Tensor


class Ref(NamedTuple):
    """The result of an earlier operation, as an argument."""

    index: int


@dataclass(eq=False)
class Node:
    """One operation of the twin with its result, or one of its inputs (op is None), or one result of several."""

    index: int
    op: Any
    args: Any
    kwargs: Any
    value: Any
    name: str = ""
    item: int | None = None  # which of its source's results this is

    def sources(self) -> list[int]:
        """The operations whose results are its arguments, in order, each as often as it is used."""
        return [a.index for a in tree_leaves((self.args, self.kwargs), is_leaf=_is_ref) if _is_ref(a)]


def _is_ref(x: Any) -> bool:
    return isinstance(x, Ref)


class Recorder(TorchDispatchMode):
    """Writes down every operation whose result depends on the inputs."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Torch would import its compiler, which takes seconds, only to leave it alone."""
        return False

    def __init__(self, inputs: Mapping[str, Tensor], depth: int) -> None:
        super().__init__()
        self.nodes: list[Node] = []
        self.depth = depth
        self.known: dict[int, int] = {}
        self.kept: list[Any] = []  # so that no id is used twice
        for name, tensor in inputs.items():
            self._add(None, (), {}, tensor, name)

    def _add(self, op: Any, args: Any, kwargs: Any, value: Any, name: str = "", item: int | None = None) -> int:
        index = len(self.nodes)
        self.nodes.append(Node(index, op, args, kwargs, value, name, item))
        self.kept.append(value)
        if isinstance(value, Tensor):
            self.known[id(value)] = index
        elif isinstance(value, (tuple, list)):
            for k, part in enumerate(value):
                if isinstance(part, Tensor):
                    self._add(None, (Ref(index),), {}, part, "", k)
        return index

    def _refer(self, x: Any) -> Any:
        return Ref(self.known[id(x)]) if isinstance(x, Tensor) and id(x) in self.known else x

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        textbook = TEXTBOOK.get(op)
        tracked = any(_is_ref(self._refer(a)) for a in tree_leaves((args, kwargs)))
        if textbook is not None and tracked and self.depth > 0:
            self.depth -= 1
            try:
                with self:
                    result = textbook(*args, **kwargs)
            finally:
                self.depth += 1
            if result is not NotImplemented:
                return result
        name = op._schema.name.partition("::")[2]
        if tracked and name.endswith("_") and not name.endswith("__"):
            functional = getattr(getattr(torch.ops.aten, name[:-1]), op._overloadname)
            value = functional(*args, **kwargs)
            self._add(functional, *self._refs(args, kwargs), value)
            args[0].copy_(value)
            self.known[id(args[0])] = self.known[id(value)]
            self.kept.append(args[0])
            return args[0]
        value = op(*args, **kwargs)
        if tracked:
            self._add(op, *self._refs(args, kwargs), value)
        else:
            self.kept.append(value)
        return value

    def _refs(self, args: Any, kwargs: Any) -> tuple[Any, Any]:
        return tree_map(self._refer, args), tree_map(self._refer, kwargs)


@dataclass
class Trace:
    """The operations of a twin on one set of inputs, in order."""

    nodes: list[Node]
    inputs: dict[str, int]
    output: int
    upstream: Tensor
    leaves: dict[int, tuple[list[Tensor], Any]] = field(default_factory=dict)

    def run(self, node: Node, values: Mapping[int, Any], wrap: Callable[[Any], Any] = lambda v: v) -> tuple[Any, Any]:
        """The operation once more: its result, and its arguments as they were given, in order."""
        given: list[Any] = []

        def fill(a: Any) -> Any:
            if not isinstance(a, Ref):
                return a
            given.append(wrap(values[a.index]))
            return given[-1]

        args, kwargs = tree_map(fill, (node.args, node.kwargs), is_leaf=_is_ref)
        if node.item is not None:
            return given[0][node.item], given
        return node.op(*args, **kwargs), given

    def values(self) -> dict[int, Any]:
        """Every result, by index."""
        return {n.index: n.value for n in self.nodes}

    def local(self, i: int) -> tuple[list[Tensor], Any]:
        """The arguments of an operation as leaves of their own, and its result on them."""
        if i not in self.leaves:
            self.leaves[i] = self.at(i, {})
        return self.leaves[i]

    def at(self, i: int, instead: Mapping[int, Tensor]) -> tuple[list[Tensor], Any]:
        """The same with other numbers for some of its arguments, by their place."""
        node, place = self.nodes[i], iter(range(1000))

        def leaf(v: Any) -> Any:
            p = next(place)
            v = instead.get(p, v)
            return v.detach().clone().requires_grad_(v.is_floating_point()) if isinstance(v, Tensor) else v

        with torch.enable_grad():
            out, given = self.run(node, self.values_of(node), leaf)
        return given, out

    def values_of(self, node: Node) -> dict[int, Any]:
        """The results that are a node's arguments."""
        return {k: self.nodes[k].value for k in node.sources()}

    def pull(self, i: int, upstream: Any, at: tuple[list[Tensor], Any] | None = None) -> list[Tensor | None]:
        """δ of every argument of an operation, given δ of its result: the local Jacobian, transposed, times δ."""
        leaves, out = at or self.local(i)
        wanted = [v for v in leaves if isinstance(v, Tensor) and v.requires_grad]
        if isinstance(out, (tuple, list)):
            pairs = [(out[k], g) for k, g in upstream.items() if out[k].requires_grad]
        else:
            pairs = [(out, upstream)] if out.requires_grad else []
        if not wanted or not pairs:
            return [None] * len(leaves)
        found = iter(
            torch.autograd.grad(
                [p[0] for p in pairs], wanted, [p[1] for p in pairs], retain_graph=True, allow_unused=True
            )
        )
        return [next(found) if isinstance(v, Tensor) and v.requires_grad else None for v in leaves]

    def edges_of(self, node: Node, upstream: Any) -> Iterator[tuple[int, int, Tensor]]:
        """(place, source, δ that flows there) of every argument that gets any."""
        if node.item is not None:
            yield 0, node.sources()[0], upstream
            return
        for place, (source, g) in enumerate(zip(node.sources(), self.pull(node.index, upstream), strict=True)):
            if g is not None:
                yield place, source, g

    def down(self, start: Mapping[int, Any], only: frozenset[int] | None = None) -> dict[int, Any]:
        """δ of every operation at or before the given ones, from δ of those."""
        found: dict[int, Any] = dict(start)
        for node in reversed(self.nodes[: max(start) + 1]):
            g = found.get(node.index)
            if g is None or (node.op is None and node.item is None):
                continue
            for _, source, part in self.edges_of(node, g):
                if only is not None and source not in only:
                    continue
                if node.item is not None:
                    into = found.setdefault(source, {})
                    into[node.item] = into[node.item] + part if node.item in into else part
                else:
                    found[source] = found[source] + part if source in found else part
        return found

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
            leaves, out = self.at(node.index, {})
            found = {}
            many = isinstance(out, (tuple, list))
            for k, y in enumerate(out if many else (out,)):
                if not (isinstance(y, Tensor) and y.requires_grad):
                    continue
                v = torch.zeros_like(y, requires_grad=True)
                wanted = [p for p in along if leaves[p].requires_grad]
                g = torch.autograd.grad(
                    y, [leaves[p] for p in wanted], v, create_graph=True, allow_unused=True, retain_graph=True
                )
                total = sum((h * along[p]).sum() for p, h in zip(wanted, g, strict=True) if h is not None)
                if isinstance(total, Tensor) and total.requires_grad:
                    found[k] = torch.autograd.grad(total, v, retain_graph=True)[0].detach()
            if many and found:
                moved[node.index] = found
            elif 0 in found:
                moved[node.index] = found[0]
        return moved


def traces(sides: Sides, inputs: Arrays) -> Iterator[Trace]:
    """The twin's trace, the fused operations first taken apart once, then all the way. None where it cannot be had."""
    before = 0
    for depth in (1, DEEPEST):
        found = _trace(sides, inputs, depth)
        if found is None or len(found.nodes) in (before, 0) or len(found.nodes) > LONGEST:
            return
        before = len(found.nodes)
        yield found


def _trace(sides: Sides, inputs: Arrays, depth: int) -> Trace | None:
    def tensor(v: Any) -> Tensor:
        t = torch.from_numpy(v.copy())
        return t.double().requires_grad_() if t.is_floating_point() else t

    if isinstance(sides, (LayerSides, FunctionSides)):
        twin: Any = sides.twin
        params = {k: tensor(v) for k, v in parameters_among(inputs).items()}
        leaves = {"x": tensor(inputs["x"]), **params}
        upstream = torch.from_numpy(inputs["dy"].copy()).double() if "dy" in inputs else None
    elif isinstance(sides, LossSides):
        twin, params = sides.module, {}
        leaves = {"ŷ": tensor(inputs["output"]), "target": tensor(inputs["target"])}
        upstream = None
    else:
        return None
    if isinstance(twin, nn.Module):
        twin = copy.deepcopy(twin).double()
    with Recorder(leaves, depth) as recorder:
        if isinstance(sides, LossSides):
            y = twin(leaves["ŷ"], leaves["target"])
        elif isinstance(twin, nn.Module):
            y = torch.func.functional_call(twin, params, (leaves["x"],))
        else:
            y = twin(leaves["x"], **params)
    end = recorder.known.get(id(y))
    if end is None:
        return None
    nodes = recorder.nodes
    for node in nodes:
        node.value = tree_map(lambda v: v.detach() if isinstance(v, Tensor) else v, node.value)
    return Trace(
        *_pruned(nodes, end, list(leaves)), upstream=torch.ones_like(y).detach() if upstream is None else upstream
    )


def _pruned(nodes: list[Node], end: int, names: list[str]) -> tuple[list[Node], dict[str, int], int]:
    """Only the operations that the output needs, numbered anew; the inputs stay."""
    needed = {end, *range(len(names))}
    for node in reversed(nodes):
        if node.index in needed:
            needed.update(node.sources())
    order = {old: new for new, old in enumerate(sorted(needed))}
    kept = []
    for old in sorted(needed):
        node = nodes[old]
        args, kwargs = tree_map(
            lambda a: Ref(order[a.index]) if _is_ref(a) else a, (node.args, node.kwargs), is_leaf=_is_ref
        )
        kept.append(Node(order[old], node.op, args, kwargs, node.value, node.name, node.item))
    return kept, {name: k for k, name in enumerate(names)}, order[end]
