"""Draws for a diagnosis alone: small numbers, and other sizes of every axis.

Two stories of a fault may give the same numbers by chance: a constant 3 where there are three classes, a margin that no
draw comes near. Only a derivation that is wrong already is drawn for again, and only what a shape was given for.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from handgrad.compare.checking import draws
from handgrad.compare.checking.draws import Draw, Kind
from handgrad.compare.checking.evaluate import Evaluation, evaluate
from handgrad.compare.foundation.debug import swallowed
from handgrad.compare.judge.names import DY, OUTPUT, TARGET, X, parameters_among
from handgrad.compare.judge.sides import Arrays, LossSides, Sides, is_float

SMALL = 0.5  # times the numbers of a draw
WIDER = 2  # times the length of every axis but the first, so that windows and halves still fit
LARGEST = 4096  # numbers of a wider draw


def evaluate_more(sides: Sides, drawn: Sequence[Draw], right: set[str]) -> list[dict[str, Evaluation]]:
    """What becomes of the further draws.

    None of those that one side does not take, or where a shape, or something that is `right` on every draw, differs:
    there the derivation has another fault.
    """
    found: list[dict[str, Evaluation]] = []
    kinds = {draw.kind for draw in drawn}
    if Kind.LARGE not in kinds:  # not drawn from a shape, so that other numbers may be none of the function's
        return found
    for arrays in _more(sides, drawn[0].arrays, resized=Kind.OTHER_BATCH in kinds):
        try:
            made = evaluate(sides, arrays)
        except Exception as problem:
            swallowed(problem, "a further draw")
            continue
        alike = all(e.case is not None and e.case.manual.shape == e.case.torch.shape for e in made.values())
        if alike and all(name in made and made[name].verdict.agrees for name in right):
            found.append(made)
    return found


def _more(sides: Sides, one: Arrays, resized: bool) -> list[Arrays]:
    """Other inputs than these; of other sizes, too, where the derivation takes another batch size."""
    rng = np.random.default_rng(0)
    if isinstance(sides, LossSides):
        z, t = one[OUTPUT], one[TARGET]
        found = [{OUTPUT: SMALL * z, TARGET: t}]
        size = _wider(z.shape)
        if resized and z.size <= LARGEST and z.shape[: t.ndim] == t.shape:
            wanted = _drawn(rng, size[: t.ndim], t) if is_float(t) else rng.integers(0, size[-1], size[: t.ndim])
            found.append({OUTPUT: _drawn(rng, size, z), TARGET: wanted})
        return found
    if parameters_among(one) or X not in one or not resized:
        return []
    x = _drawn(rng, _wider(one[X].shape), one[X])
    found = [{**one, X: SMALL * one[X]}]
    if x.size > LARGEST:
        return found
    try:
        found.append({X: x, DY: _drawn(rng, sides.torch({X: x})[OUTPUT].shape, x)})
    except Exception as problem:  # a reference that takes one size only costs a draw
        swallowed(problem, "a further draw")
    return found


def _wider(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (shape[0] + 1, *(n * WIDER for n in shape[1:]))


def _drawn(rng: np.random.Generator, shape: tuple[int, ...], like: np.ndarray) -> np.ndarray:
    return draws.away_from_zero(rng, shape).astype(like.dtype)
