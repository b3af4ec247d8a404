"""What is done to the numbers of a draw, so that other sides of comparisons and branches are taken."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import pairwise

import numpy as np

from handgrad.compare.checking.beyond import on_both_sides
from handgrad.compare.judge.sides import Arrays, is_float

STEPS = (1, -1, 2, -2, 3, -3, 4, -4, 6, -6, -8, -10, -12, -14)  # powers of 10 by which inputs are scaled

Change = Callable[[np.ndarray], np.ndarray]


def candidates(base: Arrays, free: Sequence[str], constants: list[float]) -> Iterator[Arrays]:
    """Inputs to try, the mild ones first."""
    floats = [name for name in free if is_float(base.get(name))]
    rng = np.random.default_rng(0)
    yield from _changed(base, floats[:1], _changes(rng, constants))
    if len(floats) > 1:
        yield from _changed(base, floats, _changes(rng, constants))
        yield from _coincident(base, floats)
        for name in floats[1:]:
            yield from _changed(base, [name], _changes(rng, constants))


def guarded(base: Arrays, free: Sequence[str], constants: list[float]) -> Iterator[Arrays]:
    """Inputs to try where a number is kept from being as small as these: so small that it, or its square, is less."""
    floats = [name for name in free if is_float(base.get(name))]
    scales = [power for c in constants if 0 < c < 1 for power in (c / 100, c**0.5 / 100)]
    for names in (*([name] for name in floats), *([floats] if len(floats) > 1 else [])):
        yield from _changed(base, names, (partial(np.multiply, scale) for scale in scales))


def _changed(base: Arrays, names: Sequence[str], changes: Iterable[Change]) -> Iterator[Arrays]:
    for change in changes if names else ():
        yield base | {name: np.asarray(change(base[name]), base[name].dtype) for name in names}


def _coincident(base: Arrays, floats: Sequence[str]) -> Iterator[Arrays]:
    """Two inputs that have rows in common, nearly and exactly."""
    for name in floats:
        for other in floats:
            if name != other and base[name].ndim and base[name].shape[1:] == base[other].shape[1:]:
                yield base | {name: _alike(base[name], base[other], 1 + 1e-3)}
                yield base | {name: _alike(base[name], base[other], 1)}


def whole(base: Arrays, below: dict[str, int | None], constants: Sequence[float]) -> Iterator[Arrays]:
    """Inputs to try: whole numbers and masks with the constants that they may be, in some places and in all of them.

    `below` has what each of them lies below, None where only torch says what it takes.
    """
    for name, most in below.items():
        x = base[name]
        if x.dtype == bool:
            values: list[int] = [0, 1]
        else:
            ends = [] if most is None else [0, most - 1]
            signed = (sign * int(c) for c in constants if c == int(c) for sign in (1, -1))
            near = [c + by for c in signed for by in (0, 1, -1)]
            values = [c for c in dict.fromkeys([*near, *ends]) if most is None or 0 <= c < most]
        some = np.arange(x.size).reshape(x.shape) % 2 == 0
        for c in values:
            yield base | {name: np.where(some, np.asarray(c, x.dtype), x)}
            yield base | {name: np.full_like(x, c)}


def peaks(base: Arrays, free: Sequence[str]) -> Iterator[Arrays]:
    """Inputs to try: rows with one number far from the others."""
    for name in free:
        if is_float(base.get(name)):
            yield base | {name: np.asarray(_peaked(base[name], 100), base[name].dtype)}


def _changes(rng: np.random.Generator, constants: list[float]) -> Iterator[Change]:
    """What is done to the numbers of an input."""
    if constants:
        yield from [lambda x: on_both_sides(rng, x, constants)] * (3 if len(constants) > 1 else 1)
        ends = sorted({*constants, *(-c for c in constants)})
        if between := [(a + b) / 2 for a, b in pairwise(ends)]:
            yield lambda x: np.where(rng.random(x.shape) < 0.75, rng.choice(between, x.shape), x)
    yield np.abs
    yield lambda x: -np.abs(x)
    yield from (partial(np.add, by) for by in (1, -1, 10, -10))
    yield partial(_by_rows, powers=(0, -1, 1, -2))
    yield partial(_by_rows, powers=(0, -4, 2, -6))
    yield from (partial(_peaked, by=by) for by in (10, 40, 100, 800))
    yield _sorted
    yield lambda x: -_sorted(-x)
    yield np.round
    yield from (partial(np.multiply, 10.0**power) for power in STEPS)
    yield from (partial(np.add, by) for by in (100, -100, 1000, -1000))
    # there may be no derivative: rows of one number, of zeros, two alike, and nothing but zeros
    yield lambda x: _rows(x, lambda row, _: np.full_like(row, row.flat[0]))
    yield lambda x: _rows(x, lambda row, _: np.zeros_like(row))
    yield lambda x: _rows(x, lambda row, _: x[-1].copy()) if x.ndim > 1 else x
    yield np.zeros_like


def _alike(x: np.ndarray, other: np.ndarray, by: float) -> np.ndarray:
    """x with rows of the other, in every second element times a number next to 1."""
    rows = min(len(x), len(other))
    new, taken = x.copy(), other[:rows]
    new[:rows] = taken * np.where(np.arange(taken.size).reshape(taken.shape) % 2, 1.0, by)
    return new


def _sorted(x: np.ndarray) -> np.ndarray:
    return np.sort(x) if x.ndim else x


def _by_rows(x: np.ndarray, powers: tuple[int, ...]) -> np.ndarray:
    """Every row scaled by another power of 10."""
    if x.ndim == 0:
        return x * 10.0 ** powers[-1]
    scales = 10.0 ** np.resize(np.array(powers), len(x))
    return x * scales.reshape(-1, *(1,) * (x.ndim - 1))


def _peaked(x: np.ndarray, by: float) -> np.ndarray:
    """Every second row with one number that is far above the others, or below them."""
    return _rows(x, lambda row, i: row + (by, -by)[i // 2 % 2] * (np.arange(row.size) == 0).reshape(row.shape))


def _rows(x: np.ndarray, change: Callable[[np.ndarray, int], np.ndarray]) -> np.ndarray:
    """Every second row changed, the first one among them; all of an input without rows."""
    new = x.copy()
    if x.ndim < 2:
        return change(new, 0)
    for i in range(0, len(x), 2):
        new[i] = change(new[i], i)
    return new
