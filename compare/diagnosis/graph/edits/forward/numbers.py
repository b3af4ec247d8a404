"""A constant of an operation is another one: a number, an axis, a switch, a mask, a weight, a quantity with a name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch

from handgrad.compare.diagnosis.graph.edits.edit import ReferenceEdit
from handgrad.compare.diagnosis.graph.factors import other_sizes
from handgrad.compare.diagnosis.graph.record.node import Node, Tensor, is_float, is_ref
from handgrad.compare.diagnosis.graph.record.operations import BOUNDED
from handgrad.compare.diagnosis.graph.record.rerun import with_argument, with_number
from handgrad.compare.diagnosis.graph.record.trace import Trace
from handgrad.compare.diagnosis.likelihood import COMPUTED, LESS
from handgrad.compare.foundation.torch_internals import arguments

AXES = {"dim", "dims", "axis"}
MAY_DIFFER = {"float", "number", "Scalar", "Tensor"}  # types of arguments that may have any value, if they are numbers
WHOLE = {"diagonal", "correction"}  # and names of whole numbers that may, too
HUGE = 1e300
# What may stand for a number, and for a constant of the reference's own.
OF_A_NUMBER: dict[str, Callable[[float], float | None]] = {
    "as 0": lambda v: 0.0,
    "as 1": lambda v: 1.0,
    "doubled": lambda v: 2 * v,
    "halved": lambda v: v / 2,
    "negative": lambda v: -v,
    "inverse": lambda v: 1 / v if v else None,
    "squared": lambda v: v * v if v else None,
    "one larger": lambda v: v + 1 if float(v).is_integer() else None,
    "one smaller": lambda v: v - 1 if float(v).is_integer() else None,
}
OF_A_MASK: dict[str, Callable[[Tensor], Tensor]] = {
    "mask true": torch.ones_like,
    "mask inverted": torch.logical_not,
    "mask false": torch.zeros_like,
}
OF_A_CONSTANT: dict[str, Callable[[Tensor], Tensor]] = {
    "constant as 1": torch.ones_like,
    "constant as 0": torch.zeros_like,
    "constant's complement": lambda v: 1 - v,
    "constant negative": torch.neg,
    "constant squared": torch.square,
}


def plain(node: Node) -> Iterator[tuple[Any, str, Any]]:
    """(place, name, value) of the arguments that are no results, were given, and may be another number.

    A size or a switch of a fused operation may not: torch does not look whether it fits, and crashes.
    """
    fused = not isinstance(node.value, Tensor)
    for k, a in enumerate(arguments(node.op)):
        place: Any = a.name if a.kwarg_only else k
        value = node.kwargs.get(a.name) if a.kwarg_only else node.args[k] if k < len(node.args) else None
        kind = str(a.type).removeprefix("Optional[").removesuffix("]")
        free = kind == "float" if fused else kind in MAY_DIFFER or a.name in AXES | WHOLE
        if value is not None and not is_ref(value) and free:
            yield place, a.name, value


def of_numbers(trace: Trace, node: Node) -> Iterator[ReferenceEdit]:
    """Numbers, axes and switches."""
    for place, name, value in plain(node):
        if name in AXES and isinstance(value, (int, list, tuple)) and node.sources():
            yield from _of_axes(trace, node, place, value)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            if node.operation in BOUNDED:
                none = -HUGE if name in ("min", "min_val") else HUGE
                yield ReferenceEdit.of(node, "bound left out", with_number(node, place, none), place=place)
            for kind, more, other in other_numbers(value):
                made = with_number(node, place, type(value)(other))
                edit = ReferenceEdit.of(node, kind, made, more=more, place=place)
                yield edit._replace(number=(place, float(value)))
            for other in other_sizes(trace, value) if _may_be_of_a_size(value) else ():
                yield ReferenceEdit.of(node, "other size", with_number(node, place, other), place=place, number=other)


def other_numbers(value: float) -> Iterator[tuple[str, int, float]]:
    """(the kind of edit, how much less likely, the number) of what may stand in the place of a number, each once."""
    tried = {float(value)}
    for kind, change in OF_A_NUMBER.items():
        other = change(value)
        if other is None or float(other) in tried or not (isinstance(value, float) or float(other).is_integer()):
            continue
        tried.add(float(other))
        # a 2 is more often that of a square than a size
        yield kind, LESS if abs(value) <= 2 and kind in ("one larger", "one smaller") else 0, other


def _may_be_of_a_size(value: float) -> bool:
    """A root or an inverse of a whole number: a plain 1 or 2 is seldom the size of anything, and an ε never."""
    return isinstance(value, float) and 1e-3 < value < 1e3 and not (value.is_integer() and value <= 2)


def _of_axes(trace: Trace, node: Node, place: Any, value: Any) -> Iterator[ReferenceEdit]:
    size = trace.source(node).value.dim()
    right = {v % max(size, 1) for v in ([value] if isinstance(value, int) else value)}
    tried = [("wrong axis", [axis]) for axis in range(size) if right != {axis}]
    if not isinstance(value, int):
        tried += [("axis too many", sorted(right | {axis})) for axis in range(size) if axis not in right]
    for kind, axes in tried:
        given = axes[0] if isinstance(value, int) else axes
        yield ReferenceEdit.of(node, kind, with_number(node, place, given), place=place, axes=tuple(axes))


def of_constants(trace: Trace, node: Node) -> Iterator[ReferenceEdit]:
    """A mask, a weight, a table of the reference's own, left out or turned round."""
    for p, s in enumerate(node.sources()):
        source = trace.nodes[s]
        c = source.value
        if s in trace.variable or source.item is not None or not isinstance(c, Tensor):
            continue
        if c.dim() == 0 and source.name and is_float(c):
            yield from _of_quantity(node, p, float(c))
            continue
        changes = dict(OF_A_MASK if c.dtype == torch.bool else OF_A_CONSTANT if is_float(c) else {})
        if c.dim() >= 2 and c.shape[-1] == c.shape[-2]:
            changes["constant transposed"] = lambda v: v.transpose(-1, -2)
        for kind, change in changes.items():
            more = 0 if source.op is None else COMPUTED
            yield ReferenceEdit.of(node, kind, with_argument(node, p, change), more=more, argument=p)


def _of_quantity(node: Node, p: int, value: float) -> Iterator[ReferenceEdit]:
    """A number with a name, α or K, that is another number here."""
    tried = {value}
    for kind, more, other in (*other_numbers(value), ("complement", 0, 1 - value)):
        if other not in tried:
            tried.add(other)
            made = with_argument(node, p, partial(torch.full_like, fill_value=other))
            yield ReferenceEdit.of(node, kind, made, more=more, argument=p)
