"""Planted faults in a linear layer and in the activations that the project ships."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from torch import nn

from handgrad import manual
from handgrad.manual import Array, LeakyReLU, Linear, Params, ReLU, Sigmoid, Tanh
from tests.derivations.case import LAYER, Derivation
from tests.derivations.wrong.breaking import Broken, Change, planted

OUT, DX, DW, DB = "output", "input gradient", "gradient of weight", "gradient of bias"


def faults() -> Iterator[Derivation]:
    """All of this file."""
    yield from of_linear()
    yield from of_linear_forward()
    yield from of_state()
    yield from of_activations()
    yield from of_two()


def linear(
    name: str, changes: dict[str, Change], causes: dict[str, tuple[str, ...]], square: bool = False
) -> Derivation:
    """A fault in Linear(7, 5), or in the square Linear(6, 6), where a transposed matrix fits."""
    inputs, outputs = (6, 6) if square else (7, 5)
    ours, reference = Broken(Linear(inputs, outputs), changes), nn.Linear(inputs, outputs)
    return planted(f"Linear: {name}", LAYER, ours, reference, {"x": (4, inputs)}, causes)


def of_linear() -> Iterator[Derivation]:
    """Faults in one gradient."""
    sign, zero, single = ("sign is flipped",), ("is zero",), ("only the first example",)
    averaged = ("N times too small",)
    yield linear("sign of dx", {DX: lambda v, s: -v}, {DX: sign})
    yield linear("sign of dW", {DW: lambda v, s: -v}, {DW: sign})
    yield linear("sign of db", {DB: lambda v, s: -v}, {DB: sign})
    yield linear("factor 2 in dW", {DW: lambda v, s: 2 * v}, {DW: ("factor 2 too much",)})
    yield linear("factor ½ in dW", {DW: lambda v, s: v / 2}, {DW: ("factor ½ too much",)})
    yield linear("mean over the batch in dW", {DW: lambda v, s: v / len(s.x)}, {DW: averaged})
    yield linear("mean over the batch in db", {DB: lambda v, s: s.dy.mean(axis=0)}, {DB: averaged})
    yield linear("N times dW", {DW: lambda v, s: v * len(s.x)}, {DW: ("N times too large",)})
    yield linear("dW over the number of outputs", {DW: lambda v, s: v / 5}, {DW: ("K times too small",)})
    yield linear("dW times the number of outputs", {DW: lambda v, s: v * 5}, {DW: ("K times too large",)})
    yield linear("dW over NK", {DW: lambda v, s: v / s.dy.size}, {DW: ("NK times too small",)})
    yield linear("dx over the number of inputs", {DX: lambda v, s: v / 7}, {DX: ("D times too small",)})
    yield linear("a constant of no meaning in dx", {DX: lambda v, s: v * 0.37}, {DX: ("constant factor of 0.37",)})
    yield linear("the learning rate inside dW", {DW: lambda v, s: v * 0.01}, {DW: ("learning rate|factor of 0.01",)})
    yield linear("db summed over the outputs", {DB: lambda v, s: s.dy.sum(axis=1)}, {DB: ("summed over axis 1",)})
    yield linear("db summed over everything", {DB: lambda v, s: v * 0 + s.dy.sum()}, {DB: ("over axis 0, 1",)})
    yield linear("db not summed", {DB: lambda v, s: s.dy}, {DB: ("summed over nothing",)})
    yield linear("db of shape (1, K)", {DB: lambda v, s: s.dy.sum(axis=0, keepdims=True)}, {DB: ("shape is wrong",)})
    yield linear("db missing", {DB: lambda v, s: None}, {DB: ("is missing",)})
    yield linear("db zero", {DB: lambda v, s: v * 0}, {DB: zero})
    yield linear("dx zero", {DX: lambda v, s: v * 0}, {DX: zero})
    yield linear("dx of ones", {DX: lambda v, s: v * 0 + 1}, {DX: ("is 1 throughout",)})
    yield linear(
        "the batch summed before the outer product",
        {DW: lambda v, s: np.outer(s.dy.sum(axis=0), s.x.sum(axis=0))},
        {DW: ("the sum of δ over axis 0 stands for δ",)},
    )
    yield linear(
        "the batch averaged before the outer product",
        {DW: lambda v, s: np.outer(s.dy.mean(axis=0), s.x.mean(axis=0))},
        {DW: ("the mean of δ over axis 0 stands for δ",)},
    )
    yield linear("dW transposed", {DW: lambda v, s: s.x.T @ s.dy}, {DW: ("it is transposed",)})
    yield linear("dW transposed, square", {DW: lambda v, s: s.x.T @ s.dy}, {DW: ("it is transposed",)}, square=True)
    yield linear("dx by Wᵀ", {DX: lambda v, s: s.dy @ s.params["weight"].T}, {DX: ("put through the layer",)}, True)
    yield linear("dx without W", {DX: lambda v, s: s.dy * 1}, {DX: ("weightᵀ is left out",)}, True)
    yield linear("rows of dW permuted", {DW: lambda v, s: v[[2, 0, 4, 1, 3]]}, {DW: ("axis 0 are permuted",)})
    yield linear("dW rolled", {DW: lambda v, s: np.roll(v, 1, 1)}, {DW: ("rolled by 1 along axis 1",)})
    yield linear("dx reversed", {DX: lambda v, s: v[:, ::-1]}, {DX: ("reversed along axis 1",)})
    yield linear("only the first example", {DW: lambda v, s: np.outer(s.dy[0], s.x[0])}, {DW: single})
    yield linear(
        "the last example left out", {DW: lambda v, s: s.dy[:-1].T @ s.x[:-1]}, {DW: ("last example .* left out",)}
    )
    yield linear("upstream ignored in dx", {DX: lambda v, s: (s.dy * 0 + 1) @ s.params["weight"]}, {DX: ("δ is left",)})
    yield linear("upstream ignored in dW", {DW: lambda v, s: (s.dy * 0 + 1).T @ s.x}, {DW: ("δ is left out",)})
    yield linear("the output in dW", {DW: lambda v, s: s.dy.T @ s.y}, {DW: ("stands where x belongs",)}, square=True)
    yield linear("dW without x", {DW: lambda v, s: s.dy.T @ (s.x * 0 + 1)}, {DW: ("x is left out",)})
    yield linear("the examples of x in another order", {DW: lambda v, s: s.dy.T @ s.x[::-1]}, {DW: ("x is reversed",)})


def of_linear_forward() -> Iterator[Derivation]:
    """A forward pass that is wrong while the gradients are right for the right function, and the reverse."""
    yield linear("bias left out", {OUT: lambda v, s: s.x @ s.params["weight"].T}, {OUT: ("bias is left out",)})
    yield linear("bias subtracted", {OUT: lambda v, s: v - 2 * s.params["bias"]}, {OUT: ("−bias stands for bias",)})
    yield linear("bias twice", {OUT: lambda v, s: v + s.params["bias"]}, {OUT: ("bias is doubled",)})
    yield linear(
        "W transposed in forward", {OUT: lambda v, s: s.x @ s.params["weight"] + s.params["bias"]},
        {OUT: ("weight: its axes are only reshaped",)}, square=True,
    )  # fmt: skip
    yield linear("forward negated", {OUT: lambda v, s: -v}, {OUT: ("sign is flipped",)})
    slope = planted(
        "LeakyReLU: slope 0.0100001", LAYER, LeakyReLU(0.0100001), nn.LeakyReLU(), {"x": (4, 6)},
        {OUT: ("constant factor of (1 + 1e-05)",), DX: ("constant factor of (1 + 1e-05)",)}, "1e-4",
    )  # fmt: skip
    yield slope
    yield planted(
        "LeakyReLU: slope 0.2 for 0.01", LAYER, LeakyReLU(0.2), nn.LeakyReLU(), {"x": (4, 6)},
        {OUT: ("is 0.2, not 0.01",), DX: ("is 0.2, not 0.01",)},
    )  # fmt: skip
    yield planted(
        "Linear: the whole layer without its bias's sign", LAYER, _Negated(5, 3), nn.Linear(5, 3), {"x": (4, 5)},
        {OUT: ("−bias stands for bias",), DB: ("sign is flipped",)},
    )  # fmt: skip


@dataclass(frozen=True)
class _Negated(Linear):
    """z = a Wᵀ − b, and rightly differentiated."""

    def forward(self, params: Params, x: Array) -> tuple[Array, Array]:
        return x @ params["weight"].T - params["bias"], x

    def parameter_gradients(self, params: Params, cache: Array, dy: Array) -> Params:
        return {"weight": dy.T @ cache, "bias": -dy.sum(axis=0)}


@dataclass(frozen=True)
class _Accumulating(Linear):
    """A gradient that is kept on the layer and never zeroed."""

    kept: list[Any] = field(default_factory=list, compare=False)

    def parameter_gradients(self, params: Params, cache: Array, dy: Array) -> Params:
        right = super().parameter_gradients(params, cache, dy)
        total = right["weight"] + self.kept[-1] if self.kept else right["weight"]
        self.kept.append(total)
        return {**right, "weight": total}


@dataclass(frozen=True)
class _Stale(Linear):
    """A gradient that is returned one call late."""

    kept: list[Any] = field(default_factory=list, compare=False)

    def parameter_gradients(self, params: Params, cache: Array, dy: Array) -> Params:
        right = super().parameter_gradients(params, cache, dy)
        self.kept.append(right["weight"])
        return {**right, "weight": self.kept[-2] if len(self.kept) > 1 else 0 * right["weight"]}


def of_state() -> Iterator[Derivation]:
    """Something kept from call to call."""
    shape = {"x": (4, 7)}
    never = ("never zeroed",)
    yield planted("Linear: dW accumulates", LAYER, _Accumulating(7, 5), nn.Linear(7, 5), shape, {DW: never})
    yield planted("Linear: dW is stale", LAYER, _Stale(7, 5), nn.Linear(7, 5), shape, {DW: ("of the call before",)})


def activation(right: manual.Layer, reference: nn.Module, name: str, change: Change, *causes: str) -> Derivation:
    """A fault in the one gradient of an activation."""
    return planted(
        f"{type(right).__name__}: {name}", LAYER, Broken(right, {DX: change}), reference, {"x": (4, 6)}, {DX: causes}
    )


def of_activations() -> Iterator[Derivation]:
    """Wrong derivatives g'(z)."""
    relu = partial(activation, ReLU(), nn.ReLU())
    leaky = partial(activation, LeakyReLU(0.1), nn.LeakyReLU(0.1))
    sigmoid = partial(activation, Sigmoid(), nn.Sigmoid())
    tanh = partial(activation, Tanh(), nn.Tanh())
    missing = "' is taken as 1"
    yield relu("derivative 1 where it is off", lambda v, s: s.dy * 1, "relu' is taken as 1")
    yield relu("mask inverted", lambda v, s: s.dy * (s.x < 0), "mask of relu(x) is inverted")
    yield relu("times z", lambda v, s: v * s.x, "a factor x too much")
    yield relu("mask from the upstream", lambda v, s: s.dy * (s.dy > 0), "the mask of relu(x) is taken from δ")
    yield leaky("slope lost", lambda v, s: s.dy * (s.x > 0), "0.1 is left out (taken as 0)")
    yield leaky(
        "slope everywhere",
        lambda v, s: s.dy * 0.1,
        "x · 0.1 stands for x|x · 0.1 is taken everywhere|0.1 stands for 1 in where(x > 0, 1, 0.1)",
    )
    yield leaky("slope squared", lambda v, s: np.where(s.x > 0, s.dy, 0.01 * s.dy), "the constant 0.1 is applied twice")
    yield sigmoid("g' missing", lambda v, s: s.dy * 1, missing)
    yield sigmoid("z(1 − z)", lambda v, s: s.dy * s.x * (1 - s.x), "z(1 − z) stands for")
    yield sigmoid("g' at the activation", lambda v, s: s.dy * _slope(_sigma(s.x)), "itself, where x belongs")
    yield sigmoid("1 − a left out", lambda v, s: s.dy * s.y, "y stands for")
    yield sigmoid("a left out", lambda v, s: s.dy * (1 - s.y), "a factor sigmoid(x) is missing")
    yield sigmoid("tanh's formula", lambda v, s: s.dy * (1 - s.y * s.y), "1 − y² stands")
    yield sigmoid("g' twice", lambda v, s: v * s.y * (1 - s.y), "applied twice")
    yield sigmoid("g' missing and 1/N", lambda v, s: s.dy / len(s.x), missing, "N times too small")
    yield tanh("g' missing", lambda v, s: s.dy * 1, missing)
    yield tanh("1 − z²", lambda v, s: s.dy * (1 - s.x * s.x), "1 − z² stands for")
    yield tanh("g' at the activation", lambda v, s: s.dy * (1 - np.tanh(s.y) ** 2), "itself, where x belongs")
    yield tanh("1 − a", lambda v, s: s.dy * (1 - s.y), "1 − y stands for")
    yield tanh("sigmoid's formula", lambda v, s: s.dy * s.y * (1 - s.y), "y(1 − y) stands")
    yield tanh(
        "1 + a²",
        lambda v, s: s.dy * (1 + s.y * s.y),
        "1 + y² stands|the sign between 1 and tanh · tanh is wrong in 1 − tanh · tanh",
    )
    yield tanh("a² only", lambda v, s: s.dy * s.y * s.y, "y² stands")
    yield tanh("upstream ignored", lambda v, s: 1 - s.y * s.y, "δ is left out")
    yield tanh("float32 result", lambda v, s: v.astype(np.float32).astype(np.float64), "float32")


def _sigma(z: Any) -> Any:
    return 1 / (1 + np.exp(-z))


def _slope(z: Any) -> Any:
    return _sigma(z) * (1 - _sigma(z))


def of_two() -> Iterator[Derivation]:
    """Two faults at once, in one tensor and in two."""
    yield linear("sign and 1/N in dW", {DW: lambda v, s: -v / len(s.x)}, {DW: ("sign is flipped", "N times too small")})
    yield linear("dW transposed and 2", {DW: lambda v, s: 2 * v.T}, {DW: ("transposed", "factor 2 too much")}, True)
    yield linear(
        "dW rolled and negated", {DW: lambda v, s: -np.roll(v, 1, 0)}, {DW: ("rolled by 1", "sign is flipped")}
    )
    yield linear(
        "dx by Wᵀ and 1/N",
        {DX: lambda v, s: s.dy @ s.params["weight"].T / len(s.x)},
        {DX: ("put through the layer as in the forward pass", "N times too small")},
        square=True,
    )
    yield linear(
        "sign of dx, mean in db",
        {DX: lambda v, s: -v, DB: lambda v, s: v / len(s.x)},
        {DX: ("sign is flipped",), DB: ("N times too small",)},
    )
    yield linear(
        "every tensor",
        {OUT: lambda v, s: v - s.params["bias"], DX: lambda v, s: 2 * v, DW: lambda v, s: -v, DB: lambda v, s: v * 0},
        {OUT: ("bias is left out",), DX: ("factor 2",), DW: ("sign is flipped",), DB: ("is zero",)},
    )
