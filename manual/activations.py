"""a = g(z), element by element, and the one derivative each of them has: ∂J/∂z = δ ⊙ g'(z).

Every function here is finite, and silent, for any finite z.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from handgrad.manual.layer import Array, Layer, Params

__all__ = ["Identity", "LeakyReLU", "ReLU", "Sigmoid", "Tanh"]


@dataclass(frozen=True)
class Identity(Layer):
    """g(z) = z. The output layer of a regression network."""

    def forward(self, params: Params, x: Array) -> tuple[Array, None]:
        return x, None

    def input_gradient(self, params: Params, cache: None, dy: Array) -> Array:
        return dy  # ∂J/∂z_ni = δ_ni · 1


@dataclass(frozen=True)
class ReLU(Layer):
    """g(z) = max(0, z), g'(z) = [z > 0]; at the kink the derivative is taken to be 0, as torch takes it."""

    kinks: ClassVar[tuple[float, ...]] = (0.0,)

    def forward(self, params: Params, x: Array) -> tuple[Array, Array]:
        z = x
        return np.maximum(z, 0), z  # a_ni = max(0, z_ni)

    def input_gradient(self, params: Params, cache: Array, dy: Array) -> Array:
        z = cache
        return np.where(z > 0, dy, 0)  # ∂J/∂z_ni = δ_ni [z_ni > 0]


@dataclass(frozen=True)
class LeakyReLU(Layer):
    """g(z) = z where z > 0 and s·z elsewhere, with the slope s of torch.nn.LeakyReLU."""

    kinks: ClassVar[tuple[float, ...]] = (0.0,)
    slope: float = 0.01

    def forward(self, params: Params, x: Array) -> tuple[Array, Array]:
        z = x
        return np.where(z > 0, z, self.slope * z), z  # a_ni = z_ni or s z_ni

    def input_gradient(self, params: Params, cache: Array, dy: Array) -> Array:
        z = cache
        return np.where(z > 0, dy, self.slope * dy)  # ∂J/∂z_ni = δ_ni (1 or s)


def logistic(z: Array) -> Array:
    """σ(z) = 1 / (1 + e^−z), computed from e^−|z| so that no exponent is positive and nothing overflows."""
    e = np.exp(-np.abs(z))
    return np.where(z >= 0, 1, e) / (1 + e)


@dataclass(frozen=True)
class Sigmoid(Layer):
    """g(z) = σ(z), g'(z) = σ(z) (1 − σ(z)), so the output is all the gradient needs."""

    def forward(self, params: Params, x: Array) -> tuple[Array, Array]:
        a = logistic(x)  # a_ni = 1 / (1 + exp(−z_ni))
        return a, a

    def input_gradient(self, params: Params, cache: Array, dy: Array) -> Array:
        a = cache
        return dy * a * (1 - a)  # ∂J/∂z_ni = δ_ni a_ni (1 − a_ni)


@dataclass(frozen=True)
class Tanh(Layer):
    """g(z) = tanh z, g'(z) = 1 − tanh² z, so the output is all the gradient needs."""

    def forward(self, params: Params, x: Array) -> tuple[Array, Array]:
        a = np.tanh(x)  # a_ni = tanh z_ni
        return a, a

    def input_gradient(self, params: Params, cache: Array, dy: Array) -> Array:
        a = cache
        return dy * (1 - a * a)  # ∂J/∂z_ni = δ_ni (1 − a_ni²)
