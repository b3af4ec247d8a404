"""Numbers of an input in other places before it is used: transposed, reversed, rolled, in pairs; or rounded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from handgrad.compare.diagnosis.causes import Candidate, again_with
from handgrad.compare.judge.case import Case
from handgrad.compare.judge.sides import Sides

Move = Callable[[np.ndarray], np.ndarray]


def of_pairs(sides: Sides, case: Case) -> Iterator[Candidate]:
    """Pairs of neighbours along an axis taken for pairs of its two halves, on both ends of the layer or derivation."""
    key = "x" if case.output == "output" else "dy"
    v = case.inputs[key]
    words = "pairs of neighbours and pairs of halves (i and i + n/2) are taken for each other along axis {}"
    for axis, size in enumerate(v.shape):
        if size < 4 or size % 2:
            continue
        halves = np.arange(size).reshape(-1, 2).T.ravel()
        for order in (halves, np.argsort(halves)):
            move, back = (partial(np.take, indices=o, axis=axis) for o in (order, np.argsort(order)))
            yield Candidate(12, (words.format(axis),), partial(_moved, sides, case, key, move, back))


def misused(sides: Sides, case: Case, key: str, name: str, complexity: int) -> Iterator[Candidate]:
    """An input with its numbers in other places, or in a lower precision; its own gradient is moved back."""
    value = case.inputs[key]
    moves: list[tuple[int, str, Move, Move]] = []
    if value.ndim == 2 and value.shape[0] == value.shape[1]:
        moves.append((complexity, "transposed", np.transpose, np.transpose))
    for axis in range(value.ndim):
        if value.shape[axis] > 1:
            flip: Move = partial(np.flip, axis=axis)
            moves.append((complexity + 1, f"reversed along axis {axis}", flip, flip))
        if value.shape[axis] > 2:
            for shift in (1, -1):
                there, again = (partial(np.roll, shift=s, axis=axis) for s in (shift, -shift))
                moves.append((complexity + 2, f"rolled by {shift} along axis {axis}", there, again))
    seen = case.beside.get("output")  # where the output is right, the numbers are where they belong in the forward pass
    wrong = seen is not None and not (np.abs(seen.manual - seen.torch) <= seen.allowed).all()
    own = wrong and case.output == (
        f"gradient of {name}" if key not in ("x", "dy") else "input gradient" if key == "x" else ""
    )
    for unlikely, how, move, back in moves:
        what = f"{name} is {how} where it is used"
        yield Candidate(unlikely, (what,), partial(_moved, sides, case, key, move, None))
        if own:
            yield Candidate(
                unlikely + 1, (f"{what}, and its gradient with it",), partial(_moved, sides, case, key, move, back)
            )
    for low in (np.float32, np.float16):
        if np.dtype(low).itemsize < value.dtype.itemsize:
            what = f"{name} is rounded to {np.dtype(low).name} before it is used"
            lowered = {key: value.astype(low).astype(value.dtype)}
            yield Candidate(11, (what,), partial(again_with, sides, case, lowered))


def _moved(sides: Sides, case: Case, key: str, move: Move, back: Move | None) -> np.ndarray | None:
    found = again_with(sides, case, {key: move(case.inputs[key]).copy()})
    return found if found is None or back is None else back(found)
