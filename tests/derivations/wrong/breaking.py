"""What a planted fault is, and how a right layer, loss or derivation is broken in one place."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from handgrad import manual
from handgrad.manual import Array, Layer, Params
from tests.derivations.case import Derivation

# From large to small. "structural" is a wrong formula; "float32" and "float16" are a lower precision inside; the
# others are relative errors of one element, or of a constant.
MAGNITUDES = ("structural", "float16", "float32", "1e-4", "1e-6", "1e-9", "1e-11")


def planted(
    name: str,
    kind: str,
    ours: Any,
    reference: Any,
    arguments: Mapping[str, Any],
    causes: Mapping[str, tuple[str, ...]],
    magnitude: str = "structural",
) -> Derivation:
    """A planted fault. `causes` has fragments of the causes of each tensor, with alternatives behind a |."""
    differs = {tensor: tuple(_pattern(words) for words in fragments) for tensor, fragments in causes.items()}
    return Derivation(name, kind, ours, reference, arguments, differs, origin="planted", group=magnitude)


def _pattern(words: str) -> str:
    """A fragment as a regular expression; .* stands for anything in between."""
    return re.escape(words).replace(r"\|", "|").replace(r"\.\*", ".*")


class Situation(NamedTuple):
    """What a broken derivation may look at."""

    params: Params
    x: Array
    y: Array
    dy: Any


Change = Callable[[Any, Situation], Any]


@dataclass(frozen=True)
class Broken(Layer):
    """A right layer of which some results are changed. A change that gives None leaves the tensor out."""

    right: Layer
    changes: Mapping[str, Change] = field(default_factory=dict)

    def init(self, rng: np.random.Generator) -> Params:
        return self.right.init(rng)

    def forward(self, params: Params, x: Array) -> tuple[Array, Any]:
        y, cache = self.right.forward(params, x)
        return self._changed("output", y, Situation(params, x, y, None)), (cache, x, y)

    def input_gradient(self, params: Params, cache: Any, dy: Array) -> Array:
        inner, x, y = cache
        dx = self.right.input_gradient(params, inner, dy)
        return self._changed("input gradient", dx, Situation(params, x, y, dy))

    def parameter_gradients(self, params: Params, cache: Any, dy: Array) -> Params:
        inner, x, y = cache
        right = self.right.parameter_gradients(params, inner, dy)
        s = Situation(params, x, y, dy)
        changed = {k: self._changed(f"gradient of {k}", g, s) for k, g in right.items()}
        return {k: g for k, g in changed.items() if g is not None}

    def _changed(self, tensor: str, value: Any, s: Situation) -> Any:
        change = self.changes.get(tensor)
        return value if change is None else change(value, s)


@dataclass(frozen=True)
class BrokenLoss(manual.Loss):
    """A right loss of which the value or the gradient is changed."""

    right: manual.Loss
    changes: Mapping[str, Callable[[Any, Array, Array], Any]]

    def forward(self, output: Array, target: Array) -> tuple[Array, Any]:
        J, cache = self.right.forward(output, target)
        change = self.changes.get("loss")
        return J if change is None else change(J, output, target), (cache, output, target)

    def gradient(self, cache: Any) -> Array:
        inner, output, target = cache
        gradient = self.right.gradient(inner)
        change = self.changes.get("loss gradient")
        return gradient if change is None else change(gradient, output, target)


def off_by(relative: float, index: tuple[int, ...] = (1, 2)) -> Callable[..., Any]:
    """One element, or a number, larger by a relative error."""

    def change(value: Any, *situation: Any) -> Any:
        if value.ndim == 0:
            return value * (1 + relative)
        at = index[-value.ndim :]
        copy = value.copy()
        copy[at] = copy[at] * (1 + relative)
        return copy

    return change
