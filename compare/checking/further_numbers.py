"""Numbers that only a derivation meets which agrees so far: zeros, tiny ones, rows alike, parameters as they begin."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from handgrad.compare.checking.draws import Kind
from handgrad.compare.judge import names
from handgrad.compare.judge.sides import Arrays

PEAKED = 50.0  # a softmax of such numbers is 1 at one place, and 0 elsewhere; float32 underflows there
SCALES = (1.0, 1e-2, 1e-4, 1e-8)  # of columns, so that a large one may not hide what is wrong in a small one
TINY = (-8.0, -3.0)  # powers of ten
ALIKE = 0.5  # every element of a parameter
AT_ZERO = 2  # parameters, the last ones, that are 0 one at a time: what opens a branch comes after it
Change = Callable[[Arrays, np.random.Generator], Arrays]


def of_real_numbers(arguments: list[str], parameters: list[str]) -> Iterator[tuple[str, Kind, Change]]:
    """Mixed scales with zeros, tiny numbers, negative ones; the last parameter but one 0, the last is in `alike`."""
    mine = frozenset(arguments)
    yield "zeros and mixed scales", Kind.SCALES, lambda a, rng: _mixed(a, rng, mine, frozenset(parameters))
    yield (
        "tiny numbers, transposed in memory",
        Kind.NUMBERS,
        lambda a, rng: {k: transposed(tiny(v, rng) if k in mine else v) for k, v in a.items()},
    )
    yield "large negative numbers", Kind.NUMBERS, partial(_changed, arguments, _negative)
    for name in parameters[-AT_ZERO:-1]:
        said = names.input_symbol(name)
        yield f"{said} = 0", Kind.ALIKE, partial(_changed, [name], np.zeros_like)


def alike(arrays: Arrays, arguments: list[str], parameters: list[str]) -> Arrays:
    """Rows of zeros and rows alike, and the last parameter 0, as gates begin."""
    zeros = {k: np.zeros_like(arrays[k]) for k in parameters[-1:]}
    return arrays | rows_alike({k: arrays[k] for k in arguments}) | zeros


def parameters_alike(arrays: Arrays, parameters: list[str]) -> Arrays:
    """Every element of each parameter the same, as many begin."""
    return arrays | {k: np.full_like(arrays[k], ALIKE) for k in parameters}


def of_complex_numbers(arguments: list[str], parameters: list[str]) -> Iterator[tuple[str, Kind, Change]]:
    """Arguments, and parameters, that happen to be real."""
    for said, among in (("real arguments", arguments), ("real parameters", parameters)):
        if among:
            yield said, Kind.ALIKE, partial(_changed, among, _real)


def _changed(among: list[str], change: Callable[[Any], np.ndarray], arrays: Arrays, rng: Any) -> Arrays:
    return arrays | {k: change(arrays[k]) for k in among}


def _negative(values: np.ndarray) -> np.ndarray:
    """Numbers from −60 to −10 or so: below what stands for the least of all, or for padding."""
    return np.asarray(-10 * (1 + np.abs(values)), values.dtype)


def _real(parts: np.ndarray) -> np.ndarray:
    found = parts.copy()
    found[..., 1] = 0
    return found


def _mixed(arrays: Arrays, rng: np.random.Generator, mine: frozenset[str], chosen: frozenset[str]) -> Arrays:
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


def rows_alike(arrays: Arrays) -> Arrays:
    """The first row as it is, one of zeros, the first again, and one of which all elements are alike.

    Inputs with rows of the same shape share the first one.
    """
    found: Arrays = {}
    shared: dict[tuple[int, ...], np.ndarray] = {}
    for name, value in arrays.items():
        found[name] = made = value.copy()
        if value.ndim < 2:
            continue
        row = shared.setdefault(value.shape[1:], value[0].copy())
        for i, other in enumerate((row, np.zeros_like(row), row, np.full_like(row, row.flat[0]))[: len(made)]):
            made[i] = other
    return found


def transposed(values: np.ndarray) -> np.ndarray:
    """The same numbers, the first axis' ones side by side in memory."""
    return np.asfortranarray(values) if values.ndim > 1 else values
