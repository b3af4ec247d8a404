"""Random configurations in which the derivation is right: any complaint is a false alarm."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn, optim

from handgrad import manual
from handgrad.compare.judge.names import parameter
from handgrad.compare.judge.sides import Arrays
from tests.derivations.case import LAYER, LOSS, RULE, Derivation
from tests.derivations.right.layers import GELU, Normalization, RMSNorm, SiLU, Softmax, Softplus, batch_norm
from tests.derivations.wrong.losses import PAIRS
from tests.derivations.wrong.optimizers import torch_rule


def softplus(x: Any) -> Any:
    """log(1 + e^x) as it is; torch.nn.Softplus is another function, x itself, above its threshold."""
    return torch.logaddexp(x, torch.zeros_like(x))


ELEMENTWISE: list[tuple[manual.Layer, Any]] = [
    (manual.ReLU(), nn.ReLU()), (manual.LeakyReLU(0.1), nn.LeakyReLU(0.1)), (manual.Sigmoid(), nn.Sigmoid()),
    (manual.Tanh(), nn.Tanh()), (manual.Identity(), nn.Identity()), (GELU(), nn.GELU(approximate="tanh")),
    (SiLU(), nn.SiLU()), (Softplus(), softplus), (Softmax(), nn.Softmax(dim=-1)),
]  # fmt: skip
SPECIAL = ("ordinary", "saturated", "dead", "at a kink")


def configurations(count: int, seed: int = 0) -> Iterator[Derivation]:
    """So many of them; layers, losses and optimizers in turn. The group is what is special about the inputs."""
    for k in range(count):
        rng = np.random.default_rng([seed, k])
        dtype = ("float64", "float32")[k % 2]
        make = (_linear, _activation, _activation, _normalization, _loss, _optimizer)[(k // 2) % 6]
        name, kind, ours, reference, inputs, special = make(rng)
        cast = {
            key: v.astype(dtype) if getattr(v, "dtype", np.dtype(int)).kind == "f" else v for key, v in inputs.items()
        }
        yield Derivation(
            f"{k}: {name}", kind, ours, reference, {"dtype": dtype}, origin="random", group=special, inputs=cast
        )


Made = tuple[str, str, Any, Any, Arrays, str]  # name, kind, ours, reference, inputs, what is special


def size(rng: np.random.Generator, largest: int) -> int:
    """From 1 to the largest, small ones more often."""
    return int(np.floor(np.exp(rng.uniform(0, np.log(largest + 1)))))


def numbers(rng: np.random.Generator, shape: Any, low: float = -6, high: float = 6) -> np.ndarray:
    """Normal numbers of a random scale, by default from 1e-6 to 1e6."""
    return rng.normal(0, 1, shape) * 10 ** rng.uniform(low, high)


def _inputs(rng: np.random.Generator, layer: manual.Layer, x: np.ndarray) -> Arrays:
    params = {parameter(k): v * 10 ** rng.uniform(-3, 3) for k, v in layer.init(rng).items()}
    y, _ = layer.forward({k.removeprefix("parameter "): v for k, v in params.items()}, x)
    return {**params, "x": x, "dy": numbers(rng, y.shape)}


def _linear(rng: np.random.Generator) -> Made:
    n, i, o = size(rng, 33), size(rng, 64), size(rng, 64)
    layer = manual.Linear(i, o)
    return f"Linear({i}, {o}) on {n}", LAYER, layer, nn.Linear(i, o), _inputs(rng, layer, numbers(rng, (n, i))), ""


def _activation(rng: np.random.Generator) -> Made:
    layer, reference = ELEMENTWISE[rng.integers(len(ELEMENTWISE))]
    shape = (size(rng, 33), size(rng, 64))
    special = SPECIAL[rng.integers(len(SPECIAL))]
    x = numbers(rng, shape)
    if special == "saturated":
        x = rng.choice([-1, 1], shape) * rng.uniform(20, 800, shape)
    elif special == "dead":
        x = -np.abs(x)
    elif special == "at a kink":
        x = x * rng.integers(0, 2, shape)
    return (
        f"{type(layer).__name__} on {shape}, {special}",
        LAYER,
        layer,
        reference,
        _inputs(rng, layer, x),
        special,
    )


def _normalization(rng: np.random.Generator) -> Made:
    n, k = size(rng, 32) + 1, size(rng, 64)
    choices: list[tuple[manual.Layer, Any]] = [
        (RMSNorm(k), nn.RMSNorm(k, eps=1e-6)),
        (Normalization(k, -1), nn.LayerNorm(k)),
        (Normalization(k, 0), batch_norm),
    ]
    layer, reference = choices[rng.integers(3)]
    x = numbers(rng, (n, k)) + (numbers(rng, (1, 1)) if rng.integers(2) else 0)
    return f"{layer} on {(n, k)}", LAYER, layer, reference, _inputs(rng, layer, x), ""


def _loss(rng: np.random.Generator) -> Made:
    name = list(PAIRS)[rng.integers(len(PAIRS))]
    loss, reference, _ = PAIRS[name]
    n, k = size(rng, 33), size(rng, 64)
    output, special = numbers(rng, (n, k)), ""
    target: Any = numbers(rng, (n, k))
    if name == "cross-entropy":
        target = rng.integers(0, k, n)
    elif name.startswith("BCE"):
        target = rng.integers(0, 2, (n, k)).astype(float) if rng.integers(2) else rng.uniform(0, 1, (n, k))
    if name == "BCE":
        output = manual.activations.logistic(output)
        special = "saturated" if ((output == 0) | (output == 1)).any() else ""
    return f"{name} on {(n, k)}", LOSS, loss, reference, {"output": output, "target": target}, special


def _optimizer(rng: np.random.Generator) -> Made:
    decay = float(rng.choice([0.0, 10 ** rng.uniform(-4, -0.5)]))
    mu = float(rng.choice([0.0, rng.uniform(0.1, 0.99)]))
    nesterov = bool(mu and rng.integers(2))
    tau = 0.0 if nesterov else float(rng.choice([0.0, rng.uniform(0, 0.9)]))
    b1, b2, eps = float(rng.uniform(0, 0.99)), float(rng.uniform(0.5, 0.9999)), float(10 ** rng.uniform(-10, -2))
    centered = bool(rng.integers(2))
    ours, reference = [
        (manual.SGD(mu, tau, decay, nesterov), torch_rule(
            optim.SGD, momentum=mu, dampening=tau, weight_decay=decay, nesterov=nesterov)),
        (manual.Adam(b1, b2, eps, decay), torch_rule(optim.Adam, betas=(b1, b2), eps=eps, weight_decay=decay)),
        (manual.AdamW(b1, b2, eps, decay), torch_rule(optim.AdamW, betas=(b1, b2), eps=eps, weight_decay=decay)),
        (manual.RMSprop(b2, eps, decay, mu, centered), torch_rule(
            optim.RMSprop, alpha=b2, eps=eps, weight_decay=decay, momentum=mu, centered=centered)),
    ][rng.integers(4)]  # fmt: skip
    steps, n = size(rng, 10), size(rng, 64)
    grads = numbers(rng, (steps, n), -6, 3)
    rate = float(10 ** rng.uniform(-4, 0))
    inputs = {"theta": numbers(rng, n, -3, 3), "grads": grads, "learning rate": rate}
    return f"{ours}", RULE, ours, reference, inputs, ""
