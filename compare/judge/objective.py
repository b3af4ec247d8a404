"""The scalar whose derivatives a backward pass gives: ⟨δ, y⟩ over all outputs, or the loss."""

from __future__ import annotations

from typing import Any

import numpy as np

from handgrad.compare.judge.names import LOSS, is_forward, upstream_of
from handgrad.compare.judge.sides import Arrays


def objective(results: Arrays, inputs: Arrays) -> Any:
    """Σ ⟨δ, y⟩ over the outputs that have an upstream gradient among the inputs, or the loss, in extended precision."""
    return sum((_wide(y) * _wide(dy)).sum() for y, dy in terms(results, inputs))


def terms(results: Arrays, inputs: Arrays) -> list[tuple[Any, Any]]:
    """(output, upstream gradient) of every output that has one; of a loss, (J, 1)."""
    found = [
        (y, inputs[upstream_of(name)])
        for name, y in results.items()
        if is_forward(name) and upstream_of(name) in inputs
    ]
    return found or [(results[LOSS], np.ones(()))]


def _wide(x: Any) -> Any:
    return np.asarray(x, np.longdouble)
