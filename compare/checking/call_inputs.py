"""The inputs of a layer or a function: what is given by name, made into several draws of both sides' arguments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

from handgrad.compare.checking import draws, kinks
from handgrad.compare.checking.beyond import constants_of
from handgrad.compare.checking.call_values import Asked, Plan, arrays_of, by_input, input_name, values_of
from handgrad.compare.checking.draws import Draw, Drawn, Kind
from handgrad.compare.checking.evaluate import run_reference
from handgrad.compare.checking.further import NO_OTHER_BATCH, Given, further_draws, rows_of, where_finite
from handgrad.compare.checking.specs import (
    OTHER_SIZES,
    SIZES,
    Constant,
    Indices,
    Mask,
    as_given,
    below,
    chosen,
    free_shape,
    larger_sizes,
    named_sizes,
    other_sizes,
    with_first_axis,
    with_sizes,
)
from handgrad.compare.checking.steering import Freedom, steered
from handgrad.compare.checking.upstream import upstream_gradients
from handgrad.compare.foundation.errors import UsageError
from handgrad.compare.judge import names
from handgrad.compare.judge.calls import CallSides, call_reference
from handgrad.compare.judge.derivations import Combined, Derivation
from handgrad.compare.judge.sides import Arrays, LayerSides, Sides
from handgrad.compare.judge.structure import structure_of


def call_inputs(derivation: Derivation, reference: Any, asked: Asked) -> Drawn:
    """The sides of a derivation of any signature, and its draws."""
    specs = _specs(asked)
    plans = _plans(asked, specs)
    sides, upstream = _sides(derivation, reference, asked, plans[0])
    if len(upstream) > 1:
        plans += [Plan(f"δ of {names.part_of(name)} alone", Kind.PLAIN, plans[0].specs, name) for name in upstream]
    return _drawn(sides, asked, plans, upstream, kinks.points(derivation, reference))


def one_input(layer: Any, reference: Any, asked: Asked) -> Drawn:
    """The sides of a layer by its protocol that has one input, x, and its draws."""
    specs = _specs(asked)
    sides = LayerSides(layer, reference)
    return _drawn(sides, asked, _plans(asked, specs), [names.OUTPUT], kinks.points(layer, reference))


# --- what is drawn ------------------------------------------------------------------------------------------


def _specs(asked: Asked) -> dict[str, Any]:
    """Every spec by name, arguments first; UsageError for a shape that cannot be."""
    specs = {str(k): v if callable(v) else as_given(v) for k, v in (*asked.arguments.items(), *asked.params.items())}
    if len(specs) < len(asked.arguments) + len(asked.params):
        both = ", ".join(asked.arguments.keys() & asked.params.keys())
        raise UsageError(f"an input and a parameter must have names of their own, got {both} twice: rename one of them")
    return specs


def _plans(asked: Asked, specs: dict[str, Any]) -> list[Plan]:
    """The draws that are to be made."""
    symbols = named_sizes(specs.values())
    one = {k: with_sizes(v, chosen(symbols, specs.values(), SIZES)) for k, v in specs.items()}
    for name, spec in one.items():
        if (shape := free_shape(spec)) is not None:
            draws.require_room(shape, name)
    plans = [Plan("draw 1", Kind.PLAIN, one), Plan("draw 2", Kind.PLAIN, one)]
    free = [name for name in asked.arguments if draws.is_shape(one[name])]
    if not any(draws.is_shape(one[name]) for name in one if free_shape(one[name]) is not None):
        return [*plans, Plan("draw 3", Kind.PLAIN, one)]
    other = one
    if asked.dy is None or callable(asked.dy):
        other = _other_sizes(asked, specs, one, symbols)
    if other != one:
        plans.append(Plan("other sizes" if symbols else "other batch", Kind.OTHER_BATCH, other))
    plans += [
        Plan("large", Kind.LARGE, one),
        Plan("dyadic", Kind.DYADIC, one),
        Plan("beyond the constants", Kind.BEYOND, one),
        Plan("kinks", Kind.KINKS, other),
    ]
    return plans if free else [p for p in plans if p.kind not in (Kind.LARGE, Kind.BEYOND, Kind.KINKS)]


def _other_sizes(asked: Asked, specs: dict[str, Any], one: dict[str, Any], symbols: list[str]) -> dict[str, Any]:
    """The specs with other sizes: all that have names, or else the batch, which is the first input's first axis."""
    if symbols:
        sizes = chosen(symbols, specs.values(), OTHER_SIZES)
        return {k: with_sizes(v, sizes) for k, v in specs.items()}
    first = next((free_shape(one[k]) for k in asked.arguments if free_shape(one[k])), ())
    if not first or len(first) < 2:
        return one
    batch = int(first[0])
    return {k: with_first_axis(v, batch, batch + 3) if k in asked.arguments else v for k, v in one.items()}


def _drawn(sides: Sides, asked: Asked, plans: list[Plan], upstream: list[str], points: list[float]) -> Drawn:
    """Every plan carried out, each with a generator of its own; without another batch size where torch takes none."""
    found: list[Draw] = []
    notes: list[str] = []
    constants: list[float] | None = None

    def make(plan: Plan, number: int, points: list[float]) -> Arrays:
        return _made(sides, asked, upstream, plan, [number], points, constants or [])

    for i, plan in enumerate(plans):
        if plan.kind is Kind.BEYOND:
            constants = constants_of(sides, found[0].arrays)
            points = [*points, *(c for c in constants if c not in points), *(-c for c in constants if -c not in points)]
            if not constants:
                continue
        if plan.kind is Kind.KINKS and notes:
            plan = plan._replace(specs=plans[0].specs)
        try:
            at = partial(make, plan, i)
            arrays = where_finite(sides, at, points) if plan.kind is Kind.KINKS else at(points)
        except UsageError:
            if plan.kind is not Kind.OTHER_BATCH or plan.label == "other sizes":
                raise
            notes.append(NO_OTHER_BATCH)
            continue
        found.append(Draw(plan.label, arrays, plan.kind))

    def further(label: str, kind: Kind, specs: dict[str, Any], number: int) -> Arrays:
        return make(Plan(label, kind, specs), number, points)

    def more() -> Drawn:
        drawn = [*found, *further_draws(_given(sides, asked, further), sides, found, asked.seed)]
        said: tuple[str, ...] = ()
        if not notes and all(draw.kind is not Kind.OTHER_BATCH for draw in found):
            one = found[0].arrays
            positions = [
                k for name in asked.arguments for k in (names.argument(name), names.constant(name)) if k in one
            ]
            rows, said = rows_of(sides, one, positions)
            drawn += rows
        return steered(sides, drawn, said, _freedom(sides, asked, plans[0], upstream))

    return Drawn(sides, found, tuple(notes), more=more)


def _made(
    sides: Sides, asked: Asked, upstream: list[str], plan: Plan, number: Sequence[int], points: list[float],
    constants: list[float],
) -> Arrays:  # fmt: skip
    """A draw as planned, with the upstream gradients; `number` is that of its generator."""
    rng = np.random.default_rng([asked.seed, *number])
    arrays = arrays_of(asked, plan, rng, points, constants)
    wanted = [plan.only] if plan.only else upstream
    return arrays | upstream_gradients(sides, asked.dy, asked.dtype, plan.kind, arrays, rng, upstream, wanted)


def _freedom(sides: Sides, asked: Asked, plan: Plan, upstream: list[str]) -> Freedom:
    """What of the first draw may be changed."""
    free = [k for k in plan.specs if free_shape(plan.specs[k]) is not None]
    arguments_first = sorted(free, key=lambda k: k not in asked.arguments)
    inputs = [name for k in arguments_first for name in (names.argument(k), names.constant(k))]

    def make(plan: Plan, *number: int) -> Arrays:
        return _made(sides, asked, upstream, plan, number, [], [])

    def resized(specs: dict[str, Any]) -> Arrays:
        return make(plan._replace(specs=specs, kind=Kind.STEERED), 0)

    may = list(asked.arguments) if asked.dy is None or callable(asked.dy) else []
    other, larger = ([partial(resized, s) for s in f(plan.specs, may)] for f in (other_sizes, larger_sizes))
    whole = {names.constant(k): below(plan.specs[k]) for k in free if isinstance(plan.specs[k], (Indices, Mask))}
    made = [k for k, v in plan.specs.items() if callable(v.spec if isinstance(v, Constant) else v)]
    given = frozenset(f(k) for k in made for f in (names.argument, names.constant))
    return Freedom(inputs, other, larger, whole, given, partial(make, plan, 1) if made else None)


def _given(sides: Any, asked: Asked, make: Any) -> Given:
    """What further draws are made of."""
    specs = _specs(asked)
    symbols = named_sizes(specs.values())
    fixed = isinstance(sides.reference, torch.nn.Module) and bool(asked.params)
    sizes = chosen(symbols, specs.values(), SIZES)
    return Given(specs, sizes, frozenset(map(str, asked.arguments)), fixed, not asked.is_complex, make)


# --- the two sides ------------------------------------------------------------------------------------------


def _sides(derivation: Derivation, reference: Any, asked: Asked, plan: Plan) -> tuple[CallSides, list[str]]:
    """The sides, and the outputs that have an upstream gradient, as the reference gives them on a first draw."""
    values = values_of(asked, plan, np.random.default_rng([asked.seed, 0]), [], [])
    complex_names = {input_name(plan, k, v) for k, v in values.items() if v.dtype.kind == "c"}
    arrays = by_input(plan, values)
    sides = CallSides(derivation, reference, tuple(map(str, asked.arguments)), complex_names=frozenset(complex_names))
    run_reference(sides, arrays)  # which says what is wrong with it
    y = call_reference(reference, sides.given_tensors(arrays), sides.state)
    structure = structure_of(y, lambda v: isinstance(v, torch.Tensor))
    outputs = {names.output(part): tensor for part, tensor in structure.flatten(y).items()}
    numbers = [name for name, tensor in outputs.items() if tensor.is_floating_point() or tensor.is_complex()]
    if not numbers:
        raise UsageError(
            "the torch reference must return floating-point numbers, got "
            f"{', '.join(str(t.dtype) for t in outputs.values())}: nothing else has a gradient"
        )
    state = {names.output(name) for name in sides.state}
    if not state <= outputs.keys():
        raise UsageError(
            f"the reference must return what state= names, {', '.join(sides.state)}, got {', '.join(outputs)}: return "
            '{"output": y, "running_mean": …}, or give a module that has such buffers'
        )
    upstream = [name for name in numbers if outputs[name].requires_grad and name not in state] or numbers
    if isinstance(derivation, Combined) and any(outputs[name].shape for name in outputs):
        raise UsageError(
            "one function alone, which returns (J, gradients), must have a single number J, but the reference returns "
            f"shape {tuple(next(iter(outputs.values())).shape)}: give a pair (forward, backward) of functions"
        )
    for name in numbers:
        if outputs[name].is_complex():
            complex_names |= {name, names.upstream_of(name)}
    whole = frozenset(outputs.keys() - set(numbers))
    return replace(sides, structure=structure, complex_names=frozenset(complex_names), whole=whole), upstream
