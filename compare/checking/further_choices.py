"""Indices and masks that only a derivation meets which agrees so far: ends, padding, empty groups, whole numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from handgrad.compare.checking.draws import Kind
from handgrad.compare.checking.specs import Indices, Mask
from handgrad.compare.foundation.debug import swallowed
from handgrad.compare.foundation.torch_internals import DispatchMode, arguments, operation_name
from handgrad.compare.judge import names
from handgrad.compare.judge.sides import Arrays, Sides

Change = Callable[[Arrays, np.random.Generator], Arrays]
Plan = tuple[str, Kind, Change]


def of_choices(one: Mapping[str, Any], given: Arrays, sides: Sides) -> Iterator[Plan]:
    """Draws of indices and masks, from their specs and from the arrays of whole numbers that were `given`."""
    last = {names.constant(k): int(v.below) - 1 for k, v in one.items() if isinstance(v, Indices)}
    masks = [names.constant(k) for k, v in one.items() if isinstance(v, Mask)]
    if last or masks:
        yield (
            "one index, all True",
            Kind.NUMBERS,
            lambda a, rng: a | {k: np.full_like(a[k], last.get(k, True)) for k in (*last, *masks)},
        )
    if masks:
        yield (
            "a line of False, one with a single True",
            Kind.UNASKED,
            lambda a, rng: a | {k: _a_line_off(a[k]) for k in masks},
        )
        yield "all False", Kind.UNASKED, lambda a, rng: a | {k: np.zeros_like(a[k]) for k in masks}
        yield "masks of 0 and 1", Kind.UNASKED, lambda a, rng: a | {k: a[k].astype(np.int64) for k in masks}
    if last:
        yield from _of_indices(last, _paddings(sides, given), _from_the_end(last, sides, given))
    numbers = [k for k, v in given.items() if names.is_constant(k) and v.dtype.kind in "iu" and np.unique(v).size > 2]
    if numbers:
        said = "a whole number that never occurs"
        yield said, Kind.UNASKED, lambda a, rng: a | {k: _without_one(a[k]) for k in numbers}


def _of_indices(last: Mapping[str, int], paddings: set[int], from_the_end: bool) -> Iterator[Plan]:
    """The index of padding, where there is one; the last index from both ends; the one beyond, as of lengths."""
    for p in sorted(paddings):
        padded = {k: p % (n + 1) for k, n in last.items() if -n - 1 <= p <= n}
        if padded:
            said = f"indices of padding, {p}"
            yield said, Kind.NUMBERS, partial(_padded, padded)
    if from_the_end:
        said = "index −1 beside the last"
        yield said, Kind.ENDS, lambda a, rng: a | {k: _put(a[k], -1, n) for k, n in last.items()}
    yield (
        "the number that indices lie below",
        Kind.UNASKED,
        lambda a, rng: a | {k: _put(a[k], n + 1) for k, n in last.items()},
    )


def _from_the_end(last: Mapping[str, int], sides: Sides, given: Arrays) -> bool:
    """Whether −1 is the last index to torch, and no power or count, of which it is another one."""
    ends = [given | {k: _put(given[k], n) for k, n in last.items()}, given | {k: _put(given[k], -1) for k in last}]
    try:
        one, other = map(sides.torch, ends)
    except Exception as problem:  # of an index that torch does not take
        swallowed(problem, "the look for indices from the end")
        return False
    return all(np.array_equal(y, other[name], equal_nan=True) for name, y in one.items() if names.is_forward(name))


def _padded(padded: Mapping[str, int], arrays: Arrays, rng: Any) -> Arrays:
    return arrays | {k: _put(arrays[k], p) for k, p in padded.items()}


def _put(values: np.ndarray, *chosen: int) -> np.ndarray:
    """The numbers with these at every third place, from the first."""
    found = values.copy()
    for i, number in enumerate(chosen):
        found.flat[i::3] = number
    return found


def _without_one(values: np.ndarray) -> np.ndarray:
    """The whole numbers without one that is neither the smallest nor the largest, the one before it in its place."""
    among = np.unique(values)
    middle = among.size // 2
    return np.where(values == among[middle], among[middle - 1], values)


def _a_line_off(mask: np.ndarray) -> np.ndarray:
    """The mask with one line of the last axis False, and one with a single True."""
    found = mask.copy()
    lines = found.reshape(-1, mask.shape[-1] if mask.ndim else 1)
    lines[:2] = False
    lines[1:2, 0] = True
    return found


class _Paddings(DispatchMode):  # type: ignore[no-untyped-call]
    """Hears of the index that torch's embeddings leave out."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: set[int] = set()

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if operation_name(op) == "embedding":
            given = dict(zip((f.name for f in arguments(op)), args, strict=False)) | (kwargs or {})
            self.found.add(int(given.get("padding_idx", -1)))
        return op(*args, **(kwargs or {}))


def _paddings(sides: Sides, given: Arrays) -> set[int]:
    """The indices that torch's embeddings leave out; −1, their word for none, is none of them."""
    heard = _Paddings()
    try:
        with heard:
            sides.torch(given)
    except Exception as problem:  # which is judged elsewhere
        swallowed(problem, "the look for indices of padding")
    return {p for p in heard.found if p >= 0}
