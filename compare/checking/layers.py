"""The forms in which a layer or a function may be handed in, each made into two sides and their draws."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import nn

from handgrad.compare.checking.call_inputs import Asked, call_inputs, one_input
from handgrad.compare.checking.draws import Drawn
from handgrad.compare.checking.references import describe
from handgrad.compare.checking.specs import as_given, is_shape
from handgrad.compare.foundation.errors import UsageError
from handgrad.compare.foundation.validation import COMPLEX, DTYPES
from handgrad.compare.judge.derivations import Combined, Functions, Layer
from handgrad.compare.judge.names import X
from handgrad.compare.judge.stateful import Stateful, look_up


def layer_inputs(
    ours: Any,
    reference: Any,
    x: Any,
    inputs: Mapping[str, Any] | None,
    params: Mapping[str, Any] | None,
    dy: Any,
    dtype: str,
    seed: int,
) -> Drawn:
    """The sides of a layer or a function, and its draws. Its inputs are `inputs`, or x alone."""
    arguments = {X: x} if inputs is None else dict(inputs)
    asked = Asked(arguments, dict(params or {}), dy, (DTYPES | COMPLEX)[dtype], dtype in COMPLEX, seed)
    if isinstance(ours, tuple) and len(ours) == 2 and all(callable(f) for f in ours):
        _require_same_names(reference, asked.params)
        return call_inputs(Functions(*ours), reference, asked)
    if isinstance(ours, Stateful):
        asked = dataclasses.replace(asked, params={**_shapes_of(ours), **asked.params})
        _require_same_names(reference, asked.params)
        return call_inputs(ours, reference, asked)
    if hasattr(ours, "forward") and hasattr(ours, "input_gradient"):
        drawn = ours.init(np.random.default_rng(seed)) if hasattr(ours, "init") else {}
        asked = dataclasses.replace(asked, params={**{k: np.shape(v) for k, v in drawn.items()}, **asked.params})
        _require_same_names(reference, asked.params)
        alone = list(arguments) == [X] and dtype not in COMPLEX
        return one_input(_filled(ours), reference, asked) if alone else call_inputs(Layer(ours), reference, asked)
    if inspect.isfunction(ours) and inputs is not None:
        _require_same_names(reference, asked.params)
        return call_inputs(Combined(ours), reference, dataclasses.replace(asked, dy=lambda rng: np.ones(())))
    if hasattr(ours, "forward") and hasattr(ours, "backward"):
        kind = type(ours).__name__
        raise UsageError(
            "a layer that keeps what backward needs must be made anew for every evaluation, but got one that exists: "
            f'write stateful(lambda: {kind}(…), gradients={{"W": "dW"}})'
        )
    raise UsageError(
        "a layer must have forward(params, x) and input_gradient(params, cache, dy), or be a pair "
        f"(forward, backward) of functions, or stateful(…), got {describe(ours)}"
    )


def _shapes_of(layer: Stateful) -> dict[str, Any]:
    """The shapes of the parameters of a layer with state."""
    made = layer.factory()
    return {name: np.shape(as_given(look_up(made, path))) for name, path in layer.paths.items()}


def _filled(layer: Any) -> Any:
    """A layer without parameters need not say so."""
    if hasattr(layer, "parameter_gradients"):
        return layer
    return _WithoutParameters(layer)


@dataclasses.dataclass(frozen=True)
class _WithoutParameters:
    layer: Any

    def forward(self, params: Any, x: Any) -> Any:
        return self.layer.forward(params, x)

    def input_gradient(self, params: Any, cache: Any, dy: Any) -> Any:
        return self.layer.input_gradient(params, cache, dy)

    def parameter_gradients(self, params: Any, cache: Any, dy: Any) -> Any:
        return {}


def _require_same_names(reference: Any, shapes: Mapping[str, Any]) -> None:
    """UsageError unless the reference's parameters have the manual side's names and shapes."""
    if not isinstance(reference, nn.Module):
        return
    theirs = {k: tuple(v.shape) for k, v in reference.named_parameters()}
    ours = {k: v if is_shape(v) else np.shape(as_given(v)) for k, v in shapes.items() if not callable(v)}
    known = {k: v for k, v in ours.items() if not any(isinstance(n, str) for n in v)}
    if theirs.keys() != shapes.keys() or any(theirs[k] != v for k, v in known.items()):
        raise UsageError(
            "the reference's parameters must have the manual side's names and shapes, but torch has "
            f"{theirs or 'none'} and the manual side {ours or 'none'}: rename them, or wrap the reference "
            "in a function reference(x, **params)"
        )
