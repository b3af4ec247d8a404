"""Softmax and normalisation, known by their numbers however the reference writes them, and the derivatives of both."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from itertools import combinations
from typing import Any, NamedTuple

import torch

from handgrad.compare.diagnosis.graph.edits.forms.recorded import Form, recorded
from handgrad.compare.diagnosis.graph.formulas.parts import exponentials, softmax_derivative
from handgrad.compare.diagnosis.graph.labels import UP
from handgrad.compare.diagnosis.graph.record.node import Rule, Tensor

Axes = tuple[int, ...]


def _softmax(dy: Any, x: Any, p: Any, axes: list[int]) -> Any:
    return softmax_derivative(dy, p, axes)


def _log_softmax(dy: Any, x: Any, y: Any, axes: list[int]) -> Any:
    return dy - exponentials(x, axes) * dy.sum(axes, keepdim=True)


def _centred(dy: Any, x: Any, h: Any, sigma: Any, axes: list[int]) -> Any:
    return (dy - dy.mean(axes, keepdim=True) - h * (dy * h).mean(axes, keepdim=True)) / sigma


def _by_root_mean_square(dy: Any, x: Any, h: Any, r: Any, axes: list[int]) -> Any:
    return (dy - h * (dy * h).mean(axes, keepdim=True)) / r


def _by_norm(dy: Any, x: Any, h: Any, r: Any, axes: list[int]) -> Any:
    return (dy - h * (dy * h).sum(axes, keepdim=True)) / r


def _is_softmax(x: Tensor, y: Tensor, axes: Axes) -> bool:
    return bool((y >= 0).all() and (y.sum(axes) - 1).abs().max() < 1e-6)


def _is_log_softmax(x: Tensor, y: Tensor, axes: Axes) -> bool:
    return bool((torch.exp(y).sum(axes) - 1).abs().max() < 1e-6)


def _scale(x: Tensor, y: Tensor, axes: Axes) -> Tensor:
    """What x is divided by to make y."""
    return (x * y).sum(axes, keepdim=True) / (y * y).sum(axes, keepdim=True)


def _is_scaled(x: Tensor, y: Tensor, axes: Axes) -> bool:
    return bool((x - _scale(x, y, axes) * y).abs().max() <= 1e-9 * x.abs().max())


def _is_centred(x: Tensor, y: Tensor, axes: Axes) -> bool:
    return _is_scaled(_less_mean(x, axes), y, axes)


def _less_mean(x: Tensor, axes: Axes) -> Tensor:
    return x - x.mean(axes, keepdim=True)


class Normalisation(NamedTuple):
    """What y is called, its derivative by x, whether y may be that, and what x, centred or not, is divided by."""

    symbol: str
    derivative: Callable[..., Any]
    may_be: Callable[..., bool]
    scale: str = ""
    centred: bool = False

    def beside(self, x: Tensor, y: Tensor, up: Tensor, axes: Axes) -> dict[str, Tensor]:
        """The scale, where it has one, and then what is taken for another quantity."""
        if not self.scale:
            return {}
        if self.centred:
            return {self.scale: _scale(_less_mean(x, axes), y, axes), "x − mean": _less_mean(x, axes)}
        return {self.scale: _scale(x, y, axes), CENTRED_UP: _less_mean(up, axes)}


CENTRED_UP = "δ − mean(δ)"
NORMALISATIONS = (
    Normalisation("p", _softmax, _is_softmax),
    Normalisation("log p", _log_softmax, _is_log_softmax),
    Normalisation("x̂", _centred, _is_centred, "σ", centred=True),
    Normalisation("x̂", _by_root_mean_square, _is_scaled, "the root mean square"),
    Normalisation("x̂", _by_norm, _is_scaled, "the norm"),
)


def normalisations(
    x: Tensor, y: Tensor, up: Tensor, name: str, right: Tensor, ups: dict[str, Tensor], others: dict[str, Tensor]
) -> Iterator[Form]:
    """The closed forms of y as a function of x, where y is x normalised or its softmax along some axes.

    Which it may be is read off the numbers, however the reference writes it; whether it is, is seen by the derivative,
    which must be `right`. The others, and another δ, are what else may stand in it.
    """
    for axes in (a for count in range(1, x.dim() + 1) for a in combinations(range(x.dim()), count)):
        for known in NORMALISATIONS if math.prod(x.shape[a] for a in axes) > 1 else ():
            if known.symbol == name or not known.may_be(x, y, axes):
                continue
            own, beside = {UP: up.detach(), name: x.detach(), known.symbol: y.detach()}, known.beside(x, y, up, axes)
            scale = [beside[known.scale]] if known.scale else []
            formula = partial(known.derivative, *own.values(), *scale, list(axes))
            if torch.allclose(formula(), right, 1e-9, 1e-12):
                made = recorded(formula, {**own, **beside, **ups, **others}, own, (CENTRED_UP, *ups))
                if made is not None:
                    yield made


def as_of_a_softmax(y: Tensor) -> Iterator[tuple[int, Rule]]:
    """(axis, the derivative of a softmax) of what is the logarithm of one: the two are taken for each other."""
    for axis in range(y.dim()):
        if y.shape[axis] > 1 and _is_log_softmax(y, y, (axis,)):
            yield axis, partial(softmax_derivative, p=torch.exp(y), axes=axis)
