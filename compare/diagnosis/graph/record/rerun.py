"""An operation run again as it is, with another argument, and a whole trace with one operation changed."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

import torch

from handgrad.compare.diagnosis.graph.record.trace import Node, Tensor, Trace, is_ref
from handgrad.compare.foundation.torch_internals import tree_map


class Mutant(NamedTuple):
    """One operation, changed."""

    at: int
    key: Hashable
    complexity: int
    words: str
    made: Callable[[list[Any]], Any]  # of the operation's arguments that are results themselves, in order
    number: tuple[Any, float] | None = None  # the place and the value of the number that is changed, for a fit


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
    args, kwargs = filled(node, given)
    return node.op(*args, **kwargs)


class Swap:
    """The operation with another result for an argument; the result is looked up when it is run."""

    def __init__(self, node: Node, place: int, other: int, wide: Any = None) -> None:
        self.node, self.place, self.other, self.wide = node, place, other, wide

    def __call__(self, given: list[Any], other: Any = None) -> Any:
        other = other if self.wide is None else other.expand(self.wide)
        return node_value(self.node, [other if q == self.place else g for q, g in enumerate(given)])


class Exchanged:
    """Another input in the place of this one, as it was given."""

    def __init__(self, other: int) -> None:
        self.other = other

    def __call__(self, given: list[Any]) -> Any:
        raise TypeError("which input it is, only a rerun knows")


class Rerun:
    """A trace that can be run again with an operation changed, and differentiated by torch."""

    def __init__(self, trace: Trace, target: str) -> None:
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

    def values_with(self, wrong: dict[int, Mutant]) -> dict[int, Any] | None:
        """All results that are others with these operations changed; None where that does not fit."""
        changed: dict[int, Any] = {}
        found = self.output(wrong, changed=changed)
        return None if found is None else {k: v.detach() for k, v in changed.items() if isinstance(v, torch.Tensor)}

    def output(
        self, wrong: dict[int, Mutant], inputs: dict[int, Tensor] | None = None, changed: dict[int, Any] | None = None
    ) -> Tensor | None:
        """The output with these operations changed, and other inputs; None where that does not fit."""
        changed = {} if changed is None else changed
        changed |= inputs or {}

        def look(k: int) -> Any:
            return changed[k] if k in changed else self.values[k]

        try:
            with torch.enable_grad():
                for node in self.trace.nodes[min((*wrong, *changed)) :]:
                    if node.index in wrong:
                        made = wrong[node.index].made
                        given = [look(s) for s in node.sources()]
                        if isinstance(made, Exchanged):
                            value = self.values[made.other]
                        else:
                            value = made(given, look(made.other)) if isinstance(made, Swap) else made(given)
                        if not isinstance(value, (torch.Tensor, tuple, list)):
                            return None
                        changed[node.index] = value
                    elif any(s in changed for s in node.sources()):
                        changed[node.index] = self.trace.run(node, look)[0]
        except (RuntimeError, IndexError, TypeError, ValueError, ZeroDivisionError, OverflowError):
            return None
        out: Tensor = look(self.trace.output)
        return out if out.shape == self.trace.nodes[self.trace.output].value.shape else None

    def gradient(self, output: Tensor) -> Tensor | None:
        """Torch's gradient of that output."""
        if not output.requires_grad or self.leaf is None:
            return None
        try:
            (g,) = torch.autograd.grad(output, self.leaf, self.trace.upstream, retain_graph=True, allow_unused=True)
        except RuntimeError:
            return None
        return g
