"""Draws for a diagnosis alone: small numbers, and other sizes of every axis.

Two stories of a fault may give the same numbers by chance: a constant 3 where there are three classes, a margin that no
draw comes near. Only a derivation that is wrong already is drawn for again, and only what a shape was given for.
"""

from __future__ import annotations

import numpy as np

from handgrad.compare.checking import draws
from handgrad.compare.checking.evaluate import Evaluation, evaluate
from handgrad.compare.judge.sides import Arrays, LossSides, Sides, is_float, parameters_among

SMALL = 0.5  # times the numbers of a draw
WIDER = 2  # times the length of every axis but the first, so that windows and halves still fit
LARGEST = 4096  # numbers of a wider draw


def evaluate_more(sides: Sides, inputs: dict[str, Arrays], right: set[str]) -> list[dict[str, Evaluation]]:
    """What becomes of the further draws.

    None of those that one side does not take, or where a shape, or something that is `right` on every draw, differs:
    there the derivation has another fault.
    """
    found = []
    for arrays in _more(sides, inputs) if "large" in inputs else ():  # drawn from a shape: any numbers will do
        try:
            made = evaluate(sides, arrays)
        except Exception:
            continue
        alike = all(e.case is not None and e.case.manual.shape == e.case.torch.shape for e in made.values())
        if alike and all(name in made and made[name].verdict.agrees for name in right):
            found.append(made)
    return found


def _more(sides: Sides, inputs: dict[str, Arrays]) -> list[Arrays]:
    one, rng = inputs["draw 1"], np.random.default_rng(0)
    if isinstance(sides, LossSides):
        z, t = one["output"], one["target"]
        found = [{"output": SMALL * z, "target": t}]
        size = _wider(z.shape)
        if "other batch" in inputs and z.size <= LARGEST and z.shape[: t.ndim] == t.shape:
            wanted = _drawn(rng, size[: t.ndim], t) if is_float(t) else rng.integers(0, size[-1], size[: t.ndim])
            found.append({"output": _drawn(rng, size, z), "target": wanted})
        return found
    if parameters_among(one) or "x" not in one or "other batch" not in inputs:
        return []
    x = _drawn(rng, _wider(one["x"].shape), one["x"])
    found = [{**one, "x": SMALL * one["x"]}]
    if x.size > LARGEST:
        return found
    try:
        found.append({"x": x, "dy": _drawn(rng, sides.torch({"x": x})["output"].shape, x)})
    except Exception:  # a reference that takes one size only costs a draw
        return found
    return found


def _wider(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (shape[0] + 1, *(n * WIDER for n in shape[1:]))


def _drawn(rng: np.random.Generator, shape: tuple[int, ...], like: np.ndarray) -> np.ndarray:
    return draws.away_from_zero(rng, shape).astype(like.dtype)
