"""Another function: an argument of one operation is another number, another mask, another quantity."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from handgrad.compare.diagnosis.graph.record.notation import MADE, beside, called, constant, formula, number, operation
from handgrad.compare.diagnosis.graph.record.rerun import Mutant, Swap, node_value
from handgrad.compare.diagnosis.graph.record.trace import Node, Tensor, Trace

MOST_VALUES = 8  # other quantities that are tried in a place


def other_numbers(value: float) -> Iterator[tuple[int, str, float]]:
    """(how unlikely, the words, the value) of what may stand in the place of a number."""
    found = [(11, "left out (taken as 0)", 0.0), (11, "left out (taken as 1)", 1.0)]
    found += [(12, "doubled", 2 * value), (12, "halved", value / 2), (11, "of the wrong sign", -value)]
    if value:
        found.append((13, "inverted (1 / it)", 1 / value))
        found.append((13, "squared", value * value))
    if float(value).is_integer():
        unlikely = 12 if abs(value) > 2 else 13  # a 2 is more often that of a square than a size
        found += [(unlikely, "one too large", value + 1), (unlikely, "one too small", value - 1)]
    tried = {float(value)}
    for complexity, words, other in found:
        if float(other) not in tried and (isinstance(value, float) or float(other).is_integer()):
            tried.add(float(other))
            yield complexity, words, other


def of_constants(trace: Trace, node: Node) -> Iterator[Mutant]:
    """A mask, a weight, a table of the reference's own, left out or turned round."""
    here, sources = formula(trace, node.index), node.sources()
    for p, s in enumerate(sources):
        source = trace.nodes[s]
        c = source.value
        if s in trace.variable or source.item is not None or not isinstance(c, torch.Tensor):
            continue
        changes: list[tuple[str, Callable[[Tensor], Tensor]]] = []
        if c.dtype == torch.bool:
            changes = [("left out (true throughout)", torch.ones_like), ("inverted", torch.logical_not)]
            changes += [("left out (false throughout)", torch.zeros_like)]
        elif c.is_floating_point():
            changes = [("left out (taken as 1)", torch.ones_like), ("left out (taken as 0)", torch.zeros_like)]
            changes += [
                ("inverted (1 − it)", lambda v: 1 - v),
                ("of the wrong sign", torch.neg),
                ("squared", torch.square),
            ]
        if c.dim() == 0 and source.name and c.is_floating_point():
            yield from _of_quantity(node, p, source, here)
            continue
        if c.dim() >= 2 and c.shape[-1] == c.shape[-2]:
            changes.append(("transposed", lambda v: v.transpose(-1, -2)))
        what = source.name or constant(c)
        for words, change in changes:

            def made(given: list[Any], p: int = p, change: Any = change) -> Any:
                return node_value(node, [change(g) if q == p else g for q, g in enumerate(given)])

            unlikely = 11 if source.op is None else 13  # what the reference works out has a simpler story more often
            yield Mutant(node.index, (p, words), unlikely, f"{what} is {words} in {here}", made)


def _of_quantity(node: Node, p: int, source: Node, here: str) -> Iterator[Mutant]:
    """A number with a name, α or K, that is another number here."""
    value, name = float(source.value), source.name
    said = name if name == number(value) or value.is_integer() else f"{name} = {number(value)}"
    tried = {value}
    for complexity, words, other in (*other_numbers(value), (12, "one minus itself", 1 - value)):
        if other in tried:
            continue
        tried.add(other)
        shifted = {"one too large": f"{name} + 1", "one too small": f"{name} − 1"}.get(words)
        what = f"{shifted} stands for {name}" if shifted and name != number(value) else f"{said} is {words}"

        def made(given: list[Any], other: float = other) -> Any:
            return node_value(node, [torch.full_like(g, other) if q == p else g for q, g in enumerate(given)])

        yield Mutant(node.index, (p, words), complexity, f"{what} in {here}", made)


def of_others(trace: Trace, node: Node) -> Iterator[Mutant]:
    """Another quantity where an argument belongs; for what was broadcast, another that is broadcast likewise."""
    here = formula(trace, node.index)
    for p, s in enumerate(node.sources()):
        source = trace.nodes[s]
        wide = source.value.shape if operation(source) == "expand" else None
        narrow = trace.nodes[source.sources()[0]] if wide is not None else source
        b, tried = narrow.value, 0
        if not isinstance(b, torch.Tensor) or not b.is_floating_point():
            continue
        for other in reversed(trace.nodes[: node.index]):
            alike = is_like(other.value, b) and other.index not in (s, narrow.index) and operation(other) not in MADE
            if tried == MOST_VALUES or not alike or torch.equal(other.value, b) or (b.dim() == 0 and other.name == "δ"):
                continue
            tried += 1
            words = f"{beside(trace, other.index, s)} stands for {called(trace, s)} in {here}"
            counts = b.dim() == 0 and bool(other.name) and bool(source.name)  # N for the sum of the weights
            yield Mutant(
                node.index, ("other", p, other.index), 11 if counts else 13, words, Swap(node, p, other.index, wide)
            )
        if wide is not None:
            yield from _as_wide(trace, node, p, wide, here)


def _as_wide(trace: Trace, node: Node, p: int, wide: Any, here: str) -> Iterator[Mutant]:
    """What is not broadcast, but has the shape all the same."""
    right, tried = called(trace, node.sources()[p]), 0
    for other in reversed(trace.nodes[: node.index]):
        if tried < MOST_VALUES and isinstance(other.value, torch.Tensor) and other.value.is_floating_point():
            name = called(trace, other.index)
            other_than = other.index not in node.sources() and name != right and operation(other) not in MADE
            if other.value.shape == wide and other_than:
                tried += 1
                words = f"{name} stands for {right} in {here}"
                yield Mutant(node.index, ("other", p, other.index), 13, words, Swap(node, p, other.index))


def is_like(a: Any, b: Any) -> bool:
    """Whether both are tensors of floating-point numbers and of one shape."""
    return isinstance(a, torch.Tensor) and a.shape == b.shape and a.is_floating_point()
