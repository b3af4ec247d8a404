"""Draws that only a derivation meets which agrees so far: other sizes, special numbers, rows of what was given.

They are small, and each has several purposes. What a person did not ask for, other widths or a part of given arrays, is
of a kind of its own: there a derivation has to be right only where its forward pass is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from handgrad.compare.checking import draws
from handgrad.compare.checking.draws import Draw, Kind
from handgrad.compare.checking.evaluate import run_reference
from handgrad.compare.checking.specs import (
    LONGER,
    PRIMES,
    Indices,
    Mask,
    free_shape,
    with_first_axis,
    with_sizes,
)
from handgrad.compare.foundation.errors import UsageError
from handgrad.compare.judge import names
from handgrad.compare.judge.sides import Arrays, Sides, is_float

PEAKED = 50.0  # a softmax of such numbers is 1 at one place, and 0 elsewhere; float32 underflows there
SCALES = (1.0, 1e-2, 1e-4, 1e-8)  # of columns, so that a large one may not hide what is wrong in a small one
TINY = (-8.0, -3.0)  # powers of ten
FIRST = 1000  # number of a further draw; those before have lower ones
ROWS = 3  # of a small batch
ALONE = 4  # named sizes that are changed one at a time, at most
NO_OTHER_BATCH = "torch takes no other batch size than this, so that a factor N is not told from another number"
Make = Callable[[str, Kind, dict[str, Any], int], Arrays]


class Given(NamedTuple):
    """What the further draws of a layer or a function are made of."""

    specs: Mapping[str, Any]  # as written
    sizes: Mapping[str, int]  # of the names among them
    arguments: frozenset[str]  # of the specs, those that are no parameters
    fixed: bool  # whether the reference has parameters of its own sizes
    real: bool
    make: Make


def further_draws(given: Given, sides: Sides, found: list[Draw], seed: int) -> Iterator[Draw]:
    """The draws, each with a generator of its own; none that the reference refuses."""
    one = {k: with_sizes(v, dict(given.sizes)) for k, v in given.specs.items()}
    for i, (label, kind, specs, change) in enumerate(_plans(given, one)):
        rng = np.random.default_rng([seed, FIRST + i])
        try:
            arrays = change(given.make(label, kind, specs, FIRST + i), rng)
            if finite(sides, arrays):
                yield Draw(label, arrays, kind)
        except (UsageError, ValueError, TypeError):
            continue


def finite(sides: Sides, arrays: Arrays) -> bool:
    """Whether the reference has a finite answer everywhere; UsageError where it has none."""
    return all(np.isfinite(y).all() for y in run_reference(sides, arrays).values() if is_float(y))


def where_finite(sides: Sides, make: Callable[[list[float]], Arrays], points: list[float]) -> Arrays:
    """What is made of the points, without those at which the reference has no finite answer; of all where none has."""
    arrays = make(points)
    try:
        if finite(sides, arrays):
            return arrays
        fine = [p for p in points if finite(sides, make([p]))]
        fewer = make(fine)
        return fewer if finite(sides, fewer) else arrays
    except UsageError:  # which is said of all of them
        return arrays


Change = Callable[[Arrays, np.random.Generator], Arrays]
Plan = tuple[str, Kind, dict[str, Any], Change]


def _plans(given: Given, one: dict[str, Any]) -> Iterator[Plan]:
    """(label, kind, specs, what becomes of the arrays) of every draw."""
    free = [name for name in one if name in given.arguments and draws.is_shape(one[name])]
    if not any(free_shape(spec) is not None for spec in one.values()):
        return
    small = _of_rows(given, one, ROWS)
    if given.sizes:
        for name, size in list(zip(given.sizes, LONGER, strict=False))[:ALONE]:
            alone = {k: with_sizes(v, {**given.sizes, name: size}) for k, v in given.specs.items()}
            yield f"{name} = {size} alone", Kind.SIZES, alone, _as_drawn
        first = next(iter(given.sizes))
        alone = {k: with_sizes(v, {**given.sizes, first: 1}) for k, v in given.specs.items()}
        yield f"{first} = 1", Kind.SIZES, alone, _as_drawn
    else:
        yield "a batch of one", Kind.ONE, _of_rows(given, one, 1), _as_drawn
        wider = small if given.fixed else _wider(small)
        if wider != small:
            yield "other widths", Kind.WIDTHS, wider, _as_drawn
    if free and given.real:
        mine = frozenset(names.argument(name) for name in free)
        chosen = frozenset(names.argument(k) for k in one if draws.is_shape(one[k]))
        yield "zeros and mixed scales", Kind.SCALES, small, lambda a, rng: _special(a, rng, mine, chosen)
        yield "tiny numbers", Kind.NUMBERS, small, lambda a, rng: a | {k: tiny(a[k], rng) for k in mine}
    yield from _of_choices(one, small)


def _of_choices(one: dict[str, Any], small: dict[str, Any]) -> Iterator[Plan]:
    """Indices that are all the same, and masks of one kind, throughout or in a line."""
    indices = {k: v.below - 1 for k, v in one.items() if isinstance(v, Indices)}
    masks = [names.constant(k) for k, v in one.items() if isinstance(v, Mask)]
    if indices or masks:
        last = {names.constant(k): v for k, v in indices.items()}
        yield (
            "one index, all True",
            Kind.NUMBERS,
            small,
            lambda a, rng: a | {k: np.full_like(a[k], last.get(k, True)) for k in (*last, *masks)},
        )
    if masks:
        yield "a line of False", Kind.UNASKED, small, lambda a, rng: a | {k: _a_line_off(a[k]) for k in masks}
        yield "all False", Kind.UNASKED, small, lambda a, rng: a | {k: np.zeros_like(a[k]) for k in masks}


def _as_drawn(arrays: Arrays, rng: np.random.Generator) -> Arrays:
    return arrays


def _of_rows(given: Given, one: dict[str, Any], rows: int) -> dict[str, Any]:
    """The specs with so few rows in the batch, which is the first argument's first axis; as they are where named."""
    shapes = [shape for k, v in one.items() if k in given.arguments and (shape := free_shape(v))]
    if given.sizes or not shapes or len(shapes[0]) < 2:
        return one
    return {k: with_first_axis(v, int(shapes[0][0]), rows) if k in given.arguments else v for k, v in one.items()}


def _wider(specs: dict[str, Any]) -> dict[str, Any]:
    """The specs with every size exchanged for a prime, or for one beside a power of two; equal ones stay equal."""
    shapes = {k: shape for k, v in specs.items() if draws.is_shape(v) and (shape := free_shape(v))}
    batch = next((shape[0] for shape in shapes.values() if len(shape) > 1), None)
    sizes = dict.fromkeys(n for shape in shapes.values() for n in shape if n not in (1, batch))
    others = [n for n in PRIMES if n not in sizes and n != batch]
    exchanged = dict(zip(sizes, others, strict=False))
    return {k: tuple(exchanged.get(n, n) for n in shapes[k]) if k in shapes else v for k, v in specs.items()}


# --- numbers ------------------------------------------------------------------------------------------------


def _special(arrays: Arrays, rng: np.random.Generator, mine: frozenset[str], chosen: frozenset[str]) -> Arrays:
    """Columns of several scales in the arguments; an exact 0 in every parameter, and in δ."""
    found = dict(arrays)
    for name, value in arrays.items():
        if name in mine and value.ndim:
            scales = (PEAKED, *SCALES) if value.dtype == np.float64 else SCALES
            found[name] = (value * np.resize(rng.permutation(scales), value.shape[-1])).astype(value.dtype)
        elif (name in chosen or names.is_upstream(name)) and value.size > 1:
            found[name] = value.copy()
            found[name].flat[rng.permutation(value.size)[: max(1, value.size // 4)]] = 0
    return found


def tiny(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Numbers of every size between 1e-8 and 1e-3."""
    return np.asarray(np.sign(values) * 10 ** rng.uniform(*TINY, values.shape), values.dtype)


def _a_line_off(mask: np.ndarray) -> np.ndarray:
    """The mask with one line of the last axis False."""
    found = mask.copy()
    found.reshape(-1, mask.shape[-1] if mask.ndim else 1)[0] = False
    return found


# --- rows of what was given ---------------------------------------------------------------------------------


def rows_of(sides: Sides, arrays: Arrays, arguments: list[str]) -> tuple[list[Draw], tuple[str, ...]]:
    """Draws with another number of the rows that were given, and what is to be said where torch takes none.

    Arguments that share the length of the first one's first axis are cut along it, and δ with them; of a square matrix
    both axes are, where the reference takes nothing else.
    """
    first = next((arrays[k] for k in arguments if np.ndim(arrays[k])), None)
    if first is None:
        return [], ()
    n = len(first)
    found = []
    for m in (ROWS - (n == ROWS), 1):
        for every in (False, True):
            try:
                cut = _cut(sides, arrays, arguments, n, m, every)
                if m != n:
                    found.append(Draw(f"{m} of the rows that were given", cut, Kind.ROWS))
                    break
            except (UsageError, ValueError, TypeError):
                continue
        if not found:  # one row alone may be broadcast, which says nothing
            return [], (NO_OTHER_BATCH,)
    return found, ()


def _cut(sides: Sides, arrays: Arrays, arguments: list[str], n: int, m: int, every: bool) -> Arrays:
    """m rows where there were n, the first ones or some of them twice; along every axis of that length if asked."""
    rows = np.resize(np.arange(n), m)

    def taken(value: np.ndarray) -> np.ndarray:
        for axis in range(value.ndim if every else min(value.ndim, 1)):
            value = np.take(value, rows, axis) if value.shape[axis] == n else value
        return np.ascontiguousarray(value)

    made = {k: taken(v) if k in arguments else v for k, v in arrays.items() if not names.is_upstream(k)}
    shapes = {names.upstream_of(name): np.shape(y) for name, y in run_reference(sides, made).items()}
    rng = np.random.default_rng(0)
    for k in filter(names.is_upstream, arrays):
        dy = next((v for v in (arrays[k], taken(arrays[k])) if v.shape == shapes[k]), None)
        made[k] = draws.away_from_zero(rng, shapes[k]).astype(arrays[k].dtype) if dy is None else dy
    return made
