"""Differences that are no formula: rounding of a lower precision, and something kept from call to call."""

from __future__ import annotations

from typing import Any

import numpy as np

from handgrad.compare.diagnosis.cause import Cause
from handgrad.compare.foundation.debug import swallowed
from handgrad.compare.judge.calls import CallSides
from handgrad.compare.judge.case import Case
from handgrad.compare.judge.names import is_forward, is_upstream, parameters_among
from handgrad.compare.judge.sides import LayerSides, Sides, is_float
from handgrad.compare.judge.translated import on_bounds
from handgrad.compare.rounding.bounded import Bounded, NoRoundingRule, Precision

# The edits of this file: none of them is applied, so none has a residual.
WIDER, KEPT, IN_PLACE, LOWER = "wider precision", "kept between calls", "written in place", "lower precision"
AFTER_FORWARD = "the backward pass writes into the output in place: before it, the output is right"
IN_THE_CACHE = (
    "input_gradient changes the cache in place, from which this gradient is then computed: without it, this is right"
)


def widened(case: Case) -> Cause | None:
    """A result in a wider type than the inputs', right but for that."""
    m, t = case.manual, case.torch
    if m.shape != t.shape or not m.dtype.itemsize > t.dtype.itemsize or m.dtype.kind != "f":
        return None
    with np.errstate(all="ignore"):
        close = np.abs(m - t) <= case.allowed + 1e3 * np.finfo(t.dtype).eps * np.abs(t)
    if not close.all():
        return None
    name = m.dtype.name
    return Cause(WIDER, f"a {name} number inside makes the result {name}: np.sqrt(2) is one, math.sqrt(2) is not")


def impurity(sides: Sides, case: Case) -> Cause | None:
    """What the manual side keeps from call to call: the same inputs, another result."""
    others = {k: np.flip(v).copy() if is_float(v) else v for k, v in case.inputs.items()}
    try:
        first, second = (_plain(sides.manual(case.inputs)[case.output]) for _ in range(2))
        sides.manual(others)
        third = _plain(sides.manual(case.inputs)[case.output])
        elsewhere = sides.torch(others)[case.output]
    except Exception as error:
        swallowed(error, "a second run of the derivation")
        return None
    if first.shape != second.shape or first.shape != third.shape:
        return None
    if np.array_equal(first, second, equal_nan=True) and np.array_equal(second, third, equal_nan=True):
        return None
    phrase = "the same inputs give another result on every call: something is kept between calls"
    if _close(second - first, case.torch):
        phrase = "the gradient of the previous step is still in it (never zeroed): every call adds to the last"
    elif _close(third, elsewhere):
        phrase = "it is the result of the call before: something is kept from call to call"
    return Cause(KEPT, phrase)


def changed_in_place(sides: Sides, case: Case) -> Cause | None:
    """A result that is right when it is computed alone: another one of the derivation's functions writes into it."""
    if not isinstance(sides, (LayerSides, CallSides)) or not case.differs():
        return None
    params = parameters_among(case.inputs)
    try:
        if is_forward(case.output):
            forward = sides.manual({k: v for k, v in case.inputs.items() if not is_upstream(k)})
            alone, words = forward[case.output], AFTER_FORWARD
        elif isinstance(sides, LayerSides) and case.parameter in params:
            _, cache = sides.layer.forward(params, case.inputs["x"])
            gradients = sides.layer.parameter_gradients(params, cache, case.inputs["dy"])
            alone, words = gradients[case.parameter], IN_THE_CACHE
        else:
            return None
    except Exception as error:
        swallowed(error, "a second run of the derivation")
        return None
    right = alone.shape == case.torch.shape and bool((np.abs(alone - case.torch) <= case.allowed).all())
    return Cause(IN_PLACE, words) if right else None


def _close(x: np.ndarray, y: np.ndarray) -> bool:
    return x.shape == y.shape and bool(np.abs(x - y).max(initial=0) <= 1e-6 * np.abs(y).max(initial=0))


def _plain(x: Any) -> np.ndarray:
    return np.asarray(x.value if isinstance(x, Bounded) else x)


def lower_precision(sides: Sides, cases: list[Case]) -> Cause | None:
    """A difference that behaves like rounding in a lower precision, and not like a formula.

    The inputs are moved by about 2⁻²⁰ of themselves, some units in the last place of float32. A wrong formula's
    difference then moves by about 2⁻²⁰ of itself; the rounding of a lower precision is drawn anew.
    """
    names = [_highest(sides, case) for case in cases]
    if not names or None in names or not any(_drawn_anew(sides, case) for case in cases):
        return None
    lowest = "float16" if "float16" in names else names[0]
    return Cause(LOWER, f"{lowest} precision somewhere inside: the difference is rounding noise of that size")


def _drawn_anew(sides: Sides, case: Case) -> bool:
    if case.manual.shape != case.torch.shape:
        return False
    differing = case.where()
    rng = np.random.default_rng(0)
    gap, moved_gaps = case.manual - case.torch, []
    for _ in range(4):
        moved = {
            k: (v * (1 - rng.uniform(0, 2, v.shape) * 2.0**-20)).astype(v.dtype)  # a probability stays one
            if is_float(v) and k != "target"
            else v
            for k, v in case.inputs.items()
        }
        ours = _plain(sides.manual(moved)[case.output])
        moved_gaps.append(ours - sides.torch(moved)[case.output])
    change = np.max([np.abs(g - gap) for g in moved_gaps], axis=0)
    noisy = change[differing] > 2.0**-10 * np.abs(gap[differing])  # halfway, in powers of two, from 2⁻²⁰ to 1
    return bool(noisy.mean() > 0.5)


def _highest(sides: Sides, case: Case) -> str | None:
    """The highest lower precision whose rounding bound holds the difference."""
    if case.manual.shape != case.torch.shape:
        return None
    for dtype in (np.float32, np.float16):
        if np.dtype(dtype).itemsize >= case.manual.dtype.itemsize:
            continue
        lower = Precision(case.manual.dtype, Precision.of(dtype).unit, Precision.of(dtype).tiny)
        try:
            wide = on_bounds(sides, case.inputs, lower)[case.output]
        except (NoRoundingRule, TypeError, AttributeError):
            return np.dtype(dtype).name if _small(case, lower.unit) else None
        error = 0 if getattr(wide, "error", None) is None else wide.error
        room = error + 2 * lower.unit * np.abs(case.torch)
        if (np.abs(case.manual - case.torch) <= room).all():
            return np.dtype(dtype).name
    return None


def _small(case: Case, unit: float) -> bool:
    """Whether the difference is at most a hundred roundings of the largest element, for code without a bound."""
    return bool(np.abs(case.manual - case.torch).max() <= 100 * unit * np.abs(case.torch).max())
