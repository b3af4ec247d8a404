"""Draws for a diagnosis alone: small numbers, and other sizes of every axis.

Two stories of a fault may give the same numbers by chance: a constant 3 where there are three classes, a margin that no
draw comes near. Only a derivation that is wrong already is drawn for again, and only what a shape was given for.
"""

from __future__ import annotations

import numpy as np

from compare.checking import draws
from compare.checking.evaluate import Evaluation, evaluate
from compare.judge.sides import Arrays, LossSides, Sides, is_float, parameters_among

SMALL = 0.5  # times the numbers of a draw
WIDER = 2  # so much longer is every axis


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
        size = tuple(n + WIDER for n in z.shape)
        if "other batch" in inputs and z.shape[: t.ndim] == t.shape:
            wanted = _drawn(rng, size[: t.ndim], t) if is_float(t) else rng.integers(0, size[-1], size[: t.ndim])
            found.append({"output": _drawn(rng, size, z), "target": wanted})
        return found
    if parameters_among(one) or "x" not in one or "other batch" not in inputs:
        return []
    x = _drawn(rng, tuple(n + WIDER for n in one["x"].shape), one["x"])
    found = [{**one, "x": SMALL * one["x"]}]
    if one["dy"].shape == one["x"].shape:
        found.append({"x": x, "dy": _drawn(rng, x.shape, x)})
    return found


def _drawn(rng: np.random.Generator, shape: tuple[int, ...], like: np.ndarray) -> np.ndarray:
    return draws.away_from_zero(rng, shape).astype(like.dtype)
