"""z = a Wᵀ + b and its three derivatives.

z_no = Σ_i a_ni W_oi + b_o

∂J/∂W_oi = Σ_n ∂J/∂z_no ∂z_no/∂W_oi = Σ_n δ_no a_ni
∂J/∂b_o  = Σ_n δ_no
∂J/∂a_ni = Σ_o δ_no W_oi

The products are written a.dot(b) and not a @ b: NumPy does not hand δᵀ @ a to BLAS where the batch is a single
example, and of a product as small as these the operator's own dispatch is a third.
"""

from dataclasses import dataclass

import numpy as np

from handgrad.manual.initialization import Initializer, torch_default
from handgrad.manual.layer import Array, Layer, Params, require_positive

__all__ = ["Linear"]


@dataclass(frozen=True)
class Linear(Layer):
    """A fully connected layer of `outputs` units over `inputs` numbers; torch.nn.Linear's counterpart.

    Parameters: weight (outputs, inputs) and, unless bias=False, bias (outputs,).
    `initializer` draws the weight. The bias starts at torch's U(−1/√inputs, 1/√inputs) beside torch's own
    weight rule and at zero beside any other.
    """

    inputs: int
    outputs: int
    bias: bool = True
    initializer: Initializer = torch_default

    def __post_init__(self) -> None:
        require_positive("Linear", inputs=self.inputs, outputs=self.outputs)

    def init(self, rng: np.random.Generator) -> Params:
        params = {"weight": self.initializer(rng, (self.outputs, self.inputs))}  # (out, in)
        if self.bias:
            limit = 1 / np.sqrt(self.inputs) if self.initializer is torch_default else 0.0
            params["bias"] = rng.uniform(-limit, limit, self.outputs)  # (out,)
        return params

    def forward(self, params: Params, x: Array) -> tuple[Array, Array]:
        """x (N, in) → z (N, out). Raises ValueError where x is not (N, in)."""
        if x.ndim != 2 or x.shape[1] != self.inputs:
            raise ValueError(
                f"Linear({self.inputs}, {self.outputs}) takes an input of shape (N, {self.inputs}), "
                f"got {x.shape}: reshape the input, or change the layer's size"
            )
        a, W = x, params["weight"]
        z = a.dot(W.T)  # z_no = Σ_i a_ni W_oi               (N, out)
        if self.bias:
            z = z + params["bias"]  # z_no += b_o                        (N, out)
        return z, a

    def input_gradient(self, params: Params, cache: Array, dy: Array) -> Array:
        """δ (N, out) → ∂J/∂a (N, in)."""
        delta, W = dy, params["weight"]
        da: Array = delta.dot(W)  # ∂J/∂a_ni = Σ_o δ_no W_oi        (N, in)
        return da

    def parameter_gradients(self, params: Params, cache: Array, dy: Array) -> Params:
        """δ (N, out) → ∂J/∂W (out, in) and ∂J/∂b (out,)."""
        a, delta = cache, dy
        dW = delta.T.dot(a)  # ∂J/∂W_oi = Σ_n δ_no a_ni             (out, in)
        if not self.bias:
            return {"weight": dW}
        db = delta.sum(axis=0)  # ∂J/∂b_o = Σ_n δ_no                 (out,)
        return {"weight": dW, "bias": db}
