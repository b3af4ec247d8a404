"""Right derivations in other words than torch's: algebraically equal, but each rounds in its own way. Does any differ?

    python benchmarks/rewritten.py [--seeds 3] [--only tanh]

Each at all its scales, in float64 and in float32; and with a relative error of 1e-11 in one number of each of its
results, in float64 at scale 1, where it must differ. Exits with 1 if either is otherwise.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from handgrad.compare.checking.draws import away_from_zero
from handgrad.compare.checking.inputs import rule_inputs
from handgrad.compare.judge.sides import Arrays, FunctionSides, LossSides, Sides
from tests.derivations.right import rewritten_activations, rewritten_losses, rewritten_normalizations, rewritten_sums
from tests.derivations.right.rewritten_parts import LAYERS, LOSSES, Form
from tests.derivations.right.rewritten_rules import RULES

# Imported, they fill the tables.
FORMS = (
    rewritten_activations,
    rewritten_normalizations,
    rewritten_sums,
    rewritten_losses,
)
SCALES = (1e-6, 1e-3, 1.0, 10.0, 1e3, 1e6)


class Case(NamedTuple):
    """A form on one draw of numbers of one size."""

    name: str
    sides: Sides
    inputs: Arrays


def _as(x: Any, y: Any) -> Any:
    """y in the dtype of x, which an array of constants may have widened."""
    return y.astype(x.dtype)


@dataclasses.dataclass(frozen=True)
class Loss:
    """A loss made of a form."""

    form: Form

    def forward(self, output: Any, target: Any) -> Any:
        return _as(output, self.form.value(output, target)), (output, target)

    def gradient(self, cache: Any) -> Any:
        return _as(cache[0], self.form.slope(*cache))


def _layer(form: Form) -> FunctionSides:
    return FunctionSides(lambda x: _as(x, form.value(x)), lambda dy, x: _as(x, form.slope(dy, x)), form.reference)


def _target(name: str, rng: np.random.Generator, scale: float) -> np.ndarray:
    if name.startswith(("cross-entropy", "focal")):
        return rng.integers(0, 6, 3)
    bits = rng.integers(0, 2, (3, 6)).astype(float)
    if name.startswith("bce"):
        return bits
    return 2 * bits - 1 if name.startswith(("hinge", "soft margin")) else scale * away_from_zero(rng, (3, 6))


def cases(dtype: str, scales: tuple[float, ...] = SCALES, seed: int = 0) -> Iterator[Case]:
    """Every form at every one of the scales at which it is right."""
    for table in (LAYERS, LOSSES):
        for name, form in table.items():
            for scale in scales:
                if scale <= form.most:
                    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
                    x = (scale * away_from_zero(rng, (3, 6))).astype(dtype)
                    if table is LAYERS:
                        sides: Any = _layer(form)
                        shape = sides.torch({"x": x})["output"].shape
                        inputs = {"x": x, "dy": away_from_zero(rng, shape).astype(dtype)}
                    else:
                        sides, target = LossSides(Loss(form), form.reference), _target(name, rng, scale)
                        inputs = {"output": x, "target": target if target.dtype.kind == "i" else target.astype(dtype)}
                    yield Case(f"{name}, {scale:g} in {dtype}", sides, inputs)
    for name, (rule, reference) in RULES.items():
        sides, drawn = rule_inputs(rule, reference, (6,), 0.01, 10, np.dtype(dtype), seed)
        for scale in scales:
            inputs = {**drawn["draw 1"], "grads": (drawn["draw 1"]["grads"] * scale).astype(dtype)}
            yield Case(f"{name}, {scale:g} in {dtype}", sides, inputs)
