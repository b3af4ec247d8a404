"""Cuts of large inputs, on which a cause is looked for. It is named only where it holds on the whole, too.

A cut takes the first elements along an axis, so that its numbers are such as the derivation was checked on. Axes of one
size stay of one size, and others of others. What a derivation does not take, or where something else is wrong, is none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from handgrad.compare.checking.draws import Draw, Kind, away_from_zero
from handgrad.compare.checking.evaluate import Evaluation, evaluate
from handgrad.compare.foundation.debug import swallowed
from handgrad.compare.judge.calls import CallSides
from handgrad.compare.judge.names import (
    DY,
    GRADS,
    OUTPUT,
    TARGET,
    THETA,
    X,
    argument,
    constant,
    is_upstream,
    upstream_of,
)
from handgrad.compare.judge.sides import Arrays, LossSides, Sides, is_float, is_large
from handgrad.compare.judge.trajectories import TrajectorySides

MOST = 16  # the size of an axis that is cut: even, and enough for a few heads or groups
ROWS = 3  # examples
Evaluated = list[tuple[Draw, dict[str, Evaluation]]]
Cut = Callable[[Sides, Arrays, int], Arrays]  # with how many examples


def of_all_sizes(sides: Sides, arrays: Arrays, rows: int) -> Arrays:
    """Few examples, and every other axis cut."""
    if isinstance(sides, TrajectorySides):
        if sides.layout is not None:
            return arrays
        return {**arrays, THETA: arrays[THETA][:MOST], GRADS: arrays[GRADS][:, :MOST]}
    return _cut(sides, arrays, _sizes(sides, arrays), rows)


def of_rows(sides: Sides, arrays: Arrays, rows: int) -> Arrays:
    """Few examples, for a reference of fixed sizes."""
    return arrays if isinstance(sides, TrajectorySides) else _cut(sides, arrays, {}, rows)


def evaluate_smaller(sides: Sides, drawn: Evaluated, cut: Cut, right: set[str]) -> Evaluated:
    """The draws cut and evaluated; none unless something still differs, and nothing that is `right` on the whole."""
    found: Evaluated = []
    sizes: set[int] = set()
    for draw, _ in drawn:
        rows = ROWS + (draw.kind is Kind.OTHER_BATCH)
        if cut is of_rows and rows in sizes:  # what is still large is looked at with two numbers of examples
            continue
        try:
            arrays = cut(sides, draw.arrays, rows)
            if not 0 < _numbers(arrays) < _numbers(draw.arrays):
                return []
            made = evaluate(sides, arrays, exact=draw.kind is Kind.DYADIC)
        except Exception as problem:  # a size that is not taken costs these draws
            swallowed(problem, "a smaller draw")
            return []
        alike = all(e.case is not None and e.case.manual.shape == e.case.torch.shape for e in made.values())
        if not alike or not all(name in made and made[name].verdict.agrees for name in right):
            return []
        found.append((Draw(draw.label, arrays, draw.kind), made))
        if is_large(arrays):
            sizes.add(rows)
    return found if any(not e.verdict.agrees for _, made in found for e in made.values()) else []


def _numbers(arrays: Arrays) -> int:
    return sum(np.size(v) for v in arrays.values())


def _sizes(sides: Sides, arrays: Arrays) -> dict[int, int]:
    """What becomes of every size of an axis: halved as long as it is large, an odd one odd, and no two alike."""
    by_example = batched(sides, arrays)
    every = {
        n
        for k, v in arrays.items()
        if not is_upstream(k) and isinstance(v, np.ndarray)
        for n in v.shape[k in by_example :]
    }
    found: dict[int, int] = {}
    for n in sorted(every):
        found[n] = next(m for m in _halves(n) if m > max(found.values(), default=0))
    return found


def _halves(n: int) -> Iterator[int]:
    """From the smallest that is no more than MOST, up to n itself."""
    small = n
    while small > MOST:
        small = small // 2 if small % 2 == 0 else MOST - 1
    while small < n:
        yield small
        small *= 2
    yield n


def batched(sides: Sides, arrays: Arrays) -> list[str]:
    """The inputs whose first axis numbers the examples: it has others, too, or belongs to integers or a target."""
    if isinstance(sides, CallSides):
        given = [k for name in sides.arguments for k in (argument(name), constant(name)) if k in arrays]
        first = next((np.shape(arrays[k])[0] for k in given if np.ndim(arrays[k])), -1)
        keys = [k for k in given if np.ndim(arrays[k]) and np.shape(arrays[k])[0] == first]
        keys += [DY] if DY in arrays and np.ndim(arrays[DY]) and np.shape(arrays[DY])[0] == first else []
    else:
        keys = [k for k in (X, OUTPUT, TARGET, DY) if np.ndim(arrays.get(k, 0))]
    return [k for k in keys if np.ndim(arrays[k]) > 1 or k == TARGET or not is_float(arrays[k])]


def _cut(sides: Sides, arrays: Arrays, sizes: dict[int, int], rows: int) -> Arrays:
    made: Arrays = {}
    by_example = batched(sides, arrays)
    for key, value in arrays.items():
        if is_upstream(key):
            continue
        if isinstance(value, np.ndarray):
            first = key in by_example
            axes = [slice(rows)] * first + [slice(sizes.get(n, n)) for n in value.shape[first:]]
            value = np.ascontiguousarray(value[tuple(axes)])
            if value.dtype.kind in "iu" and not isinstance(sides, LossSides):
                value = _valid(value, _axis_indexed(int(value.max(initial=0)), sizes))
        made[key] = value
    if isinstance(sides, LossSides) and sizes and not is_float(made[TARGET]):
        made[TARGET] = _valid(made[TARGET], min(made[OUTPUT].shape[1:], default=0))
    if any(map(is_upstream, arrays)):
        shapes = {upstream_of(name): np.shape(y) for name, y in sides.torch(made).items()}
        made |= {k: _upstream(v, shapes[k]) for k, v in arrays.items() if is_upstream(k)}
    return made


def _axis_indexed(largest: int, sizes: dict[int, int]) -> int:
    """What becomes of the smallest axis that such an index fits into; 0 where none is cut."""
    return min(((n, m) for n, m in sizes.items() if n > largest), default=(0, 0))[1]


def _valid(labels: np.ndarray, classes: int) -> np.ndarray:
    """Labels that are still labels: an axis that they index may have been cut. Negative ones mean something else."""
    return labels if not classes else np.where(labels < 0, labels, labels % classes).astype(labels.dtype)


def _upstream(dy: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """A part of dy, or where the output has other axes, another one."""
    if len(shape) == dy.ndim and all(n <= m for n, m in zip(shape, dy.shape, strict=True)):
        return np.ascontiguousarray(dy[tuple(slice(n) for n in shape)])
    return away_from_zero(np.random.default_rng(0), tuple(shape)).astype(dy.dtype)
