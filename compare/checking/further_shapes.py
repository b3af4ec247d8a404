"""Sizes that only a derivation meets which agrees so far: long, equal, single ones; widths that nobody asked for."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from handgrad.compare.checking.draws import Kind
from handgrad.compare.checking.specs import Constant, free_shape, is_shape, with_first_axis, with_sizes
from handgrad.compare.foundation.validation import is_whole

ROWS = 3  # of a small batch
LONG = (104, 34, 18)  # even, beyond blocks of 64, 32 and 16, and no multiple of these; the longest that is cheap
BATCH = 46  # rows, of which a tenth is more than one, and no whole number
SQUARE = 8  # every named size: a block of eight has no rest
LARGEST = 1 << 12  # numbers of one input
ALONE = 4  # named sizes that are changed one at a time, at most
MORE = 2  # of an axis that nobody gave
SMALLEST = 6  # of other sizes, more than a window of five
Plan = tuple[str, Kind, dict[str, Any]]


def of_names(specs: Mapping[str, Any], sizes: Mapping[str, int]) -> Iterator[Plan]:
    """Every named size long and even, the others odd and small; every one 1; all of them equal."""

    def sized(**changed: int) -> dict[str, Any]:
        return {k: with_sizes(v, {**sizes, **changed}) for k, v in specs.items()}

    for name in list(sizes)[:ALONE]:
        long = next((n for n in LONG if _is_cheap(sized(**{name: n}))), None)
        if long is not None:
            yield f"{name} = {long} alone", Kind.SIZES, sized(**{name: long})
    for name in list(sizes)[:ALONE]:
        yield f"{name} = 1", Kind.SIZES, sized(**{name: 1})
    if len(sizes) > 1:
        yield f"every size {SQUARE}", Kind.SIZES, sized(**dict.fromkeys(sizes, SQUARE))


def many_rows(one: dict[str, Any], arguments: frozenset[str]) -> list[dict[str, Any]]:
    """The specs with a long batch, and as they are, where this is longer, or torch takes no other."""
    many = of_rows(one, arguments, BATCH)
    return [many, one] if (_batch(one, arguments) or BATCH) < BATCH and _is_cheap(many) else [one]


def of_widths(
    specs: Mapping[str, Any], sizes: dict[str, int], arguments: frozenset[str], fixed: bool
) -> Iterator[tuple[Kind, list[dict[str, Any]]]]:
    """Other sizes than were given as numbers: each draw as several specs, of which torch takes the first it can.

    One with another size for every axis that is free; one for every size, or all of them doubled; one more axis; axes
    of 1 that are broadcast.
    """
    plain = {k: _numbered(v) for k, v in specs.items()}

    def sized(every: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        other = [{k: with_sizes(v, sizes) for k, v in made.items()} for made in every if made != plain]
        return [made for made in other if _is_cheap(made)]

    oblong = [_oblong(plain, arguments, long) for long in (True, False)]
    yield Kind.WIDTHS, sized(oblong)
    if not fixed:
        exchanged, doubled = _exchanged(plain, arguments), _doubled(plain, arguments)
        if any(n == 1 for k, v in plain.items() if is_drawn(v) for n in (free_shape(v) or ())[k in arguments :]):
            yield Kind.WIDTHS, sized((doubled,))
        if not plain.keys() <= arguments or oblong == [plain, plain]:
            yield Kind.WIDTHS, sized((exchanged, doubled))
        if not plain.keys() <= arguments:
            yield Kind.AXES, sized(_one_more_axis(plain, arguments))
    yield Kind.AXES, sized(_broadcast(plain, arguments))


def _numbered(spec: Any) -> Any:
    """The spec, a single size as a tuple of one."""
    shape = free_shape(spec)
    return spec if shape is None or not is_drawn(spec) else _like(spec, shape)


def of_rows(one: dict[str, Any], arguments: frozenset[str], rows: int) -> dict[str, Any]:
    """The specs with so many rows in the batch, which is the first argument's first axis."""
    shapes = [shape for k, v in one.items() if k in arguments and (shape := free_shape(v))]
    if not shapes or len(shapes[0]) < 2 or isinstance(shapes[0][0], str):
        return one
    return {k: with_first_axis(v, int(shapes[0][0]), rows) if k in arguments else v for k, v in one.items()}


def _exchanged(specs: dict[str, Any], arguments: frozenset[str]) -> dict[str, Any]:
    """The specs with another size for each but the batch, in the parameters too; equal ones stay equal."""
    other = _Other(specs)
    return _with_each(specs, arguments, lambda n: n if n == 1 else other.of(n))


def _doubled(specs: dict[str, Any], arguments: frozenset[str]) -> dict[str, Any]:
    """The specs with twice every size but the batch, so that groups and heads divide it still."""
    return _with_each(specs, arguments, lambda n: 2 * n)


def _with_each(specs: dict[str, Any], arguments: frozenset[str], other: Callable[[int], int]) -> dict[str, Any]:
    rows = of_rows(specs, arguments, ROWS)
    batch = _batch(specs, arguments)
    found = {}
    for k, spec in specs.items():
        shape = free_shape(rows[k])
        if shape and is_drawn(spec):
            start = int(k in arguments and (free_shape(spec) or ())[0] == batch and len(shape) > 1)
            found[k] = _like(
                spec, (*shape[:start], *(n if isinstance(n, str) else other(int(n)) for n in shape[start:]))
            )
    return {**specs, **found}


def _batch(specs: Mapping[str, Any], arguments: frozenset[str]) -> Any:
    """The first argument's first axis, if it has others."""
    shapes = [shape for k, v in specs.items() if k in arguments and (shape := free_shape(v))]
    return shapes[0][0] if shapes and len(shapes[0]) > 1 else None


def _oblong(specs: dict[str, Any], arguments: frozenset[str], long: bool) -> dict[str, Any]:
    """The specs with another size for each axis of the arguments that no parameter has as well, each another one.

    Even ones become odd and the other way round; the last axis is `long`.
    """
    rows = of_rows(specs, arguments, ROWS)
    mine = {k: shape for k, v in rows.items() if k in arguments and is_drawn(v) and (shape := free_shape(v))}
    written = {n for k, v in specs.items() if k not in mine for n in free_shape(v) or ()}
    if len({len(shape) for shape in mine.values()}) != 1:
        return specs
    axes = [_Other(specs) for _ in next(iter(mine.values()))]
    for i, axis in enumerate(axes):
        axis.taken |= {n for other in axes[:i] for n in other.taken}
        here = {shape[i] for shape in mine.values() if not isinstance(shape[i], str)} - written - {1}
        for n in sorted(map(int, here)) if i else []:
            axis.of(n, LONG[0] + 1 - n % 2 if long and i == len(axes) - 1 else None)
    if not any(axis.found for axis in axes):
        return specs
    other = {
        k: tuple(n if isinstance(n, str) else axis.found.get(int(n), n) for axis, n in zip(axes, shape, strict=True))
        for k, shape in mine.items()
    }
    return {**specs, **{k: _like(specs[k], shape) for k, shape in other.items()}}


def _one_more_axis(specs: dict[str, Any], arguments: frozenset[str]) -> Iterator[dict[str, Any]]:
    """The only argument with an axis more, behind its batch."""
    mine = [k for k in specs if k in arguments]
    if len(mine) == 1 and is_drawn(specs[mine[0]]):
        shape = free_shape(of_rows(specs, arguments, ROWS)[mine[0]]) or ()
        if len(shape) == 2:
            yield {**specs, mine[0]: _like(specs[mine[0]], (shape[0], MORE, shape[1]))}


def _broadcast(specs: dict[str, Any], arguments: frozenset[str]) -> Iterator[dict[str, Any]]:
    """Arguments of which each has another axis of 1, or the second alone, where several have axes in common."""
    mine = {
        k: shape for k, v in specs.items() if k in arguments and is_drawn(v) and len(shape := free_shape(v) or ()) > 1
    }
    if len(mine) < 2:
        return
    last = list(mine)[-1]
    yield {**specs, **{k: _like(specs[k], _one_at(s, -1 - i % 2) if i else s) for i, (k, s) in enumerate(mine.items())}}
    yield {**specs, last: _like(specs[last], _one_at(mine[last], -2))}


def _one_at(shape: tuple[Any, ...], axis: int) -> tuple[Any, ...]:
    return tuple(1 if i == axis % len(shape) else n for i, n in enumerate(shape))


class _Other:
    """Another size for each, of the other parity, which no input has and none before it."""

    def __init__(self, specs: Mapping[str, Any]) -> None:
        self.taken: set[Any] = {
            ROWS,
            *(int(n) for spec in specs.values() for n in free_shape(spec) or () if not isinstance(n, str)),
        }
        self.found: dict[int, int] = {}

    def of(self, n: int, new: int | None = None) -> int:
        if n not in self.found:
            among = (m for m in range(SMALLEST, LONG[0]) if m not in self.taken and m % 2 != n % 2)
            self.found[n] = next(among, n) if new is None else new
            self.taken.add(self.found[n])
        return self.found[n]


def _like(spec: Any, shape: tuple[Any, ...]) -> Any:
    return Constant(shape) if isinstance(spec, Constant) else shape


def _is_cheap(specs: Mapping[str, Any]) -> bool:
    return all(math.prod(map(int, free_shape(v) or ())) <= LARGEST for v in specs.values())


def as_written(specs: Mapping[str, Any], arguments: frozenset[str]) -> str:
    """The shapes of the arguments, as a report names them."""
    return ", ".join(f"{k} {shape}" for k, v in specs.items() if k in arguments and (shape := free_shape(v)))


def is_drawn(spec: Any) -> bool:
    """Whether the numbers of an input are ours to choose."""
    inner = spec.spec if isinstance(spec, Constant) else spec
    return is_whole(inner) or is_shape(inner)
