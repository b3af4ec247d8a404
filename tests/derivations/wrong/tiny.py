"""Faults that no eye sees: a relative error of 1e-4 to 1e-11 in one number, and lower precisions inside."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from torch import nn

from handgrad.manual import Linear, Sigmoid, Tanh
from tests.derivations.case import LAYER, Derivation
from tests.derivations.wrong import losses, norms
from tests.derivations.wrong.breaking import Broken, Change, Situation, off_by, planted

SIZES = (1e-4, 1e-6, 1e-9, 1e-11)
LINEAR = (Linear(7, 5), nn.Linear(7, 5), {"x": (4, 7)})
TENSORS = ("output", "input gradient", "gradient of weight", "gradient of bias")


def faults() -> Iterator[Derivation]:
    """All of this file."""
    for size in SIZES:
        label, one = f"{size:.0e}".replace("e-0", "e-"), ("a single element",)
        for tensor in TENSORS:
            ours, reference, arguments = LINEAR
            yield planted(
                f"Linear: {label} in one number of the {tensor}", LAYER,
                Broken(ours, {tensor: off_by(size)}), reference,
                arguments, {tensor: one}, label,
            )  # fmt: skip
        tanh = Broken(Tanh(), {"input gradient": off_by(size)})
        name = f"in one number of the input gradient {label}"
        yield planted(f"Tanh: {name}", LAYER, tanh, nn.Tanh(), {"x": (4, 6)}, {"input gradient": one}, label)
        for tensor in ("output", "input gradient", "gradient of weight"):
            fault = norms.broken("RMSNorm", f"{label} in {tensor}", {tensor: off_by(size)}, {tensor: one})
            yield replace(fault, group=label)
        gradient = losses.broken(
            "cross-entropy", f"{label} in one number of the gradient", {"loss gradient": off_by(size)},
            {"loss gradient": one},
        )  # fmt: skip
        yield replace(gradient, group=label)
        value = losses.broken(
            "cross-entropy",
            f"{label} in the value",
            {"loss": off_by(size)},
            {
                "loss": (
                    f"constant factor of (1 + {label.replace('e-', 'e-0') if len(label) == 4 else label})|(1 + 0.0001)",
                )
            },
        )
        yield replace(value, group=label)
    for dtype in (np.float32, np.float16):
        yield from of_precision(dtype)


def of_precision(dtype: Any) -> Iterator[Derivation]:
    """A lower precision somewhere inside."""
    word = np.dtype(dtype).name
    linear, reference, shape = LINEAR

    def low(v: Any) -> Any:
        return v.astype(dtype).astype(np.float64)

    def summed(v: Any, s: Situation) -> Any:
        total = s.dy[0].astype(dtype)
        for row in s.dy[1:]:
            total = total + row.astype(dtype)
        return total.astype(np.float64)

    changes: dict[str, tuple[str, Change]] = {
        "the result cast": ("gradient of weight", lambda v, s: low(v)),
        "the input cast": ("gradient of weight", lambda v, s: s.dy.T @ low(s.x)),
        "the upstream cast": ("input gradient", lambda v, s: low(s.dy) @ s.params["weight"]),
        "inside a sum": ("gradient of bias", summed),
        "in the product": ("gradient of weight", lambda v, s: (s.dy.T.astype(dtype) @ s.x.astype(dtype)).astype(float)),
    }
    for name, (tensor, change) in changes.items():
        broken = Broken(linear, {tensor: change})
        yield planted(f"Linear: {word}, {name}", LAYER, broken, reference, shape, {tensor: (word,)}, word)
    inside = Broken(Sigmoid(), {"input gradient": lambda v, s: (s.dy * low(s.y)) * (1 - low(s.y))})
    yield planted(
        f"Sigmoid: {word} activation", LAYER, inside, nn.Sigmoid(), {"x": (4, 6)}, {"input gradient": (word,)}, word
    )
