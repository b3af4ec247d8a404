"""Softmax and normalisation, known by their numbers however the reference writes them, and the closed forms of both."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from itertools import combinations
from typing import Any, NamedTuple

import torch

from handgrad.compare.diagnosis.graph.forms.recorded import recorded
from handgrad.compare.diagnosis.graph.record.labels import label
from handgrad.compare.diagnosis.graph.record.trace import Rule, Tensor, Trace


def _softmax(dy: Any, x: Any, p: Any, axes: list[int]) -> Any:
    return p * (dy - (dy * p).sum(axes, keepdim=True))


def _log_softmax(dy: Any, x: Any, y: Any, axes: list[int]) -> Any:
    e = torch.exp(x)
    p = label(e / e.sum(axes, keepdim=True), "p")
    return dy - p * dy.sum(axes, keepdim=True)


def _centred(dy: Any, x: Any, h: Any, sigma: Any, axes: list[int]) -> Any:
    return (dy - dy.mean(axes, keepdim=True) - h * (dy * h).mean(axes, keepdim=True)) / sigma


def _by_root_mean_square(dy: Any, x: Any, h: Any, r: Any, axes: list[int]) -> Any:
    return (dy - h * (dy * h).mean(axes, keepdim=True)) / r


def _by_norm(dy: Any, x: Any, h: Any, r: Any, axes: list[int]) -> Any:
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
    Form("p", _softmax, _is_softmax),
    Form("log p", _log_softmax, _is_log_softmax),
    Form("x̂", _centred, _is_centred, "σ"),
    Form("x̂", _by_root_mean_square, _is_scaled, "the root mean square"),
    Form("x̂", _by_norm, _is_scaled, "the norm"),
)


def _around(
    form: Form, x: Tensor, y: Tensor, up: Tensor, axes: tuple[int, ...]
) -> tuple[list[Tensor], dict[str, Tensor]]:
    """The scale that a form is written with, where it has one; and what is taken for another quantity in it."""
    if not form.scale:
        return [], {}
    centre = x - x.mean(axes, keepdim=True)
    if form.derivative is _centred:
        return [_scale(centre, y, axes)], {"x − mean": centre}
    return [_scale(x, y, axes)], {"δ − mean(δ)": up - up.mean(axes, keepdim=True)}


def by_pattern(
    x: Tensor, y: Tensor, up: Tensor, name: str, right: Tensor, others: dict[str, Tensor]
) -> Iterator[Trace]:
    """The closed forms of y as a function of x, where y is x normalised or its softmax along some axes.

    Which it may be is read off the numbers, however the reference writes it; whether it is, is seen by the derivative,
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
                made = recorded(partial(form.derivative, *leaves.values(), list(axes)), every)
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
