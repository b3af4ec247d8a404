"""Right derivations of layers that `manual/` does not have, to be broken in the catalogue; each beside its
reference.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from handgrad.manual import Array, Layer, Params
from handgrad.manual.activations import logistic

ROOT = (2 / np.pi) ** 0.5  # √(2/π), of GELU


@dataclass(frozen=True)
class Softmax(Layer):
    """y = softmax(x) over the last axis."""

    def forward(self, params: Params, x: Array) -> tuple[Array, Array]:
        e = np.exp(x - x.max(axis=-1, keepdims=True))
        y = e / e.sum(axis=-1, keepdims=True)
        return y, y

    def input_gradient(self, params: Params, cache: Array, dy: Array) -> Array:
        y = cache
        return y * (dy - (dy * y).sum(axis=-1, keepdims=True))  # ∂J/∂x_nk = y_nk (δ_nk − Σ_j δ_nj y_nj)


@dataclass(frozen=True)
class RMSNorm(Layer):
    """y = w x / √(mean x² + ε)."""

    size: int
    eps: float = 1e-6

    def init(self, rng: np.random.Generator) -> Params:
        return {"weight": rng.uniform(0.5, 1.5, self.size)}

    def forward(self, params: Params, x: Array) -> tuple[Array, tuple[Array, Array]]:
        r = np.sqrt((x * x).mean(axis=-1, keepdims=True) + self.eps)
        return params["weight"] * (x / r), (x / r, r)

    def input_gradient(self, params: Params, cache: tuple[Array, Array], dy: Array) -> Array:
        x_hat, r = cache
        g = dy * params["weight"]
        return (g - x_hat * (g * x_hat).mean(axis=-1, keepdims=True)) / r

    def parameter_gradients(self, params: Params, cache: tuple[Array, Array], dy: Array) -> Params:
        return {"weight": (dy * cache[0]).sum(axis=0)}


@dataclass(frozen=True)
class Normalization(Layer):
    """y = w (x − μ) / σ + b over one axis: the last for LayerNorm, the batch for BatchNorm in training mode."""

    size: int
    axis: int
    eps: float = 1e-5

    def init(self, rng: np.random.Generator) -> Params:
        return {"weight": rng.uniform(0.5, 1.5, self.size), "bias": rng.uniform(-1, 1, self.size)}

    def forward(self, params: Params, x: Array) -> tuple[Array, tuple[Array, Array]]:
        centred = x - x.mean(axis=self.axis, keepdims=True)
        sigma = np.sqrt((centred * centred).mean(axis=self.axis, keepdims=True) + self.eps)
        x_hat = centred / sigma
        return params["weight"] * x_hat + params["bias"], (x_hat, sigma)

    def input_gradient(self, params: Params, cache: tuple[Array, Array], dy: Array) -> Array:
        x_hat, sigma = cache
        g = dy * params["weight"]
        along = (g * x_hat).mean(axis=self.axis, keepdims=True)
        return (g - g.mean(axis=self.axis, keepdims=True) - x_hat * along) / sigma

    def parameter_gradients(self, params: Params, cache: tuple[Array, Array], dy: Array) -> Params:
        return {"weight": (dy * cache[0]).sum(axis=0), "bias": dy.sum(axis=0)}


def batch_norm(x: Any, weight: Any, bias: Any) -> Any:
    """torch's batch normalization in training mode."""
    return functional.batch_norm(x, None, None, weight, bias, training=True)


@dataclass(frozen=True)
class GELU(Layer):
    """g(z) = ½ z (1 + tanh u), u = √(2/π) (z + 0.044715 z³)."""

    def forward(self, params: Params, x: Array) -> tuple[Array, Array]:
        return 0.5 * x * (1 + np.tanh(self.inner(x))), x

    def inner(self, z: Array) -> Array:
        return ROOT * (z + 0.044715 * z * z * z)

    def slope(self, z: Array) -> Array:
        t = np.tanh(self.inner(z))
        return 0.5 * (1 + t) + 0.5 * z * (1 - t * t) * ROOT * (1 + 3 * 0.044715 * z * z)

    def input_gradient(self, params: Params, cache: Array, dy: Array) -> Array:
        return dy * self.slope(cache)


@dataclass(frozen=True)
class SiLU(Layer):
    """g(z) = z σ(z), g'(z) = σ(z) (1 + z (1 − σ(z)))."""

    def forward(self, params: Params, x: Array) -> tuple[Array, Array]:
        return x * logistic(x), x

    def slope(self, z: Array) -> Array:
        s = logistic(z)
        return s * (1 + z * (1 - s))

    def input_gradient(self, params: Params, cache: Array, dy: Array) -> Array:
        return dy * self.slope(cache)


@dataclass(frozen=True)
class Softplus(Layer):
    """g(z) = log(1 + e^z), g'(z) = σ(z)."""

    def forward(self, params: Params, x: Array) -> tuple[Array, Array]:
        return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))), x

    def input_gradient(self, params: Params, cache: Array, dy: Array) -> Array:
        return dy * logistic(cache)


@dataclass(frozen=True)
class Conv1d(Layer):
    """y_nol = Σ_ik W_oik x_n,i,l+k + b_o: torch's cross-correlation, without padding."""

    inputs: int
    outputs: int
    kernel: int

    def init(self, rng: np.random.Generator) -> Params:
        shape = (self.outputs, self.inputs, self.kernel)
        return {"weight": rng.uniform(-1, 1, shape), "bias": rng.uniform(-1, 1, self.outputs)}

    def forward(self, params: Params, x: Array) -> tuple[Array, Array]:
        length = x.shape[-1] - self.kernel + 1
        taps = [params["weight"][:, :, k] @ x[:, :, k : k + length] for k in range(self.kernel)]
        return sum(taps[1:], taps[0]) + params["bias"][:, np.newaxis], x

    def input_gradient(self, params: Params, cache: Array, dy: Array) -> Array:
        dx = cache * 0
        for k in range(self.kernel):
            dx[:, :, k : k + dy.shape[-1]] += params["weight"][:, :, k].T @ dy
        return dx

    def parameter_gradients(self, params: Params, cache: Array, dy: Array) -> Params:
        taps = [np.einsum("nol,nil->oi", dy, cache[:, :, k : k + dy.shape[-1]]) for k in range(self.kernel)]
        return {"weight": np.stack(taps, axis=-1), "bias": dy.sum(axis=(0, 2))}


@dataclass(frozen=True)
class Scores(Layer):
    """Attention scores y_nqk = Σ_d x_nqd key_kd / √D."""

    keys: int
    width: int

    def init(self, rng: np.random.Generator) -> Params:
        return {"key": rng.uniform(-1, 1, (self.keys, self.width))}

    def forward(self, params: Params, x: Array) -> tuple[Array, Array]:
        return x @ params["key"].T / self.width**0.5, x

    def input_gradient(self, params: Params, cache: Array, dy: Array) -> Array:
        return dy @ params["key"] / self.width**0.5

    def parameter_gradients(self, params: Params, cache: Array, dy: Array) -> Params:
        return {"key": np.einsum("nqk,nqd->kd", dy, cache) / self.width**0.5}


def scores(x: Any, key: Any) -> Any:
    """The reference of `Scores`."""
    return torch.matmul(x, key.T) / key.shape[1] ** 0.5


ROWS = np.array([0, 3, 1, 3, 2, 0, 3])  # some rows are looked up more than once


@dataclass(frozen=True)
class Gather(Layer):
    """An embedding: y_nd = table_rows[n],d. The table is a parameter; x is added to it, so that it has a gradient."""

    rows: int
    width: int

    def init(self, rng: np.random.Generator) -> Params:
        return {"table": rng.uniform(-1, 1, (self.rows, self.width))}

    def forward(self, params: Params, x: Array) -> tuple[Array, None]:
        return params["table"][ROWS] + x, None

    def input_gradient(self, params: Params, cache: None, dy: Array) -> Array:
        return dy

    def parameter_gradients(self, params: Params, cache: None, dy: Array) -> Params:
        table = params["table"] * 0
        np.add.at(table, ROWS, dy)
        return {"table": table}


def gather(x: Any, table: Any) -> Any:
    """The reference of `Gather`."""
    return functional.embedding(torch.as_tensor(ROWS), table) + x


# name → (the layer, its reference, the other arguments of `check`)
RIGHT: dict[str, tuple[Layer, Any, dict[str, Any]]] = {
    "softmax": (Softmax(), nn.Softmax(dim=-1), {"x": (4, 6)}),
    "RMSNorm": (RMSNorm(6), nn.RMSNorm(6, eps=1e-6), {"x": (4, 6)}),
    "LayerNorm": (Normalization(6, -1), nn.LayerNorm(6), {"x": (4, 6)}),
    "BatchNorm": (Normalization(5, 0), batch_norm, {"x": (6, 5)}),
    "GELU": (GELU(), nn.GELU(approximate="tanh"), {"x": (4, 6)}),
    "SiLU": (SiLU(), nn.SiLU(), {"x": (4, 6)}),
    "softplus": (Softplus(), nn.Softplus(), {"x": (4, 6)}),
    "Conv1d": (Conv1d(3, 4, 3), nn.Conv1d(3, 4, 3), {"x": (2, 3, 7)}),
    "attention scores": (Scores(5, 3), scores, {"x": (2, 4, 3)}),
    "gather": (Gather(4, 3), gather, {"x": lambda rng: rng.normal(0, 1, (len(ROWS), 3))}),
}
