"""The upstream gradients of a draw, ∂J/∂output for every output that has one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from handgrad.compare.checking import draws
from handgrad.compare.checking.draws import Kind, as_real
from handgrad.compare.checking.evaluate import run_reference
from handgrad.compare.foundation.errors import UsageError
from handgrad.compare.judge import names
from handgrad.compare.judge.sides import Arrays, Sides


def upstream_gradients(
    sides: Sides, dy: Any, dtype: Any, kind: Kind, inputs: Arrays, rng: np.random.Generator,
    outputs: Sequence[str], wanted: Sequence[str],
) -> Arrays:  # fmt: skip
    """An array of the output's shape for each of `outputs`: random, or as `dy` says; 0 for all but those `wanted`."""
    results = run_reference(sides, inputs)
    given = _given(dy, outputs)
    found = {}
    for name in outputs:
        y = results[name]
        if y.dtype.kind != "f":
            raise UsageError(
                f"the torch reference must return floating-point numbers, got {y.dtype}: nothing else has a gradient"
            )
        if name not in wanted:
            value = np.zeros(y.shape, dtype)
        elif name in given:
            value = as_real(draws.draw_numbers(given[name], rng, dtype, what=names.DY))
        else:
            pick = draws.dyadic if kind is Kind.DYADIC else draws.away_from_zero
            value = np.asarray(pick(rng, y.shape), dtype)
        if value.shape != y.shape:
            raise UsageError(f"dy must have the output's shape {y.shape}, got {value.shape}: give it that shape")
        found[names.upstream_of(name)] = value
    return found


def _given(dy: Any, outputs: Sequence[str]) -> dict[str, Any]:
    """The upstream gradients that are given, by output."""
    if dy is None:
        return {}
    if len(outputs) == 1:
        return {outputs[0]: dy}
    if isinstance(dy, Mapping):
        given = {names.output(str(k)): v for k, v in dy.items()}
    elif isinstance(dy, (tuple, list)) and len(dy) == len(outputs):
        given = dict(zip(outputs, dy, strict=True))
    else:
        given = {"": dy}
    if not given.keys() <= set(outputs):
        parts = ", ".join(map(names.part_of, outputs))
        raise UsageError(f"dy must have one array for each of {parts}: give a dictionary, or a tuple of {len(outputs)}")
    return {k: v for k, v in given.items() if v is not None}
