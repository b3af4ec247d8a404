"""The constants that either side compares its numbers with, and a draw that lies on both sides of each.

A cut at 20 is nothing to numbers below 4: a derivation without it, or with another one, agrees there.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from handgrad.compare.foundation.debug import swallowed
from handgrad.compare.foundation.torch_internals import DispatchMode, arguments, operation_name
from handgrad.compare.judge.sides import Arrays, Sides, bounded, is_float
from handgrad.compare.rounding.bounded import Precision
from handgrad.compare.rounding.thresholds import thresholds

# Torch's operations whose numbers are constants that it compares with.
CUTS = {
    "clamp", "clamp_min", "clamp_max", "hardtanh", "threshold", "softplus", "hardshrink", "softshrink", "relu6",
    "gt", "ge", "lt", "le", "eq", "ne", "huber_loss", "smooth_l1_loss", "maximum", "minimum", "celu", "where",
    "remainder", "fmod", "floor_divide",
}  # fmt: skip
NUMBERS = ("number", "Scalar", "float")
BESIDE = (1.125, 0.875, 2.0, 0.5)  # times a constant: on both sides of it, and of it where a factor 2 comes first
LARGEST = 2.0**13  # constants beyond this are stand-ins for infinity


class _Cuts(DispatchMode):  # type: ignore[no-untyped-call]
    """Hears of the constants that torch's operations compare with."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: set[float] = set()

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if operation_name(op).rstrip("_") in CUTS:
            formals = arguments(op)
            left_out = [f.default_value for f in formals[len(args) :] if f.has_default_value()]
            for formal, value in zip(formals, [*args, *left_out], strict=False):
                if isinstance(value, (int, float)) and any(kind in str(formal.type) for kind in NUMBERS):
                    self.found.add(float(value))
        return op(*args, **(kwargs or {}))


def constants_of(sides: Sides, inputs: Arrays) -> list[float]:
    """The constants, in absolute value, that either side compares with on these inputs; not 0, which every draw passes.

    What cannot be run so is no accident: it is judged elsewhere.
    """
    dtype = next(v.dtype for v in inputs.values() if is_float(v))
    with thresholds() as ours:
        try:
            with np.errstate(all="ignore"):
                sides.manual(bounded(inputs, Precision.of(dtype)))
        except Exception as problem:
            swallowed(problem, "the look for constants in the derivation")
    cuts = _Cuts()
    try:
        with cuts:
            sides.torch(inputs)
    except Exception as problem:
        swallowed(problem, "the look for constants in the reference")
    found = {abs(c) for c in (*ours, *cuts.found) if np.isfinite(c)}
    return sorted(c for c in found if 2.0**-10 < c < LARGEST)


def on_both_sides(rng: np.random.Generator, numbers: np.ndarray, constants: Iterable[float]) -> np.ndarray:
    """The numbers, most of them replaced by such as lie on both sides of the constants, of either sign."""
    # the nearest first: where there is not room for all, those that are far from a constant are left out
    values = np.array([sign * share * c for share in BESIDE for c in constants for sign in (1, -1)])
    found = numbers.copy()
    place = rng.permutation(numbers.size)[: max(1, numbers.size - numbers.size // 4, min(numbers.size, len(values)))]
    # each value differs a little from draw to draw, so that no two are equal
    found.flat[place] = np.resize(values, len(place)) * (1 + rng.uniform(-0.03, 0.03, len(place)))
    return found
