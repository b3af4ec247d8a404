"""Every edit of one operation of the reference: a term, a sign, another function; see `numbers`, `terms`, `others`.

A forward pass that differs may be such a function; and a gradient may be the right one, of such a function.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch

from handgrad.compare.diagnosis.graph.edits.edit import ReferenceEdit
from handgrad.compare.diagnosis.graph.edits.forward.numbers import of_constants, of_numbers
from handgrad.compare.diagnosis.graph.edits.forward.others import of_others
from handgrad.compare.diagnosis.graph.edits.forward.terms import of_terms
from handgrad.compare.diagnosis.graph.record.node import Node, is_float, is_like
from handgrad.compare.diagnosis.graph.record.operations import COMPARED, INFIX
from handgrad.compare.diagnosis.graph.record.rerun import filled, node_value
from handgrad.compare.diagnosis.graph.record.trace import Trace

# Operations that only move numbers about, or make them: no person gets their arguments wrong.
SHAPES = {
    "view", "_unsafe_view", "expand", "permute", "transpose", "t", "unsqueeze", "squeeze", "slice", "select", "clone",
    "cat", "stack", "_to_copy", "full_like", "ones_like", "zeros_like", "index", "embedding", "arange", "one_hot",
    "split", "split_with_sizes", "unsafe_split", "unbind", "constant_pad_nd",
}  # fmt: skip
TIES = {"gt": "ge", "ge": "gt", "lt": "le", "le": "lt"}
SIMILAR: dict[str, tuple[str, ...]] = {
    "tanh": ("sigmoid", "relu"), "sigmoid": ("tanh", "relu"), "relu": ("sigmoid", "tanh"), "sin": ("cos",),
    "cos": ("sin",), "exp": ("expm1",), "expm1": ("exp",), "log": ("log1p", "log2", "log10"), "log1p": ("log",),
    "amax": ("amin",), "amin": ("amax",), "sum": ("mean",), "mean": ("sum",), "maximum": ("minimum",),
    "minimum": ("maximum",), "sqrt": ("abs",), "abs": ("square",), "square": ("abs",), "gelu": ("silu",),
    "silu": ("gelu",), "sinh": ("cosh",), "cosh": ("sinh",),
}  # fmt: skip


def of_operations(trace: Trace) -> Iterator[ReferenceEdit]:
    """Every operation with one thing changed, from the output backwards."""
    for node in reversed(trace.nodes):
        if node.operation == "arange":
            yield ReferenceEdit.of(node, "begins late", partial(_shifted, node, 1))
            yield ReferenceEdit.of(node, "begins early", partial(_shifted, node, -1))
        if node.op is None or node.operation in SHAPES:
            continue
        if node.operation in COMPARED:
            yield from of_numbers(trace, node)
            yield from _of_a_comparison(node)
        elif is_float(node.value):
            yield from of_numbers(trace, node)
            yield from _of_its_kind(trace, node)
            yield from of_terms(trace, node)
            yield from of_constants(trace, node)
            yield from of_others(trace, node)
        elif not isinstance(node.value, torch.Tensor):
            yield from of_numbers(trace, node)


def _shifted(node: Node, by: int, given: list[Any]) -> Any:
    return node_value(node, given) + by


def _of_a_comparison(node: Node) -> Iterator[ReferenceEdit]:
    yield ReferenceEdit.of(node, "comparison inverted", lambda given: torch.logical_not(node_value(node, given)))
    if node.operation in TIES:
        yield ReferenceEdit.of(node, "ties", partial(_as, TIES[node.operation], node), instead=TIES[node.operation])


def _of_its_kind(trace: Trace, node: Node) -> Iterator[ReferenceEdit]:
    """A term or a factor left out; an operation left out; a sign; another operation of the kind."""
    name, sources = node.operation, node.sources()
    same = [p for p, s in enumerate(sources) if is_like(trace.nodes[s].value, node.value)]
    if name in INFIX:
        for p in same:
            sign = -1.0 if name == "sub" and p == 1 else 1.0
            yield ReferenceEdit.of(node, "term left out", partial(_one_argument, p, sign), kept=p)
    if name in ("add", "sub") and len(sources) == 2:
        opposite = torch.sub if name == "add" else torch.add
        yield ReferenceEdit.of(node, "opposite sign", lambda given: opposite(given[0], given[1]))
    if name == "div" and len(sources) == 2:
        yield ReferenceEdit.of(node, "multiplied", lambda given: given[0] * given[1])
        yield ReferenceEdit.of(node, "divided twice", lambda given: given[0] / given[1] / given[1])
    if name not in INFIX and len(same) == len(sources) == 1:
        yield ReferenceEdit.of(node, "not subtracted" if name == "rsub" else "left out", partial(_one_argument, 0, 1.0))
    for eps in _eps_under_a_root(trace, node):
        yield ReferenceEdit.of(node, "ε outside the root", partial(_outside, name == "rsqrt", eps))
    if name == "sigmoid":
        yield ReferenceEdit.of(node, "complement of a sigmoid", lambda given: 1 - node_value(node, given))
    kind = "sign of what is compared" if _only_compared(trace, node.index) else "sign"
    yield ReferenceEdit.of(node, kind, lambda given: -node_value(node, given))
    for p in same if name == "where" else ():
        yield ReferenceEdit.of(node, "one case everywhere", partial(_one_argument, p, 1.0), argument=p)
    for other in SIMILAR.get(name, ()):
        yield ReferenceEdit.of(node, "similar function", partial(_as, other, node), instead=other)
    if name == "mean" and len(sources) == 1:
        yield from _of_a_mean(trace, node)


def _of_a_mean(trace: Trace, node: Node) -> Iterator[ReferenceEdit]:
    """Divided by n − 1, or, where it runs over several axes, by the size of one of them."""
    x = trace.source(node).value
    n = x.numel() / max(node.value.numel(), 1)
    if n <= 1:
        return
    yield ReferenceEdit.of(node, "divided by n − 1", partial(_times, n / (n - 1), node))
    axes = node.args[1] if len(node.args) > 1 and isinstance(node.args[1], (list, tuple)) else []
    whole = math.prod(x.shape[a] for a in axes)
    for k, size in enumerate(x.shape[a] for a in axes):
        if 1 < size < whole:
            yield ReferenceEdit.of(node, "divided by one size", partial(_times, whole / size, node), axis=k)


def _only_compared(trace: Trace, index: int) -> bool:
    used = [n for n in trace.nodes if index in n.sources()]
    return bool(used) and all(n.operation in COMPARED for n in used)


def _eps_under_a_root(trace: Trace, node: Node) -> Iterator[float]:
    if node.operation in ("sqrt", "rsqrt"):
        inside = trace.source(node)
        if inside.operation == "add":
            yield from (float(a) for a in inside.args if isinstance(a, float) and a)


def _outside(inverse: bool, eps: float, given: list[Any]) -> Any:
    root = torch.sqrt(given[0] - eps) + eps
    return 1 / root if inverse else root


def _one_argument(place: int, sign: float, given: list[Any]) -> Any:
    return sign * given[place]


def _times(factor: float, node: Node, given: list[Any]) -> Any:
    return factor * node_value(node, given)


def _as(other: str, node: Node, given: list[Any]) -> Any:
    """Another function of the same arguments."""
    args, kwargs = filled(node, given)
    function = getattr(torch, other, None) or getattr(torch.nn.functional, other)
    return function(*args, **kwargs)
