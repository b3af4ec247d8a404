"""What a person does wrong at one step of a derivation: every other δ that could have flowed along one edge."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from typing import Any, NamedTuple

import torch

from compare.diagnosis.phrases import formula, operation
from compare.diagnosis.trace import Node, Tensor, Trace

UNARY = {
    "tanh", "sigmoid", "exp", "expm1", "log", "log1p", "sqrt", "rsqrt", "reciprocal", "sin", "cos", "tan", "erf", "abs",
    "relu", "hardtanh", "softplus", "gelu", "silu", "pow", "sinh", "cosh", "atan", "asin", "acos", "asinh", "acosh",
    "atanh", "clamp", "clamp_min", "clamp_max", "threshold", "neg", "erfc", "exp2", "log2", "log10", "mish", "elu",
    "log_sigmoid_forward", "hardswish", "hardsigmoid", "sign", "square",
}  # fmt: skip
PRODUCTS = {"mul", "div", "mm", "bmm", "matmul", "convolution"}
MOST_VALUES = 12  # other quantities that are tried in a place


class Slip(NamedTuple):
    """Another δ for one edge, from an operation to one of its arguments."""

    edge: tuple[int, int, int]  # operation, place of the argument, the operation that the argument is
    key: Hashable
    complexity: int
    words: str
    flow: Tensor


def words_of_edge(trace: Trace, node: Node, source: int) -> str:
    """The path along an edge."""
    return f"the path through {formula(trace, source)} in {formula(trace, node.index)}"


def rule_of(node: Node) -> str:
    """Which rule of differentiation has a term for each argument of an operation."""
    name = operation(node)
    if name in ("mul", "mm", "bmm", "matmul"):
        return " (a term of the product rule)"
    return {"div": " (a term of the quotient rule)", "add": " (a term of the sum)", "sub": " (a term of the sum)"}.get(
        name, ""
    )


def slips(trace: Trace, flows: dict[int, Any], target: int, wanted: Callable[[Any], bool]) -> Iterator[Slip]:
    """Every slip on every edge that leads to the target; `wanted` takes (edge, key). The first of an edge is the truth."""
    leading = trace.leading_to(target)
    for node in reversed(trace.nodes):
        upstream = flows.get(node.index)
        if node.op is None or upstream is None:
            continue
        for place, source, g in trace.edges_of(node, upstream):
            if source not in leading or not isinstance(trace.nodes[source].value, torch.Tensor):
                continue
            edge = (node.index, place, source)
            yield Slip(edge, "true", 0, words_of_edge(trace, node, source), g)
            if isinstance(node.value, torch.Tensor):
                yield from _wrong(trace, flows, node, edge, g, wanted)


def _wrong(
    trace: Trace, flows: dict[int, Any], node: Node, edge: tuple[int, int, int], g: Tensor, wanted: Callable[[Any], bool]
) -> Iterator[Slip]:
    _, place, source = edge
    name, here, at = operation(node), formula(trace, node.index), formula(trace, source)
    up, x, y = flows[node.index], trace.nodes[source].value, node.value

    def slip(key: Hashable, complexity: int, words: str, flow: Callable[[], Any]) -> Iterator[Slip]:
        if not wanted((edge, key)):
            return
        try:
            made = flow()
        except (RuntimeError, IndexError, TypeError, ValueError):
            return
        if isinstance(made, torch.Tensor) and made.shape == g.shape and not torch.equal(made, g):
            yield Slip(edge, key, complexity, words, made.detach())

    def pulled(upstream: Tensor, instead: dict[int, Tensor] | None = None) -> Any:
        return trace.pull(node.index, upstream, trace.at(node.index, instead) if instead else None)[place]

    leaves, _ = trace.local(node.index)
    floats = {p: v for p, v in enumerate(leaves) if isinstance(v, torch.Tensor) and v.requires_grad}
    if name in UNARY and len(floats) == 1:
        yield from _of_unary(slip, pulled, name, here, at, up, x, y, g, place)
    elif name in PRODUCTS:
        yield from _of_product(trace, slip, pulled, node, edge, up, leaves)
    elif name == "where":
        mask = leaves[0].bool()
        yield from slip("one", 11, f"the mask of {here} is left out: δ flows to {at} everywhere", lambda: _fit(up, g))
        inverted = f"the mask of {here} is inverted: δ flows to {at} where it should not"
        yield from slip("inverted", 11, inverted, lambda: _fit(torch.where((g != 0) & mask | (g != 0), 0 * up, up), g))
    elif name in ("cumsum", "flip", "roll"):
        yield from slip("forward", 11, f"δ is put through {name} as it is, not reversed", lambda: node.op(up, *node.args[1:]))
    elif name in ("embedding", "index", "gather", "index_select"):
        words = f"what belongs to the same row of {at} overwrites each other where it should add up (accumulate)"
        for order, last in ((1, "last"), (-1, "first")):
            yield from slip(
                f"overwrite {last}", 11, f"{words}: only the {last} is left",
                lambda order=order: _overwritten(node, g, up, leaves, order),
            )  # fmt: skip
    elif name in ("max_pool2d_with_indices", "amax", "max"):
        pass
    if g.dim() >= 2 and g.shape[-1] == g.shape[-2]:
        yield from slip("gᵀ", 12, f"the derivative of {here} by {at} is transposed", lambda: g.transpose(-1, -2))
    if up.dim() >= 2 and up.shape[-1] == up.shape[-2] and name not in UNARY | {"add", "sub", "mul"}:
        turned = up.transpose(-1, -2)
        yield from slip("upᵀ", 12, f"the δ of {here} is not transposed as it should be", lambda: pulled(turned))
        both = "both factors around δ are not transposed"
        yield from slip("upᵀᵀ", 12, f"in the derivative of {here} {both}", lambda: pulled(turned).transpose(-1, -2))
    yield from _of_upstream(trace, flows, slip, pulled, node, here, at, up)
    if g.shape != up.shape or name in ("expand",):
        for axis in range(g.dim()):
            if g.shape[axis] > 1:
                words = f"the derivative of {here} by {at} is averaged over axis {axis} too"
                yield from slip(("averaged", axis), 13, words, lambda axis=axis: g.mean(axis, keepdim=True).expand_as(g))
                words = f"the derivative of {here} by {at} is summed over axis {axis} too"
                yield from slip(("summed", axis), 13, words, lambda axis=axis: g.sum(axis, keepdim=True).expand_as(g))


def _fit(g: Tensor, like: Tensor) -> Tensor:
    """Summed to a shape that was broadcast."""
    return g.sum_to_size(like.shape)


def _of_unary(
    slip: Any, pulled: Any, name: str, here: str, at: str, up: Tensor, x: Tensor, y: Tensor, g: Tensor, place: int
) -> Iterator[Slip]:
    """Another formula where the derivative of an elementwise function belongs."""
    of = f"the derivative of {here}"
    yield from slip("one", 11, f"{of} is missing: {name}' is taken as 1", lambda: up)
    yield from slip("twice", 12, f"{of} is applied twice", lambda: pulled(g))
    yield from slip("at y", 12, f"{of} is evaluated at {here} itself, where {at} belongs", lambda: pulled(up, {place: y}))
    yield from slip("at −x", 13, f"{of} is evaluated at −({at})", lambda: pulled(up, {place: -x}))
    yield from slip("divided", 13, f"{of} is divided by where it should be multiplied with", lambda: up * up / g)
    if name in ("relu", "hardtanh", "clamp", "clamp_min", "clamp_max", "threshold"):
        yield from slip("inverted", 11, f"the mask of {here} is inverted", lambda: torch.where(g != 0, 0 * up, up))
    values = {
        "f": y, "f²": y * y, "1 − f": 1 - y, "1 + f": 1 + y, "1 − f²": 1 - y * y, "1 + f²": 1 + y * y, "f(1 − f)": y * (1 - y),
        "1 / f": 1 / y, "1 / f²": 1 / (y * y), "√f": y.abs().sqrt(), "u": x, "u²": x * x, "1 − u²": 1 - x * x,
        "1 / u": 1 / x, "1 / u²": 1 / (x * x), "u(1 − u)": x * (1 - x), "1 + u": 1 + x, "1 − u": 1 - x,
        "tanh u": torch.tanh(x), "1 − tanh² u": 1 - torch.tanh(x) ** 2, "σ(u)": torch.sigmoid(x), "exp(u)": torch.exp(x),
        "σ(−u)": torch.sigmoid(-x), "σ'(u)": torch.sigmoid(x) * torch.sigmoid(-x),
    }  # fmt: skip
    for k, (text, value) in enumerate(values.items()):
        words = f"{of} is wrong: {text} stands for it, with u = {at}, f = {here}"
        yield from slip(("formula", text), 14 + (k > 10), words, lambda value=value: up * value)
        words = f"{of} has a factor {text} too much, with u = {at}, f = {here}"
        yield from slip(("times", text), 15 + (k > 10), words, lambda value=value: g * value)
        words = f"{of} lacks a factor {text}, with u = {at}, f = {here}"
        yield from slip(("over", text), 15 + (k > 10), words, lambda value=value: g / value)


def _of_product(
    trace: Trace, slip: Any, pulled: Any, node: Node, edge: tuple[int, int, int], up: Tensor, leaves: list[Any]
) -> Iterator[Slip]:
    """Another quantity where the other factor of a product or quotient belongs."""
    _, place, source = edge
    name, here, at = operation(node), formula(trace, node.index), formula(trace, source)
    sources = node.sources()
    of = f"in the derivative of {here} by {at}"
    for p, b in enumerate(leaves):
        if not (isinstance(b, torch.Tensor) and b.is_floating_point()) or (p == place and name != "div"):
            continue
        b = b.detach()
        what = formula(trace, sources[p])
        if name in ("mul", "div"):
            left_out = "the division by" if name == "div" and p == 1 else "the factor"
            yield from slip(("one", p), 11, f"{of}, {left_out} {what} is left out", lambda p=p, b=b: pulled(up, {p: torch.ones_like(b)}))
            yield from slip(("twice", p), 12, f"{of}, {left_out} {what} is applied twice", lambda p=p, b=b: pulled(up, {p: b * b}))
            yield from slip(("inverse", p), 13, f"{of}, {what} is divided by where it should be multiplied with, or the reverse", lambda p=p, b=b: pulled(up, {p: 1 / b}))
            yield from slip(("root", p), 13, f"{of}, the root of {what} stands where it belongs", lambda p=p, b=b: pulled(up, {p: b.abs().sqrt()}))
            yield from slip(("absolute", p), 14, f"{of}, |{what}| stands for {what}", lambda p=p, b=b: pulled(up, {p: b.abs()}))
            yield from slip(("sign of", p), 14, f"{of}, the sign of {what} stands for {what}", lambda p=p, b=b: pulled(up, {p: b.sign()}))
            yield from slip(("complement", p), 13, f"{of}, 1 − {what} stands for {what}", lambda p=p, b=b: pulled(up, {p: 1 - b}))
        if b.dim() >= 2 and b.shape[-1] == b.shape[-2]:
            yield from slip(("transposed", p), 12, f"{of}, {what} is not transposed as it should be", lambda p=p, b=b: pulled(up, {p: b.transpose(-1, -2)}))
        if name == "convolution" and b.dim() >= 3:
            axes = tuple(range(2, b.dim()))
            yield from slip(("flipped", p), 11, f"{of}, {what} is flipped (reversed along its taps) where it should not be, or the reverse", lambda p=p, b=b: pulled(up, {p: b.flip(axes)}))
        tried = 0
        for other in reversed(trace.nodes):
            w = other.value
            if tried < MOST_VALUES and isinstance(w, torch.Tensor) and w.shape == b.shape and w.is_floating_point() and other.index != sources[p]:
                if torch.equal(w, b) or other.index == node.index and name == "mul" and False:
                    continue
                tried += 1
                yield from slip(("instead", p, other.index), 13, f"{of}, {formula(trace, other.index)} stands where {what} belongs", lambda p=p, w=w: pulled(up, {p: w}))  # fmt: skip


def _of_upstream(
    trace: Trace, flows: dict[int, Any], slip: Any, pulled: Any, node: Node, here: str, at: str, up: Tensor
) -> Iterator[Slip]:
    """Another δ where that of the operation belongs."""
    of = f"in the derivative of {here} by {at}"
    yield from slip("δ one", 13, f"{of}, δ is left out (taken as 1)", lambda: pulled(torch.ones_like(up)))
    for axis in range(up.dim()):
        if up.shape[axis] > 1:
            mean = up.mean(axis, keepdim=True).expand_as(up)
            yield from slip(("δ mean", axis), 14, f"{of}, the mean of δ over axis {axis} stands for δ", lambda mean=mean: pulled(mean))
    tried = 0
    for other in reversed(trace.nodes):
        w = flows.get(other.index)
        if tried < MOST_VALUES and isinstance(w, torch.Tensor) and w.shape == up.shape and other.index != node.index:
            if not torch.equal(w, up):
                tried += 1
                words = f"{of}, the δ of {formula(trace, other.index)} stands where that of {here} belongs"
                yield from slip(("δ of", other.index), 13, words, lambda w=w: pulled(w))


def _overwritten(node: Node, g: Tensor, up: Tensor, leaves: list[Any], order: int) -> Tensor | None:
    """The gradient of a look-up, assigned and not added."""
    tensors = [v for v in leaves if isinstance(v, torch.Tensor)] + [a for a in node.args if isinstance(a, torch.Tensor)]
    places = [v for v in (*tensors, *(a for group in node.args if isinstance(group, (list, tuple)) for a in group)) if isinstance(v, torch.Tensor) and not v.is_floating_point()]
    if len(places) != 1 or operation(node) == "gather":
        return None
    index = places[0].reshape(-1)
    rows = up.reshape(len(index), *g.shape[1:])
    out = torch.zeros_like(g)
    for k in range(len(index))[::order]:
        out[index[k]] = rows[k]
    return out
