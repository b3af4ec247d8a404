"""The derivatives that papers give in closed form: what a person writes down for a softmax or a normalisation.

Each takes δ and the arguments of the aten operation that it belongs to, and returns δ of the first of them. It is
recorded like a twin, and each of its operations is changed in turn: a sum over another axis, a term left out, x for x̂.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from itertools import combinations
from typing import Any

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
        made = recorded(partial(form, leaves["δ"], *args, **kwargs), leaves)
        if made is not None:
            yield node.sources()[0], made


def recorded(form: Callable[[], Any], leaves: dict[str, Tensor]) -> Trace | None:
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
