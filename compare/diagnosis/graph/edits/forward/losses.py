"""Changes of a loss wherever a quantity stands: its two arguments exchanged, log σ read for log σ², 1 − q for q.

And the order of two operations: the square of a sum for a sum of squares.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import torch

from handgrad.compare.diagnosis.graph.record.notation import called, formula, operation
from handgrad.compare.diagnosis.graph.record.rerun import Mutant, node_value
from handgrad.compare.diagnosis.graph.record.trace import Node, Tensor, Trace

Changed = tuple[str, dict[int, Mutant]]
PARTS = {"select", "slice"}  # operations whose results are parts of the output with a meaning each: μ, log σ²
FAR = 4  # operations that a square is moved over


def readings(trace: Trace, values: Mapping[int, Any]) -> Iterator[tuple[Any, Changed]]:
    """(key, (words, the operations changed)) of a loss; the values are those that it is run again with."""
    if "ŷ" not in trace.inputs:
        return
    yield from _arguments(trace, values)
    for node in trace.nodes:
        if _is_part(trace, node):
            yield from _read(trace, node)
        elif _is_weight(trace, node):
            words = f"1 − {node.name} stands for {node.name} everywhere: the two are exchanged"
            yield ("1 −", node.index), _one(node, words, lambda v: 1 - v, values)
    yield from _orders(trace)


def _arguments(trace: Trace, values: Mapping[int, Any]) -> Iterator[tuple[Any, Changed]]:
    """The loss of its arguments in the other order; and where one of them is a logarithm, its exponential."""
    a, b = trace.inputs["ŷ"], trace.inputs.get("target", -1)
    x, y = values[a], values.get(b)
    if not isinstance(y, torch.Tensor) or y.shape != x.shape or not y.is_floating_point():
        return
    tried: list[tuple[str, Callable[[], Tensor], Callable[[], Tensor]]] = [
        ("ŷ and target are exchanged", lambda: y, lambda: x),
        ("ŷ and target are exchanged: log(target) stands for ŷ and exp(ŷ) for target", y.log, x.exp),
    ]
    for words, first, second in tried:
        wrong = {k: Mutant(k, words, 12, words, partial(_made, f)) for k, f in ((a, first), (b, second))}
        yield ("arguments", words), (words, wrong)


def _made(value: Callable[[], Tensor], given: list[Any]) -> Tensor:
    with torch.enable_grad():
        return value()


def _is_part(trace: Trace, node: Node) -> bool:
    """A part of the output, as cut out or split off."""
    if node.index not in trace.variable or not isinstance(node.value, torch.Tensor) or len(node.sources()) != 1:
        return False
    source = node.sources()[0]
    if node.item is not None:
        return bool(trace.nodes[source].sources()) and trace.nodes[source].sources()[0] == trace.inputs["ŷ"]
    cut = operation(node) in PARTS and node.value.numel() < trace.nodes[source].value.numel()
    return cut and not any(_only_passes_on(n) for n in trace.nodes if node.index in n.sources())


def _only_passes_on(node: Node) -> bool:
    return operation(node) in PARTS


def _is_weight(trace: Trace, node: Node) -> bool:
    """A table of the reference's own, which stands in several places."""
    inside = node.op is not None or node.item is not None or node.index in trace.inputs.values()
    if inside or not isinstance(node.value, torch.Tensor) or not node.value.is_floating_point():
        return False
    return node.value.dim() > 0 and sum(node.index in n.sources() for n in trace.nodes) > 1


def _read(trace: Trace, node: Node) -> Iterator[tuple[Any, Changed]]:
    """A part of the output on another scale."""
    name = called(trace, node.index)
    logarithm = " (as where log σ is read for log σ²)" if _reaches(trace, node, {"exp"}) else ""
    scale = " (as where σ is read for σ²)" if _reaches(trace, node, {"log", "div", "reciprocal"}) else ""
    for what, hint, change in (
        (f"2 · {name}", logarithm, lambda v: 2 * v),
        (f"½ · {name}", logarithm and " (as where log σ² is read for log σ)", lambda v: v / 2),
        (f"−{name}", "", torch.neg),
        (f"({name})²", scale, torch.square),
        (f"√({name})", scale and " (as where σ² is read for σ)", torch.sqrt),
        (f"exp({name})", "", torch.exp),
    ):
        yield (what, node.index), _one(node, f"{what} stands for {name} everywhere{hint}", change, {})


def _reaches(trace: Trace, node: Node, names: set[str]) -> bool:
    near = {node.index}
    for _ in range(3):
        near |= {n.index for n in trace.nodes if near & set(n.sources())}
    return any(operation(trace.nodes[k]) in names for k in near)


def _one(node: Node, words: str, change: Callable[[Tensor], Tensor], values: Mapping[int, Any]) -> Changed:
    def made(given: list[Any]) -> Any:
        if node.op is not None:
            return change(node_value(node, given))
        return change(given[0][node.item] if node.item is not None else values[node.index])

    return words, {node.index: Mutant(node.index, words, 11, words, made)}


def _orders(trace: Trace) -> Iterator[tuple[Any, Changed]]:
    """A power taken some operations earlier: f(x²) for f(x)²; or the other way round."""
    for node in trace.nodes:
        if not _is_power(node):
            continue
        what = "square" if operation(node) != "pow" or list(node.args[1:]) == [2] else "power"
        early = node.sources()[0]
        for _ in range(FAR):
            inner = trace.nodes[early]
            ways = [s for s in inner.sources() if s in trace.variable]
            if inner.op is None or len(ways) != 1 or not inner.flat:
                break
            words = f"the {what} is taken of {called(trace, ways[0])}, inside {formula(trace, early)}, not of the whole"
            yield ("inside", node.index, early), (words, _moved(node, inner, inner.sources().index(ways[0]), words))
            early = ways[0]
        last = node
        for _ in range(FAR):
            after = [n for n in trace.nodes if last.index in n.sources()]
            if len(after) != 1 or not after[0].flat or not isinstance(after[0].value, torch.Tensor):
                break
            last = after[0]
            words = f"the {what} is taken of the whole of {formula(trace, last.index)}, not inside"
            bypass = Mutant(node.index, words, 12, words, lambda given: given[0])
            whole = Mutant(last.index, words, 12, words, partial(_powered, node, last))
            yield ("outside", node.index, last.index), (words, {node.index: bypass, last.index: whole})


def _is_power(node: Node) -> bool:
    """x², or another power, or x · x."""
    sources = node.sources()
    twice = operation(node) == "mul" and len(sources) == 2 and sources[0] == sources[1]
    return node.op is not None and node.flat and (twice or (operation(node) in ("pow", "square") and len(sources) == 1))


def _raised(power: Node, x: Tensor) -> Any:
    return node_value(power, [x] * len(power.sources()))


def _moved(power: Node, inner: Node, place: int, words: str) -> dict[int, Mutant]:
    def made(given: list[Any]) -> Any:
        changed = [_raised(power, g) if q == place else g for q, g in enumerate(given)]
        return node_value(inner, changed)

    bypass = Mutant(power.index, words, 12, words, lambda given: given[0])
    return {inner.index: Mutant(inner.index, words, 12, words, made), power.index: bypass}


def _powered(power: Node, last: Node, given: list[Any]) -> Any:
    return _raised(power, node_value(last, given))
