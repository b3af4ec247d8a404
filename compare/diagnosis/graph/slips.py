"""What a person does wrong at one step of a derivation: every other rule that an edge could have been given.

An edge goes from an operation to one of its arguments. Its rule takes δ of the operation to the δ that flows to that
argument. The right rule is among the slips, as the one that a factor, a sign or a zero is put before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator
from itertools import combinations
from typing import Any, NamedTuple

import torch

from compare.diagnosis.graph.closed_forms import by_pattern, changed, closed
from compare.diagnosis.graph.formulas import formulas
from compare.diagnosis.graph.trace import JUMP, Edge, Node, Rule, Tensor, Trace
from compare.diagnosis.graph.words import called, formula, operation, role

UNARY = {
    "tanh", "sigmoid", "exp", "expm1", "log", "log1p", "sqrt", "rsqrt", "reciprocal", "sin", "cos", "tan", "erf", "abs",
    "relu", "hardtanh", "softplus", "gelu", "silu", "pow", "sinh", "cosh", "atan", "asin", "acos", "asinh", "acosh",
    "atanh", "clamp", "clamp_min", "clamp_max", "threshold", "neg", "erfc", "exp2", "log2", "log10", "mish", "elu",
    "log_sigmoid_forward", "hardswish", "hardsigmoid", "sign", "square", "round", "floor", "ceil", "trunc", "celu",
    "leaky_relu", "detach",
}  # fmt: skip
MASKS = {"relu", "hardtanh", "clamp", "clamp_min", "clamp_max", "threshold"}
PRODUCTS = {"mul", "div", "mm", "bmm", "matmul", "convolution", "dot", "mv"}
ROOTS = {"sqrt", "linalg_vector_norm", "std", "norm"}
MOST_VALUES = 16  # other quantities that are tried in a place
TERMS = {
    "mul": " (a term of the product rule)",
    "mm": " (a term of the product rule)",
    "bmm": " (a term of the product rule)",
    "div": " (a term of the quotient rule)",
    "add": " (a term of the sum)",
    "sub": " (a term of the sum)",
}


class Slip(NamedTuple):
    """Another rule for one edge."""

    edge: Edge
    key: Hashable  # the same for the same slip at another edge
    complexity: int
    words: str
    rule: Rule


def path(trace: Trace, edge: Edge) -> str:
    """The path along an edge, in words."""
    node = trace.nodes[edge[0]]
    return f"the path through {called(trace, edge[2])}{role(node, edge[1])} in {formula(trace, edge[0])}"


def term(trace: Trace, edge: Edge) -> str:
    """What the term of an edge is called, or which rule of differentiation has a term for each argument."""
    name, source = operation(trace.nodes[edge[0]]), edge[2]
    while (
        operation(trace.nodes[source]) in ("expand", "unsqueeze", "view", "clamp_min", "sum")
        and trace.nodes[source].sources()
    ):
        if operation(trace.nodes[source]) == "sum" and name == "div":
            inner = trace.nodes[trace.nodes[source].sources()[0]]
            return " (the projection term)" if operation(inner) == "exp" else TERMS["div"]
        source = trace.nodes[source].sources()[0]
    inside = operation(trace.nodes[source])
    if name == "sub" and inside == "mean" and edge[1] == 1:
        return " (the centring term)"
    if (name == "div" and inside in ROOTS and edge[1] == 1) or (name == "mul" and inside in ("rsqrt", "reciprocal")):
        return " (the projection term)"
    return TERMS.get(name, "")


def slips(trace: Trace, flows: dict[int, Any], target: int, likely: bool = False) -> Iterator[Slip]:
    """Every slip on every edge that leads to the target, from the output backwards; the first of an edge is the truth.

    Or only those that are likely, which are quickly made.
    """
    leading = trace.leading_to(target)
    for node in reversed(trace.nodes):
        up = flows.get(node.index)
        if operation(node).startswith("max_pool") and isinstance(up, dict):
            yield from _of_a_pool(trace, node)
        if node.op is None or not isinstance(up, torch.Tensor):
            continue
        for place, source in enumerate(node.sources()):
            value = trace.nodes[source].value
            if source in leading and isinstance(value, torch.Tensor) and value.is_floating_point():
                yield from _Place(trace, flows, node, place, source).slips(likely)
        if likely:
            continue
        yield from _closed(trace, flows, node, up)
        yield from _jumps(trace, flows, node, up, leading)


def _of_a_pool(trace: Trace, node: Node) -> Iterator[Slip]:
    """δ of a window's largest element spread over the window."""
    edge, (x, size, *rest) = (node.index, 0, node.sources()[0]), node.args
    pool = {1: torch.nn.functional.avg_pool1d, 2: torch.nn.functional.avg_pool2d, 3: torch.nn.functional.avg_pool3d}[
        len(size)
    ]
    value = trace.nodes[x.index].value

    def rule(up: Any, factor: float = 1.0) -> Tensor:
        with torch.enable_grad():
            leaf = value.detach().clone().requires_grad_()
            y = pool(leaf, size, *[r for r in rest[:2] if r])
        return factor * torch.autograd.grad(y, leaf, up[0])[0]

    here = formula(trace, node.index)
    yield Slip(edge, "true", 0, path(trace, edge), lambda up: trace.pull(node.index, up)[0])  # type: ignore[arg-type,return-value]
    words = f"δ of {here} goes to every element of the window, not only to the largest"
    yield Slip(edge, "all", 11, words, lambda up: rule(up, math.prod(size)))
    yield Slip(edge, "mean", 11, f"δ of {here} is spread evenly over the window, as for a mean", rule)


def _closed(trace: Trace, flows: dict[int, Any], node: Node, up: Tensor) -> Iterator[Slip]:
    """Slips in the closed form of an operation's derivative."""
    for k, (source, form) in enumerate(closed(trace, node, up)):
        if _same(trace.pull(node.index, up)[0], form.nodes[form.output].value):
            for key, complexity, words, rule in changed(form):
                text = f"in the derivative of {formula(trace, node.index)}: {words}"
                yield Slip((node.index, 0, source), ("closed", k, key), complexity, text, rule)


def _jumps(trace: Trace, flows: dict[int, Any], node: Node, up: Tensor, leading: frozenset[int]) -> Iterator[Slip]:
    """Slips in the derivative of a longer formula by what it is a formula of."""
    for early in sorted(leading):
        x = trace.nodes[early].value
        if early >= node.index or not isinstance(x, torch.Tensor) or x.shape != node.value.shape:
            continue
        if trace.between(node.index, early) < 2:
            continue
        edge, here, at = (node.index, JUMP, early), formula(trace, node.index), called(trace, early)
        right = trace.down({node.index: up}, trace.leading_to(early) & leading).get(early)
        if right is None:
            continue

        def true(up: Tensor, early: int = early) -> Tensor:
            found: Tensor = trace.down({node.index: up}, trace.leading_to(early) & leading)[early]
            return found

        yield Slip(edge, "true", 0, f"the path through {here}", true)
        yield Slip(edge, "one", 12, f"the derivative of {here} by {at} is missing (taken as 1)", lambda up: up)
        for k, form in enumerate(by_pattern(x, node.value, up, at)):
            if _same(right, form.nodes[form.output].value):
                for key, complexity, words, rule in changed(form):
                    text = f"in the derivative of {here} by {at}: {words}"
                    yield Slip(edge, ("pattern", k, key), complexity, text, rule)


def _same(a: Tensor | None, b: Tensor) -> bool:
    return a is not None and a.shape == b.shape and torch.allclose(a, b, 1e-9, 1e-12)


class _Place:
    """One edge, and all that can be done wrong there."""

    def __init__(self, trace: Trace, flows: dict[int, Any], node: Node, place: int, source: int) -> None:
        self.trace, self.flows, self.node, self.place = trace, flows, node, place
        self.edge = (node.index, place, source)
        self.name = operation(node)
        self.here, self.at = formula(trace, node.index), called(trace, source)
        self.x, self.y, self.up = trace.nodes[source].value, node.value, flows[node.index]
        self.of = f"in the derivative of {self.here} by {self.at}"
        self.arguments, _ = trace.local(node.index)

    def slips(self, likely: bool = False) -> Iterator[Slip]:
        yield self.slip("true", 0, path(self.trace, self.edge), self.right)
        if not isinstance(self.y, torch.Tensor):
            return
        if self.name == "convolution":
            yield from self.of_a_stride()
        if self.name in UNARY and sum(isinstance(a, torch.Tensor) for a in self.arguments) == 1:
            yield from self.of_a_function()
        elif self.name in PRODUCTS:
            yield from self.of_a_product()
        elif self.name == "where":
            yield from self.of_a_choice()
        elif self.name in ("amax", "amin"):
            words = f"δ of {self.here} goes to every element, not only where the largest or smallest stands"
            yield self.slip("all", 11, words, lambda up: self.right(up) * 0 + self._along(up))
        elif self.name in ("embedding", "index", "index_select"):
            yield from self.of_a_lookup()
        elif self.name in ("sum", "mean"):
            yield from self.of_a_sum()
        elif self.name in ("permute", "transpose", "t", "view", "_unsafe_view", "clone"):
            words = f"δ is only reshaped where it should be transposed back, at {self.here}"
            yield self.slip("reshaped", 12, words, lambda up: up.reshape(self.x.shape))
        if self.name in ("cumsum", "flip", "roll"):
            words = f"δ is put through {self.name} as it is, not reversed"
            yield self.slip("forward", 11, words, lambda up: self.node.op(up, *self.node.args[1:]))
        if not likely:
            yield from self.of_places()
            yield from self.of_upstream()

    def slip(self, key: Hashable, complexity: int, words: str, rule: Rule) -> Slip:
        return Slip(self.edge, key, complexity, words, rule)

    def right(self, up: Tensor) -> Tensor:
        g = self.trace.pull(self.node.index, up)[self.place]
        return torch.zeros_like(self.x) if g is None else g

    def with_other(self, p: int, value: Tensor) -> Rule:
        """The right rule, but for other numbers in the place of an argument."""

        def rule(up: Tensor) -> Tensor:
            return self.trace.pull(self.node.index, up, self.trace.at(self.node.index, {p: value}))[self.place]  # type: ignore[return-value]

        return rule

    def of_a_function(self) -> Iterator[Slip]:
        """Another formula where the derivative of an elementwise function belongs."""
        x, y, p, of = self.x, self.y, self.place, f"the derivative of {self.here}"
        if self.name == "detach":
            words = f"δ flows to {self.at}, which is detached there: the twin holds it constant"
            yield self.slip("one", 11, words, lambda up: up)
            return
        yield self.slip("one", 11, f"{of} is missing: {self.name}' is taken as 1", lambda up: up)
        if self.name in MASKS:
            words = f"the mask of {self.here} is inverted"
            yield self.slip("inverted", 11, words, lambda up: torch.where(self.right(up) != 0, 0 * up, up))
        if self.name == "neg":
            return
        yield self.slip("twice", 12, f"{of} is applied twice", lambda up: self.right(self.right(up)))
        words = f"{of} is evaluated at {self.here} itself, where {self.at} belongs"
        yield self.slip("at y", 11, words, self.with_other(p, y))
        for other in self.others_like(x, self.edge[2]):
            words = f"{of} is evaluated at {called(self.trace, other.index)}, where {self.at} belongs"
            yield self.slip(("at", other.index), 13, words, self.with_other(p, other.value))
        yield self.slip("at −x", 11, f"{of} is evaluated at −({self.at})", self.with_other(p, -x))
        yield self.slip(
            "divided", 13, f"{of} is divided by where it should be multiplied with", lambda up: up * up / self.right(up)
        )
        yield self.slip(
            "root", 14, f"the root of {of} is taken", lambda up: up * (self.right(torch.ones_like(up))).abs().sqrt()
        )
        for extra, text, value in formulas(x, y):
            where = f"with z = {self.at}" + (f", y = {self.here}" if "y" in text else "")
            words = f"{of} is wrong: {text} stands for it, {where}"
            yield self.slip(("formula", text), 13 + extra, words, lambda up, value=value: up * value)
            words = f"{of} has a factor {text} too much, {where}"
            yield self.slip(("times", text), 14 + extra, words, lambda up, value=value: self.right(up) * value)
            words = f"{of} lacks a factor {text}, {where}"
            yield self.slip(("over", text), 14 + extra, words, lambda up, value=value: self.right(up) / value)
        if self.name == "exp":
            words = f"{of} is wrong: exp(z) − 1, with z = {self.at}, stands for it"
            yield self.slip(("formula", "expm1"), 12, words, lambda up: up * (y - 1))

    def of_a_product(self) -> Iterator[Slip]:
        """Another quantity where the other factor of a product or quotient belongs."""
        for p, b in enumerate(self.arguments):
            if not (isinstance(b, torch.Tensor) and b.is_floating_point()) or (p == self.place and self.name != "div"):
                continue
            b = b.detach()
            source = self.node.sources()[p]
            what = called(self.trace, source)
            if self.name in ("mul", "div"):
                yield from self.of_a_factor(p, b, what)
            if b.dim() >= 2 and b.shape[-1] == b.shape[-2]:
                words = f"{self.of}, {what} is not transposed as it should be"
                yield self.slip(("transposed", p), 12, words, self.with_other(p, b.transpose(-1, -2)))
            if self.name == "convolution" and b.dim() >= 3:
                words = f"{self.of}, {what} is flipped (reversed along its taps) where it should not be, or the reverse"
                yield self.slip(("flipped", p), 11, words, self.with_other(p, b.flip(tuple(range(2, b.dim())))))
            for other in self.others_like(b, source):
                words = f"{self.of}, {called(self.trace, other.index)} stands where {what} belongs"
                yield self.slip(("instead", p, other.index), 13, words, self.with_other(p, other.value))

    def of_a_factor(self, p: int, b: Tensor, what: str) -> Iterator[Slip]:
        which = "the division by" if self.name == "div" and p == 1 else "the factor"
        changes: list[tuple[str, int, str, Callable[[Tensor], Tensor]]] = [
            ("one", 11, f"{which} {what} is left out", torch.ones_like),
            ("twice", 12, f"{which} {what} is applied twice", lambda v: v * v),
            (
                "inverse",
                13,
                f"{what} is divided by where it should be multiplied with, or the reverse",
                lambda v: 1 / v,
            ),
            ("root", 13, f"the root of {what} stands where it belongs", lambda v: v.abs().sqrt()),
            ("absolute", 13, f"|{what}| stands for {what}", torch.abs),
            ("sign of", 13, f"the sign of {what} stands for {what}", torch.sign),
            ("complement", 13, f"1 − {what} stands for {what}", lambda v: 1 - v),
        ]
        for key, complexity, words, change in changes:
            yield self.slip((key, p), complexity, f"{self.of}, {words}", self.with_other(p, change(b)))

    def others_like(self, b: Tensor, source: int) -> Iterator[Node]:
        """Other quantities of the derivation of the same shape, the nearest first."""
        tried = 0
        near = sorted(self.trace.nodes, key=lambda n: abs(n.index - self.node.index))
        for other in near:
            w = other.value
            if not isinstance(w, torch.Tensor) or w.shape != b.shape or not w.is_floating_point():
                continue
            if other.index != source and not torch.equal(w, b):
                tried += 1
                yield other
                if tried == MOST_VALUES:
                    return

    def of_a_choice(self) -> Iterator[Slip]:
        mask = self.arguments[0]
        chosen = mask.bool() if self.place == 1 else ~mask.bool()
        words = f"the mask of {self.here} is left out: δ flows to {self.at} everywhere"
        yield self.slip("one", 11, words, lambda up: up)
        words = f"the mask of {self.here} is inverted: δ flows to {self.at} where it should not"
        yield self.slip("inverted", 11, words, lambda up: torch.where(chosen, 0 * up, up))

    def _along(self, up: Tensor) -> Tensor:
        axes = self.node.args[1] if len(self.node.args) > 1 else list(range(self.x.dim()))
        keep = len(self.node.args) > 2 and self.node.args[2]
        for axis in sorted(a % self.x.dim() for a in ([axes] if isinstance(axes, int) else axes)):
            up = up if keep else up.unsqueeze(axis)
        return up.expand_as(self.x)

    def of_a_sum(self) -> Iterator[Slip]:
        """δ of a sum that was broadcast again, itself summed: over other axes than the sum runs over."""
        full = next((self.flows[k] for k in self._broadcasts() if isinstance(self.flows.get(k), torch.Tensor)), None)
        if full is None:
            return
        given = self.node.args[1] if len(self.node.args) > 1 and self.node.args[1] else range(self.x.dim())
        right = {a % self.x.dim() for a in ([given] if isinstance(given, int) else given)}
        for count in range(1, self.x.dim() + 1):
            for axes in combinations(range(self.x.dim()), count):
                if set(axes) == right or self.x.shape[axes[0]] < 2:
                    continue
                where = f"axis {', '.join(map(str, axes))}" if count < self.x.dim() else "everything"
                words = f"on the way back through {self.here} the sum of δ runs over {where}, not over its axis"

                def rule(up: Tensor, axes: Any = axes) -> Tensor:
                    reduced = full.mean(axes, keepdim=True) if self.name == "mean" else full.sum(axes, keepdim=True)
                    return reduced.expand_as(self.x)

                yield self.slip(("axes", axes), 12, words, rule)

    def _broadcasts(self) -> Iterator[int]:
        """Where the sum is broadcast to the shape of its argument again."""
        same = {self.node.index}
        for n in self.trace.nodes[self.node.index + 1 :]:
            if operation(n) in ("unsqueeze", "expand", "view") and n.sources()[0] in same:
                same.add(n.index)
                if n.value.shape == self.x.shape:
                    yield n.index

    def of_a_stride(self) -> Iterator[Slip]:
        """δ of a convolution put back as if it had another stride or padding."""
        args = list(self.node.args)
        for k, what in ((3, "stride"), (4, "padding")):
            if len(args) <= k or args[6:7] == [True]:
                continue
            for other in range(3):
                if all(v == other for v in args[k]) or (k == 3 and other == 0):
                    continue
                words = f"δ of {self.here} is put back as if the {what} were {other}, not {args[k][0]}"
                yield self.slip((what, other), 11, words, lambda up, k=k, other=other: self._restrided(up, k, other))

    def _restrided(self, up: Tensor, k: int, other: int) -> Tensor:
        with torch.enable_grad():
            leaves = [
                a.detach().requires_grad_(a.is_floating_point()) for a in self.arguments if isinstance(a, torch.Tensor)
            ]
            rest = list(self.node.args[3:])
            rest[k - 3] = [other] * len(rest[k - 3])
            bias = leaves[2] if len(leaves) > 2 else None
            y = self.node.op(leaves[0], leaves[1], bias, *rest)
        wide = torch.zeros_like(y)
        part = tuple(slice(0, min(a, b)) for a, b in zip(y.shape, up.shape, strict=True))
        wide[part] = up[part]
        return torch.autograd.grad(y, leaves[self.place], wide)[0]

    def of_a_lookup(self) -> Iterator[Slip]:
        words = f"what belongs to the same row of {self.at} overwrites each other where it should add up (accumulate)"
        for order, last in ((1, "last"), (-1, "first")):
            yield self.slip(
                f"overwrite {last}",
                11,
                f"{words}: only the {last} is left",
                lambda up, order=order: self._overwritten(up, order),
            )

    def _overwritten(self, up: Tensor, order: int) -> Tensor:
        """The gradient of a look-up, assigned and not added."""
        places = [v for v in self.arguments if isinstance(v, torch.Tensor) and not v.is_floating_point()]
        index = places[0].reshape(-1)
        rows = up.reshape(len(index), *self.x.shape[1:])
        out = torch.zeros_like(self.x)
        for k in range(len(index))[::order]:
            out[index[k]] = rows[k]
        return out

    def of_places(self) -> Iterator[Slip]:
        """δ, or what flows on, with its numbers in other places."""
        x, up = self.x, self.up
        if x.dim() >= 2 and x.shape[-1] == x.shape[-2]:
            words = f"the derivative of {self.here} by {self.at} is transposed"
            yield self.slip("gᵀ", 12, words, lambda up: self.right(up).transpose(-1, -2))
        if up.dim() >= 2 and up.shape[-1] == up.shape[-2] and self.name not in UNARY | {"add", "sub", "mul"}:
            words = f"δ of {self.here} is not transposed as it should be"
            yield self.slip("δᵀ", 12, words, lambda up: self.right(up.transpose(-1, -2)))
            words = f"in the derivative of {self.here} both factors around δ are not transposed"
            yield self.slip("δᵀᵀ", 12, words, lambda up: self.right(up.transpose(-1, -2)).transpose(-1, -2))
        if self.name not in UNARY:
            for axis in range(x.dim()):
                if x.shape[axis] > 2:
                    for shift in (1, -1):
                        words = f"the derivative of {self.here} by {self.at} is shifted by {shift} along axis {axis}"
                        yield self.slip(
                            ("rolled", axis, shift), 13, words, lambda up, a=axis, s=shift: self.right(up).roll(s, a)
                        )
                        yield self.slip(
                            ("shifted", axis, shift),
                            13,
                            words,
                            lambda up, a=axis, s=shift: _shifted(self.right(up), s, a),
                        )
                if x.shape[axis] > 1:
                    words = f"the derivative of {self.here} by {self.at} is reversed along axis {axis}"
                    yield self.slip(("reversed", axis), 13, words, lambda up, a=axis: self.right(up).flip(a))
                if x.shape[axis] > 3 and x.shape[axis] % 2 == 0:
                    words = (
                        f"the two halves of the derivative of {self.here} by {self.at} along axis {axis} are swapped"
                    )
                    yield self.slip(
                        ("swapped", axis), 13, words, lambda up, a=axis: self.right(up).roll(self.x.shape[a] // 2, a)
                    )
        if self.name not in UNARY | {"add", "sub", "neg"}:
            for axis in range(x.dim()):
                if x.shape[axis] > 1:
                    words = f"the derivative of {self.here} by {self.at} is summed over axis {axis} too"
                    yield self.slip(
                        ("summed", axis),
                        13,
                        words,
                        lambda up, a=axis: self.right(up).sum(a, keepdim=True).expand_as(self.x),
                    )
                    words = f"the derivative of {self.here} by {self.at} is averaged over axis {axis} too"
                    yield self.slip(
                        ("averaged", axis),
                        13,
                        words,
                        lambda up, a=axis: self.right(up).mean(a, keepdim=True).expand_as(self.x),
                    )

    def of_upstream(self) -> Iterator[Slip]:
        """Another δ where that of the operation belongs."""
        up = self.up
        yield self.slip(
            "δ one", 13, f"{self.of}, δ is left out (taken as 1)", lambda up: self.right(torch.ones_like(up))
        )
        for axis in range(up.dim()):
            if up.shape[axis] > 1:
                words = f"{self.of}, the mean of δ over axis {axis} stands for δ"
                yield self.slip(
                    ("δ mean", axis), 14, words, lambda up, a=axis: self.right(up.mean(a, keepdim=True).expand_as(up))
                )
                words = f"{self.of}, the sum of δ over axis {axis} stands for δ"
                yield self.slip(
                    ("δ sum", axis), 14, words, lambda up, a=axis: self.right(up.sum(a, keepdim=True).expand_as(up))
                )
        tried = 0
        for other in sorted(self.trace.nodes, key=lambda n: abs(n.index - self.node.index)):
            w = self.flows.get(other.index)
            if (
                isinstance(w, torch.Tensor)
                and w.shape == up.shape
                and other.index != self.node.index
                and not torch.equal(w, up)
            ):
                tried += 1
                words = f"{self.of}, δ of {called(self.trace, other.index)} stands where that of {self.here} belongs"
                yield self.slip(("δ of", other.index), 13, words, lambda up, w=w: self.right(w))
                if tried == MOST_VALUES:
                    return


def _shifted(x: Tensor, by: int, axis: int) -> Tensor:
    """Moved along an axis, with zeros where nothing comes from."""
    moved = x.roll(by, axis)
    moved.select(axis, 0 if by > 0 else -1).zero_()
    return moved
