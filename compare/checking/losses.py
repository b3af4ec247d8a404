"""A loss of an output and a target: the forms in which it may be handed in, and its draws."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from handgrad.compare.checking import draws, kinks
from handgrad.compare.checking.beyond import constants_of, on_both_sides
from handgrad.compare.checking.draws import LARGE, Draw, Drawn, Kind
from handgrad.compare.checking.further import FIRST, where_finite
from handgrad.compare.checking.further_losses import further_of_losses
from handgrad.compare.checking.references import describe, is_torchs_own
from handgrad.compare.checking.specs import (
    OTHER_SIZES,
    SIZES,
    Indices,
    below,
    chosen,
    free_shape,
    larger_sizes,
    named_sizes,
    with_first_axis,
    with_sizes,
)
from handgrad.compare.checking.steering import Freedom, steered
from handgrad.compare.foundation.errors import UsageError
from handgrad.compare.judge.names import OUTPUT, TARGET
from handgrad.compare.judge.sides import Arrays, LossSides, is_float

CLASSES = "class"  # the target that asks for integers below the number of outputs


def loss_inputs(ours: Any, reference: Any, output: Any, target: Any, dtype: Any, seed: int) -> Drawn:
    """The sides of a loss, and its draws."""
    ours = _as_loss(ours)
    if target is None:
        raise UsageError("a loss needs target=: a shape, an array, a function of a generator, or 'class'")
    specs = (output, target)
    symbols = named_sizes(specs)
    given = tuple(with_sizes(v, chosen(symbols, specs, SIZES)) for v in specs)
    for what, spec in zip((OUTPUT, TARGET), given, strict=True):
        if draws.is_shape(spec):
            draws.require_room(spec, what)
    plans = [("draw 1", Kind.PLAIN, given), ("draw 2", Kind.PLAIN, given)]
    if draws.is_shape(given[0]):
        plans.append(("large", Kind.LARGE, given))
        if symbols:
            other = tuple(with_sizes(v, chosen(symbols, specs, OTHER_SIZES)) for v in specs)
            plans.append(("other sizes", Kind.OTHER_BATCH, other))
        elif draws.is_shape(target) or isinstance(target, (str, Indices)):
            plans.append(("other batch", Kind.OTHER_BATCH, _other_batch(output, target)))
        plans += [("dyadic", Kind.DYADIC, given), ("beyond the constants", Kind.BEYOND, given)]
        plans.append(("kinks", Kind.KINKS, given))
    else:
        plans.append(("draw 3", Kind.PLAIN, given))
    sides = LossSides(ours, reference)
    points, constants = kinks.points(ours, reference), list[float]()

    def arrays_of(kind: Kind, specs: Any, number: int, points: list[float]) -> Arrays:
        rng = np.random.default_rng([seed, number])
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
            return kinks.loss_at_points(rng, specs[0], wanted, points, dtype)
        if kind is Kind.BEYOND:
            values = on_both_sides(rng, values, constants)
            if is_float(wanted) and wanted.shape == values.shape:  # half of them so far from the target
                values.flat[::2] += wanted.flat[::2]
        return {OUTPUT: values, TARGET: wanted}

    found: list[Draw] = []
    for i, (label, kind, spec) in enumerate(plans):
        if kind is Kind.BEYOND and not (constants := constants_of(sides, found[0].arrays)):
            continue
        if kind is Kind.KINKS:
            points += [c for size in constants for c in (size, -size) if c not in points]
        make = partial(arrays_of, kind, spec, i)
        found.append(Draw(label, where_finite(sides, make, points) if kind is Kind.KINKS else make(points), kind))

    def of_rows(rows: int) -> Arrays:
        return arrays_of(Kind.SIZES, _of_rows(given, rows), FIRST, points)

    def more() -> Drawn:
        resized = any(kind is Kind.OTHER_BATCH for _, kind, _ in plans)
        more_rows = of_rows if resized else None
        further = further_of_losses(sides, found[0].arrays, seed, draws.is_shape(given[0]), more_rows)
        free = [name for name, spec in zip((OUTPUT, TARGET), given, strict=True) if draws.is_shape(spec)]
        whole: dict[str, int | None] = {}
        if isinstance(given[1], (str, Indices)):
            whole = {TARGET: below(given[1])}
        made = frozenset(name for name, spec in zip((OUTPUT, TARGET), given, strict=True) if callable(spec))

        def again(number: int) -> Arrays:
            return arrays_of(Kind.PLAIN, given, FIRST + 1 + number, points)

        larger = [partial(arrays_of, Kind.PLAIN, s, 0, points) for s in _larger(given)]
        freedom = Freedom(free, larger, larger, whole, made, again if made else None)
        return steered(sides, [*found, *further], (), freedom)

    return Drawn(sides, found, more=more)


def _larger(given: tuple[Any, ...]) -> list[tuple[Any, Any]]:
    """The specs with one size of the output that is beyond a hundred."""
    specs = {OUTPUT: given[0], TARGET: given[1]}
    if not draws.is_shape(given[0]) or callable(given[1]):
        return []
    return [(s[OUTPUT], s[TARGET]) for s in larger_sizes(specs, (OUTPUT, TARGET))]


def _of_rows(given: tuple[Any, ...], rows: int) -> tuple[Any, Any]:
    """The specs with so many rows."""
    output, target = given
    n = int(output[0]) if len(output) > 1 else 0
    return tuple(with_first_axis(v, n, rows) if free_shape(v) else v for v in (output, target))


def _as_loss(ours: Any) -> Any:
    """The loss with forward(output, target) → (J, cache) and gradient(cache), in whichever form it came."""
    if hasattr(ours, "forward") and hasattr(ours, "gradient"):
        return ours
    if isinstance(ours, tuple) and len(ours) == 2 and all(callable(f) for f in ours):
        return _TwoFunctions(*ours)
    if inspect.isfunction(ours) or (callable(ours) and not isinstance(ours, type)):
        return _OneFunction(ours)
    raise UsageError(
        "a loss must have forward(output, target) and gradient(cache), be a pair (loss, gradient) of functions, or one "
        f"function that returns (J, gradient), got {describe(ours)}"
    )


@dataclass(frozen=True)
class _TwoFunctions:
    """loss(output, target) → J or (J, cache); then gradient(output, target), or gradient(cache)."""

    loss: Callable[..., Any]
    slope: Callable[..., Any]

    def forward(self, output: Any, target: Any) -> tuple[Any, Any]:
        result = self.loss(output, target)
        return (result[0], result[1:]) if isinstance(result, tuple) else (result, (output, target))

    def gradient(self, cache: Any) -> Any:
        return self.slope(*cache)


@dataclass(frozen=True)
class _OneFunction:
    """function(output, target) → (J, gradient)."""

    function: Callable[..., Any]

    def forward(self, output: Any, target: Any) -> tuple[Any, Any]:
        result = self.function(output, target)
        if not (isinstance(result, tuple) and len(result) == 2):
            raise UsageError(
                f"a loss that is one function must return (J, gradient), got {type(result).__name__}: return both, or "
                "give a pair (loss, gradient) of functions"
            )
        return result

    def gradient(self, cache: Any) -> Any:
        return cache


def _other_batch(output: Any, target: Any) -> tuple[Any, Any]:
    """The shapes of output and target with another batch size."""
    other = draws.other_batch(output)
    if draws.is_shape(target) and len(output) > 1 and target == output[:1]:  # one number an example
        return other, other[:1]
    if isinstance(target, Indices):
        return other, with_first_axis(target, output[0], other[0])
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
