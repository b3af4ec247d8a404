"""The derivatives that papers give in closed form: what a person writes down for a softmax or a normalisation.

Each takes δ and the arguments of the aten operation that it belongs to, and returns δ of the first of them. It is
recorded like a twin, and each of its operations is changed in turn: a sum over another axis, a term left out, x for x̂.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from itertools import combinations
from typing import Any, NamedTuple

import torch

from compare.diagnosis.graph.labels import label, number
from compare.diagnosis.graph.mutants import mutants
from compare.diagnosis.graph.record import record
from compare.diagnosis.graph.rerun import Mutant, Rerun, Swap, filled
from compare.diagnosis.graph.textbook import aten
from compare.diagnosis.graph.trace import Node, Rule, Tensor, Trace
from compare.diagnosis.graph.words import called, operation

MOST_PLACES = 4  # of one quantity in a closed form
ROOT_2PI = math.sqrt(2 * math.pi)


def softmax(dy: Any, x: Any, p: Any, axes: list[int]) -> Any:
    return p * (dy - (dy * p).sum(axes, keepdim=True))


def log_softmax(dy: Any, x: Any, y: Any, axes: list[int]) -> Any:
    e = torch.exp(x)
    p = label(e / e.sum(axes, keepdim=True), "p")
    return dy - p * dy.sum(axes, keepdim=True)


def centred(dy: Any, x: Any, h: Any, sigma: Any, axes: list[int]) -> Any:
    return (dy - dy.mean(axes, keepdim=True) - h * (dy * h).mean(axes, keepdim=True)) / sigma


def by_root_mean_square(dy: Any, x: Any, h: Any, r: Any, axes: list[int]) -> Any:
    return (dy - h * (dy * h).mean(axes, keepdim=True)) / r


def by_norm(dy: Any, x: Any, h: Any, r: Any, axes: list[int]) -> Any:
    return (dy - h * (dy * h).sum(axes, keepdim=True)) / r


def _is_softmax(x: Tensor, y: Tensor, axes: tuple[int, ...]) -> bool:
    return bool((y >= 0).all() and (y.sum(axes) - 1).abs().max() < 1e-6)


def _is_log_softmax(x: Tensor, y: Tensor, axes: tuple[int, ...]) -> bool:
    return bool((torch.exp(y).sum(axes) - 1).abs().max() < 1e-6)


def _scale(x: Tensor, y: Tensor, axes: tuple[int, ...]) -> Tensor:
    """What x is divided by to make y."""
    return (x * y).sum(axes, keepdim=True) / (y * y).sum(axes, keepdim=True)


def _is_scaled(x: Tensor, y: Tensor, axes: tuple[int, ...]) -> bool:
    return bool((x - _scale(x, y, axes) * y).abs().max() <= 1e-9 * x.abs().max())


def _is_centred(x: Tensor, y: Tensor, axes: tuple[int, ...]) -> bool:
    return _is_scaled(x - x.mean(axes, keepdim=True), y, axes)


class Form(NamedTuple):
    """A closed form: what y is called in it, the derivative by x, whether it may be that, and what x is divided by."""

    symbol: str
    derivative: Callable[..., Any]
    may_be: Callable[..., bool]
    scale: str = ""


FORMS = (
    Form("p", softmax, _is_softmax),
    Form("log p", log_softmax, _is_log_softmax),
    Form("x̂", centred, _is_centred, "σ"),
    Form("x̂", by_root_mean_square, _is_scaled, "the root mean square"),
    Form("x̂", by_norm, _is_scaled, "the norm"),
)


def _around(
    form: Form, x: Tensor, y: Tensor, up: Tensor, axes: tuple[int, ...]
) -> tuple[list[Tensor], dict[str, Tensor]]:
    """The scale that a form is written with, where it has one; and what is taken for another quantity in it."""
    if not form.scale:
        return [], {}
    centre = x - x.mean(axes, keepdim=True)
    if form.derivative is centred:
        return [_scale(centre, y, axes)], {"x − mean": centre}
    return [_scale(x, y, axes)], {"δ − mean(δ)": up - up.mean(axes, keepdim=True)}


def logsumexp(dy: Any, x: Any, dim: Any, keepdim: bool = False) -> Any:
    e = torch.exp(x)
    for axis in sorted(a % x.dim() for a in dim) if not keepdim else ():
        dy = dy.unsqueeze(axis)
    return dy * label(e / e.sum(dim, keepdim=True), "p")


def logsumexp_shifted(dy: Any, x: Any, dim: Any, keepdim: bool = False) -> Any:
    e = label(torch.exp(x - x.amax(dim, keepdim=True)), "exp(x − max x)")
    for axis in sorted(a % x.dim() for a in dim) if not keepdim else ():
        dy = dy.unsqueeze(axis)
    return dy * (e / e.sum(dim, keepdim=True))


def gelu(dy: Any, x: Any, *, approximate: str = "none") -> Any:
    if approximate == "tanh":
        c = math.sqrt(2 / math.pi)
        t = torch.tanh(c * (x + 0.044715 * (x * x * x)))
        return dy * (0.5 * (number(1) + t) + 0.5 * x * (number(1) - t * t) * (c * (number(1) + 3 * 0.044715 * (x * x))))
    phi = label(torch.exp(-0.5 * (x * x)) / ROOT_2PI, "φ(x)")
    return dy * (label(0.5 * (number(1) + torch.erf(x / math.sqrt(2))), "Φ(x)") + x * phi)


def silu(dy: Any, x: Any) -> Any:
    s = label(torch.sigmoid(x), "σ(x)")
    return dy * (s + x * s * (number(1) - s))


def silu_by_y(dy: Any, x: Any) -> Any:
    s = label(torch.sigmoid(x), "σ(x)")
    y = label(x * s, "y")
    return dy * (y + s * (number(1) - y))


def softplus(dy: Any, x: Any, beta: float = 1, threshold: float = 20) -> Any:
    return dy * torch.sigmoid(x if beta == 1 else beta * x)


def elu(dy: Any, x: Any, alpha: float = 1, scale: float = 1, input_scale: float = 1) -> Any:
    return dy * torch.where(x > 0, number(scale), scale * (alpha * torch.exp(x)))


def product(dy: Any, x: Any, dim: int, keepdim: bool = False) -> Any:
    p = label(x.prod(dim, keepdim=True), "the product")
    return (dy if keepdim else dy.unsqueeze(dim)) * (p / x)


def deviation(dy: Any, x: Any, dim: Any = None, *, correction: float | None = None, keepdim: bool = False) -> Any:
    axes = list(range(x.dim())) if dim is None or dim == [] else list(dim)
    for axis in sorted(a % x.dim() for a in axes) if not keepdim else ():
        dy = dy.unsqueeze(axis)
    centred = label(x - x.mean(axes, keepdim=True), "x − mean")
    n = math.prod(x.shape[a] for a in axes) - (1 if correction is None else correction)
    s = label(torch.sqrt((centred * centred).sum(axes, keepdim=True) / n), "the deviation")
    return dy * centred / (n * s)


def normed(dy: Any, x: Any, ord: float = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    if ord != 2:
        return NotImplemented
    axes = list(range(x.dim())) if dim is None else list(dim)
    for axis in sorted(a % x.dim() for a in axes) if not keepdim else ():
        dy = dy.unsqueeze(axis)
    return dy * (x / label(torch.sqrt((x * x).sum(axes, keepdim=True)), "the norm"))


CLOSED: dict[Any, tuple[Callable[..., Any], ...]] = {
    aten.logsumexp.default: (logsumexp, logsumexp_shifted),
    aten.gelu.default: (gelu,),
    aten.silu.default: (silu, silu_by_y),
    aten.softplus.default: (softplus,),
    aten.elu.default: (elu,),
    aten.prod.dim_int: (product,),
    aten.std.correction: (deviation,),
    aten.linalg_vector_norm.default: (normed,),
}


def closed(trace: Trace, node: Node, up: Any) -> Iterator[tuple[int, Trace]]:
    """(the source, the recorded closed form) of the derivative of an operation by its first argument."""
    for form in CLOSED.get(node.op, ()):
        values = [trace.nodes[s].value for s in node.sources()]
        leaves = {"δ": up.detach(), called(trace, node.sources()[0]): values[0].detach()}
        args, kwargs = filled(node, [*leaves.values()][1:] + values[1:])
        made = _recorded(partial(form, leaves["δ"], *args, **kwargs), leaves)
        if made is not None:
            yield node.sources()[0], made


def by_pattern(
    x: Tensor, y: Tensor, up: Tensor, name: str, right: Tensor, others: dict[str, Tensor]
) -> Iterator[Trace]:
    """The closed forms of y as a function of x, where y is x normalised or its softmax along some axes.

    Which it may be is read off the numbers, however the twin writes it; whether it is, is seen by the derivative,
    which must be `right`. The others are what else may stand in it: the δ of a later operation.
    """
    if x.dim() == 0 or x.shape != y.shape:
        return
    for count in range(1, x.dim() + 1):
        for axes in combinations(range(x.dim()), count):
            if math.prod(x.shape[a] for a in axes) < 2:
                continue
            for form in FORMS:
                if not form.may_be(x, y, axes) or form.symbol == name:
                    continue
                scale, near = _around(form, x, y, up, axes)
                if not torch.allclose(form.derivative(up, x, y, *scale, list(axes)), right, 1e-9, 1e-12):
                    continue
                leaves = {"δ": up.detach(), name: x.detach(), form.symbol: y.detach()}
                leaves |= dict(zip([form.scale] if scale else [], scale, strict=True))
                every = {**leaves, **near, **others}
                made = _recorded(partial(form.derivative, *leaves.values(), list(axes)), every)
                if made is not None:
                    yield made


def as_of_a_softmax(y: Tensor) -> Iterator[tuple[tuple[int, ...], Rule]]:
    """(axes, the derivative of a softmax) of what is the logarithm of one: the two are taken for each other."""
    for axis in range(y.dim()):
        if y.shape[axis] > 1 and _is_log_softmax(y, y, (axis,)):
            p = torch.exp(y)

            def rule(up: Tensor, p: Tensor = p, axis: int = axis) -> Tensor:
                return p * (up - (up * p).sum(axis, keepdim=True))

            yield (axis,), rule


def _recorded(form: Callable[[], Any], leaves: dict[str, Tensor]) -> Trace | None:
    try:
        return record(form, leaves, 0)
    except (RuntimeError, TypeError, ValueError, IndexError):
        return None


def changed(made: Trace) -> Iterator[tuple[Any, int, str, Rule]]:
    """(key, complexity, words, rule) of every change of one operation of a closed form."""
    rerun = Rerun(made, "")

    def rule_of(*many: Mutant) -> Rule:
        def rule(up: Tensor) -> Tensor:
            found = rerun.output({m.at: m for m in many}, {made.inputs["δ"]: up})
            if found is None:
                raise ValueError("it does not fit")
            return found

        return rule

    moved = made.leading_to(made.inputs["δ"])
    every = [m for m in mutants(made) if _alike(made, m)]
    for m in every:
        yield (m.at, m.key), m.complexity, m.words, rule_of(m)
    for key, many in _together([m for m in every if m.at in moved], made):
        words = " and ".join(m.words for m in many)
        yield key, many[0].complexity + 1, words, rule_of(*many)


def _alike(made: Trace, m: Mutant) -> bool:
    """Whether what stands for something else is of its kind: another δ for δ, another quantity given for one given."""
    if not isinstance(m.made, Swap):
        return True
    right, other = made.nodes[made.nodes[m.at].sources()[m.made.place]], made.nodes[m.made.other]
    if other.op is None and other.index > 2:
        return right.op is None and right.name.startswith("δ") == other.name.startswith("δ")
    return True


def _together(every: list[Mutant], made: Trace) -> Iterator[tuple[Any, list[Mutant]]]:
    """The same change of all sums or means, and the same quantity for another one at several of its places."""
    reduced: dict[Any, list[Mutant]] = {}
    swapped: dict[Any, list[Mutant]] = {}
    for m in every:
        node = made.nodes[m.at]
        if isinstance(m.made, Swap):
            swapped.setdefault((node.sources()[m.made.place], m.made.other), []).append(m)
        elif operation(node) in ("mean", "sum"):
            reduced.setdefault((operation(node), m.key), []).append(m)
    for key, many in reduced.items():
        if len(many) > 1:
            yield ("all", key), many
    for key, many in swapped.items():
        if len(many) <= MOST_PLACES:
            for count in range(2, len(many) + 1):
                for some in combinations(many, count):
                    if len({m.at for m in some}) == count:
                        yield ("places", key, tuple(m.at for m in some)), list(some)
