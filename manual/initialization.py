"""Where a weight starts. Each function draws W of shape (out, in) from a NumPy generator, in float64.

The variance of a unit's output is fan_in · Var[W] · E[a²]; each rule keeps it, or its backward counterpart
with fan_out, near 1 through the depth of the network.
"""

from collections.abc import Callable

import numpy as np

from handgrad.manual.layer import Array

Initializer = Callable[[np.random.Generator, tuple[int, int]], Array]


def torch_default(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    """U(−1/√fan_in, 1/√fan_in): what torch.nn.Linear draws (He et al. 2015, eq. 10, with a = √5)."""
    limit = 1 / np.sqrt(shape[1])
    return rng.uniform(-limit, limit, shape)


def xavier_uniform(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    """U(−l, l), l = √(6 / (fan_in + fan_out)) (Glorot and Bengio 2010, eq. 16)."""
    limit = np.sqrt(6 / (shape[0] + shape[1]))
    return rng.uniform(-limit, limit, shape)


def xavier_normal(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    """N(0, 2 / (fan_in + fan_out)) (Glorot and Bengio 2010, eq. 12)."""
    return rng.normal(0, np.sqrt(2 / (shape[0] + shape[1])), shape)


def he_uniform(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    """U(−l, l), l = √(6 / fan_in), the uniform law with the variance of `he_normal`."""
    limit = np.sqrt(6 / shape[1])
    return rng.uniform(-limit, limit, shape)


def he_normal(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    """N(0, 2 / fan_in), for ReLU (He et al. 2015, eq. 10)."""
    return rng.normal(0, np.sqrt(2 / shape[1]), shape)
