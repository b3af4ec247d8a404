"""Planted faults in losses and their gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from torch import nn

from handgrad import manual
from handgrad.manual.activations import logistic
from handgrad.torch_ref.losses import HalfSquaredError
from tests.derivations.case import LOSS, Derivation
from tests.derivations.wrong.breaking import BrokenLoss, planted

J, G = "loss", "loss gradient"


def probabilities(rng: np.random.Generator) -> Any:
    """Outputs for a loss on probabilities."""
    return rng.uniform(0.02, 0.98, (6, 5))


def one_hot(rng: np.random.Generator) -> Any:
    """Targets for a loss on probabilities."""
    return np.eye(5)[rng.integers(0, 5, 6)]


PAIRS: dict[str, tuple[manual.Loss, Any, dict[str, Any]]] = {
    "MSE": (manual.MeanSquaredError(), nn.MSELoss(), {"output": (4, 5), "target": (4, 5)}),
    "half squared": (manual.HalfSquaredError(), HalfSquaredError(), {"output": (4, 5), "target": (4, 5)}),
    "cross-entropy": (manual.SoftmaxCrossEntropy(), nn.CrossEntropyLoss(), {"output": (4, 5), "target": "class"}),
    "BCE": (manual.BinaryCrossEntropy(), nn.BCELoss(), {"output": probabilities, "target": one_hot}),
    "BCE with logits": (
        manual.BinaryCrossEntropyWithLogits(), nn.BCEWithLogitsLoss(), {"output": (6, 5), "target": one_hot},
    ),
}  # fmt: skip


def broken(
    loss: str, name: str, changes: dict[str, Callable[[Any, Any, Any], Any]], causes: dict[str, tuple[str, ...]]
) -> Derivation:
    """A fault in one of the losses."""
    right, reference, arguments = PAIRS[loss]
    if loss == "BCE with logits":
        arguments = {**arguments, "output": lambda rng: rng.normal(0, 2, (6, 5))}
    return planted(f"{loss}: {name}", LOSS, BrokenLoss(right, changes), reference, arguments, causes)


def softmax(z: Any) -> Any:
    """Rows of probabilities."""
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def hot(z: Any, y: Any) -> Any:
    """The classes as one-hot rows."""
    return y[:, np.newaxis] == np.arange(z.shape[1])


def faults() -> Iterator[Derivation]:
    """All of this file."""
    for name in ("MSE", "cross-entropy"):
        yield broken(name, "sign of the gradient", {G: lambda g, z, y: -g}, {G: ("sign is flipped",)})
    yield broken("MSE", "the 2 of the square missing", {G: lambda g, z, y: g / 2}, {G: ("½ too much",)})
    yield broken("MSE", "mean over the batch only", {G: lambda g, z, y: g * z.shape[1]}, {G: ("K times too large",)})
    yield broken(
        "MSE",
        "sum in the gradient",
        {G: lambda g, z, y: g * z.size},
        {G: ("NK times too large|the count of all numbers is left out",)},
    )
    yield broken("MSE", "sum in the value", {J: lambda v, z, y: v * z.size}, {J: ("NK times too large",)})
    yield broken("MSE", "target − output", {G: lambda g, z, y: 2 * (y - z) / z.size}, {G: ("sign is flipped",)})
    yield broken("MSE", "absolute error in the gradient", {G: lambda g, z, y: np.abs(g)}, {G: ("absolute value",)})
    yield broken("MSE", "target ignored", {G: lambda g, z, y: 2 * z / z.size}, {G: ("target is left out of ŷ",)})
    yield broken(
        "MSE", "sign of the error only", {G: lambda g, z, y: np.sign(z - y) / z.size}, {G: ("sign of the error",)}
    )
    yield broken("half squared", "2 not cancelled", {G: lambda g, z, y: 2 * g}, {G: ("factor 2 too much",)})
    yield broken("half squared", "1/N missing", {G: lambda g, z, y: g * len(z)}, {G: ("N times too large",)})
    yield broken(
        "half squared", "1/N missing in both", {J: lambda v, z, y: v * len(z), G: lambda g, z, y: g * len(z)},
        {J: ("N times too large",), G: ("N times too large",)},
    )  # fmt: skip
    yield broken("cross-entropy", "1/N missing", {G: lambda g, z, y: g * len(z)}, {G: ("N times too large",)})
    yield broken("cross-entropy", "1/N twice", {G: lambda g, z, y: g / len(z)}, {G: ("N times too small",)})
    yield broken("cross-entropy", "divided by NK", {G: lambda g, z, y: g / z.shape[1]}, {G: ("K times too small",)})
    yield broken(
        "cross-entropy",
        "softmax missing",
        {G: lambda g, z, y: (z - hot(z, y)) / len(z)},
        {G: ("ŷ stands for p in",)},
    )
    yield broken(
        "cross-entropy",
        "sigmoid for softmax",
        {G: lambda g, z, y: (logistic(z) - hot(z, y)) / len(z)},
        {G: ("sigmoid stands",)},
    )
    yield broken(
        "cross-entropy", "target ignored", {G: lambda g, z, y: softmax(z) / len(z)}, {G: ("target is not subtracted",)}
    )
    yield broken(
        "cross-entropy",
        "softmax over the batch",
        {G: lambda g, z, y: (softmax(z.T).T - hot(z, y)) / len(z)},
        {G: ("the wrong axis",)},
    )
    yield broken(
        "cross-entropy", "only the true class", {G: lambda g, z, y: np.where(hot(z, y), g, 0)}, {G: ("true class",)}
    )
    yield broken(
        "cross-entropy",
        "only the other classes",
        {G: lambda g, z, y: np.where(hot(z, y), 0, g)},
        {G: ("other classes",)},
    )
    yield broken(
        "cross-entropy", "the softmax's diagonal once more",
        {G: lambda g, z, y: g * softmax(z) * (1 - softmax(z))}, {G: ("p(1 − p), the softmax",)},
    )  # fmt: skip
    yield broken("cross-entropy", "gradient zero", {G: lambda g, z, y: g * 0}, {G: ("is zero",)})
    yield broken("cross-entropy", "value negated", {J: lambda v, z, y: -v}, {J: ("sign is flipped",)})
    yield broken("cross-entropy", "value summed", {J: lambda v, z, y: v * len(z)}, {J: ("N times too large",)})
    yield broken("cross-entropy", "float32 inside", {G: _in_float32}, {G: ("float32",)})
    yield broken(
        "cross-entropy",
        "classes shifted by one",
        {G: lambda g, z, y: (softmax(z) - hot(z, (y + 1) % z.shape[1])) / len(z)},
        {G: ("classes are shifted by 1",)},
    )
    yield broken("BCE", "p(1 − p) missing", {G: lambda g, p, y: (p - y) / p.size}, {G: ("(1 − ŷ) is left out",)})
    yield broken("BCE", "1/K missing", {G: lambda g, p, y: g * 5}, {G: ("K times too large",)})
    yield broken(
        "BCE",
        "the second logarithm left out",
        {J: lambda v, p, y: -(y * np.log(p)).mean()},
        {J: ("log(1 − ŷ) is left out",)},
    )
    yield broken(
        "BCE",
        "the gradient of the first logarithm only",
        {G: lambda g, p, y: -y / p / p.size},
        {G: ("(1 − target) · log(1 − ŷ) in .* is missing",)},
    )
    yield broken(
        "BCE with logits", "sigmoid missing", {G: lambda g, z, y: (z - y) / z.size}, {G: ("sigmoid is left out",)}
    )
    yield broken(
        "BCE with logits", "σ' too much", {G: lambda g, z, y: g * logistic(z) * (1 - logistic(z))}, {G: ("factor σ'",)}
    )
    yield broken("BCE with logits", "mean over the batch only", {G: lambda g, z, y: g * 5}, {G: ("K times too large",)})


def _in_float32(g: Any, z: Any, y: Any) -> Any:
    p = softmax(z.astype(np.float32))
    return ((p - hot(z, y)) / np.float32(len(z))).astype(np.float64)
