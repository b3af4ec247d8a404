"""What `check` is given, made into two sides and several draws of inputs."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from handgrad.compare.checking import draws, kinks
from handgrad.compare.checking.evaluate import run_reference
from handgrad.compare.checking.kinks import KINKS
from handgrad.compare.foundation.errors import UsageError
from handgrad.compare.foundation.validation import is_whole, require_learning_rate
from handgrad.compare.judge.names import parameter
from handgrad.compare.judge.sides import (
    Arrays,
    FunctionSides,
    LayerSides,
    LossSides,
    Sides,
    TrajectorySides,
    is_float,
)


def describe(thing: Any) -> str:
    """A short name for a layer, module, function or pair of functions."""
    if isinstance(thing, tuple):
        return describe(thing[0])
    if dataclasses.is_dataclass(thing) and not isinstance(thing, type):
        given = [f for f in dataclasses.fields(thing) if getattr(thing, f.name) != f.default]
        return f"{type(thing).__name__}({', '.join(f'{f.name}={getattr(thing, f.name)!r}' for f in given)})"
    if isinstance(thing, nn.Module):
        return f"torch {' '.join(str(thing).split())}"
    return getattr(thing, "__name__", type(thing).__name__)


def layer_inputs(
    ours: Any, reference: Any, x: Any, params: Mapping[str, Any] | None, dy: Any, dtype: Any, seed: int
) -> tuple[Sides, dict[str, Arrays]]:
    """The sides of a layer, and its draws."""
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
    for what, spec in (("x", x), *shapes.items()):
        if draws.is_shape(spec):
            draws.require_room(spec, what)
    plans: dict[str, tuple[Any, float]] = {"draw 1": (x, 1.0), "draw 2": (x, 1.0), "draw 3": (x, 1.0)}
    if draws.is_shape(x):
        plans = {"draw 1": (x, 1.0), "draw 2": (x, 1.0), "other batch": (draws.other_batch(x), 1.0), "large": (x, 4.0)}
        if dy is not None:
            plans.pop("other batch")
        plans["dyadic"] = (draws.dyadic, 0)
        plans[KINKS] = (draws.other_batch(x) if dy is None else x, 0)
    inputs = {}
    for i, (label, (spec, scale)) in enumerate(plans.items()):
        rng = np.random.default_rng([seed, i])
        pick = draws.dyadic if label == "dyadic" else draws.away_from_zero

        def of_shape(shape: Any, rng: Any = rng, pick: Any = pick) -> Any:
            return lambda _: pick(rng, shape)

        arrays: Arrays = {
            parameter(k): draws.draw_floats(of_shape(v) if draws.is_shape(v) else v, rng, dtype, what=k)
            for k, v in shapes.items()
        }
        if label == "dyadic":
            spec = of_shape(x)
        elif label == KINKS:
            spec = _at(kinks.at_points(rng, spec, kinks.points(ours, reference)))
        arrays["x"] = draws.draw_floats(spec, rng, dtype, scale or 1.0)
        arrays["dy"] = np.empty(0, dtype)
        shape = _output_shape(sides, {k: v for k, v in arrays.items() if k != "dy"})
        arrays["dy"] = draws.draw_floats(of_shape(shape) if dy is None else dy, rng, dtype, what="dy")
        if arrays["dy"].shape != shape:
            raise UsageError(f"dy must have the output's shape {shape}, got {arrays['dy'].shape}: give it that shape")
        inputs[label] = arrays
    return sides, inputs


def _at(value: np.ndarray) -> Callable[[np.random.Generator], np.ndarray]:
    return lambda _: value


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


def _output_shape(sides: Any, inputs: Arrays) -> tuple[int, ...]:
    output = run_reference(sides, inputs)["output"]
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


def loss_inputs(
    ours: Any, reference: Any, output: Any, target: Any, dtype: Any, seed: int
) -> tuple[Sides, dict[str, Arrays]]:
    """The sides of a loss, and its draws."""
    if not (hasattr(ours, "forward") and hasattr(ours, "gradient")):
        raise UsageError(f"a loss must have forward(output, target) and gradient(cache), got {describe(ours)}")
    if target is None:
        raise UsageError("a loss needs target=: a shape, an array, a function of a generator, or 'class'")
    for what, spec in (("output", output), ("target", target)):
        if draws.is_shape(spec):
            draws.require_room(spec, what)
    inputs = {}
    plans = {"draw 1": (output, target, 1.0), "draw 2": (output, target, 1.0)}
    if draws.is_shape(output):
        same = draws.is_shape(target) or isinstance(target, str)
        other = draws.other_batch(target)
        if draws.is_shape(target) and len(output) > 1 and target == output[:1]:  # one number an example
            other = draws.other_batch(output)[:1]
        plans |= {"large": (output, target, 4.0)}
        plans |= {"other batch": (draws.other_batch(output), other, 1.0)} if same else {}
        plans |= {"dyadic": (output, target, 0.0), KINKS: (output, target, 0.0)}
    else:
        plans |= {"draw 3": (output, target, 1.0)}
    for i, (label, (out_spec, target_spec, scale)) in enumerate(plans.items()):
        rng = np.random.default_rng([seed, i])
        if label in ("dyadic", KINKS):
            values = draws.dyadic(rng, out_spec).astype(dtype)
        else:
            values = draws.draw_floats(out_spec, rng, dtype, scale, "output")
        if isinstance(target_spec, str):
            if target_spec != "class":
                raise UsageError(f"target must be a shape, an array, a function or 'class', got {target_spec!r}")
            if values.ndim < 2:
                raise UsageError(
                    f"output must have a row of numbers for each example beside target='class', got shape "
                    f"{values.shape}: make it (N, classes)"
                )
            wanted = rng.integers(0, values.shape[-1], values.shape[:-1])
        elif label in ("dyadic", KINKS) and draws.is_shape(target_spec):
            wanted = (draws.dyadic(rng, target_spec) * 0.75).astype(dtype)
            wanted = np.where(wanted == values, -wanted, wanted) if wanted.shape == values.shape else wanted
        else:
            wanted = draws.draw(target_spec, rng, dtype, 1.0, "target")
        shape = np.shape(wanted)
        if type(reference).__module__.startswith("torch.nn") and is_float(wanted) and shape != values.shape:
            raise UsageError(
                f"target must have the output's shape {values.shape}, got {shape}: reshape it (nothing is broadcast)"
            )
        inputs[label] = {"output": values, "target": wanted}
        if label == KINKS:
            inputs[label] = kinks.loss_at_points(rng, out_spec, wanted, kinks.points(ours, reference), dtype)
    return LossSides(ours, reference), inputs


def rule_inputs(
    ours: Any, reference: Any, theta: Any, learning_rate: float, steps: int, dtype: Any, seed: int
) -> tuple[Sides, dict[str, Arrays]]:
    """The sides of an update rule, and its draws: random gradients, the same for both."""
    if not (hasattr(ours, "init") and hasattr(ours, "update")):
        raise UsageError(
            f"an update rule must have init(theta) and update(theta, grad, state, learning_rate), got {describe(ours)}"
        )
    require_steps(steps)
    require_learning_rate(learning_rate)
    if draws.is_shape(theta):
        draws.require_room((steps, *theta), "a gradient a step")
    sides = TrajectorySides(ours, optimizer_factory(ours, reference))
    inputs = {}
    for i in range(2):
        rng = np.random.default_rng([seed, i])
        start = draws.draw_floats(theta, rng, dtype, what="theta")
        if start.ndim != 1:
            raise UsageError(f"theta must be one flat vector, got shape {start.shape}: flatten it")
        grads = draws.away_from_zero(rng, (steps, *start.shape)).astype(dtype)
        inputs[f"draw {i + 1}"] = {"theta": start, "grads": grads, "learning rate": learning_rate}
    return sides, inputs


def require_steps(steps: Any) -> None:
    """UsageError unless so many steps can be made."""
    if not is_whole(steps) or steps < 1:
        raise UsageError(f"steps must be a whole number of at least 1, got {steps!r}: choose another")


def require_reference(kind: str, ours: Any, reference: Any) -> None:
    """UsageError for a class where an instance belongs, and for a reference that cannot be called."""
    if isinstance(ours, type):
        raise UsageError(f"check takes an instance of {kind}, got the class {ours.__name__}: write {ours.__name__}(…)")
    if isinstance(reference, type) and kind != "an update rule":
        raise UsageError(
            f"the torch reference must be an instance, got the class {reference.__name__}: "
            f"write {reference.__name__}(…)"
        )
    if not callable(reference):
        raise UsageError(
            "the torch reference must be a module, a function of tensors or, for an update rule, a class of "
            "torch.optim, "
            f"got {describe(reference)}: give one of these"
        )


def optimizer_factory(ours: Any, reference: Any) -> Callable[..., torch.optim.Optimizer]:
    """A function (parameters, learning rate) that makes the torch optimizer; `hyperparameters` are given to it."""
    if not isinstance(reference, type):
        return reference
    given = hyperparameters(ours, reference)
    return lambda parameters, lr: reference(parameters, lr=lr, **given)


def hyperparameters(ours: Any, reference: type) -> dict[str, Any]:
    """Those of the manual rule that a class of torch.optim knows by the same name, but for the learning rate.

    The fields of a dataclass, or public numbers of a plain class or its instance; beta1 and beta2 together are betas.
    """
    if dataclasses.is_dataclass(ours):
        options = {f.name: getattr(ours, f.name) for f in dataclasses.fields(ours)}
    else:
        names = [n for n in (*dir(type(ours)), *getattr(ours, "__dict__", {})) if not n.startswith("_")]
        options = {n: v for n in names if _is_plain(v := inspect.getattr_static(ours, n))}
    known = inspect.signature(reference).parameters
    if "betas" in known and {"beta1", "beta2"} <= options.keys():
        options["betas"] = (options.pop("beta1"), options.pop("beta2"))
    return {k: v for k, v in options.items() if k in known and k not in ("lr", "params")}


def _is_plain(value: Any) -> bool:
    pair = value if isinstance(value, tuple) and value else (value,)
    return all(isinstance(v, (bool, int, float, np.integer, np.floating)) for v in pair)


def describe_reference(ours: Any, reference: Any) -> str:
    """A short name for a reference; for a class of torch.optim with what it is given: torch SGD(momentum=0.9)."""
    if not (isinstance(reference, type) and issubclass(reference, torch.optim.Optimizer)):
        return describe(reference)
    given = ", ".join(f"{k}={v!r}" for k, v in hyperparameters(ours, reference).items())
    return f"torch {reference.__name__}({given})"
