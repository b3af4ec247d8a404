"""A worked derivation to copy: RMSNorm, from paper to checked code.

Zhang and Sennrich (2019), "Root Mean Square Layer Normalization", eq. 4. One row x of K numbers, a gain w:

    r   = √( 1/K Σ_i x_i² + ε )
    y_k = w_k x_k / r

With x̂ = x / r, so that y_k = w_k x̂_k, and δ = ∂J/∂y:

    ∂r/∂x_i  = x_i / (K r)
    ∂x̂_k/∂x_i = [k = i] / r − x_k x_i / (K r³) = ( [k = i] − x̂_k x̂_i / K ) / r

    ∂J/∂w_k  = Σ_n δ_nk x̂_nk
    ∂J/∂x_ni = ( δ_ni w_i − x̂_ni · 1/K Σ_k δ_nk w_k x̂_nk ) / r_n

The second term of ∂J/∂x is the projection: J cannot change when x only grows longer. Forgetting it is the classic
slip. Run

    handgrad check examples/your_own_layer.py

to see the right derivation agree, and the same with the environment variable FAULT=1 to see what is said of a
derivation without the projection term and with the mean over the batch in ∂J/∂w.
"""

import os
from dataclasses import dataclass

import numpy as np
import torch

from handgrad import check
from handgrad.manual import Array, Layer, Params


@dataclass(frozen=True)
class RMSNorm(Layer):
    """y = w x / r over the last axis; torch.nn.RMSNorm's counterpart. Parameters: weight (size,)."""

    size: int
    eps: float = 1e-6

    def init(self, rng: np.random.Generator) -> Params:
        """The gain starts at 1."""
        return {"weight": np.ones(self.size)}

    def forward(self, params: Params, x: Array) -> tuple[Array, tuple[Array, Array]]:
        """x (N, K) → y (N, K)."""
        r = np.sqrt((x * x).mean(axis=-1, keepdims=True) + self.eps)  # (N, 1)
        x_hat = x / r  # (N, K)
        return params["weight"] * x_hat, (x_hat, r)

    def input_gradient(self, params: Params, cache: tuple[Array, Array], dy: Array) -> Array:
        """δ (N, K) → ∂J/∂x (N, K)."""
        x_hat, r = cache
        g = dy * params["weight"]  # δ_nk w_k                                       (N, K)
        along = (g * x_hat).mean(axis=-1, keepdims=True)  # 1/K Σ_k δ_nk w_k x̂_nk   (N, 1)
        return (g - x_hat * along) / r

    def parameter_gradients(self, params: Params, cache: tuple[Array, Array], dy: Array) -> Params:
        """δ (N, K) → ∂J/∂w (K,)."""
        x_hat, _ = cache
        return {"weight": (dy * x_hat).sum(axis=0)}  # ∂J/∂w_k = Σ_n δ_nk x̂_nk


class FaultyRMSNorm(RMSNorm):
    """The same with two slips."""

    def input_gradient(self, params: Params, cache: tuple[Array, Array], dy: Array) -> Array:
        """The projection term is forgotten: r is treated as a constant."""
        _, r = cache
        return dy * params["weight"] / r

    def parameter_gradients(self, params: Params, cache: tuple[Array, Array], dy: Array) -> Params:
        """The loss owns the 1/N already; here it is taken a second time."""
        x_hat, _ = cache
        return {"weight": (dy * x_hat).mean(axis=0)}


def check_rmsnorm() -> None:
    """Compare with torch.nn.RMSNorm on several random inputs of shape (4, 8)."""
    layer = FaultyRMSNorm if os.environ.get("FAULT") else RMSNorm
    check(layer(8), torch.nn.RMSNorm(8, eps=1e-6), x=(4, 8))
