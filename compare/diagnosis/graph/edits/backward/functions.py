"""Another formula where the derivative of an elementwise function belongs, and masks left out or turned round."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch

from handgrad.compare.diagnosis.graph.edits.backward.step import Place, Slip
from handgrad.compare.diagnosis.graph.forms.elementwise import formulas
from handgrad.compare.diagnosis.graph.record.notation import beside, spoken
from handgrad.compare.diagnosis.graph.record.trace import Tensor

PLAIN = {
    "tanh", "sigmoid", "exp", "expm1", "log", "log1p", "sqrt", "rsqrt", "reciprocal", "sin", "cos", "tan", "erf", "abs",
    "relu", "hardtanh", "softplus", "gelu", "silu", "pow", "sinh", "cosh", "atan", "asin", "acos", "asinh", "acosh",
    "atanh", "clamp", "clamp_min", "clamp_max", "threshold", "neg", "erfc", "exp2", "log2", "log10", "mish", "elu",
    "log_sigmoid_forward", "hardswish", "hardsigmoid", "sign", "square", "round", "floor", "ceil", "trunc", "celu",
    "leaky_relu", "detach", "softshrink", "hardshrink",
}  # fmt: skip
# Functions of several numbers whose derivative depends on where it is evaluated.
MIXING = {
    "_softmax",
    "_log_softmax",
    "logsumexp",
    "linalg_vector_norm",
    "prod",
    "cumprod",
    "std",
    "var",
    "logcumsumexp",
}
PIECES = {"_prelu_kernel", "leaky_relu", "relu", "elu", "celu"}  # one formula above 0, another one below
MASKS = {"relu", "hardtanh", "clamp", "clamp_min", "clamp_max", "threshold", "softshrink", "hardshrink"}


def of_a_function(here: Place) -> Iterator[Slip]:
    """Of an elementwise function of one argument."""
    x, y, p, of = here.x, here.y, here.place, f"the derivative of {here.here}"
    if here.name == "detach":
        words = f"δ flows to {here.at}, which is detached there: the reference holds it constant"
        yield here.slip("one", 11, words, lambda up: up)
        return
    yield here.slip("one", 11, f"{of} is missing: {spoken(here.node)}' is taken as 1", lambda up: up)
    if here.name in MASKS:
        inverted = f"the mask of {here.here} is inverted"
        yield here.slip("inverted", 11, inverted, lambda up: torch.where(here.right(up) != 0, 0 * up, up))
    if here.name == "neg":
        return
    yield here.slip("twice", 12, f"{of} is applied twice", here.after(here.right))
    words = f"{of} is evaluated at {here.here} itself, where {here.at} belongs"
    yield here.slip("at y", 11, words, here.with_other(p, y))
    yield from of_elsewhere(here)
    yield here.slip("at −x", 11, f"{of} is evaluated at {_minus(here.at)}", here.with_other(p, -x))
    words = f"{of} is divided by where it should be multiplied with"
    yield here.slip("divided", 13, words, lambda up: up * up / here.right(up))
    own = here.right(torch.ones_like(here.up))
    yield here.slip("root", 14, f"the root of {of} is taken", partial(torch.mul, own.abs().sqrt()))
    if here.name == "exp":
        words = f"{of} is wrong: exp(z) − 1, with z = {here.at}, stands for it"
        yield here.slip(("formula", "expm1"), 12, words, partial(torch.mul, y - 1))
    for extra, text, value in formulas(x, y):
        where = f"with z = {here.at}" + (f", y = {here.here}" if "y" in text else "")
        words = f"{of} is wrong: {text} stands for it, {where}"
        yield here.slip(("formula", text), 13 + extra, words, partial(torch.mul, value))
        words = f"{of} has a factor {text} too much, {where}"
        yield here.slip(("times", text), 14 + extra, words, here.after(partial(torch.mul, value)))
        words = f"{of} lacks a factor {text}, {where}"
        yield here.slip(("over", text), 14 + extra, words, here.after(partial(torch.mul, 1 / value)))


def of_a_mask(here: Place) -> Iterator[Slip]:
    """The pieces of a function chosen by the sign of δ, not of its argument."""
    if here.up.shape == here.x.shape:
        words = f"the mask of {here.here} is taken from δ, not from {here.at}"
        yield here.slip("at δ", 12, words, lambda up: here.with_other(here.place, up.detach())(up))


def _minus(text: str) -> str:
    return text[1:] if text.startswith("−") and " " not in text else f"−({text})" if " " in text else f"−{text}"


def of_elsewhere(here: Place) -> Iterator[Slip]:
    """The right derivative at another quantity than the argument."""
    for other, value in here.others_like(here.x, here.edge[2]):
        name = beside(here.trace, other.index, here.edge[2])
        words = f"the derivative of {here.here} is evaluated at {name}, where {here.at} belongs"
        yield here.slip(("at", other.index), 13, words, here.with_other(here.place, value))


def of_a_power(here: Place) -> Iterator[Slip]:
    """Of x^p, where p is a quantity too."""
    x, p = (a.detach() for a in here.arguments)
    if here.place == 0:
        words = f"the derivative of {here.here} is taken as its exponent alone: the power is left out"
        yield here.slip("exponent", 12, words, lambda up: up * p)
        words = f"the exponent is left out as a factor in the derivative of {here.here} by {here.at}"
        yield here.slip("no exponent", 11, words, lambda up: here.right(up) / p)
        words = f"the derivative of {here.here} has its exponent not lowered by 1"
        yield here.slip("not lowered", 12, words, lambda up: here.right(up) * x)
    else:
        words = f"the logarithm of the base is missing in the derivative of {here.here} by its exponent"
        yield here.slip("no log", 12, words, lambda up: up * here.y)


def of_a_softmax(here: Place) -> Iterator[Slip]:
    """p (δ − Σ δ p) with the plain mean of δ."""
    axis, p = here.node.args[1], here.y
    words = f"in the derivative of {here.here}: the plain mean of δ stands for sum(δ · p), that weighted with p"
    yield here.slip("plain mean", 11, words, lambda up: p * (up - up.mean(axis, keepdim=True)))


def of_a_choice(here: Place) -> Iterator[Slip]:
    """Of where(mask, a, b)."""
    mask = here.arguments[0].bool()
    chosen = mask if here.place == 1 else ~mask
    words = f"the mask of {here.here} is left out: δ flows to {here.at} everywhere"
    yield here.slip("one", 11, words, lambda up: up)
    words = f"the mask of {here.here} is inverted: δ flows to {here.at} where it should not"

    def inverted(up: Tensor) -> Tensor:
        return torch.where(chosen, 0 * up, up)

    yield here.slip("inverted", 11, words, inverted)
