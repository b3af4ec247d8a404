"""Another function: one operation of the twin changed, as when a term, a constant or an axis is wrong in the formula.

A forward pass that differs may be such a function; and a gradient may be the right one, of such a function.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from typing import Any, NamedTuple

import torch
from torch.utils._pytree import tree_map

from compare.diagnosis.graph.trace import Node, Tensor, Trace, is_ref
from compare.diagnosis.graph.words import INFIX, called, formula, number, operation

aten = torch.ops.aten
MOST_VALUES = 8  # other quantities that are tried in a place
SHAPES = {
    "view", "_unsafe_view", "expand", "permute", "transpose", "t", "unsqueeze", "squeeze", "slice", "select", "clone",
    "cat", "stack", "_to_copy", "full_like", "ones_like", "zeros_like", "index", "embedding", "arange", "one_hot",
    "split", "split_with_sizes", "unbind", "constant_pad_nd",
}  # fmt: skip
CALLED = {"eps": "ε", "negative_slope": "the negative slope", "self": "", "other": "", "value": "the constant"}
SWAPPED: dict[str, tuple[str, ...]] = {
    "tanh": ("sigmoid", "relu"), "sigmoid": ("tanh", "relu"), "relu": ("sigmoid", "tanh"), "sin": ("cos",),
    "cos": ("sin",), "exp": ("expm1",), "expm1": ("exp",), "log": ("log1p", "log2", "log10"), "log1p": ("log",),
    "amax": ("amin",), "amin": ("amax",), "sum": ("mean",), "mean": ("sum",), "maximum": ("minimum",),
    "minimum": ("maximum",), "sqrt": ("abs",), "abs": ("square",), "square": ("abs",), "gelu": ("silu",),
    "silu": ("gelu",), "sinh": ("cosh",), "cosh": ("sinh",),
}  # fmt: skip


class Mutant(NamedTuple):
    """One operation, changed."""

    at: int
    key: Hashable
    complexity: int
    words: str
    made: Callable[[list[Any]], Any]  # of the operation's arguments that are results themselves, in order
    number: tuple[Any, float] | None = None  # the place and the value of the number that is changed, for a fit


def mutants(trace: Trace) -> Iterator[Mutant]:
    """Every operation with one thing changed, from the output backwards."""
    for node in reversed(trace.nodes):
        if node.op is None or operation(node) in SHAPES or not isinstance(node.value, torch.Tensor):
            continue
        if node.value.is_floating_point():
            yield from _numbers(trace, node)
            yield from _terms(trace, node)
            yield from _constants(trace, node)
            yield from _others(trace, node)


def with_number(trace: Trace, node: Node, place: Any, value: Any) -> Callable[[list[Any]], Any]:
    """The operation with another plain argument."""

    def made(given: list[Any]) -> Any:
        args, kwargs = _filled(node, given)
        if isinstance(place, str):
            return node.op(*args, **{**kwargs, place: value})
        padded = [*args, *_defaults(node)[len(args) : place + 1]]
        padded[place] = value
        return node.op(*padded, **kwargs)

    return made


def _defaults(node: Node) -> list[Any]:
    return [a.default_value if a.has_default_value() else None for a in node.op._schema.arguments]


def _filled(node: Node, given: list[Any]) -> tuple[Any, Any]:
    rest = iter(given)
    if node.flat:
        return [next(rest) if is_ref(a) else a for a in node.args], node.kwargs
    filled: tuple[Any, Any] = tree_map(
        lambda a: next(rest) if is_ref(a) else a, (node.args, node.kwargs), is_leaf=is_ref
    )
    return filled


def _plain(node: Node) -> Iterator[tuple[Any, str, Any]]:
    """(place, name, value) of the arguments that are no results and were given."""
    for k, a in enumerate(node.op._schema.arguments):
        place: Any = a.name if a.kwarg_only else k
        value = node.kwargs.get(a.name) if a.kwarg_only else node.args[k] if k < len(node.args) else None
        if value is not None and not is_ref(value):
            yield place, a.name, value


def _numbers(trace: Trace, node: Node) -> Iterator[Mutant]:
    """Constants, axes and switches."""
    here, name = formula(trace, node.index), operation(node)
    for place, argument, value in _plain(node):
        what = CALLED.get(argument, argument)
        axes = argument in ("dim", "dims", "axis")
        if isinstance(value, bool):
            if argument not in ("keepdim", "half_to_float", "unsafe", "inplace"):
                yield Mutant(node.index, (place, "not"), 11, f"{argument} is {not value} in {here}, not {value}", with_number(trace, node, place, not value))  # fmt: skip
        elif axes and isinstance(value, (int, list, tuple)) and node.sources():
            size = trace.nodes[node.sources()[0]].value.dim()
            right = {v % max(size, 1) for v in ([value] if isinstance(value, int) else value)}
            for axis in range(size):
                if axis in right and len(right) == 1:
                    continue
                other = sorted({axis} if axis in right else right | {axis})
                for axes, how in (([axis], "the wrong axis"), (other, "one axis too many")):
                    if axis in right and how != "the wrong axis":
                        continue
                    if isinstance(value, int) and len(axes) > 1:
                        continue
                    given = axes[0] if isinstance(value, int) else axes
                    which = f"axis {', '.join(map(str, axes))}"
                    words = f"{name.strip('_')} runs over {which}, {how}, in {here}"
                    yield Mutant(node.index, (place, *axes), 11, words, with_number(trace, node, place, given))
        elif isinstance(value, (int, float)):
            text = f"{what or 'the constant'} {number(value)}" if what != "ε" else "ε"
            for complexity, words, other in _other_numbers(value):
                yield Mutant(
                    node.index, (place, words), complexity, f"{text} is {words} in {here}",
                    with_number(trace, node, place, type(value)(other)), (place, float(value)),
                )  # fmt: skip


def _other_numbers(value: float) -> Iterator[tuple[int, str, float]]:
    found = [(11, "left out (taken as 0)", 0.0), (11, "left out (taken as 1)", 1.0)]
    found += [(12, "doubled", 2 * value), (12, "halved", value / 2), (11, "of the wrong sign", -value)]
    if value:
        found.append((13, "inverted (1 / it)", 1 / value))
        found.append((13, "squared", value * value))
    if float(value).is_integer():
        found += [(12, "one too large", value + 1), (12, "one too small", value - 1)]
    for complexity, words, other in found:
        if other != value and (isinstance(value, float) or float(other).is_integer()):
            yield complexity, words, other


def _terms(trace: Trace, node: Node) -> Iterator[Mutant]:
    """A term or a factor left out; an operation left out; a sign; another operation of the kind."""
    name, here, i = operation(node), formula(trace, node.index), node.index
    floats = [p for p, s in enumerate(node.sources()) if _is_like(trace.nodes[s].value, node.value)]
    if name in INFIX:
        for p in floats:
            left = [called(trace, s) for q, s in enumerate(node.sources()) if q != p]
            rest = left[0] if left else next((number(v) for _, _, v in _plain(node) if isinstance(v, (int, float))), "")
            words = f"{rest} is left out of {here}"
            sign = -1.0 if name == "sub" and p == 1 else 1.0
            yield Mutant(
                i, ("left", p), 11, words, lambda given, p=p, sign=sign: sign * given[p] + 0 * _zero(node, given)
            )
        if name in ("add", "sub") and len(node.sources()) == 2:
            words = f"the sign between {' and '.join(called(trace, s) for s in node.sources())} is wrong in {here}"
            opposite = (lambda given: given[0] - given[1]) if name == "add" else lambda given: given[0] + given[1]
            yield Mutant(i, "opposite", 11, words, opposite)
        if name == "div" and len(node.sources()) == 2:
            words = f"multiplied with, not divided by, {called(trace, node.sources()[1])} in {here}"
            yield Mutant(i, "multiplied", 12, words, lambda given: given[0] * given[1])
    elif len(floats) == 1 and len(node.sources()) == 1:
        yield Mutant(i, "bypass", 12, f"{name} is left out of {here}", lambda given: given[0] + 0 * _zero(node, given))
    yield Mutant(i, "sign", 12, f"{here} has the wrong sign", lambda given: -node_value(node, given))
    for other in SWAPPED.get(name, ()):
        words = f"{other} stands for {name} in {here}"
        yield Mutant(i, ("swapped", other), 12, words, lambda given, other=other: _called_as(other, node, given))
    if name == "mean" and len(node.sources()) == 1:
        n = trace.nodes[node.sources()[0]].value.numel() / max(node.value.numel(), 1)
        if n > 1:
            words = f"divided by {n:g} − 1, not by {n:g}, in {here}"
            yield Mutant(i, "n − 1", 11, words, lambda given, n=n: node_value(node, given) * (n / (n - 1)))


def _zero(node: Node, given: list[Any]) -> Tensor:
    return torch.zeros_like(node.value)


def node_value(node: Node, given: list[Any]) -> Any:
    """The operation as it is."""
    args, kwargs = _filled(node, given)
    return node.op(*args, **kwargs)


def _called_as(other: str, node: Node, given: list[Any]) -> Any:
    args, kwargs = _filled(node, given)
    function = getattr(torch, other, None) or getattr(torch.nn.functional, other)
    return function(*args, **kwargs)


def _constants(trace: Trace, node: Node) -> Iterator[Mutant]:
    """A mask, a weight, a table of the twin's own, left out or turned round."""
    here, sources = formula(trace, node.index), node.sources()
    for p, s in enumerate(sources):
        source = trace.nodes[s]
        c = source.value
        if source.op is not None or source.args or not isinstance(c, torch.Tensor) or s in trace.inputs.values():
            continue
        changes: list[tuple[str, Callable[[Tensor], Tensor]]] = []
        if c.dtype == torch.bool:
            changes = [("left out (true throughout)", torch.ones_like), ("left out (false throughout)", torch.zeros_like), ("inverted", torch.logical_not)]  # fmt: skip
        elif c.is_floating_point():
            changes = [("left out (taken as 1)", torch.ones_like), ("left out (taken as 0)", torch.zeros_like)]
            changes += [
                ("inverted (1 − it)", lambda v: 1 - v),
                ("of the wrong sign", torch.neg),
                ("squared", torch.square),
            ]
        if c.dim() >= 2 and c.shape[-1] == c.shape[-2]:
            changes.append(("transposed", lambda v: v.transpose(-1, -2)))
        what = source.name if source.name not in ("", "a constant") else _shaped(c)
        for words, change in changes:

            def made(given: list[Any], p: int = p, change: Any = change) -> Any:
                return node_value(node, [change(g) if q == p else g for q, g in enumerate(given)])

            yield Mutant(node.index, (p, words), 11, f"{what} is {words} in {here}", made)


def _shaped(c: Tensor) -> str:
    kind = "the mask" if c.dtype == torch.bool or bool(((c == 0) | (c == 1)).all()) else "the constant"
    return f"{kind} of shape {tuple(c.shape)}" if c.dim() else f"the constant {float(c):.6g}"


def _others(trace: Trace, node: Node) -> Iterator[Mutant]:
    """Another quantity where an argument belongs."""
    here = formula(trace, node.index)
    for p, s in enumerate(node.sources()):
        b, tried = trace.nodes[s].value, 0
        if not isinstance(b, torch.Tensor) or not b.is_floating_point():
            continue
        for other in reversed(trace.nodes[: node.index]):
            if (
                tried < MOST_VALUES
                and other.index != s
                and _is_like(other.value, b)
                and not torch.equal(other.value, b)
            ):
                tried += 1
                words = f"{called(trace, other.index)} stands for {called(trace, s)} in {here}"
                yield Mutant(node.index, ("other", p, other.index), 13, words, _Swap(node, p, other.index))


class _Swap:
    """The operation with another result for an argument; the result is looked up when it is run."""

    def __init__(self, node: Node, place: int, other: int) -> None:
        self.node, self.place, self.other = node, place, other

    def __call__(self, given: list[Any], other: Any = None) -> Any:
        return node_value(self.node, [other if q == self.place else g for q, g in enumerate(given)])


def _is_like(a: Any, b: Any) -> bool:
    return isinstance(a, torch.Tensor) and a.shape == b.shape and a.is_floating_point()


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
        self.leaf = self.values.get(trace.inputs.get(target, -1))

    def output(self, wrong: dict[int, Mutant], inputs: dict[int, Tensor] | None = None) -> Tensor | None:
        """The output with these operations changed, and other inputs; None where that does not fit."""
        changed: dict[int, Any] = dict(inputs or {})

        def look(k: int) -> Any:
            return changed[k] if k in changed else self.values[k]

        try:
            with torch.enable_grad():
                for node in self.trace.nodes[min((*wrong, *changed)) :]:
                    if node.index in wrong:
                        made = wrong[node.index].made
                        given = [look(s) for s in node.sources()]
                        value = made(given, look(made.other)) if isinstance(made, _Swap) else made(given)
                        if not isinstance(value, torch.Tensor):
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
        if not output.requires_grad:
            return None
        try:
            (g,) = torch.autograd.grad(output, self.leaf, self.trace.upstream, retain_graph=True, allow_unused=True)
        except RuntimeError:
            return None
        return g
