"""Something more in the result, once or times a round number: a weight decay, the input of a skip, an offset."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from handgrad.compare.diagnosis.cause import Cause
from handgrad.compare.diagnosis.whole.hypothesis import Hypothesis
from handgrad.compare.judge.case import Case
from handgrad.compare.judge.names import parameter, parameters_among
from handgrad.compare.judge.sides import Sides

DIGITS = 6  # of a round number
HOW = {1.0: "added", -1.0: "subtracted"}
INPUTS = {"x": "the input x", "dy": "the upstream gradient δ", "output": "the output ŷ"}


def of_additions(sides: Sides, case: Case) -> Iterator[Hypothesis]:
    """Every quantity of the result's shape, with the factor that the largest element of the quantity tells."""
    inputs = {parameter(name): f"the parameter {name}" for name in parameters_among(case.inputs)} | INPUTS
    others = [name for name in case.gradients if case.output not in ("output", name)]
    for key, name in {**inputs, **{k: f"the {k}" for k in others}, "": ""}.items():
        factor = _round_factor(case, _quantity(key, case))
        if factor is None:
            continue
        phrase = f"{name} is {HOW.get(factor, f'added, times {factor:g}')}"
        if not key:
            phrase = f"{factor:g} is added to every number"
        elif key in inputs and key not in INPUTS:
            phrase += " (a weight decay)"
        yield Hypothesis(Cause("added", phrase, name, f"{factor:g}"), partial(_added, key, factor))


def _quantity(key: str, case: Case) -> np.ndarray | None:
    """An input or another result, in the shape of this one; ones for no key."""
    value = np.ones_like(case.torch) if not key else case.inputs.get(key, case.results.get(key))
    if not isinstance(value, np.ndarray):
        return None
    if value.shape != case.torch.shape and case.output == "output":
        try:
            return np.broadcast_to(value, case.torch.shape)
        except ValueError:
            return None
    return value if value.shape == case.torch.shape else None


def _round_factor(case: Case, value: np.ndarray | None) -> float | None:
    """The factor with which the quantity was added, where that is a round number."""
    m, t = case.manual, case.torch
    if value is None or m.shape != t.shape or not np.abs(value).max(initial=0) > 0:
        return None
    k = int(np.abs(value).argmax())
    factor = float((m.flat[k] - t.flat[k]) / value.flat[k])
    rounded = float(f"{factor:.{DIGITS}g}")
    return rounded if 1e-8 < abs(rounded) < 1e8 and abs(rounded - factor) <= 1e-9 * abs(factor) else None


def _added(key: str, factor: float, case: Case) -> np.ndarray | None:
    value = _quantity(key, case)
    return None if value is None else case.torch + factor * value
