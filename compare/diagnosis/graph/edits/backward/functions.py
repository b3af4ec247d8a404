"""Functions of one number, powers, masks and choices: another formula for the derivative, a mask turned round."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch

from handgrad.compare.diagnosis.graph.edits.backward.step import Step
from handgrad.compare.diagnosis.graph.edits.edit import StepEdit
from handgrad.compare.diagnosis.graph.formulas.elementwise import FORMULAS
from handgrad.compare.diagnosis.graph.record.operations import MASKS


def of_a_function(step: Step) -> Iterator[StepEdit]:
    """Of an elementwise function of one argument."""
    x, y, right = step.x, step.y, step.right
    if step.name == "detach":
        yield step.edit("detach ignored", lambda up: up)
        return
    yield step.edit("derivative as 1", lambda up: up)
    if step.name in MASKS:
        yield step.edit("mask inverted", lambda up: torch.where(right(up) != 0, 0 * up, up))
    if step.name == "neg":
        return
    yield step.edit("derivative twice", step.after(right))
    yield step.edit("at the result", step.with_other(step.place, y))
    yield from of_elsewhere(step)
    yield step.edit("at the negative", step.with_other(step.place, -x))
    yield step.edit("derivative divides", lambda up: up * up / right(up))
    own = right(torch.ones_like(step.up))
    yield step.edit("root of the derivative", partial(torch.mul, own.abs().sqrt()))
    if step.name == "exp":
        yield step.edit("exp less 1", partial(torch.mul, y - 1))
    for text, (of, _, less) in FORMULAS.items():
        value = of(x, y)
        yield step.edit("other formula", partial(torch.mul, value), more=less, formula=text)
        yield step.edit("formula too much", step.after(partial(torch.mul, value)), more=less, formula=text)
        yield step.edit("formula lacking", step.after(partial(torch.mul, 1 / value)), more=less, formula=text)


def of_pieces(step: Step) -> Iterator[StepEdit]:
    """The pieces of a function chosen by the sign of δ, not of its argument."""
    if step.up.shape == step.x.shape:
        yield step.edit("mask of δ", lambda up: step.with_other(step.place, up.detach())(up))


def of_elsewhere(step: Step) -> Iterator[StepEdit]:
    """The right derivative at another quantity than the argument."""
    for other, value in step.others_like(step.x, step.source):
        yield step.edit("at another quantity", step.with_other(step.place, value), other=other.index)


def of_a_power(step: Step) -> Iterator[StepEdit]:
    """Of x^p, where p is a quantity too."""
    x, p = (a.detach() for a in step.arguments)
    if step.place == 0:
        yield step.edit("exponent alone", lambda up: up * p)
        yield step.edit("exponent lost", lambda up: step.right(up) / p)
        yield step.edit("exponent not lowered", lambda up: step.right(up) * x)
    else:
        yield step.edit("logarithm lost", lambda up: up * step.y)


def of_a_choice(step: Step) -> Iterator[StepEdit]:
    """Of where(mask, a, b)."""
    mask = step.arguments[0].bool()
    chosen = mask if step.place == 1 else ~mask
    yield step.edit("mask left out", lambda up: up)
    yield step.edit("choice inverted", lambda up: torch.where(chosen, 0 * up, up))
