"""Planted faults in layers that mix their inputs: softmax, normalizations, convolution, attention; and smooth gates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from handgrad.manual.activations import logistic
from tests.derivations.case import LAYER, Derivation
from tests.derivations.right.layers import GELU, RIGHT, ROWS, Conv1d, Normalization, RMSNorm, SiLU
from tests.derivations.wrong.breaking import Broken, Change, Situation, planted

OUT, DX = "output", "input gradient"


def broken(layer: str, name: str, changes: dict[str, Change], causes: dict[str, tuple[str, ...]]) -> Derivation:
    """A fault in one of the layers of `right.layers`."""
    right, reference, arguments = RIGHT[layer]
    return planted(f"{layer}: {name}", LAYER, Broken(right, changes), reference, arguments, causes)


def faults() -> Iterator[Derivation]:
    """All of this file."""
    yield from of_softmax()
    yield from of_normalizations()
    yield from of_gates()
    yield from of_others()


def of_softmax() -> Iterator[Derivation]:
    """Faults in y ⊙ (δ − Σ δ y)."""
    diagonal, projection = ("δ · p stands for sum(δ · p, axis 1)",), ("projection term|the path through sum(exp(x)",)
    yield broken("softmax", "only the diagonal", {DX: lambda v, s: s.dy * s.y * (1 - s.y)}, {DX: diagonal})
    yield broken("softmax", "projection missing", {DX: lambda v, s: s.dy * s.y}, {DX: projection})
    yield broken("softmax", "projection added", {DX: lambda v, s: 2 * s.dy * s.y - v}, {DX: projection})
    yield broken("softmax", "sign", {DX: lambda v, s: -v}, {DX: ("sign is flipped",)})
    yield broken(
        "softmax",
        "projection over the batch",
        {DX: lambda v, s: s.y * (s.dy - (s.dy * s.y).sum(axis=0, keepdims=True))},
        {DX: ("axis 0, the wrong axis",)},
    )
    yield broken(
        "softmax",
        "mean in the projection",
        {DX: lambda v, s: s.y * (s.dy - (s.dy * s.y).mean(axis=-1, keepdims=True))},
        {DX: projection},
    )


def of_normalizations() -> Iterator[Derivation]:
    """Faults in RMSNorm, LayerNorm and BatchNorm."""

    def rms(v: Any, s: Situation) -> Any:
        return np.sqrt((s.x * s.x).mean(axis=-1, keepdims=True) + 1e-6)

    yield broken(
        "RMSNorm",
        "projection missing",
        {DX: lambda v, s: s.dy * s.params["weight"] / rms(v, s)},
        {DX: ("projection term",)},
    )
    yield broken("RMSNorm", "1/r missing", {DX: lambda v, s: v * rms(v, s)}, {DX: ("root mean square is left out",)})
    yield broken(
        "RMSNorm",
        "mean in dw",
        {"gradient of weight": lambda v, s: v / len(s.x)},
        {"gradient of weight": ("N times too small",)},
    )
    yield broken(
        "RMSNorm",
        "w left out of dx",
        {
            DX: lambda v, s: RIGHT["RMSNorm"][0].input_gradient(
                {"weight": np.ones(6)}, RIGHT["RMSNorm"][0].forward(s.params, s.x)[1], s.dy
            )
        },
        {DX: ("weight is left out",)},
    )
    yield broken(
        "RMSNorm",
        "x in place of x̂ in dw",
        {"gradient of weight": lambda v, s: (s.dy * s.x).sum(axis=0)},
        {"gradient of weight": ("rsqrt.*is left out of x",)},
    )
    yield broken(
        "RMSNorm",
        "y in place of x̂ in dw",
        {"gradient of weight": lambda v, s: (s.dy * s.y).sum(axis=0)},
        {"gradient of weight": ("a factor weight too much",)},
    )
    yield planted(
        "RMSNorm: ε missing",
        LAYER,
        RMSNorm(6, eps=0.0),
        RIGHT["RMSNorm"][1],
        {"x": (4, 6)},
        {
            OUT: ("1e-06 is left out",),
            DX: ("1e-06 is left out",),
            "gradient of weight": ("1e-06 is left out",),
        },
        "1e-6",
    )
    for layer in ("LayerNorm", "BatchNorm"):
        right = RIGHT[layer][0]
        assert isinstance(right, Normalization)

        def parts(s: Situation, right: Normalization = right) -> tuple[Any, ...]:
            x_hat, sigma = right.forward(s.params, s.x)[1]
            g = s.dy * s.params["weight"]
            return (
                g,
                g.mean(axis=right.axis, keepdims=True),
                x_hat * (g * x_hat).mean(axis=right.axis, keepdims=True),
                sigma,
            )

        def without(drop: set[str], parts: Any = parts) -> Change:
            def change(v: Any, s: Situation) -> Any:
                g, mean, along, sigma = parts(s)
                return (g - (0 if "centring" in drop else mean) - (0 if "projection" in drop else along)) / sigma

            return change

        yield broken(layer, "centring missing", {DX: without({"centring"})}, {DX: ("centring term",)})
        yield broken(layer, "projection missing", {DX: without({"projection"})}, {DX: ("projection term",)})
        yield broken(
            layer, "both missing", {DX: without({"centring", "projection"})}, {DX: ("centring term", "projection term")}
        )
        yield broken(
            layer,
            "bias gradient averaged",
            {"gradient of bias": lambda v, s: v / len(s.x)},
            {"gradient of bias": ("N times too small",)},
        )
        yield broken(
            layer,
            "weight gradient without x̂",
            {"gradient of weight": lambda v, s: s.dy.sum(axis=0)},
            {"gradient of weight": ("x̂ is left out of x̂ · weight",)},
        )
    yield planted(
        "LayerNorm: ε 1e-6 for 1e-5",
        LAYER,
        Normalization(6, -1, 1e-6),
        RIGHT["LayerNorm"][1],
        {"x": (4, 6)},
        {OUT: ("ε",), DX: ("ε",), "gradient of weight": ("ε",)},
        "1e-6",
    )


def of_gates() -> Iterator[Derivation]:
    """Faults in GELU, SiLU and softplus."""
    gelu, silu = GELU(), SiLU()
    at = ("itself, where x belongs",)
    yield broken("GELU", "g' at the activation", {DX: lambda v, s: s.dy * gelu.slope(s.y)}, {DX: at})
    yield broken("GELU", "g' missing", {DX: lambda v, s: s.dy * 1}, {DX: ("gelu' is taken as 1",)})
    yield broken(
        "GELU",
        "only Φ(z)",
        {DX: lambda v, s: s.dy * 0.5 * (1 + np.tanh(gelu.inner(s.x)))},
        {DX: ("gelu.*x · .*is left out",)},
    )
    yield broken("SiLU", "g' at the activation", {DX: lambda v, s: s.dy * silu.slope(s.y)}, {DX: at})
    yield broken(
        "SiLU", "only σ(z)", {DX: lambda v, s: s.dy * logistic(s.x)}, {DX: ("x · σ(x) · (1 − σ(x)) is left out",)}
    )
    yield broken(
        "SiLU",
        "sigmoid's derivative",
        {DX: lambda v, s: s.dy * logistic(s.x) * (1 - logistic(s.x))},
        {DX: ("x is left out of x · sigmoid(x)",)},
    )
    of_itself = ("softplus(x) stands for x in sigmoid(x)|itself, where x belongs",)
    yield broken("softplus", "g' at the activation", {DX: lambda v, s: s.dy * logistic(s.y)}, {DX: of_itself})


def of_others() -> Iterator[Derivation]:
    """Faults in a convolution, in attention scores and in an embedding."""
    conv = RIGHT["Conv1d"][0]
    assert isinstance(conv, Conv1d)
    W, b = "gradient of weight", "gradient of bias"

    def flipped(s: Situation) -> Any:
        return {"weight": s.params["weight"][:, :, ::-1], "bias": s.params["bias"]}

    yield broken(
        "Conv1d",
        "kernel flipped in forward",
        {OUT: lambda v, s: conv.forward(flipped(s), s.x)[0]},
        {OUT: ("weight is reversed along axis 2",)},
    )
    yield broken(
        "Conv1d",
        "kernel flipped in dx",
        {DX: lambda v, s: conv.input_gradient(flipped(s), s.x, s.dy)},
        {DX: ("weight is flipped (reversed along its taps)",)},
    )
    yield broken("Conv1d", "dW reversed", {W: lambda v, s: v[:, :, ::-1]}, {W: ("reversed along axis 2",)})
    yield broken("Conv1d", "dW with its channels swapped", {W: lambda v, s: v.transpose(1, 0, 2)}, {W: ("transposed",)})
    yield broken(
        "Conv1d",
        "db averaged over the length",
        {b: lambda v, s: s.dy.mean(axis=2).sum(axis=0)},
        {b: ("divided by the size of axis 2",)},
    )
    yield broken(
        "Conv1d", "db not summed over the length", {b: lambda v, s: s.dy.sum(axis=0)}, {b: ("summed over axis 0",)}
    )
    root = 3**0.5
    yield broken("attention scores", "√D missing in dx", {DX: lambda v, s: v * root}, {DX: ("√3 is left out",)})
    yield broken("attention scores", "D for √D in dx", {DX: lambda v, s: v / root}, {DX: ("√3 is applied twice",)})
    yield broken("attention scores", "√D missing in forward", {OUT: lambda v, s: v * root}, {OUT: ("√3 is left out",)})

    def overwritten(v: Any, s: Situation) -> Any:
        table = v * 0
        for n, row in enumerate(ROWS):
            table[row] = s.dy[n]
        return table

    key = "gradient of table"
    yield broken("gather", "repeated rows overwrite each other", {key: overwritten}, {key: ("overwrite",)})
    yield broken("gather", "table gradient averaged", {key: lambda v, s: v / len(ROWS)}, {key: ("N times too small",)})
