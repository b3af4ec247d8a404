"""Which elements of a tensor are meant, in a few words, so that a person finds the line of code that makes them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

RUNS = 4  # more ranges than this are counted instead
NAMES = {0: ("row", "rows"), 1: ("column", "columns")}  # of a matrix


def describe_where(mask: np.ndarray) -> str:
    """The elements where `mask`, a boolean array of any shape, is true; every index counts from 0.

    "all 56 elements", "element [0, 3]", "elements 6–9 of 10", "column 2 of 8", "rows 0 and 4–7 of 9",
    "indices 1–2 of 4 on axis 2", "rows 0–1 of 4, columns 2–3 of 5"; where they are no block, "57 of 120 elements,
    first [0, 3]".
    """
    count = int(np.count_nonzero(mask))
    if not count:
        return "no element"
    if count == mask.size:
        return f"all {mask.size:,} elements" if mask.size > 1 else "its one element"
    first = f"[{', '.join(str(int(i)) for i in np.unravel_index(int(np.argmax(mask)), mask.shape))}]"
    if count == 1:
        return f"element {first}"
    touched = [
        np.flatnonzero(mask.any(axis=tuple(a for a in range(mask.ndim) if a != axis))) for axis in range(mask.ndim)
    ]
    narrowed = [axis for axis, where in enumerate(touched) if len(where) < mask.shape[axis]]
    runs = {axis: _runs(touched[axis]) for axis in narrowed}
    is_block = count == np.prod([len(where) for where in touched], dtype=int)
    if is_block and all(len(found) <= RUNS for found in runs.values()):
        return ", ".join(_on_axis(mask.shape, axis, len(touched[axis]), runs[axis]) for axis in narrowed)
    return f"{count:,} of {mask.size:,} elements, first {first}"


def _runs(indices: np.ndarray) -> list[str]:
    """Sorted indices as ranges: 0, 4–7."""
    parts = np.split(indices, np.flatnonzero(np.diff(indices) > 1) + 1)
    return [str(part[0]) if len(part) == 1 else f"{part[0]}–{part[-1]}" for part in parts]


def _on_axis(shape: tuple[int, ...], axis: int, count: int, runs: Sequence[str]) -> str:
    """So many indices of one axis, as its name for a vector or a matrix, or by its number."""
    one, many = {1: ("element", "elements"), 2: NAMES[axis % 2]}.get(len(shape), ("index", "indices"))
    said = runs[0] if len(runs) == 1 else f"{', '.join(runs[:-1])} and {runs[-1]}"
    on = f" on axis {axis}" if len(shape) > 2 else ""
    return f"{one if count == 1 else many} {said} of {shape[axis]:,}{on}"
