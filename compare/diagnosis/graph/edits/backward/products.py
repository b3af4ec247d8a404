"""Products, quotients and matrix products: another quantity where the other factor belongs."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

from handgrad.compare.diagnosis.graph.edits.backward.step import Step
from handgrad.compare.diagnosis.graph.edits.edit import StepEdit
from handgrad.compare.diagnosis.graph.record.node import Tensor, is_float

# What may stand for a factor.
OF_A_FACTOR: dict[str, Callable[[Tensor], Tensor]] = {
    "factor left out": torch.ones_like,
    "factor twice": torch.square,
    "factor inverted": torch.reciprocal,
    "root of a factor": lambda v: v.abs().sqrt(),
    "factor's absolute": torch.abs,
    "factor's sign": torch.sign,
    "factor's complement": lambda v: 1 - v,
}
# What may stand for the divisor in the derivative of a quotient by it, −a / b².
OF_A_DIVISOR: dict[str, Callable[[Tensor], Tensor]] = {
    "divisor not squared": lambda b: b.abs().sqrt(),
    "divisor left out": torch.ones_like,
    "divisor cubed": lambda b: b.abs() * b.abs().sqrt(),
}


def of_a_product(step: Step) -> Iterator[StepEdit]:
    """Of a product, a quotient, a matrix product, a convolution."""
    yield from _as_in_training(step)
    for p, b in enumerate(step.arguments):
        if not is_float(b) or (p == step.place and step.name != "div"):
            continue
        b = b.detach()
        if step.name in ("mul", "div"):
            divisor = step.name == "div" and step.place == p == 1
            for kind, change in (OF_A_DIVISOR if divisor else OF_A_FACTOR).items():
                yield step.edit(kind, step.with_other(p, change(b)), argument=p)
        elif step.name != "convolution":
            yield step.edit("matrix left out", step.with_other(p, torch.ones_like(b)), argument=p)
        if b.dim() >= 2 and b.shape[-1] == b.shape[-2]:
            yield step.edit("factor not transposed", step.with_other(p, b.transpose(-1, -2)), argument=p)
        if step.name == "convolution" and b.dim() >= 3:
            yield step.edit("kernel flipped", step.with_other(p, b.flip(tuple(range(2, b.dim())))), argument=p)
        if step.name == "mv" and step.place == 1:
            yield from _element_by_element(step, p, b)
        if step.name == "mm":
            yield from _of_one_hot(step, p, b)
        if step.name in ("mul", "mm", "bmm") and (n := _probabilities(b)):
            yield step.edit("uniform", step.with_other(p, torch.full_like(b, 1 / n)), argument=p, size=n)
        for other, value in step.others_like(b, step.node.sources()[p]):
            yield step.edit("another factor", step.with_other(p, value), argument=p, other=other.index)


def _element_by_element(step: Step, p: int, b: Tensor) -> Iterator[StepEdit]:
    """Of x w, a number a row, that was broadcast again: δ times x number by number, not summed over the row before."""
    full = step.broadcast_again(b.shape)
    if full is not None:
        yield step.edit("element by element", lambda up: (full * b).sum(0), argument=p)


def _as_in_training(step: Step) -> Iterator[StepEdit]:
    """δ of what is divided by a constant deviation, as if that and the mean were those of the batch."""
    if step.name != "div" or step.place != 0 or step.y.dim() < 2 or step.node.sources()[-1] in step.trace.variable:
        return
    axes = [a for a in range(step.y.dim()) if a != 1]

    def rule(up: Tensor) -> Tensor:
        projected = step.y * (up * step.y).mean(axes, keepdim=True)
        return step.right(up - up.mean(axes, keepdim=True) - projected)

    yield step.edit("as in training", rule)


def _probabilities(b: Tensor) -> int:
    """How many numbers sum to one along an axis; 0 where they do not, or are all the same."""
    if (b < 0).any() or float(b.max() - b.min()) < 1e-6:
        return 0
    sizes = [b.shape[k] for k in range(b.dim()) if b.shape[k] > 1 and bool(((b.sum(k) - 1).abs() < 1e-9).all())]
    return sizes[-1] if sizes else 0


def _of_one_hot(step: Step, p: int, b: Tensor) -> Iterator[StepEdit]:
    """Of a product with rows that pick one row each: these are averaged where they should be added up."""
    if step.place != 1 or not bool(((b == 0) | (b == 1)).all()):
        return
    count = b.sum(0).clamp(min=1).reshape(-1, 1)
    if bool((b.sum(1) == 1).all()) and bool((count > 1).any()):
        yield step.edit("lookups averaged", step.after(lambda g: g / count), argument=p)
