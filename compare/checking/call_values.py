"""The numbers of one draw of the inputs of a layer or a function."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from handgrad.compare.checking import draws, kinks
from handgrad.compare.checking.beyond import on_both_sides
from handgrad.compare.checking.draws import LARGE, Kind, as_real
from handgrad.compare.checking.specs import Constant
from handgrad.compare.foundation.errors import UsageError
from handgrad.compare.judge import names
from handgrad.compare.judge.sides import Arrays


@dataclass(frozen=True)
class Asked:
    """What is asked of a check of a layer or a function."""

    arguments: Mapping[str, Any]
    params: Mapping[str, Any]
    dy: Any
    dtype: Any  # of real numbers
    is_complex: bool
    seed: int


class Plan(NamedTuple):
    """What one draw is of."""

    label: str
    kind: Kind
    specs: dict[str, Any]
    only: str = ""  # the one output that has an upstream gradient; all of them where it is empty


def arrays_of(
    asked: Asked, plan: Plan, rng: np.random.Generator, points: list[float], constants: list[float]
) -> Arrays:
    """The arguments and parameters of one draw, under the names of inputs."""
    return by_input(plan, values_of(asked, plan, rng, points, constants))


def by_input(plan: Plan, values: dict[str, np.ndarray]) -> Arrays:
    """The values under the names of inputs, complex ones as their parts."""
    found = {input_name(plan, name, value): as_real(value) for name, value in values.items()}
    if all(names.is_constant(k) for k in found):
        raise UsageError(
            "there must be an input of floating-point numbers, got none: nothing has a derivative by a whole number; "
            "make one of the inputs a float"
        )
    return found


def input_name(plan: Plan, name: str, value: np.ndarray) -> str:
    """The name under which an input goes to both sides; of another kind where nothing is differentiated by it."""
    fixed = isinstance(plan.specs[name], Constant) or value.dtype.kind not in "fc"
    return names.constant(name) if fixed else names.argument(name)


def values_of(
    asked: Asked, plan: Plan, rng: np.random.Generator, points: list[float], constants: list[float]
) -> dict[str, np.ndarray]:
    """The arguments and parameters of one draw by their own names, complex ones as such."""
    values: dict[str, np.ndarray] = {}
    for name in (*(k for k in plan.specs if k not in asked.arguments), *asked.arguments):  # parameters first
        spec = plan.specs[name]
        inner = spec.spec if isinstance(spec, Constant) else spec
        if draws.is_shape(inner):
            values[name] = _free(name, inner, asked, plan.kind, rng, points, constants, name in asked.arguments)
        else:
            draw = draws.draw if name in asked.arguments else draws.draw_numbers
            values[name] = draw(inner, rng, asked.dtype, what=name)
    values = {name: values[name] for name in plan.specs}
    if plan.kind is Kind.DYADIC:
        free = [k for k in plan.specs if draws.is_shape(plan.specs[k])]
        values |= dict(zip(free, draws.apart([values[k] for k in free]), strict=True))
    return values


def _free(
    what: str, shape: tuple[int, ...], asked: Asked, kind: Kind, rng: np.random.Generator,
    points: list[float], constants: list[float], is_argument: bool,
) -> np.ndarray:  # fmt: skip
    """The numbers of an input of which the shape is given."""
    if asked.is_complex:
        shape = (*shape, 2)
    if kind is Kind.DYADIC:
        values = draws.dyadic(rng, shape)
    elif kind is Kind.KINKS and is_argument:
        values = kinks.at_points(rng, shape, points)
    elif kind is Kind.BEYOND and is_argument:
        values = on_both_sides(rng, draws.away_from_zero(rng, shape), constants)
    else:
        values = draws.away_from_zero(rng, shape) * (LARGE if kind is Kind.LARGE and is_argument else 1.0)
    values = np.asarray(values, asked.dtype)
    if values.size == 0:
        raise ValueError(f"{what} must have at least one element, got shape {shape}: give it some")
    return values[..., 0] + 1j * values[..., 1] if asked.is_complex else values
