"""A layer is a function y = f(x; θ) together with its two derivatives, and nothing else.

Notation, the same in every file of this package:

    x       the network's input                             (N, in)
    z       a pre-activation, z = a Wᵀ + b                  (N, out)
    a       an activation, a = g(z); also a layer's input   (N, units)
    ŷ       the network's output                            (N, outputs)
    J       the loss, a single number; it contains the 1/N  ()
    W, b    weight and bias; W is stored as (out, in), as torch stores it
    θ       every parameter of the network as one flat vector, in torch's parameters() order
    δ       ∂J/∂(a layer's output), `delta` or `dy` in code; same shape as that output
    ∇       ∂J/∂θ, `grad` in code; same shape as θ
    η       the learning rate
    N       the batch size; the batch is always the first axis

Index letters: n runs over the batch, i over a layer's inputs, o over its outputs, k over classes.
A line that changes a shape ends in the new shape; a line that is a derivative ends in its index formula.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

__all__ = ["Array", "Cache", "Layer", "Params"]

Array = npt.NDArray[Any]
Params = dict[str, Array]
Cache = Any


@dataclass(frozen=True)
class Layer:
    """The protocol. A layer holds hyperparameters only: parameters come in, nothing is kept or changed.

    There are two backward methods because there are two derivations. Each is checked alone, and a network
    skips the input gradient of its first layer, which nobody needs.
    """

    # Points at which the derivative jumps. Two runs that round differently may land on different sides of
    # one; `compare` counts such events in a ledger.
    kinks: ClassVar[tuple[float, ...]] = ()

    def init(self, rng: np.random.Generator) -> Params:
        """Draw the parameters, float64, by their torch names; {} for a layer that has none."""
        return {}

    def forward(self, params: Params, x: Array) -> tuple[Array, Cache]:
        """Return y = f(x; θ) and whatever the two gradients want to remember.

        Cache the layer's own input or output where that is enough: those two are known to both sides of a
        comparison, so a fault in `forward` is not reported a second time in the gradients.
        """
        raise NotImplementedError(f"{type(self).__name__} has no forward(params, x)")

    def input_gradient(self, params: Params, cache: Cache, dy: Array) -> Array:
        """Return ∂J/∂x = J_xᵀ δ, with the shape of x, given δ = ∂J/∂y."""
        raise NotImplementedError(f"{type(self).__name__} has no input_gradient(params, cache, dy)")

    def parameter_gradients(self, params: Params, cache: Cache, dy: Array) -> Params:
        """Return ∂J/∂θ = J_θᵀ δ, with the keys and shapes of `params`, summed over the batch."""
        return {}


def require_positive(owner: str, **sizes: int) -> None:
    """Raise ValueError unless every named size is a whole number of at least 1."""
    for name, size in sizes.items():
        if not isinstance(size, (int, np.integer)) or isinstance(size, bool) or size < 1:
            raise ValueError(f"{owner}: {name} must be a whole number of at least 1, got {size!r}")
