"""Right derivations in other words than torch's: algebraically equal, but each rounds in its own way.

`python -m benchmarks.detection.rewritten` puts them to check.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from handgrad.compare.checking.draws import away_from_zero
from handgrad.compare.checking.rules import rule_inputs
from handgrad.compare.judge.sides import Arrays
from tests.derivations.case import LOSS, RULE, Derivation
from tests.derivations.right import rewritten_activations, rewritten_losses, rewritten_normalizations, rewritten_sums
from tests.derivations.right.rewritten_parts import LAYERS, LOSSES, Form
from tests.derivations.right.rewritten_rules import RULES

# Imported, they fill the tables.
FILES = (rewritten_activations, rewritten_normalizations, rewritten_sums, rewritten_losses)
FORMS: list[Form] = [
    *LAYERS,
    *LOSSES,
    *((Derivation(name, RULE, *sides, origin="rewritten"), 1e6) for name, sides in RULES.items()),
]
SCALES = (1e-6, 1e-3, 1.0, 10.0, 1e3, 1e6)


def cases(dtype: str, scales: tuple[float, ...] = SCALES, seed: int = 0) -> Iterator[Derivation]:
    """Every form at every one of the scales at which it is right, on one draw of numbers of that size."""
    for form, most in FORMS:
        for scale in scales:
            if scale <= most:
                name = f"{form.name}, {scale:g} in {dtype}"
                yield replace(form, name=name, inputs=_drawn(form, scale, dtype, seed))


def _drawn(form: Derivation, scale: float, dtype: str, seed: int) -> Arrays:
    if form.kind == RULE:
        drawn = rule_inputs(form.ours, form.reference, (6,), 0.01, 10, np.dtype(dtype), seed).draws
        return {**drawn[0].arrays, "grads": (drawn[0].arrays["grads"] * scale).astype(dtype)}
    rng = np.random.default_rng([seed, zlib.crc32(form.name.encode())])
    x = (scale * away_from_zero(rng, (3, 6))).astype(dtype)
    if form.kind == LOSS:
        target = _target(form.name, rng, scale)
        return {"output": x, "target": target if target.dtype.kind == "i" else target.astype(dtype)}
    shape = form.sides.torch({"x": x})["output"].shape
    return {"x": x, "dy": away_from_zero(rng, shape).astype(dtype)}


def _target(name: str, rng: np.random.Generator, scale: float) -> np.ndarray:
    if name.startswith(("cross-entropy", "focal")):
        return rng.integers(0, 6, 3)
    bits = rng.integers(0, 2, (3, 6)).astype(float)
    if name.startswith("bce"):
        return bits
    return 2 * bits - 1 if name.startswith(("hinge", "soft margin")) else scale * away_from_zero(rng, (3, 6))
