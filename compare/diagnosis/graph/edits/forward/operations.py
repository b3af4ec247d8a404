"""Another function: one operation of the reference changed, as when a term, a constant or an axis is wrong in the
formula.

A forward pass that differs may be such a function; and a gradient may be the right one, of such a function.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch

from handgrad.compare.diagnosis.graph.edits.forward.arguments import is_like, of_constants, of_others, other_numbers
from handgrad.compare.diagnosis.graph.edits.forward.terms import of_terms, of_ties
from handgrad.compare.diagnosis.graph.factors import other_sizes
from handgrad.compare.diagnosis.graph.record.notation import COMPARED, INFIX, called, formula, number, operation, spoken
from handgrad.compare.diagnosis.graph.record.rerun import Mutant, filled, node_value
from handgrad.compare.diagnosis.graph.record.trace import Node, Trace, is_ref
from handgrad.compare.foundation.torch_internals import arguments

aten = torch.ops.aten
SHAPES = {
    "view", "_unsafe_view", "expand", "permute", "transpose", "t", "unsqueeze", "squeeze", "slice", "select", "clone",
    "cat", "stack", "_to_copy", "full_like", "ones_like", "zeros_like", "index", "embedding", "arange", "one_hot",
    "split", "split_with_sizes", "unsafe_split", "unbind", "constant_pad_nd",
}  # fmt: skip
BOUNDED, HUGE = {"hardtanh", "clamp", "clamp_min", "clamp_max"}, 1e300
SAFE = {"float", "number", "Scalar", "Tensor"}  # types of arguments that may have any value, if they are numbers
NAMED = {"dim", "dims", "axis", "diagonal", "correction", "unbiased", "is_causal"}  # and names of some that may, too
CALLED = {"eps": "ε", "negative_slope": "the negative slope", "self": "", "other": "", "value": "the constant"}
SWAPPED: dict[str, tuple[str, ...]] = {
    "tanh": ("sigmoid", "relu"), "sigmoid": ("tanh", "relu"), "relu": ("sigmoid", "tanh"), "sin": ("cos",),
    "cos": ("sin",), "exp": ("expm1",), "expm1": ("exp",), "log": ("log1p", "log2", "log10"), "log1p": ("log",),
    "amax": ("amin",), "amin": ("amax",), "sum": ("mean",), "mean": ("sum",), "maximum": ("minimum",),
    "minimum": ("maximum",), "sqrt": ("abs",), "abs": ("square",), "square": ("abs",), "gelu": ("silu",),
    "silu": ("gelu",), "sinh": ("cosh",), "cosh": ("sinh",),
}  # fmt: skip


def mutants(trace: Trace) -> Iterator[Mutant]:
    """Every operation with one thing changed, from the output backwards."""
    for node in reversed(trace.nodes):
        if operation(node) == "arange":
            for by, words in ((1, "begins one too late"), (-1, "begins one too early")):
                text = f"{formula(trace, node.index)} {words}"
                yield Mutant(node.index, ("begins", by), 11, text, partial(_begun, node, by))
        if node.op is None or operation(node) in SHAPES:
            continue
        if not isinstance(node.value, torch.Tensor):
            yield from _numbers(trace, node)
        elif operation(node) in COMPARED:
            yield from _numbers(trace, node)
            words = f"{formula(trace, node.index)} is inverted"
            yield Mutant(node.index, "inverted", 12, words, partial(_inverted, node))
            yield from of_ties(trace, node)
        elif node.value.is_floating_point():
            yield from _numbers(trace, node)
            yield from _terms(trace, node)
            yield from of_terms(trace, node)
            yield from of_constants(trace, node)
            yield from of_others(trace, node)


def with_number(trace: Trace, node: Node, place: Any, value: Any) -> Callable[[list[Any]], Any]:
    """The operation with another plain argument."""

    def made(given: list[Any]) -> Any:
        args, kwargs = filled(node, given)
        if isinstance(place, str):
            return node.op(*args, **{**kwargs, place: value})
        padded = [*args, *_defaults(node)[len(args) : place + 1]]
        padded[place] = value
        return node.op(*padded, **kwargs)

    return made


def _defaults(node: Node) -> list[Any]:
    return [a.default_value if a.has_default_value() else None for a in arguments(node.op)]


def plain(node: Node) -> Iterator[tuple[Any, str, Any]]:
    """(place, name, value) of the arguments that are no results, were given, and may be another number.

    A size or a switch of a fused operation may not: torch does not look whether it fits, and crashes.
    """
    for k, a in enumerate(arguments(node.op)):
        place: Any = a.name if a.kwarg_only else k
        value = node.kwargs.get(a.name) if a.kwarg_only else node.args[k] if k < len(node.args) else None
        kind = str(a.type).removeprefix("Optional[").removesuffix("]")
        fused = not isinstance(node.value, torch.Tensor)
        if value is not None and not is_ref(value) and (kind == "float" if fused else kind in SAFE or a.name in NAMED):
            yield place, a.name, value


def _numbers(trace: Trace, node: Node) -> Iterator[Mutant]:
    """Constants, axes and switches."""
    here = formula(trace, node.index)
    for place, argument, value in plain(node):
        what = CALLED.get(argument, argument)
        if isinstance(value, bool):
            if argument not in ("keepdim", "half_to_float", "unsafe", "inplace"):
                words = f"{argument} is {not value} in {here}, not {value}"
                yield Mutant(node.index, (place, "not"), 11, words, with_number(trace, node, place, not value))
        elif argument in ("dim", "dims", "axis") and isinstance(value, (int, list, tuple)) and node.sources():
            yield from _axes(trace, node, place, value)
        elif isinstance(value, (int, float)):
            text = f"{what or 'the constant'} {number(value)}" if what != "ε" else "ε"
            if operation(node) in BOUNDED:
                words = f"the bound {number(value)} is left out of {here}"
                none = -HUGE if argument in ("min", "min_val") else HUGE
                yield Mutant(node.index, (place, "no bound"), 10, words, with_number(trace, node, place, none))
            for complexity, words, other in other_numbers(value):
                yield Mutant(
                    node.index, (place, words), complexity, f"{text} is {words} in {here}",
                    with_number(trace, node, place, type(value)(other)), (place, float(value)),
                )  # fmt: skip
            for other in other_sizes(trace, value) if _may_be_of_a_size(value) else ():
                words = f"{text} is {number(other)}, of the size of another axis, in {here}"
                yield Mutant(node.index, (place, "size", other), 12, words, with_number(trace, node, place, other))


def _may_be_of_a_size(value: float) -> bool:
    """A root or an inverse of a whole number: a plain 1 or 2 is seldom the size of anything, and an ε never."""
    return isinstance(value, float) and 1e-3 < value < 1e3 and not (value.is_integer() and value <= 2)


def _axes(trace: Trace, node: Node, place: Any, value: Any) -> Iterator[Mutant]:
    size = trace.nodes[node.sources()[0]].value.dim()
    right = {v % max(size, 1) for v in ([value] if isinstance(value, int) else value)}
    tried = [([axis], "the wrong axis") for axis in range(size) if right != {axis}]
    if not isinstance(value, int):
        tried += [(sorted(right | {axis}), "one axis too many") for axis in range(size) if axis not in right]
    for axes, how in tried:
        words = f"{spoken(node)} runs over axis {', '.join(map(str, axes))}, {how}, in {formula(trace, node.index)}"
        given = axes[0] if isinstance(value, int) else axes
        yield Mutant(node.index, (place, *axes), 11, words, with_number(trace, node, place, given))


def _terms(trace: Trace, node: Node) -> Iterator[Mutant]:
    """A term or a factor left out; an operation left out; a sign; another operation of the kind."""
    name, here, i = operation(node), formula(trace, node.index), node.index
    floats = [p for p, s in enumerate(node.sources()) if is_like(trace.nodes[s].value, node.value)]
    if name in INFIX:
        for p in floats:
            left = [called(trace, s) for q, s in enumerate(node.sources()) if q != p]
            rest = left[0] if left else next((number(v) for _, _, v in plain(node) if isinstance(v, (int, float))), "")
            words = f"{rest} is left out of {here}"
            sign = -1.0 if name == "sub" and p == 1 else 1.0
            yield Mutant(i, ("left", p), 11, words, partial(_one_argument, p, sign))
        if name in ("add", "sub") and len(node.sources()) == 2:
            words = f"the sign between {' and '.join(called(trace, s) for s in node.sources())} is wrong in {here}"
            yield Mutant(i, "opposite", 11, words, _difference if name == "add" else sum)
        if name == "div" and len(node.sources()) == 2:
            words = f"multiplied with, not divided by, {called(trace, node.sources()[1])} in {here}"
            yield Mutant(i, "multiplied", 12, words, lambda given: given[0] * given[1])
            words = f"divided by {called(trace, node.sources()[1])} twice in {here}"
            yield Mutant(i, "twice", 12, words, lambda given: given[0] / given[1] / given[1])
    elif len(floats) == 1 and len(node.sources()) == 1:
        words = f"{spoken(node)} is left out of {here}"
        if name == "rsub":
            words = f"{called(trace, node.sources()[0])} stands for {here}"
        yield Mutant(i, "bypass", 12, words, partial(_one_argument, 0, 1.0))
    for eps in _eps_under_a_root(trace, node):
        words = f"ε stands outside the root in {here}"
        yield Mutant(i, "ε outside", 11, words, partial(_outside, name == "rsqrt", eps))
    if name == "sigmoid":
        words = f"1 − {here} stands for {here}"
        yield Mutant(i, "complement", 11, words, lambda given: 1 - node_value(node, given))
    unlikely = 15 if _only_compared(trace, i) else 12
    yield Mutant(i, "sign", unlikely, f"{here} has the wrong sign", lambda given: -node_value(node, given))
    for p in floats if name == "where" else ():
        words = f"{called(trace, node.sources()[p])} is taken everywhere in {here}"
        yield Mutant(i, ("everywhere", p), 11, words, partial(_one_argument, p, 1.0))
    for other in SWAPPED.get(name, ()):
        words = f"{other} stands for {spoken(node)} in {here}"
        yield Mutant(i, ("swapped", other), 12, words, partial(_called_as, other, node))
    if name == "mean" and len(node.sources()) == 1:
        n = trace.nodes[node.sources()[0]].value.numel() / max(node.value.numel(), 1)
        if n > 1:
            words = f"divided by {n:g} − 1, not by {n:g}, in {here}"
            yield Mutant(i, "n − 1", 11, words, partial(_times, n / (n - 1), node))
            yield from _sizes_of_a_mean(trace, node)


def _sizes_of_a_mean(trace: Trace, node: Node) -> Iterator[Mutant]:
    """A mean over several axes that is divided by the size of one of them."""
    axes = node.args[1] if len(node.args) > 1 and isinstance(node.args[1], (list, tuple)) else []
    sizes = [trace.nodes[node.sources()[0]].value.shape[a] for a in axes]
    whole = math.prod(sizes)
    for k, size in enumerate(sizes):
        if 1 < size < whole:
            words = f"divided by {size} only, not by {whole}, in {formula(trace, node.index)}"
            yield Mutant(node.index, ("size", k), 12, words, partial(_times, whole / size, node))


def _begun(node: Node, by: int, given: list[Any]) -> Any:
    return node_value(node, given) + by


def _only_compared(trace: Trace, index: int) -> bool:
    used = [n for n in trace.nodes if index in n.sources()]
    return bool(used) and all(operation(n) in COMPARED for n in used)


def _eps_under_a_root(trace: Trace, node: Node) -> Iterator[float]:
    if operation(node) in ("sqrt", "rsqrt"):
        inside = trace.nodes[node.sources()[0]]
        if operation(inside) == "add":
            yield from (float(a) for a in inside.args if isinstance(a, float) and a)


def _outside(inverse: bool, eps: float, given: list[Any]) -> Any:
    root = torch.sqrt(given[0] - eps) + eps
    return 1 / root if inverse else root


def _inverted(node: Node, given: list[Any]) -> Any:
    return torch.logical_not(node_value(node, given))


def _one_argument(place: int, sign: float, given: list[Any]) -> Any:
    return sign * given[place]


def _difference(given: list[Any]) -> Any:
    return given[0] - given[1]


def _times(factor: float, node: Node, given: list[Any]) -> Any:
    return factor * node_value(node, given)


def _called_as(other: str, node: Node, given: list[Any]) -> Any:
    args, kwargs = filled(node, given)
    function = getattr(torch, other, None) or getattr(torch.nn.functional, other)
    return function(*args, **kwargs)
