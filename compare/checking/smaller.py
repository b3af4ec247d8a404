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
from handgrad.compare.judge.names import DY, GRADS, OUTPUT, TARGET, THETA, X
from handgrad.compare.judge.sides import Arrays, LossSides, Sides, TrajectorySides, is_float, is_large

MOST = 16  # the size of an axis that is cut: even, and enough for a few heads or groups
ROWS = 3  # examples
Evaluated = list[tuple[Draw, dict[str, Evaluation]]]
Cut = Callable[[Sides, Arrays, int], Arrays]  # with how many examples


def of_all_sizes(sides: Sides, arrays: Arrays, rows: int) -> Arrays:
    """Few examples, and every other axis cut."""
    if isinstance(sides, TrajectorySides):
        return {**arrays, THETA: arrays[THETA][:MOST], GRADS: arrays[GRADS][:, :MOST]}
    return _cut(sides, arrays, _sizes(arrays), rows)


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


def _sizes(arrays: Arrays) -> dict[int, int]:
    """What becomes of every size of an axis: halved as long as it is large, an odd one odd, and no two alike."""
    every = {
        n for k, v in arrays.items() if k != DY and isinstance(v, np.ndarray) for n in v.shape[_is_batched(k, v) :]
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


def _is_batched(key: str, value: np.ndarray) -> int:
    """How many leading axes number the examples: one of an input that has others, too."""
    return int(key in (X, OUTPUT, TARGET, DY) and value.ndim > 0 and (value.ndim > 1 or key == TARGET))


def _cut(sides: Sides, arrays: Arrays, sizes: dict[int, int], rows: int) -> Arrays:
    made: Arrays = {}
    for key, value in arrays.items():
        if isinstance(value, np.ndarray) and key != DY:
            batched = _is_batched(key, value)
            axes = [slice(rows)] * batched + [slice(sizes.get(n, n)) for n in value.shape[batched:]]
            value = np.ascontiguousarray(value[tuple(axes)])
        if key != DY:
            made[key] = value
    if isinstance(sides, LossSides) and sizes and not is_float(made[TARGET]):
        made[TARGET] = _valid(made[TARGET], min(made[OUTPUT].shape[1:], default=0))
    if DY in arrays:
        made[DY] = _upstream(arrays[DY], sides.torch(made)[OUTPUT].shape)
    return made


def _valid(labels: np.ndarray, classes: int) -> np.ndarray:
    """Labels that are still labels: an axis that they index may have been cut. Negative ones mean something else."""
    return labels if not classes else np.where(labels < 0, labels, labels % classes).astype(labels.dtype)


def _upstream(dy: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """A part of dy, or where the output has other axes, another one."""
    if len(shape) == dy.ndim and all(n <= m for n, m in zip(shape, dy.shape, strict=True)):
        return np.ascontiguousarray(dy[tuple(slice(n) for n in shape)])
    return away_from_zero(np.random.default_rng(0), tuple(shape)).astype(dy.dtype)
