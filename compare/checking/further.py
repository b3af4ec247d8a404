"""Draws that only a derivation meets which agrees so far: other sizes, special numbers, rows of what was given.

They are small, and each has several purposes. What a person did not ask for, other widths or a part of given arrays, is
of a kind of its own: there a derivation has to be right only where its forward pass is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from handgrad.compare.checking import draws
from handgrad.compare.checking.draws import Draw, Kind
from handgrad.compare.checking.evaluate import run_reference
from handgrad.compare.checking.further_choices import of_choices
from handgrad.compare.checking.further_numbers import alike, of_complex_numbers, of_real_numbers, parameters_alike
from handgrad.compare.checking.further_shapes import ROWS, as_written, many_rows, of_names, of_rows, of_widths
from handgrad.compare.checking.specs import Constant, free_shape, with_sizes
from handgrad.compare.foundation.errors import UsageError
from handgrad.compare.judge import names
from handgrad.compare.judge.sides import Arrays, Sides, is_float

FIRST = 1000  # number of a further draw; those before have lower ones
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
    for i, (label, kind, among, change) in enumerate(_plans(given, one, sides, found[0].arrays)):
        for specs in among:
            rng = np.random.default_rng([seed, FIRST + i])
            try:
                arrays = change(given.make(label, kind, specs, FIRST + i), rng)
                if finite(sides, arrays):
                    yield Draw(label or f"at {as_written(specs, given.arguments)}", arrays, kind)
                    break
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
Plan = tuple[str, Kind, Sequence[dict[str, Any]], Change]


def _plans(given: Given, one: dict[str, Any], sides: Sides, first: Arrays) -> Iterator[Plan]:
    """(label, kind, specs of which the first is meant that torch takes, what becomes of the arrays) of every draw."""
    if not any(free_shape(spec) is not None for spec in one.values()):
        return
    small = [one] if given.sizes else [of_rows(one, given.arguments, ROWS + 1), one]
    arguments = [names.argument(k) for k in one if k in given.arguments and draws.is_shape(one[k])]
    parameters = [names.argument(k) for k in one if k not in given.arguments and draws.is_shape(one[k])]
    fixed = [k for k, v in one.items() if k in given.arguments and isinstance(v, Constant) and draws.is_shape(v.spec)]
    rows = [*arguments, *map(names.constant, fixed)]
    for label, kind, specs in of_names(given.specs, given.sizes):
        yield label, kind, [specs], _as_drawn
    many = [one] if given.sizes else many_rows(one, given.arguments)
    single = one if given.sizes else of_rows(one, given.arguments, 1)
    kind = Kind.ALIKE if given.sizes else Kind.BATCHES
    if given.real:
        if parameters or single != one:
            yield (
                _said("a batch of one", parameters, "alike"),
                kind,
                [single],
                lambda a, rng: parameters_alike(a, parameters),
            )
        yield (
            _said("rows of zeros, rows alike", parameters[-1:], "= 0"),
            kind,
            many,
            lambda a, rng: alike(a, rows, parameters),
        )
    else:
        yield "a batch of one", kind, [single], _as_drawn
    for kind, among in of_widths(given.specs, dict(given.sizes), given.arguments, given.fixed):
        yield "", kind, among, _as_drawn
    if arguments or not given.real:
        numbers = of_real_numbers if given.real else of_complex_numbers
        for label, kind, change in numbers(arguments, parameters):
            yield label, kind, small, change
    for label, kind, change in of_choices(one, first, sides):
        yield label, kind, small, change


def _said(what: str, parameters: list[str], are: str) -> str:
    """The label of a draw in which something becomes of parameters, too."""
    return ", ".join([what, *(f"{' and '.join(map(names.input_symbol, parameters))} {are}" for _ in parameters[:1])])


def _as_drawn(arrays: Arrays, rng: np.random.Generator) -> Arrays:
    return arrays


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
