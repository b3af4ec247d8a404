"""One slip of a person that is several changed operations of the reference: two parameters exchanged, a mask put
later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import combinations
from typing import Any

import torch

from handgrad.compare.diagnosis.graph.edits.forward.arguments import is_like
from handgrad.compare.diagnosis.graph.edits.forward.operations import with_number
from handgrad.compare.diagnosis.graph.record.notation import called, formula, operation, silent, spoken
from handgrad.compare.diagnosis.graph.record.rerun import Exchanged, Mutant, node_value
from handgrad.compare.diagnosis.graph.record.trace import Node, Trace

Several = tuple[int, str, dict[int, Mutant]]  # how unlikely, the words, the operations changed
REDUCTIONS = {"sum", "mean", "amax", "amin", "linalg_vector_norm", "logsumexp"}
GATES = {"silu", "sigmoid", "tanh", "relu", "gelu", "exp", "softplus", "elu", "leaky_relu", "sqrt", "log"}
STEPS = 4  # between a root and the square inside


def several(trace: Trace) -> Iterator[tuple[Any, Several]]:
    """(key, the change): the key is the same on every draw."""
    yield from _inputs_exchanged(trace)
    yield from _other_axes(trace)
    for node in trace.nodes:
        if node.index not in trace.variable or node.op is None:
            continue
        name = operation(node)
        if name == "sqrt":
            yield from _neither_root_nor_square(trace, node)
        elif name == "_softmax":
            yield from _mask_after(trace, node)
            yield from _chosen_after(trace, node)
        elif name == "mul":
            yield from _of_the_other_factor(trace, node)


def _change(node: Node, words: str, made: Callable[[list[Any]], Any]) -> Mutant:
    return Mutant(node.index, ("one of several", words), 12, words, made)


def _first(given: list[Any]) -> Any:
    return given[0]


def _inputs_exchanged(trace: Trace) -> Iterator[tuple[Any, Several]]:
    """Two parameters of one shape in one another's place."""
    named = [(n, i) for n, i in trace.inputs.items() if n not in ("x", "ŷ", "target") and i not in trace.still]
    for (a, i), (b, j) in combinations(named, 2):
        if is_like(trace.nodes[i].value, trace.nodes[j].value):
            words = f"{a} and {b} are exchanged"
            pair = {i: Mutant(i, words, 12, words, Exchanged(j)), j: Mutant(j, words, 12, words, Exchanged(i))}
            yield ("exchanged", a, b), (12, words, pair)


def _other_axes(trace: Trace) -> Iterator[tuple[Any, Several]]:
    """A mean and a variance, and whatever else runs over the same axes of the same shape, over other ones."""
    alike: dict[Any, list[Node]] = {}
    for node in trace.nodes:
        axes = node.args[1] if operation(node) in REDUCTIONS and len(node.args) > 1 else None
        if isinstance(axes, (list, tuple)) and axes and node.index in trace.variable:
            shape = tuple(trace.nodes[node.sources()[0]].value.shape)
            alike.setdefault((shape, tuple(sorted(a % len(shape) for a in axes))), []).append(node)
    for (shape, axes), nodes in alike.items():
        if len(nodes) < 2:
            continue
        others = [c for n in range(1, len(shape)) for c in combinations(range(len(shape)), n) if c != axes]
        for other in others:
            if len(other) > 1 and not (set(other) < set(axes) or set(axes) < set(other)):
                continue
            what = " and ".join(dict.fromkeys(called(trace, n.index) for n in nodes))
            of = f" of [{'×'.join(map(str, shape))}]"
            words = f"{what} run over axis {', '.join(map(str, other))}{of}, not over axis {', '.join(map(str, axes))}"
            changes = {n.index: _change(n, words, with_number(trace, n, 1, list(other))) for n in nodes}
            yield ("axes", nodes[0].index, other), (11, words, changes)


def _neither_root_nor_square(trace: Trace, root: Node) -> Iterator[tuple[Any, Several]]:
    """1 − a for √(1 − a²): the root and the square inside it both left out."""
    found, waiting = set[int](), [root.sources()[0]]
    for _ in range(STEPS):
        waiting = [s for i in waiting for s in ([i] if _squares(trace.nodes[i]) else trace.nodes[i].sources())]
        found |= {i for i in waiting if _squares(trace.nodes[i])}
    for i in found:
        square = trace.nodes[i]
        words = f"the root and the square of {formula(trace, root.index)} are both left out"
        yield (
            ("no root", root.index, i),
            (12, words, {root.index: _change(root, words, _first), i: _change(square, words, _first)}),
        )


def _squares(node: Node) -> bool:
    name, args = operation(node), node.args
    return name == "square" or (name == "pow" and args[1] == 2) or (name == "mul" and args[0] == args[1])


def _mask_after(trace: Trace, node: Node) -> Iterator[tuple[Any, Several]]:
    """softmax(s) ⊙ mask for the softmax of masked scores."""
    masked = trace.nodes[node.sources()[0]]
    while silent(masked) and masked.sources():
        masked = trace.nodes[masked.sources()[0]]
    values = [trace.nodes[s].value for s in masked.sources()]
    hidden = torch.isneginf(masked.value)
    scores = [p for p, v in enumerate(values) if is_like(v, masked.value) and bool(torch.isfinite(v).all())]
    if operation(masked) not in ("where", "masked_fill") or len(scores) != 1 or not bool(hidden.any()):
        return
    allowed = (~hidden).to(node.value).reshape(node.value.shape)
    words = f"the mask is applied after the softmax, to {formula(trace, node.index)}, and not before it"
    changes = {
        masked.index: _change(masked, words, lambda given: given[scores[0]]),
        node.index: _change(node, words, lambda given: node_value(node, given) * allowed),
    }
    yield ("mask after", node.index), (11, words, changes)


def _chosen_after(trace: Trace, node: Node) -> Iterator[tuple[Any, Several]]:
    """The softmax over all, of which the largest are taken, for the softmax over these."""
    part = trace.nodes[node.sources()[0]]
    chosen = trace.nodes[part.sources()[0]] if part.item == 0 else None
    if chosen is None or operation(chosen) not in ("topk", "sort") or not chosen.flat:
        return
    words = f"the softmax runs over all numbers, before {spoken(chosen)}, and not over the chosen ones"
    axis = node.args[1]
    changes = {
        chosen.index: _change(chosen, words, lambda g: node_value(chosen, [torch.softmax(g[0], axis), *g[1:]])),
        node.index: _change(node, words, _first),
    }
    yield ("chosen after", node.index), (11, words, changes)


def _of_the_other_factor(trace: Trace, node: Node) -> Iterator[tuple[Any, Several]]:
    """a · f(b) for f(a) · b."""
    sources = node.sources()
    for p, s in enumerate(sources) if len(sources) == 2 and sources[0] != sources[1] else ():
        function, other = trace.nodes[s], trace.nodes[sources[1 - p]]
        once = sum(s in n.sources() for n in trace.nodes) == 1
        if operation(function) not in GATES or len(function.sources()) != 1 or not once:
            continue
        if not is_like(function.value, other.value) or other.index not in trace.variable:
            continue
        inside = called(trace, function.sources()[0])
        words = f"{spoken(function)} is taken of {called(trace, other.index)}, the other factor, not of {inside}"
        words = f"{words}, in {formula(trace, node.index)}"
        changes = {
            s: _change(function, words, _first),
            node.index: _change(node, words, partial(_function_at, function, 1 - p)),
        }
        yield ("other factor", node.index, p), (11, words, changes)


def _function_at(function: Node, place: int, given: list[Any]) -> Any:
    return given[1 - place] * node_value(function, [given[place]])
