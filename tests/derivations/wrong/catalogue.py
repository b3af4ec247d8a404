"""The catalogue of planted faults."""

from __future__ import annotations

from tests.derivations.case import Derivation
from tests.derivations.wrong import (
    adam,
    linear,
    losses,
    norms,
    optimizers,
    steps,
    tiny,
)

PARTS = (linear, norms, losses, tiny, optimizers, adam, steps)

# Faults that give the same numbers as the right derivation, and so are none: not counted.
EQUIVALENT: tuple[tuple[str, str], ...] = (
    ("ReLU: z ≥ 0 for z > 0", "differs at z = 0 only, where no derivative exists; torch takes 0 there"),
    ("ReLU: mask from the activation, [a > 0]", "a > 0 exactly where z > 0"),
    ("LeakyReLU: mask from the activation", "for a slope above 0 the activation has the sign of z"),
    ("identity: derivative at the activation", "g' is 1 everywhere"),
    ("softmax: the row's maximum not subtracted", "the same function; differs only where exp overflows"),
    ("softmax cross-entropy: gradient through the maximum", "softmax does not change when a row is shifted"),
    ("LayerNorm: mean of x not subtracted in the projection", "x̂ is centred, so Σ_k x̂_k μ = 0"),
    ("SGD: dampening with a momentum of 0", "there is no buffer to dampen"),
    ("SGD without momentum: weight decay decoupled", "θ − η(∇ + λθ) = (1 − ηλ)θ − η∇"),
    ("Adam: sign of the gradient in v", "v holds g², and (−g)² = g²"),
)


def catalogue() -> list[Derivation]:
    """Every fault; each has its own name."""
    faults = [fault for part in PARTS for fault in part.faults()]
    names = [fault.name for fault in faults]
    assert len(set(names)) == len(names), [n for n in names if names.count(n) > 1]
    return faults
