"""An update rule: the forms in which it may be handed in, and the trajectories on which it is judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from handgrad.compare.checking import draws
from handgrad.compare.checking.draws import Draw, Drawn, Kind
from handgrad.compare.checking.references import describe, optimizer_factory
from handgrad.compare.checking.rule_steps import BEYOND, MOST, not_passed, step_counts
from handgrad.compare.checking.specs import as_given
from handgrad.compare.checking.trajectories import (
    SCALES,
    SMALL,
    changing_rates,
    large_gradients,
    opposed_gradients,
    small_gradients,
)
from handgrad.compare.foundation.debug import swallowed
from handgrad.compare.foundation.errors import UsageError
from handgrad.compare.foundation.validation import is_whole, require_learning_rate
from handgrad.compare.judge.names import GRADS, LEARNING_RATE, THETA
from handgrad.compare.judge.sides import Arrays
from handgrad.compare.judge.trajectories import FEW, Layout, TorchRule, TrajectorySides

STEPS = FEW  # of a trajectory, unless a rule compares its step count with more
LONG = 20  # steps of large gradients, which make the longest trajectory
MANY = 100  # steps that are given, after each of which θ is compared
LARGEST = 1 << 20  # numbers of all gradients of one trajectory


def rule_inputs(
    ours: Any, reference: Any, theta: Any, learning_rate: float, steps: int | None, dtype: Any, seed: int
) -> Drawn:
    """The sides of an update rule, and its trajectories: gradients that are the same for both.

    Plain ones; ones against those before; from 0 and far below every ε; and so large that clipping shows, with a
    learning rate that changes. The last one goes on beyond whatever either side compares its step count with, unless
    `steps` says how long it is.
    """
    rule = _as_rule(ours)
    if steps is not None:
        require_steps(steps)
    require_learning_rate(learning_rate)
    layout, specs = _layout(theta)
    for spec in specs:
        if draws.is_shape(spec):
            draws.require_room((steps or STEPS, *spec), "a gradient a step")

    def theta_of(rng: np.random.Generator, scales: Any = 1.0) -> np.ndarray:
        start = [draws.draw_floats(spec, rng, dtype, what=THETA) for spec in specs]
        if layout is None and start[0].ndim != 1:
            raise UsageError(
                f"theta must be one flat vector, or tensors by name, got shape {start[0].shape}: flatten it, or write "
                f'theta={{"w": {start[0].shape}}}'
            )
        shares = [
            np.resize(scales, v.size).astype(dtype) if draws.is_shape(spec) else 1
            for v, spec in zip(start, specs, strict=True)
        ]
        return np.concatenate([value.ravel() * share for value, share in zip(start, shares, strict=True)])

    sides = TrajectorySides(rule, optimizer_factory(ours, reference), layout)
    rngs = [np.random.default_rng([seed, i]) for i in range(4)]
    start = theta_of(rngs[0])
    size, few = start.size, steps or STEPS
    plain: Arrays = {THETA: start, GRADS: draws.away_from_zero(rngs[0], (few, size)).astype(dtype)}
    plain[LEARNING_RATE] = learning_rate
    constants = step_counts(sides, plain)
    last = steps or _as_many_as(constants.heard | constants.guessed, size)
    sides = replace(sides, every=1 if steps is not None and last <= MANY else FEW)
    opposed: Arrays = {**plain, THETA: theta_of(rngs[1]), GRADS: opposed_gradients(rngs[1], few, size).astype(dtype)}
    small: Arrays = {
        THETA: theta_of(rngs[2], SCALES),
        GRADS: small_gradients(rngs[2], min(few, len(SMALL)), size).astype(dtype),
    }
    small[LEARNING_RATE] = 0.3 * learning_rate  # a rule may have a rate of its own
    large: Arrays = {THETA: theta_of(rngs[3]), GRADS: large_gradients(rngs[3], last, size).astype(dtype)}
    large[LEARNING_RATE], said = _changing(sides, large, learning_rate)
    found = [
        Draw("plain gradients", plain),
        Draw("opposed gradients", opposed),
        Draw("small gradients", small, Kind.BEYOND),
        Draw("large gradients", large, Kind.BEYOND),
    ]
    return Drawn(sides, found, said, not_passed(sides, large, constants))


def _as_many_as(constants: set[int], size: int) -> int:
    """The steps of the longest trajectory: beyond twice each constant, as what is done now and then is done twice."""
    wanted = max([LONG, *(2 * c + BEYOND for c in constants if c + BEYOND <= MOST)])
    return min(wanted, MOST, max(STEPS, LARGEST // size))


def _changing(sides: TrajectorySides, large: Arrays, rate: float) -> tuple[Any, tuple[str, ...]]:
    """The learning rates of the trajectory, and what is to be said of them.

    A reference that takes its rate when it is made, and never again, has no others to be compared at; but what torch's
    own optimizers do is what they do.
    """
    changing = changing_rates(rate, len(large[GRADS]))
    if len(set(changing)) == 1:
        return changing, ()
    try:
        parameter = [torch.nn.Parameter(torch.zeros(1))]
        if type(sides.optimizer(parameter, rate)).__module__.startswith("torch.optim"):
            return changing, ()
        varied, constant = (sides.torch({**large, LEARNING_RATE: eta}) for eta in (changing, changing[0]))
    except Exception as problem:  # which the judge will say
        swallowed(problem, "the reference at changing learning rates")
        return changing, ()
    if any(not np.array_equal(y, constant[name], equal_nan=True) for name, y in varied.items()):
        return changing, ()
    return changing[0], ("the reference takes its learning rate when it is made: one that changes was not compared",)


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
