"""A function run once, every operation written down; the fused ones taken apart as textbooks do (`forms.textbook`)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

import torch

from handgrad.compare.diagnosis.graph.formulas import parts, textbook
from handgrad.compare.diagnosis.graph.formulas.textbook import TEXTBOOK
from handgrad.compare.diagnosis.graph.labels import DECOY, LABEL, QUANTITY, label
from handgrad.compare.diagnosis.graph.record.losses import Losses, moved
from handgrad.compare.diagnosis.graph.record.node import Call, Node, Ref, Tensor, is_ref
from handgrad.compare.diagnosis.graph.record.notation import constant
from handgrad.compare.diagnosis.graph.record.trace import Trace
from handgrad.compare.foundation import torch_parts
from handgrad.compare.foundation.torch_internals import (
    DispatchMode,
    is_composite,
    operation_name,
    out_of_place,
    tree_leaves,
    tree_map,
)

BOOKS = {__file__, parts.__file__, textbook.__file__, torch_parts.__file__}  # what they call a tensor is no name of it
LONGEST = 400  # operations of a reference that is looked at
# Operations that make a table of constants, or a mask, from nothing but numbers.
FORMULAS = {
    "arange", "linspace", "cos", "sin", "exp", "log", "sqrt", "pow", "mul", "div", "add", "sub", "rsub", "neg",
    "reciprocal", "unsqueeze", "view", "slice", "tril", "triu", "detach", "alias", "expand", "t", "permute", "_to_copy",
    "polar", "ones_like", "abs", "sum", "rsqrt",
}  # fmt: skip
# Operations whose arguments are broadcast; here that is an operation of its own, with a derivative of its own (a sum).
BROADCAST = {"add", "sub", "mul", "div", "pow", "maximum", "minimum", "where", "atan2"}


class Recorder(DispatchMode):
    """Writes down every operation whose result depends on the inputs."""

    def __init__(self, inputs: Mapping[str, Tensor], depth: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.nodes: list[Node] = []
        self.depth = depth
        # The number of the operation that made a tensor. Torch hands the same object on, and comparing tensors compares
        # their numbers, so it is told by its id; `kept` keeps them all alive, so that no id is used twice.
        self.known: dict[int, int] = {}
        self.kept: list[Any] = []
        self.variable: set[int] = set()  # operations that depend on the inputs
        for name, tensor in inputs.items():
            self.variable.add(self._add(None, (), {}, tensor, name))

    def _add(self, op: Any, args: Any, kwargs: Any, value: Any, name: str = "", item: int | None = None) -> int:
        index = len(self.nodes)
        node = Node(index, op, args, kwargs, value, name, item, _place())
        self.nodes.append(node)
        self.kept.append(value)
        if any(s in self.variable for s in node.sources()):
            self.variable.add(index)
        if isinstance(value, Tensor):
            self.known[id(value)] = index
        elif isinstance(value, (tuple, list)):
            for k, part in enumerate(value):
                if isinstance(part, Tensor):
                    self._add(None, (Ref(index),), {}, part, "", k)
        return index

    def _tracked(self, x: Any) -> bool:
        return isinstance(x, Tensor) and (self.known.get(id(x)) in self.variable or hasattr(x, QUANTITY))

    def _refer(self, x: Any) -> Any:
        if not isinstance(x, Tensor):
            return x
        if id(x) not in self.known:  # a mask, a class weight: a node of its own, without operation or source
            index = self._add(None, (), {}, x, getattr(x, LABEL, "") or _variable(x) or constant(x))
            if hasattr(x, QUANTITY):
                self.variable.add(index)
        node = self.nodes[self.known[id(x)]]
        if not node.name and node.index not in self.variable:
            node.name = _variable(x)
        return Ref(self.known[id(x)])

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if not any(self._tracked(a) for a in tree_leaves((args, kwargs))):
            return self._constant(op, args, kwargs)
        form = TEXTBOOK.get(op)
        if form is not None and self.depth > 0:
            self.depth -= 1
            try:
                with self:
                    result = form(*args, **kwargs)
            finally:
                self.depth += 1
            if result is not NotImplemented:
                return result
        if is_composite(op):
            with self:  # matmul and the like inside a textbook form, where autograd no longer takes them apart
                result = op.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        name = operation_name(op)
        if name in BROADCAST:
            args = self._broadcast(args)
        if name.endswith("_") and not name.endswith("__"):
            functional = out_of_place(op)
            value = functional(*args, **kwargs)
            self._add(functional, *self._refs(args, kwargs), value)
            self._keep_what_is_overwritten(args[0])
            args[0].copy_(value)
            self.known[id(args[0])] = self.known[id(value)]
            self.kept.append(args[0])
            return args[0]
        value = op(*args, **kwargs)
        if name == "slice" and value.shape == args[0].shape:  # an older torch makes one of every `:`
            self.known[id(value)] = self._refer(args[0]).index
            self.kept.append(value)
        else:
            self._add(op, *self._refs(args, kwargs), value)
        return value

    def _constant(self, op: Any, args: Any, kwargs: Any) -> Any:
        """What does not depend on the inputs: written down where it is a formula, such as a table of angles."""
        name = operation_name(op)
        value = op(*args, **kwargs)
        self.kept.append(value)
        if name in FORMULAS and isinstance(value, Tensor):
            self._add(op, *self._refs(args, kwargs), value)
        elif name.endswith("_") and not name.endswith("__") and args and isinstance(args[0], Tensor):
            self._forget(args[0])
        return value

    def _forget(self, x: Tensor) -> None:
        """A constant that was changed in place, and its views, are no longer what was written down."""
        memory = x.untyped_storage().data_ptr()
        for k, i in list(self.known.items()):
            v = self.nodes[i].value
            if i not in self.variable and isinstance(v, Tensor) and v.untyped_storage().data_ptr() == memory:
                self.nodes[i].value = v.detach().clone()
                del self.known[k]

    def _keep_what_is_overwritten(self, x: Tensor) -> None:
        """Results so far that share the memory of a tensor that is about to change keep their own numbers."""
        memory = x.untyped_storage().data_ptr()

        def own(v: Any) -> Any:
            if not isinstance(v, Tensor) or v.untyped_storage().data_ptr() != memory:
                return v
            copied = v.detach().clone()
            return label(copied, getattr(v, LABEL)) if hasattr(v, LABEL) else copied

        for node in self.nodes:
            node.value = tree_map(own, node.value)

    def _broadcast(self, args: Any) -> Any:
        tensors = [a for a in args if isinstance(a, Tensor)]
        shape = torch.broadcast_shapes(*(a.shape for a in tensors))  # type: ignore[no-untyped-call]

        def wide(a: Any) -> Any:
            if not self._tracked(a) or a.shape == shape:
                return a
            value = torch.ops.aten.expand.default(a, shape)
            self._add(torch.ops.aten.expand.default, (self._refer(a), shape), {}, value)
            return value

        return tuple(wide(a) for a in args)

    def _refs(self, args: Any, kwargs: Any) -> tuple[Any, Any]:
        return tree_map(self._refer, args), tree_map(self._refer, kwargs)


def _variable(x: Tensor) -> str:
    """What the reference's own code calls a tensor; empty where it has no name there."""
    frame: Any = sys._getframe(2)
    while frame is not None and frame.f_code.co_name != "_recorded":
        if frame.f_code.co_filename not in BOOKS:
            names = [*frame.f_locals.items(), *((k, frame.f_globals.get(k)) for k in frame.f_code.co_names)]
            for name, value in names if "torch" not in frame.f_globals.get("__name__", "").split(".")[0] else ():
                if value is x and not name.startswith("_"):
                    return str(name)
        frame = frame.f_back
    return ""


def _place() -> int:
    """Where in the code the operation is: the same for every turn of a loop."""
    frame, found = sys._getframe(2), []
    while frame is not None and frame.f_code.co_name != "_recorded":
        if frame.f_code.co_filename != __file__:
            found.append((id(frame.f_code), frame.f_lasti))
        frame = frame.f_back  # type: ignore[assignment]
    return hash(tuple(found))


def record(
    call: Callable[[], Tensor], leaves: dict[str, Tensor], depth: int, upstream: Tensor | None = None
) -> Trace | None:
    """What a function does with the tensors that it is given; None where it does nothing with them, or too much."""
    nodes, y, calls = _recorded(call, leaves, depth)
    if y is None or len(nodes) > LONGEST:
        return None
    kept, order = _pruned(nodes, y, list(leaves))
    for node in kept:
        node.name = node.name or getattr(node.value, LABEL, "")
        node.value = tree_map(lambda v: v.detach() if isinstance(v, Tensor) else v, node.value)
    up = torch.ones_like(nodes[y].value) if upstream is None else upstream
    called = [moved(c, nodes, order) for c in calls if c.at in order]
    moving = {k for k, v in enumerate(leaves.values()) if v.requires_grad}
    still = frozenset(range(len(leaves))) - moving if moving else frozenset()
    return Trace(kept, {name: k for k, name in enumerate(leaves)}, order[y], up, calls=called, still=still)


def _recorded(
    call: Callable[[], Tensor], leaves: dict[str, Tensor], depth: int
) -> tuple[list[Node], int | None, list[Call]]:
    with Recorder(leaves, depth) as recorder, Losses(recorder.known, written_out=depth > 0) as losses:
        y = call()
    return recorder.nodes, recorder.known.get(id(y)), losses.calls


def _pruned(nodes: list[Node], end: int, names: list[str]) -> tuple[list[Node], dict[int, int]]:
    """Only the operations that the output needs, numbered anew, and their new numbers; the inputs stay."""
    needed = {end, *range(len(names)), *(n.index for n in nodes if hasattr(n.value, DECOY))}
    for node in reversed(nodes):
        if node.index in needed:
            needed.update(node.sources())
    order = {old: new for new, old in enumerate(sorted(needed))}
    kept = []
    for old in sorted(needed):
        node = nodes[old]
        args, kwargs = _refs_moved((node.args, node.kwargs), order)
        kept.append(Node(order[old], node.op, args, kwargs, node.value, node.name, node.item, node.place))
    return kept, order


def _refs_moved(args: Any, order: dict[int, int]) -> Any:
    return tree_map(lambda a: Ref(order[a.index]) if is_ref(a) else a, args, is_leaf=is_ref)
