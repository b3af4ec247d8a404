"""The smallest inputs that still show a difference: few examples, few columns, one element of δ, few digits.

Where what is left is too long to be written out, numbers of a generator take its place, from a seed that shows it too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from torch import nn

from handgrad.compare.checking.evaluate import Fault, evaluate
from handgrad.compare.checking.smaller import batched, of_all_sizes, of_rows
from handgrad.compare.foundation.debug import swallowed
from handgrad.compare.judge.calls import CallSides
from handgrad.compare.judge.names import GRADS, THETA, is_upstream, parameters_among
from handgrad.compare.judge.sides import Arrays, Sides, is_float, is_large
from handgrad.compare.judge.trajectories import TrajectorySides, first_steps

SEEDS = 5  # that are tried
SHORT = 2400  # characters of numbers that are written out
Differs = Callable[[Arrays], bool]


class Shown(NamedTuple):
    """Inputs that show a difference."""

    arrays: Arrays
    seed: int | None = None  # of the generator of those that are drawn
    drawn: tuple[str, ...] = ()  # the names of these, in their order


def smallest(
    sides: Sides, inputs: Arrays, tensor: str, reference: Any, so_far: Callable[[Shown], None] = lambda shown: None
) -> Shown:
    """The inputs cut down as far as `tensor` still differs; `so_far` is told every step on the way."""

    def differs(arrays: Arrays) -> bool:
        try:
            found = evaluate(sides, arrays).get(tensor)
        except Exception as problem:
            swallowed(problem, "a smaller case")
            return False
        return found is not None and not found.verdict.agrees and found.fault is not Fault.RAISES

    if is_large(inputs):
        inputs = _cut_of(sides, inputs, reference, differs)
        so_far(Shown(inputs))
    if isinstance(sides, TrajectorySides):
        return Shown(_smallest_trajectory(sides, inputs, differs))
    if not is_large(inputs):
        for step in _steps(sides, inputs):
            inputs = step(inputs, differs)
            so_far(Shown(inputs))
    return _drawn(inputs, differs) if too_long(inputs) else Shown(inputs)


def too_long(inputs: Arrays) -> list[str]:
    """The arrays that a short script cannot hold, the largest ones first."""
    sizes = {k: v.size * _width(v) for k, v in inputs.items() if isinstance(v, np.ndarray)}
    found = []
    for name in sorted(sizes, key=lambda k: -sizes[k]):
        if sum(n for k, n in sizes.items() if k not in found) > SHORT:
            found.append(name)
    return found


def _width(value: np.ndarray) -> int:
    """The characters that one of the numbers takes, with what stands between two."""
    return 6 if not is_float(value) or np.array_equal(value, np.round(value, 2)) else 22


def _cut_of(sides: Sides, inputs: Arrays, reference: Any, differs: Differs) -> Arrays:
    """A cut of large inputs that shows it. A module has its own sizes of parameters, which `check` insists on."""
    fixed = isinstance(reference, nn.Module) and parameters_among(inputs)
    for cut in (of_rows,) if fixed else (of_all_sizes, of_rows):
        for rows in (1, 2, 3):
            try:
                made = cut(sides, inputs, rows)
            except Exception as problem:
                swallowed(problem, "a smaller case")
                break
            if differs(made):
                return made
    return inputs


def _steps(sides: Sides, inputs: Arrays) -> Iterator[Callable[[Arrays, Differs], Arrays]]:
    """The boldest one last: what a cut axis was indexed by may end the process that tries it."""
    by_example = batched(sides, inputs)
    if not isinstance(sides, CallSides) or sides.structure.is_array:
        yield partial(_cut_rows, by_example)
    yield _one_upstream
    yield _round
    if not parameters_among(inputs) and not getattr(sides, "complex_names", ()):
        yield partial(_cut_columns, by_example)


def _cut_rows(batched: list[str], inputs: Arrays, differs: Differs) -> Arrays:
    rows = {len(inputs[k]) for k in batched}
    if len(rows) != 1:
        return inputs
    for size in range(1, min(rows.pop(), 4)):  # larger batches are no longer small
        for start in range(len(inputs[batched[0]]) - size + 1):
            cut = {**inputs, **{k: inputs[k][start : start + size] for k in batched}}
            if differs(cut):
                return cut
    return inputs


def _cut_columns(batched: list[str], inputs: Arrays, differs: Differs) -> Arrays:
    wide = [k for k in batched if np.ndim(inputs[k]) > 1]
    columns = {inputs[k].shape[-1] for k in wide}
    if len(columns) != 1:
        return inputs
    width = columns.pop()
    # whole numbers may be labels, which an axis must stay longer than
    labels = max(
        (int(v.max()) for v in inputs.values() if isinstance(v, np.ndarray) and v.dtype.kind in "iu"), default=-1
    )
    for size in (s for s in (1, 2, 3) if labels < s < width):
        for start in range(width - size + 1 if labels < 0 else 1):
            cut = {**inputs, **{k: inputs[k][..., start : start + size] for k in wide}}
            if differs(cut):
                return cut
    return inputs


def _one_upstream(inputs: Arrays, differs: Differs) -> Arrays:
    """δ is 1 at one element of one output, and 0 elsewhere."""
    upstream = {k: v for k, v in inputs.items() if is_upstream(k)}
    for name, dy in upstream.items():
        for k in range(min(dy.size, 64)):
            cut = {**inputs, **{other: np.zeros_like(v) for other, v in upstream.items()}}
            cut[name].flat[k] = 1
            if differs(cut):
                return cut
    return inputs


def _round(inputs: Arrays, differs: Differs) -> Arrays:
    for digits in (1, 2, 3):
        cut = {k: np.round(v, digits) if is_float(v) else v for k, v in inputs.items()}
        if differs(cut):
            return cut
    return inputs


def _smallest_trajectory(sides: TrajectorySides, inputs: Arrays, differs: Differs) -> Arrays:
    size = 1 if sides.layout is None else len(inputs[THETA])
    for steps in range(1, len(inputs[GRADS]) + 1):
        cut = first_steps({**inputs, THETA: inputs[THETA][:size], GRADS: inputs[GRADS][:, :size]}, steps)
        if differs(cut):
            return cut
    return inputs


def _drawn(inputs: Arrays, differs: Differs) -> Shown:
    """Numbers of a generator for what is too long; the inputs as they are where these show nothing."""
    names = tuple(too_long(inputs))
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        made = {**inputs, **{k: _of(rng, inputs[k]) for k in names}}
        if differs(made):
            return Shown(made, seed, names)
    return Shown(inputs)


def drawing(value: np.ndarray) -> str:
    """How numbers such as these are drawn, in words of Python."""
    if value.dtype.kind in "iub":
        return f"rng.integers({int(value.min())}, {int(value.max()) + 1}, {value.shape})"
    low, high = float(value.min()), float(value.max())
    if low >= 0:
        return f"rng.random({value.shape})" if high <= 1 else f"rng.exponential(size={value.shape})"
    return f"rng.normal(size={value.shape})"


def _of(rng: np.random.Generator, value: np.ndarray) -> np.ndarray:
    """The numbers that `drawing` gives, of the same type."""
    made: np.ndarray = eval(drawing(value), {"rng": rng})  # what the script will do, and nothing else
    return made.astype(value.dtype)
