"""Another quantity where the other factor of a product or quotient belongs."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

from handgrad.compare.diagnosis.graph.edits.backward.step import Place, Slip
from handgrad.compare.diagnosis.graph.record.notation import beside, called, operation
from handgrad.compare.diagnosis.graph.record.trace import Tensor


def of_a_product(here: Place) -> Iterator[Slip]:
    """Of a product, a quotient, a matrix product, a convolution."""
    yield from _as_in_training(here)
    for p, b in enumerate(here.arguments):
        if not (isinstance(b, torch.Tensor) and b.is_floating_point()) or (p == here.place and here.name != "div"):
            continue
        b = b.detach()
        source = here.node.sources()[p]
        what = called(here.trace, source)
        if here.name in ("mul", "div"):
            yield from _of_a_factor(here, p, b, what)
        elif here.name != "convolution":
            words = f"{here.of}, the factor {what} is left out (taken as 1)"
            yield here.slip(("one", p), 11, words, here.with_other(p, torch.ones_like(b)))
        if b.dim() >= 2 and b.shape[-1] == b.shape[-2]:
            words = f"{here.of}, {what} is not transposed as it should be"
            yield here.slip(("transposed", p), 12, words, here.with_other(p, b.transpose(-1, -2)))
        if here.name == "convolution" and b.dim() >= 3:
            words = f"{here.of}, {what} is flipped (reversed along its taps) where it should not be, or the reverse"
            yield here.slip(("flipped", p), 11, words, here.with_other(p, b.flip(tuple(range(2, b.dim())))))
        if here.name == "mv" and here.place == 1:
            yield from _elementwise(here, b, what)
        if here.name in ("mm", "bmm"):
            yield from _of_one_hot(here, b, what)
        if here.name in ("mul", "mm", "bmm") and (n := _probabilities(b)):
            words = f"{here.of}, 1/{n} throughout stands where {what} belongs"
            yield here.slip(("uniform", p), 12, words, here.with_other(p, torch.full_like(b, 1 / n)))
        for other, value in here.others_like(b, source):
            words = f"{here.of}, {beside(here.trace, other.index, source)} stands where {what} belongs"
            yield here.slip(("instead", p, other.index), 13, words, here.with_other(p, value))


def _elementwise(here: Place, b: Tensor, what: str) -> Iterator[Slip]:
    """Of x w, a number a row, that was broadcast again: δ times x number by number, not summed over the row before."""
    same, full = {here.node.index}, None
    for n in here.trace.nodes[here.node.index + 1 :]:
        if full is None and operation(n) in ("unsqueeze", "expand", "view") and n.sources()[0] in same:
            same.add(n.index)
            full = here.flows.get(n.index) if n.value.shape == b.shape else None
    if isinstance(full, torch.Tensor):
        words = f"{here.of}, δ · {what} is taken element by element: δ is not summed over axis 1 before"
        yield here.slip("elementwise", 12, words, lambda up: (full * b).sum(0))


def _of_a_factor(here: Place, p: int, b: Tensor, what: str) -> Iterator[Slip]:
    divides = here.name == "div" and p == 1
    if divides and here.place == 1:
        yield from _of_a_denominator(here, b, what)
        return
    which = "the division by" if divides else "the factor"
    changes: list[tuple[str, int, str, Callable[[Tensor], Tensor]]] = [
        ("one", 11, f"{which} {what} is left out", torch.ones_like),
        ("twice", 12, f"{which} {what} is applied twice", torch.square),
        ("inverse", 13, f"{what} is divided by where it should be multiplied with, or the reverse", torch.reciprocal),
        (
            "root",
            13,
            f"the division is by the root of {what}, not by {what}"
            if divides
            else f"the root of {what} stands for {what}",
            lambda v: v.abs().sqrt(),
        ),
        ("absolute", 13, f"|{what}| stands for {what}", torch.abs),
        ("sign of", 13, f"the sign of {what} stands for {what}", torch.sign),
        ("complement", 13, _complement(here, p, what), lambda v: 1 - v),
    ]
    for key, complexity, words, change in changes:
        yield here.slip((key, p), complexity, f"{here.of}, {words}", here.with_other(p, change(b)))


def _as_in_training(here: Place) -> Iterator[Slip]:
    """δ of what is divided by a constant deviation, as if that and the mean were those of the batch."""
    if here.name != "div" or here.place != 0 or here.y.dim() < 2 or here.node.sources()[-1] in here.trace.variable:
        return
    axes = [a for a in range(here.y.dim()) if a != 1]

    def rule(up: Tensor) -> Tensor:
        projected = here.y * (up * here.y).mean(axes, keepdim=True)
        return here.right(up - up.mean(axes, keepdim=True) - projected)

    words = (
        f"{here.of}, the means of δ and of δ · y are subtracted as in training, though mean and deviation are constant"
    )
    yield here.slip("as in training", 12, words, rule)


def _of_a_denominator(here: Place, b: Tensor, what: str) -> Iterator[Slip]:
    """The derivative of a / b by b, −a / b²."""
    root = b.abs().sqrt()
    changes = [
        ("root", 11, f"it is divided by {what}, not by its square", root),
        ("one", 12, f"it is not divided by the square of {what}", torch.ones_like(b)),
        ("cubed", 12, f"it is divided by the cube of {what}, not by its square", b.abs() * root),
    ]
    for key, complexity, words, value in changes:
        yield here.slip((key, 1), complexity, f"{here.of}, {words}", here.with_other(1, value))


def _complement(here: Place, p: int, what: str) -> str:
    trace, node = here.trace, here.trace.nodes[here.node.sources()[p]]
    one_minus = operation(node) == "rsub" and node.args[1] == 1
    if operation(node) == "sub" and len(node.sources()) == 2:
        first = trace.nodes[node.sources()[0]]
        one_minus = first.index not in trace.variable and bool((first.value == 1).all())
    return f"{called(trace, node.sources()[-1]) if one_minus else f'1 − {what}'} stands where {what} belongs"


def _probabilities(b: Tensor) -> int:
    """How many numbers sum to one along an axis; 0 where they do not, or are all the same."""
    if (b < 0).any() or float(b.max() - b.min()) < 1e-6:
        return 0
    sizes = [b.shape[k] for k in range(b.dim()) if b.shape[k] > 1 and bool(((b.sum(k) - 1).abs() < 1e-9).all())]
    return sizes[-1] if sizes else 0


def _of_one_hot(here: Place, b: Tensor, what: str) -> Iterator[Slip]:
    """Of a product with rows that pick one row each: these are averaged where they should be added up."""
    if here.name != "mm" or here.place != 1 or not bool(((b == 0) | (b == 1)).all()):
        return
    count = b.sum(0).clamp(min=1).reshape(-1, 1)
    if bool((b.sum(1) == 1).all()) and bool((count > 1).any()):
        words = f"{here.of}, what is looked up several times is averaged where it should be added up"
        yield here.slip("averaged", 12, words, here.after(lambda g: g / count))
