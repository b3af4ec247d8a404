"""Complex conjugates that are left out, or taken too much, in the gradient of a complex argument.

Torch's gradient is ∂J/∂Re z + i ∂J/∂Im z: that of a holomorphic f is δ · conj f′(z). Without the conjugate it is
δ · f′(z), which is the conjugate of torch's own for conj δ.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from handgrad.compare.diagnosis.cause import Cause
from handgrad.compare.diagnosis.whole.hypothesis import Hypothesis
from handgrad.compare.diagnosis.whole.other_inputs import rerun
from handgrad.compare.judge.calls import CallSides
from handgrad.compare.judge.case import Case
from handgrad.compare.judge.names import argument_gradient, is_upstream
from handgrad.compare.judge.sides import Sides

WAYS = (  # whether δ is conjugated before, and the result after
    ("derivative not conjugated", "conj is left out of the derivative: δ · f′ stands for δ · conj f′", True, True),
    ("result conjugated", "the whole gradient is conjugated", False, True),
    ("δ conjugated", "the upstream gradient is conjugated", True, False),
)


def of_complex(sides: Sides, case: Case) -> Iterator[Hypothesis]:
    """The gradient with a conjugate too much or too little."""
    if not isinstance(sides, CallSides):
        return
    gradients = {argument_gradient(k) for k in sides.arguments} if sides.complex_names else set()
    if case.output in gradients or (case.parameter and sides.complex_names):
        for edit, phrase, before, after in WAYS:
            yield Hypothesis(Cause(edit, phrase), partial(_conjugated, sides, before, after))


def _conjugated(sides: CallSides, before: bool, after: bool, case: Case) -> np.ndarray | None:
    changes = {k: _conj(v) for k, v in case.inputs.items() if is_upstream(k) and k in sides.complex_names}
    made = rerun(sides, case, changes) if before else case.torch
    if made is None or made.shape[-1:] != (2,):
        return None
    return _conj(made) if after else made


def _conj(pairs: np.ndarray) -> np.ndarray:
    """The conjugates of complex numbers given by their parts."""
    return pairs * np.array([1, -1], pairs.dtype)
