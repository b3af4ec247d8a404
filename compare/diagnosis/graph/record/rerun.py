"""An operation run again as it is, or with other arguments, and a whole trace with some operations changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch

from handgrad.compare.diagnosis.graph.record.node import Node, Tensor, is_ref
from handgrad.compare.diagnosis.graph.record.trace import Trace
from handgrad.compare.foundation.torch_internals import arguments, gradients, tree_map

DOES_NOT_FIT = (RuntimeError, IndexError, TypeError, ValueError, ZeroDivisionError, OverflowError, AttributeError)


Made = Callable[[list[Any]], Any]


class Changed(NamedTuple):
    """What is done instead of one operation: a function of its arguments that are results, in order, and then of the
    results that it reads besides.
    """

    made: Made
    reads: tuple[int, ...] = ()


def filled(node: Node, given: list[Any]) -> tuple[Any, Any]:
    """The arguments of an operation, with these results among them."""
    rest = iter(given)
    if node.flat:
        return [next(rest) if is_ref(a) else a for a in node.args], node.kwargs
    found: tuple[Any, Any] = tree_map(
        lambda a: next(rest) if is_ref(a) else a, (node.args, node.kwargs), is_leaf=is_ref
    )
    return found


def node_value(node: Node, given: list[Any]) -> Any:
    """The operation as it is."""
    if node.instead is not None:
        return node.instead(given)
    args, kwargs = filled(node, given)
    return node.op(*args, **kwargs)


def with_argument(node: Node, place: int, change: Callable[[Any], Any]) -> Made:
    """The operation with a change of one of its arguments that are results."""
    return lambda given: node_value(node, [change(g) if q == place else g for q, g in enumerate(given)])


def with_number(node: Node, place: int | str, value: Any) -> Made:
    """The operation with another plain argument, by its position or its name."""

    def made(given: list[Any]) -> Any:
        args, kwargs = filled(node, given)
        if isinstance(place, str):
            return node.op(*args, **{**kwargs, place: value})
        defaults = [a.default_value if a.has_default_value() else None for a in arguments(node.op)]
        padded = [*args, *defaults[len(args) : place + 1]]
        padded[place] = value
        return node.op(*padded, **kwargs)

    return made


class Rerun:
    """A trace that can be run again with operations changed, and differentiated by torch."""

    def __init__(self, trace: Trace, target: str = "") -> None:
        self.trace = trace
        self.values: dict[int, Any] = {}
        for node in trace.nodes:
            if node.op is None and not node.sources():
                leaf = node.index == trace.inputs.get(target)
                self.values[node.index] = node.value.clone().requires_grad_() if leaf else node.value
            else:
                with torch.enable_grad():
                    self.values[node.index] = trace.run(node, self.values.__getitem__)[0]
        self.leaf: Tensor | None = self.values.get(trace.inputs.get(target, -1))

    def results(
        self, changes: Mapping[int, Changed], inputs: Mapping[int, Tensor] | None = None
    ) -> dict[int, Any] | None:
        """All results that are others with these operations changed, and other inputs; None where that does not fit."""
        found: dict[int, Any] = dict(inputs or {})

        def look(k: int) -> Any:
            return found[k] if k in found else self.values[k]

        try:
            with torch.enable_grad():
                for node in self.trace.nodes[min((*changes, *found)) :]:
                    if node.index in changes:
                        made, reads = changes[node.index]
                        value = made([look(s) for s in (*node.sources(), *reads)])
                        if not isinstance(value, (torch.Tensor, tuple, list)):
                            return None
                        found[node.index] = value
                    elif any(s in found for s in node.sources()):
                        found[node.index] = self.trace.run(node, look)[0]
        except DOES_NOT_FIT:
            return None
        end = self.trace.output
        return found if look(end).shape == self.trace.nodes[end].value.shape else None

    def output(self, changes: Mapping[int, Changed], inputs: Mapping[int, Tensor] | None = None) -> Tensor | None:
        """The output with these operations changed, and other inputs; None where that does not fit."""
        found, end = self.results(changes, inputs), self.trace.output
        return None if found is None else found.get(end, self.values[end])

    def gradient(self, output: Tensor) -> Tensor | None:
        """Torch's gradient of that output."""
        if not output.requires_grad or self.leaf is None:
            return None
        try:
            (g,) = gradients((output,), (self.trace.upstream,), (self.leaf,))
        except RuntimeError:
            return None
        return g
