"""An update rule over other tensors than were given: of more axes, high and wide, two of one shape, one of zeros.

A reference may know its tensors by their places: then others are none of its own. Where the rule alone knows their
names, a difference over others decides nothing.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from handgrad.compare.checking import draws
from handgrad.compare.checking.draws import Aside, Draw, Kind
from handgrad.compare.checking.trajectories import tensor_gradients
from handgrad.compare.foundation.debug import swallowed
from handgrad.compare.judge.names import GRADS, LEARNING_RATE, THETA, theta_after
from handgrad.compare.judge.sides import Arrays
from handgrad.compare.judge.trajectories import Layout, TrajectorySides

OTHERS: dict[str, dict[str, tuple[int, ...]]] = {
    "other tensors": {
        "high": (5, 2), "gain": (4,), "wide": (2, 5), "nothing": (3, 2), "kernel": (2, 3, 2, 2), "beside": (2, 5),
    },
    "tensors of one shape": {"one": (3, 2), "first": (4,), "another": (3, 2), "second": (4,)},
}  # fmt: skip
ZERO = "nothing"  # starts at 0
STEPS, FEW = 7, 3
SIZE = 3  # of an axis of the tensors that were given, where names are exchanged


def other_tensors(sides: TrajectorySides, rate: float, dtype: Any, seed: int) -> tuple[Aside, ...]:
    """The trajectories over other tensors; none where the reference knows its own."""
    if sides.layout is None:
        return ()
    if not _knows_no_names(sides, "torch", rate, dtype, seed):
        return ()
    fair = _knows_no_names(sides, "manual", rate, dtype, seed)
    found = []
    for label, shapes in OTHERS.items():
        other = replace(sides, layout=Layout(shapes, sides.layout.mapping), every=1)
        found.append(Aside(Draw(label, _arrays(other, STEPS, rate, dtype, seed), Kind.BEYOND), other, fair))
    return tuple(found)


def _arrays(sides: TrajectorySides, steps: int, rate: float, dtype: Any, seed: int) -> Arrays:
    layout = sides.layout
    assert layout is not None
    rng = np.random.default_rng([seed, 77])
    theta = {name: draws.away_from_zero(rng, shape) * (name != ZERO) for name, shape in layout.shapes.items()}
    grads = tensor_gradients(rng, steps, [prod(shape) for shape in layout.shapes.values()])
    flat = np.concatenate([t.ravel() for t in theta.values()])
    return {THETA: flat.astype(dtype), GRADS: grads.astype(dtype), LEARNING_RATE: rate}


def _knows_no_names(sides: TrajectorySides, side: str, rate: float, dtype: Any, seed: int) -> bool:
    """Whether a side does the same to tensors such as were given under other names and in another order."""
    assert sides.layout is not None
    shapes = {k: tuple(min(n, SIZE) for n in shape) for k, shape in sides.layout.shapes.items()}
    turned = dict(reversed([(f"{k} of another name", shape) for k, shape in shapes.items()]))
    here = replace(sides, layout=Layout(shapes, sides.layout.mapping), every=1)
    there = replace(sides, layout=Layout(turned, sides.layout.mapping), every=1)
    given = _arrays(here, FEW, rate, dtype, seed)
    other = {**given, THETA: _turned(shapes, given[THETA]), GRADS: _turned(shapes, given[GRADS])}
    try:
        with np.errstate(all="ignore"):
            found, again = getattr(here, side)(given), getattr(there, side)(other)
        for name in shapes:
            one = found[theta_after(FEW, name)]
            two = again[theta_after(FEW, f"{name} of another name")]
            half = np.sqrt(np.finfo(one.dtype).eps)  # of the digits: sums over tensors are in another order
            if not np.allclose(one, two, rtol=half, atol=half * float(np.abs(one).max())):
                return False
        return True
    except Exception as problem:
        swallowed(problem, "tensors of other names")
        return False


def _turned(shapes: dict[str, tuple[int, ...]], flat: np.ndarray) -> np.ndarray:
    """The tensors of a flat vector, or of each of several, from the last to the first."""
    ends = np.cumsum([prod(shape) for shape in shapes.values()])[:-1]
    return np.concatenate(np.split(flat, ends, axis=-1)[::-1], axis=-1)
