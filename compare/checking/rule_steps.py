"""What an update rule, or torch's, compares its step count with, and whether a trajectory goes beyond it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch

from handgrad.compare.checking.step_constants import LEAST, Heard, count_in, reciprocals, steps_among, whole_numbers
from handgrad.compare.foundation.debug import swallowed
from handgrad.compare.judge.names import GRADS, THETA, is_theta
from handgrad.compare.judge.sides import Arrays, as_tensor, is_large, own_copy
from handgrad.compare.judge.trajectories import TorchRule, TrajectorySides, rates

MOST = 1000  # steps of the longest trajectory
BEYOND = 5  # steps beyond a constant
SHARES = 300  # steps up to which the reciprocal of a number in a reference may be one
LISTENED = 2  # steps of large θ


class Constants(NamedTuple):
    """Whole numbers of either side: those that a step count is compared with, and those that it may be."""

    heard: set[int]
    guessed: set[int]


def step_counts(sides: TrajectorySides, inputs: Arrays) -> Constants:
    """The whole numbers of both sides, as far as these inputs show them."""
    reference = _of_torch(sides, sides.optimizer, inputs)
    if isinstance(sides.rule, TorchRule):
        ours = _of_torch(sides, sides.rule.make, inputs)
    else:
        ours = _heard(lambda heard: _listen(sides, inputs, heard), sides.rule)
    return Constants(ours.heard | reference.heard, ours.guessed | reference.guessed)


def not_passed(sides: TrajectorySides, longest: Arrays, constants: Constants) -> tuple[str, ...]:
    """The words for constants beyond the longest trajectory."""
    steps = len(longest[GRADS])
    beyond = [c for c in sorted(constants.heard) if c >= steps and not _is_nothing_to_theta(sides, longest, c)]
    if not beyond:
        return ()
    compared = "1 step was" if steps == 1 else f"{steps:,} steps were"
    return (f"the step count is compared with {', '.join(f'{c:,}' for c in beyond)}, but {compared} compared",)


def _heard(listen: Callable[[Heard], Any], thing: Any) -> Constants:
    """What was heard; of code that compares no number of Python that counts, the whole numbers that it holds."""
    heard: Heard = set()
    try:
        with np.errstate(all="ignore"):
            listen(heard)
    except Exception as problem:  # which is judged elsewhere
        swallowed(problem, "the look for what the step count is compared with")
    return Constants(set(steps_among(heard)), set() if heard else whole_numbers(thing))


def _listened(inputs: Arrays) -> int:
    return min(LISTENED, len(inputs[GRADS])) if is_large(inputs) else len(inputs[GRADS])


def _listen(sides: TrajectorySides, inputs: Arrays, heard: Heard) -> None:
    """Run the rule with counts that say what they are compared with."""
    rule: Any = copy.deepcopy(sides.rule)
    layout = sides.layout
    count_in(rule, heard)
    given = own_copy if layout is None else layout.given
    theta = given(inputs[THETA])
    state = rule.init(theta)
    count_in(state, heard)
    for k in range(_listened(inputs)):
        result = rule.update(theta, given(inputs[GRADS][k]), state, rates(inputs)[k])
        theta, state = (theta, state) if result is None else result
        count_in(state, heard)


def _of_torch(sides: TrajectorySides, make: Callable[..., Any], inputs: Arrays) -> Constants:
    """The same of an optimizer of torch, with the whole numbers among its hyperparameters."""
    try:
        theta = as_tensor(inputs[THETA])
        parts = [theta] if sides.layout is None else list(sides.layout.parts(theta).values())
        parameters = [torch.nn.Parameter(part.clone()) for part in parts]
        optimizer = make(parameters, rates(inputs)[0])
    except Exception as problem:
        swallowed(problem, "the optimizer whose step count is looked at")
        return Constants(set(), set())
    numbers = {v for group in optimizer.param_groups for name, v in group.items() if _is_whole(v) and name != "lr"}
    found = {int(v) for v in numbers if v >= LEAST}
    if type(optimizer).__module__.startswith("torch.optim"):
        return Constants(found, set())

    def listen(heard: Heard) -> None:
        for k in range(_listened(inputs)):
            flat = as_tensor(inputs[GRADS][k])
            gradients = [flat] if sides.layout is None else sides.layout.parts(flat).values()
            for parameter, g in zip(parameters, gradients, strict=True):
                parameter.grad = g.clone()
            optimizer.step()
            for thing in (optimizer, *optimizer.state.values(), *optimizer.param_groups):
                count_in(thing, heard)

    ours = _heard(listen, type(optimizer).step)
    shares = {c for c in reciprocals(type(optimizer).step) if c + BEYOND <= SHARES}
    return Constants(found | ours.heard, ours.guessed | shares)


def _is_whole(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and float(value).is_integer()


def _is_nothing_to_theta(sides: TrajectorySides, longest: Arrays, constant: int) -> bool:
    """Whether θ is the same where torch has another number in its place, one that the trajectory passes."""

    def with_another(parameters: Any, rate: float) -> Any:
        optimizer = sides.optimizer(parameters, rate)
        for group in optimizer.param_groups:
            for name in [name for name, v in group.items() if _is_whole(v) and v == constant and name != "lr"]:
                group[name] = type(group[name])(len(longest[GRADS]) // 2)
                changed.append(name)
        return optimizer

    changed: list[str] = []
    try:
        other, right = replace(sides, optimizer=with_another).torch(longest), sides.torch(longest)
    except Exception as problem:
        swallowed(problem, "the optimizer with another constant")
        return False
    return bool(changed) and all(
        np.array_equal(y, other[name], equal_nan=True) for name, y in right.items() if is_theta(name)
    )
