"""What `check` is given, made into two sides and several draws of inputs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from torch import nn

from handgrad.compare.checking import draws, kinks
from handgrad.compare.checking.draws import Draw, Kind
from handgrad.compare.checking.evaluate import run_reference
from handgrad.compare.checking.references import describe, is_torchs_own, optimizer_factory
from handgrad.compare.foundation.errors import UsageError
from handgrad.compare.foundation.validation import is_whole, require_learning_rate
from handgrad.compare.judge.names import DY, GRADS, LEARNING_RATE, OUTPUT, TARGET, THETA, X, parameter
from handgrad.compare.judge.sides import (
    Arrays,
    FunctionSides,
    LayerSides,
    LossSides,
    Sides,
    TrajectorySides,
    is_float,
)

LARGE = 4.0  # times the numbers of a plain draw
CLASSES = "class"  # the target that asks for integers below the number of outputs


def layer_inputs(
    ours: Any, reference: Any, x: Any, params: Mapping[str, Any] | None, dy: Any, dtype: Any, seed: int
) -> tuple[Sides, list[Draw]]:
    """The sides of a layer, and its draws."""
    sides, shapes = _layer_sides(ours, reference, params, seed)
    for what, spec in ((X, x), *shapes.items()):
        if draws.is_shape(spec):
            draws.require_room(spec, what)
    plans = [("draw 1", Kind.PLAIN, x), ("draw 2", Kind.PLAIN, x)]
    if draws.is_shape(x):
        other = draws.other_batch(x) if dy is None else x
        plans += [("other batch", Kind.OTHER_BATCH, other)] if dy is None else []
        plans += [("large", Kind.LARGE, x), ("dyadic", Kind.DYADIC, x), ("kinks", Kind.KINKS, other)]
    else:
        plans.append(("draw 3", Kind.PLAIN, x))

    def arrays_of(kind: Kind, spec: Any, rng: np.random.Generator) -> Arrays:
        pick = draws.dyadic if kind is Kind.DYADIC else draws.away_from_zero

        def of_shape(shape: Any) -> Any:
            return lambda _: pick(rng, shape)

        arrays: Arrays = {
            parameter(k): draws.draw_floats(of_shape(v) if draws.is_shape(v) else v, rng, dtype, what=k)
            for k, v in shapes.items()
        }
        if kind is Kind.DYADIC:
            spec = of_shape(spec)
        elif kind is Kind.KINKS:
            spec = kinks.at_points(rng, spec, kinks.points(ours, reference))
        arrays[X] = draws.draw_floats(spec, rng, dtype, LARGE if kind is Kind.LARGE else 1.0)
        shape = _output_shape(sides, arrays)
        arrays[DY] = draws.draw_floats(of_shape(shape) if dy is None else dy, rng, dtype, what=DY)
        if arrays[DY].shape != shape:
            raise UsageError(f"dy must have the output's shape {shape}, got {arrays[DY].shape}: give it that shape")
        return arrays

    return sides, _drawn(plans, arrays_of, seed)


def _drawn(plans: list[tuple[str, Kind, Any]], arrays_of: Callable[..., Arrays], seed: int) -> list[Draw]:
    """Every plan carried out, each with a generator of its own."""
    return [
        Draw(label, arrays_of(kind, spec, np.random.default_rng([seed, i])), kind)
        for i, (label, kind, spec) in enumerate(plans)
    ]


def _layer_sides(
    ours: Any, reference: Any, params: Mapping[str, Any] | None, seed: int
) -> tuple[Sides, dict[str, Any]]:
    """The two sides of a layer, and its parameters' shapes or values."""
    sides: Sides
    if isinstance(ours, tuple) and len(ours) == 2 and all(callable(f) for f in ours):
        sides = FunctionSides(*ours, reference)
        shapes = dict(params or {})
    elif hasattr(ours, "forward") and hasattr(ours, "input_gradient"):
        sides = LayerSides(_filled(ours), reference)
        drawn = ours.init(np.random.default_rng(seed)) if hasattr(ours, "init") else {}
        shapes = {**{k: np.shape(v) for k, v in drawn.items()}, **(params or {})}
    else:
        raise UsageError(
            "a layer must have forward(params, x) and input_gradient(params, cache, dy), or be a pair "
            f"(forward, backward) of functions, got {describe(ours)}"
        )
    _require_same_names(reference, shapes)
    return sides, shapes


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


def _output_shape(sides: Sides, inputs: Arrays) -> tuple[int, ...]:
    output = run_reference(sides, inputs)[OUTPUT]
    if output.dtype.kind != "f":
        raise UsageError(
            f"the torch reference must return floating-point numbers, got {output.dtype}: nothing else has a gradient"
        )
    shape: tuple[int, ...] = output.shape
    return shape


def _require_same_names(reference: Any, shapes: Mapping[str, Any]) -> None:
    """UsageError unless the reference's parameters have the manual side's names and shapes."""
    if not isinstance(reference, nn.Module):
        return
    theirs = {k: tuple(v.shape) for k, v in reference.named_parameters()}
    ours = {k: v if draws.is_shape(v) else np.shape(v) for k, v in shapes.items()}
    if theirs != ours:
        raise UsageError(
            "the reference's parameters must have the manual side's names and shapes, but torch has "
            f"{theirs or 'none'} and the manual side {ours or 'none'}: rename them, or wrap the reference "
            "in a function "
            "reference(x, **params)"
        )


def loss_inputs(ours: Any, reference: Any, output: Any, target: Any, dtype: Any, seed: int) -> tuple[Sides, list[Draw]]:
    """The sides of a loss, and its draws."""
    if not (hasattr(ours, "forward") and hasattr(ours, "gradient")):
        raise UsageError(f"a loss must have forward(output, target) and gradient(cache), got {describe(ours)}")
    if target is None:
        raise UsageError("a loss needs target=: a shape, an array, a function of a generator, or 'class'")
    for what, spec in ((OUTPUT, output), (TARGET, target)):
        if draws.is_shape(spec):
            draws.require_room(spec, what)
    given = output, target
    plans = [("draw 1", Kind.PLAIN, given), ("draw 2", Kind.PLAIN, given)]
    if draws.is_shape(output):
        plans.append(("large", Kind.LARGE, given))
        if draws.is_shape(target) or isinstance(target, str):
            plans.append(("other batch", Kind.OTHER_BATCH, _other_batch(output, target)))
        plans += [("dyadic", Kind.DYADIC, given), ("kinks", Kind.KINKS, given)]
    else:
        plans.append(("draw 3", Kind.PLAIN, given))

    def arrays_of(kind: Kind, specs: Any, rng: np.random.Generator) -> Arrays:
        few_bits = kind in (Kind.DYADIC, Kind.KINKS)
        if few_bits:
            values = draws.dyadic(rng, specs[0]).astype(dtype)
        else:
            values = draws.draw_floats(specs[0], rng, dtype, LARGE if kind is Kind.LARGE else 1.0, OUTPUT)
        wanted = _target(specs[1], values, few_bits, rng, dtype)
        if is_torchs_own(reference) and is_float(wanted) and wanted.shape != values.shape:
            raise UsageError(
                f"target must have the output's shape {values.shape}, got {wanted.shape}: reshape it "
                "(nothing is broadcast)"
            )
        if kind is Kind.KINKS:
            return kinks.loss_at_points(rng, specs[0], wanted, kinks.points(ours, reference), dtype)
        return {OUTPUT: values, TARGET: wanted}

    return LossSides(ours, reference), _drawn(plans, arrays_of, seed)


def _other_batch(output: Any, target: Any) -> tuple[Any, Any]:
    """The shapes of output and target with another batch size."""
    other = draws.other_batch(output)
    if draws.is_shape(target) and len(output) > 1 and target == output[:1]:  # one number an example
        return other, other[:1]
    return other, draws.other_batch(target)


def _target(spec: Any, values: np.ndarray, few_bits: bool, rng: np.random.Generator, dtype: Any) -> np.ndarray:
    """The target beside these values: classes, numbers with few bits, or whatever the spec says."""
    if isinstance(spec, str):
        if spec != CLASSES:
            raise UsageError(f"target must be a shape, an array, a function or 'class', got {spec!r}")
        if values.ndim < 2:
            raise UsageError(
                f"output must have a row of numbers for each example beside target='class', got shape "
                f"{values.shape}: make it (N, classes)"
            )
        return rng.integers(0, values.shape[-1], values.shape[:-1])
    if few_bits and draws.is_shape(spec):
        wanted = (draws.dyadic(rng, spec) * 0.75).astype(dtype)
        return np.where(wanted == values, -wanted, wanted) if wanted.shape == values.shape else wanted
    return draws.draw(spec, rng, dtype, 1.0, TARGET)


def rule_inputs(
    ours: Any, reference: Any, theta: Any, learning_rate: float, steps: int, dtype: Any, seed: int
) -> tuple[Sides, list[Draw]]:
    """The sides of an update rule, and its draws: random gradients, the same for both."""
    if not (hasattr(ours, "init") and hasattr(ours, "update")):
        raise UsageError(
            f"an update rule must have init(theta) and update(theta, grad, state, learning_rate), got {describe(ours)}"
        )
    require_steps(steps)
    require_learning_rate(learning_rate)
    if draws.is_shape(theta):
        draws.require_room((steps, *theta), "a gradient a step")

    def arrays_of(kind: Kind, spec: Any, rng: np.random.Generator) -> Arrays:
        start = draws.draw_floats(spec, rng, dtype, what=THETA)
        if start.ndim != 1:
            raise UsageError(f"theta must be one flat vector, got shape {start.shape}: flatten it")
        grads = draws.away_from_zero(rng, (steps, *start.shape)).astype(dtype)
        return {THETA: start, GRADS: grads, LEARNING_RATE: learning_rate}

    plans = [("draw 1", Kind.PLAIN, theta), ("draw 2", Kind.PLAIN, theta)]
    return TrajectorySides(ours, optimizer_factory(ours, reference)), _drawn(plans, arrays_of, seed)


def require_steps(steps: Any) -> None:
    """UsageError unless so many steps can be made."""
    if not is_whole(steps) or steps < 1:
        raise UsageError(f"steps must be a whole number of at least 1, got {steps!r}: choose another")
