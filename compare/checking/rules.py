"""An update rule: the forms in which it may be handed in, and its draws of random gradients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from handgrad.compare.checking import draws
from handgrad.compare.checking.draws import Draw, Drawn, Kind
from handgrad.compare.checking.references import describe, optimizer_factory
from handgrad.compare.checking.specs import as_given
from handgrad.compare.foundation.errors import UsageError
from handgrad.compare.foundation.validation import is_whole, require_learning_rate
from handgrad.compare.judge.names import GRADS, LEARNING_RATE, THETA
from handgrad.compare.judge.sides import Arrays
from handgrad.compare.judge.trajectories import Layout, TorchRule, TrajectorySides


def rule_inputs(
    ours: Any, reference: Any, theta: Any, learning_rate: float, steps: int, dtype: Any, seed: int
) -> Drawn:
    """The sides of an update rule, and its draws: random gradients, the same for both."""
    rule = _as_rule(ours)
    require_steps(steps)
    require_learning_rate(learning_rate)
    layout, specs = _layout(theta)
    for spec in specs:
        if draws.is_shape(spec):
            draws.require_room((steps, *spec), "a gradient a step")

    def arrays_of(rng: np.random.Generator, rate: float) -> Arrays:
        start = [draws.draw_floats(spec, rng, dtype, what=THETA) for spec in specs]
        if layout is None and start[0].ndim != 1:
            raise UsageError(
                f"theta must be one flat vector, or tensors by name, got shape {start[0].shape}: flatten it, or write "
                f'theta={{"w": {start[0].shape}}}'
            )
        flat = np.concatenate([value.ravel() for value in start])
        grads = draws.away_from_zero(rng, (steps, flat.size)).astype(dtype)
        return {THETA: flat, GRADS: grads, LEARNING_RATE: rate}

    # a rule may have a rate of its own
    rates = {"draw 1": learning_rate, "draw 2": learning_rate, "half the rate": learning_rate / 2}
    found = [
        Draw(label, arrays_of(np.random.default_rng([seed, i]), rate), Kind.PLAIN)
        for i, (label, rate) in enumerate(rates.items())
    ]
    return Drawn(TrajectorySides(rule, optimizer_factory(ours, reference), layout), found)


def _layout(theta: Any) -> tuple[Layout | None, list[Any]]:
    """The tensors of θ by name, and what each is to be; None for one flat vector."""
    if isinstance(theta, Mapping):
        found = {str(k): as_given(v) for k, v in theta.items()}
    elif isinstance(theta, list) and theta and not all(isinstance(v, (int, float)) for v in theta):
        found = {str(k): as_given(v) for k, v in enumerate(theta)}
    else:
        return None, [as_given(theta)]
    if not found:
        raise UsageError("theta must have at least one tensor, got none: give it one")
    specs = list(found.values())
    shapes = {k: v if draws.is_shape(v) else np.shape(v) for k, v in found.items() if not callable(v)}
    if len(shapes) < len(found):
        raise UsageError("tensors of theta by name must be shapes or arrays, got a function: give a shape")
    return Layout(shapes, isinstance(theta, Mapping)), specs


def _as_rule(ours: Any) -> Any:
    """The rule with init(theta) and update(theta, grad, state, learning_rate); or an optimizer of torch."""
    if hasattr(ours, "init") and hasattr(ours, "update"):
        return ours
    if isinstance(ours, type) and issubclass(ours, torch.optim.Optimizer):
        kind: Any = ours
        return TorchRule(lambda parameters, rate: kind(parameters, lr=rate))
    if callable(ours) and not isinstance(ours, type):
        return TorchRule(ours)
    raise UsageError(
        "an update rule must have init(theta) and update(theta, grad, state, learning_rate), or be a class of "
        f"torch.optim.Optimizer or a function (parameters, lr) that makes one, got {describe(ours)}"
    )


def require_steps(steps: Any) -> None:
    """UsageError unless so many steps can be made."""
    if not is_whole(steps) or steps < 1:
        raise UsageError(f"steps must be a whole number of at least 1, got {steps!r}: choose another")
