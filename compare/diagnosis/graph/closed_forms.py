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

from compare.diagnosis.graph.closed_functions import CLOSED
from compare.diagnosis.graph.labels import label
from compare.diagnosis.graph.mutants import mutants
from compare.diagnosis.graph.record import record
from compare.diagnosis.graph.rerun import Mutant, Rerun, filled
from compare.diagnosis.graph.trace import Node, Rule, Tensor, Trace
from compare.diagnosis.graph.words import MADE, called, operation


def softmax(dy: Any, x: Any, p: Any, axes: list[int]) -> Any:
    return p * (dy - (dy * p).sum(axes, keepdim=True))


def log_softmax(dy: Any, x: Any, y: Any, axes: list[int]) -> Any:
    e = torch.exp(x)
    p = label(e / e.sum(axes, keepdim=True), "p")
    return dy - p * dy.sum(axes, keepdim=True)


def centred(dy: Any, x: Any, h: Any, axes: list[int]) -> Any:
    c = label(x - label(x.mean(axes, keepdim=True), "the mean"), "x − mean")
    sigma = label((c * h).sum(axes, keepdim=True) / (h * h).sum(axes, keepdim=True), "σ")
    return (dy - dy.mean(axes, keepdim=True) - h * (dy * h).mean(axes, keepdim=True)) / sigma


def by_root_mean_square(dy: Any, x: Any, h: Any, axes: list[int]) -> Any:
    r = label((x * h).sum(axes, keepdim=True) / (h * h).sum(axes, keepdim=True), "the root mean square")
    return (dy - h * (dy * h).mean(axes, keepdim=True)) / r


def by_norm(dy: Any, x: Any, h: Any, axes: list[int]) -> Any:
    r = label((x * h).sum(axes, keepdim=True) / (h * h).sum(axes, keepdim=True), "the norm")
    return (dy - h * (dy * h).sum(axes, keepdim=True)) / r


def _is_softmax(x: Tensor, y: Tensor, axes: tuple[int, ...]) -> bool:
    return bool((y >= 0).all() and (y.sum(axes) - 1).abs().max() < 1e-6)


def _is_log_softmax(x: Tensor, y: Tensor, axes: tuple[int, ...]) -> bool:
    return bool((torch.exp(y).sum(axes) - 1).abs().max() < 1e-6)


def _is_scaled(x: Tensor, y: Tensor, axes: tuple[int, ...]) -> bool:
    scale = (x * y).sum(axes, keepdim=True) / (y * y).sum(axes, keepdim=True)
    return bool((x - scale * y).abs().max() <= 1e-9 * x.abs().max())


def _is_centred(x: Tensor, y: Tensor, axes: tuple[int, ...]) -> bool:
    return _is_scaled(x - x.mean(axes, keepdim=True), y, axes)


BESIDE = 4  # other quantities that may stand in a closed form
# what y is called, the closed form of its derivative by x, and whether it may be that
FORMS: tuple[tuple[str, Callable[..., Any], Callable[..., bool]], ...] = (
    ("p", softmax, _is_softmax),
    ("log p", log_softmax, _is_log_softmax),
    ("x̂", centred, _is_centred),
    ("x̂", by_root_mean_square, _is_scaled),
    ("x̂", by_norm, _is_scaled),
)


def closed(trace: Trace, node: Node, up: Any) -> Iterator[tuple[int, Trace]]:
    """(the source, the recorded closed form) of the derivative of an operation by its first argument."""
    for form in CLOSED.get(node.op, ()):
        values = [trace.nodes[s].value for s in node.sources()]
        leaves = {"δ": up.detach(), called(trace, node.sources()[0]): values[0].detach()}
        args, kwargs = filled(node, [leaves[called(trace, node.sources()[0])], *values[1:]])
        beside = _beside(trace, node, values[0]) if len(values) == 1 else {}
        made = recorded(partial(form, leaves["δ"], *args, **kwargs), {**beside, **leaves})
        if made is not None:
            yield node.sources()[0], made


def _beside(trace: Trace, node: Node, x: Tensor) -> dict[str, Tensor]:
    """Other quantities of the shape, by their names: what may stand in the form for something else."""
    found: dict[str, Tensor] = {}
    for other in sorted(trace.nodes, key=lambda n: abs(n.index - node.index)):
        v, name = other.value, called(trace, other.index)
        alike = isinstance(v, torch.Tensor) and v.shape == x.shape and v.is_floating_point()
        if (
            alike
            and operation(other) not in MADE
            and not torch.equal(v, x)
            and name != called(trace, node.sources()[0])
        ):
            found.setdefault(name, v.detach())
        if len(found) == BESIDE:
            break
    return found


def by_pattern(x: Tensor, y: Tensor, up: Tensor, name: str, right: Tensor) -> Iterator[Trace]:
    """The closed forms of y as a function of x, where y is x normalised or its softmax along some axes.

    Which it may be is read off the numbers, however the twin writes it; whether it is, is seen by the derivative,
    which must be `right`.
    """
    if x.dim() == 0 or x.shape != y.shape:
        return
    for count in range(1, x.dim() + 1):
        for axes in combinations(range(x.dim()), count):
            if math.prod(x.shape[a] for a in axes) < 2:
                continue
            for symbol, form, may_be in FORMS:
                if not may_be(x, y, axes) or symbol == name:
                    continue
                if not torch.allclose(form(up, x, y, list(axes)), right, 1e-9, 1e-12):
                    continue
                leaves = {"δ": up.detach(), name: x.detach(), symbol: y.detach()}
                made = recorded(partial(form, *leaves.values(), list(axes)), leaves)
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


def recorded(form: Callable[[], Any], leaves: dict[str, Tensor]) -> Trace | None:
    """What a closed form does; None where it is none for these arguments."""
    try:
        return record(form, leaves, 0)
    except (RuntimeError, TypeError, ValueError, IndexError, KeyError, AttributeError):
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

    together: dict[Any, list[Mutant]] = {}
    moved = made.leading_to(made.inputs["δ"])
    for m in mutants(made):
        yield (m.at, m.key), m.complexity, m.words, rule_of(m)
        axes_only = isinstance(m.key, tuple) and all(isinstance(k, int) for k in m.key)
        if axes_only and m.at in moved and operation(made.nodes[m.at]) in ("mean", "sum"):
            together.setdefault(m.key, []).append(m)
    for key, many in together.items():
        if len(many) > 1:
            words = " and ".join(m.words for m in many)
            yield ("all", key), many[0].complexity + 1, words, rule_of(*many)
