"""The case that is judged: one output of one evaluation, with what both sides got and the bound."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from handgrad.compare.judge.names import differentiated, is_upstream, parameter_of
from handgrad.compare.judge.sides import Arrays, is_float


def differing(manual: np.ndarray, torch: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """The elements that differ by more than the bound."""
    with np.errstate(all="ignore"):
        mask: np.ndarray = ~(np.abs(manual - torch) <= allowed)
    return mask


class Output(NamedTuple):
    """One output of an evaluation: both sides' numbers, and the bound."""

    manual: np.ndarray
    torch: np.ndarray
    allowed: np.ndarray

    def agrees(self) -> bool:
        """Whether the two sides differ by no more than the bound."""
        return self.manual.shape == self.torch.shape and not self.where().any()

    def where(self) -> np.ndarray:
        """The elements that differ by more than the bound."""
        return differing(self.manual, self.torch, self.allowed)


@dataclass(frozen=True)
class Case:
    """One output of one evaluation: what both sides got, from which inputs, and the bound on the manual side."""

    output: str
    inputs: Arrays
    manual: np.ndarray
    torch: np.ndarray
    allowed: np.ndarray
    results: Arrays = field(default_factory=dict)  # every output of torch
    learning_rate: float | None = None
    previous: np.ndarray | None = None  # torch's result for this output one step before
    parameters_after: Arrays = field(default_factory=dict)  # the layer's parameters after the update
    beside: dict[str, Output] = field(default_factory=dict)  # every output of the evaluation, this one included

    def differs(self) -> bool:
        """Whether the two sides differ by more than the bound."""
        if self.manual.shape != self.torch.shape:
            return True
        return bool(self.where().any())

    def where(self) -> np.ndarray:
        """The elements that differ by more than the bound; the shapes must be equal."""
        return differing(self.manual, self.torch, self.allowed)

    @property
    def gradients(self) -> list[str]:
        """The outputs that are gradients."""
        return [name for name in self.results if differentiated(name)]

    @property
    def parameter(self) -> str:
        """The parameter that the output is the gradient of; empty for any other output."""
        return parameter_of(self.output)

    @property
    def batch(self) -> int:
        """N, the size of the first axis."""
        first = next((v for k, v in self.inputs.items() if is_float(v) and not is_upstream(k)), None)
        source = self.inputs.get("x", self.inputs.get("output", first))
        return int(source.shape[0]) if isinstance(source, np.ndarray) and source.ndim else 1

    def sizes(self) -> list[tuple[str, str, int]]:
        """(symbol, words, size) of the axes that a derivation may divide by, the batch first; words where no symbol."""
        found = [("N", "the batch", self.batch)]
        y: Any = self.results.get("output", self.inputs.get("output"))
        x: Any = self.inputs.get("x")
        shape: tuple[int, ...] = () if y is None else np.shape(y)
        if len(shape) == 2:
            found.append(("K", "the number of outputs", shape[1]))
        else:
            found += [(f"the size of axis {i} of the output",) * 2 + (n,) for i, n in enumerate(shape) if i]
        if x is not None and np.ndim(x) > 1 and np.shape(x) != shape:
            found.append(("D", "the size of the input's last axis", np.shape(x)[-1]))
        return found
