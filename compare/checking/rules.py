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
from handgrad.compare.checking.rule_tensors import other_tensors
from handgrad.compare.checking.specs import as_given
from handgrad.compare.checking.trajectories import (
    SCALES,
    SMALL,
    changing_rates,
    large_gradients,
    lasting_gradients,
    not_finite_gradients,
    opposed_gradients,
    small_gradients,
)
from handgrad.compare.foundation.debug import swallowed
from handgrad.compare.foundation.errors import UsageError
from handgrad.compare.foundation.validation import is_whole, require_learning_rate
from handgrad.compare.judge.names import GRADS, LEARNING_RATE, THETA, is_theta, theta_after
from handgrad.compare.judge.sides import Arrays
from handgrad.compare.judge.trajectories import FEW, Layout, TorchRule, TrajectorySides

STEPS = FEW  # of a trajectory, unless a rule compares its step count with more
LONG = 14  # steps of large gradients, which make the longest trajectory
LASTING = 60  # steps in which what grows by a fifth reaches 50, and what is halved at every second one 0.000001
NARROW = 6  # elements of θ in long trajectories
OPPOSED, WIDE = 7, 8  # steps of gradients against those before, and of large ones over all of θ
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
    opposed_steps, wide_steps = (few, few) if steps else (OPPOSED, WIDE)
    opposed: Arrays = {
        **plain,
        THETA: theta_of(rngs[1]),
        GRADS: opposed_gradients(rngs[1], opposed_steps, size).astype(dtype),
    }
    small: Arrays = {
        THETA: theta_of(rngs[2], SCALES),
        GRADS: small_gradients(rngs[2], min(few, len(SMALL)), size).astype(dtype),
    }
    small[LEARNING_RATE] = 0.3 * learning_rate  # a rule may have a rate of its own
    wide: Arrays = {THETA: theta_of(rngs[3]), GRADS: large_gradients(rngs[3], wide_steps, size).astype(dtype)}
    short, said = _changing(sides, wide, learning_rate)
    large, long = {**wide, LEARNING_RATE: short}, wide
    any_size = layout is None and (size <= NARROW or _is_of_any_size(sides, plain))
    if last > few:
        narrow = any_size and size > NARROW
        width = NARROW if narrow else size
        long = {THETA: wide[THETA][:width], GRADS: large_gradients(rngs[3], last, width).astype(dtype)}
        long[LEARNING_RATE] = _as_changing(short, learning_rate, last)
        large = large if narrow else long
    found = [
        Draw("plain gradients", plain),
        Draw("opposed gradients", opposed),
        Draw("small gradients", small, Kind.BEYOND),
        Draw("large gradients", large, Kind.BEYOND),
    ]
    if last > few and large is not long:
        found.append(Draw("many steps", long, Kind.BEYOND))
    longest = long if last > few else large
    if steps is None:
        found += _lasting(sides, plain, rngs[3]) if any_size and last < LASTING else []
        found += _no_rate(sides, plain) if not said else []
        found += _not_finite(sides, plain, rngs[3])
    gaps = not_passed(sides, longest, constants)
    asides = other_tensors(sides, learning_rate, dtype, seed)
    return Drawn(sides, found, said, gaps, asides=asides)


def _is_of_any_size(sides: TrajectorySides, plain: Arrays) -> bool:
    """Whether both sides take fewer elements than were given."""
    fewer = {**plain, THETA: plain[THETA][:NARROW], GRADS: plain[GRADS][:1, :NARROW]}
    try:
        with np.errstate(all="ignore"):
            sides.manual(fewer)
            sides.torch(fewer)
        return True
    except Exception as problem:
        swallowed(problem, "a rule over fewer elements")
        return False


def _lasting(sides: TrajectorySides, plain: Arrays, rng: np.random.Generator) -> list[Draw]:
    """Gradients whose signs last, or flip, for so long that what grows by a factor reaches any bound.

    They are judged only where the two sides come apart, so that they cost little where these do not.
    """
    theta = plain[THETA][:NARROW]
    grads = lasting_gradients(rng, LASTING, len(theta)).astype(theta.dtype)
    arrays = {**plain, THETA: theta, GRADS: grads}
    at_the_end = replace(sides, every=LASTING)
    try:
        with np.errstate(all="ignore"):
            ours, theirs = at_the_end.manual(arrays), at_the_end.torch(arrays)
        name = theta_after(LASTING)
        half = np.sqrt(np.finfo(theta.dtype).eps)  # of the digits, far beyond what rounding does in so few steps
        if np.allclose(ours[name], theirs[name], rtol=half, atol=half * float(np.abs(theirs[name]).max())):
            return []
    except Exception as problem:  # which the judge will say
        swallowed(problem, "gradients whose signs last")
    return [Draw("lasting signs", arrays, Kind.BEYOND)]


def _no_rate(sides: TrajectorySides, plain: Arrays) -> list[Draw]:
    """A learning rate that is 0 at one step, where the reference takes it."""
    rate = plain[LEARNING_RATE]
    width = NARROW if sides.layout is None else plain[THETA].size
    arrays = {THETA: plain[THETA][:width], GRADS: plain[GRADS][:3, :width], LEARNING_RATE: (rate, 0.0, rate)}
    return [Draw("a learning rate of 0", arrays, Kind.NOT_FINITE)] if _takes(sides, arrays, (rate, 0.0, rate)) else []


def _not_finite(sides: TrajectorySides, plain: Arrays, rng: np.random.Generator) -> list[Draw]:
    """Gradients that are not finite, where the reference, no rule of torch's, takes them for 0."""
    try:
        parameter = [torch.nn.Parameter(torch.zeros(1))]
        if type(sides.optimizer(parameter, plain[LEARNING_RATE])).__module__.startswith("torch.optim"):
            return []
        grads = not_finite_gradients(rng, len(plain[GRADS]), plain[THETA].size, (np.inf, -np.inf))
        arrays = {**plain, GRADS: grads.astype(plain[THETA].dtype)}
        found = {name: y for name, y in sides.torch(arrays).items() if is_theta(name)}
        as_0 = sides.torch({**plain, GRADS: np.where(np.isfinite(grads), arrays[GRADS], 0)})
    except Exception as problem:
        swallowed(problem, "gradients that are not finite")
        return []
    if not all(np.isfinite(y).all() and np.array_equal(y, as_0[name]) for name, y in found.items()):
        return []  # it does something else with them, if only as torch.sign(NaN) is 0
    arrays[GRADS] = np.where(np.isfinite(grads) | (np.arange(len(grads)) % 4 > 1)[:, None], arrays[GRADS], np.nan)
    return [Draw("gradients that are not finite", arrays, Kind.NOT_FINITE)]


def _as_changing(short: Any, rate: float, steps: int) -> Any:
    """The learning rates of more steps, changing as these do."""
    if not isinstance(short, tuple):
        return short
    return changing_rates(rate, steps)


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


def _takes(sides: TrajectorySides, large: Arrays, changing: tuple[float, ...]) -> bool:
    """Whether the reference takes these rates, of which one is 0."""
    try:
        found = sides.torch({**large, LEARNING_RATE: changing})
    except Exception as problem:
        swallowed(problem, "the reference at a learning rate of 0")
        return False
    return all(np.isfinite(y).all() for name, y in found.items() if is_theta(name))


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
