"""The reference written down on every draw, taken apart as far as it goes."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from handgrad.compare.diagnosis.graph.labels import label
from handgrad.compare.diagnosis.graph.record.node import Tensor
from handgrad.compare.diagnosis.graph.record.recorder import record
from handgrad.compare.diagnosis.graph.record.trace import Trace
from handgrad.compare.judge import names
from handgrad.compare.judge.calls import CallSides, call_reference
from handgrad.compare.judge.derivations import Given
from handgrad.compare.judge.names import OUTPUT, parameters_among
from handgrad.compare.judge.sides import Arrays, LayerSides, LossSides, Sides, is_float

DEEPEST = 4  # textbook forms within textbook forms


class Traces:
    """The traces of a check: each is recorded once for all outputs that have the same."""

    def __init__(self) -> None:
        self.known: dict[Any, tuple[Any, Trace | None]] = {}

    def of(self, sides: Sides, inputs: Sequence[Arrays], output: str) -> list[list[Trace]]:
        """The reference's trace on every input: as it is, with its fused operations taken apart once, and all the way.

        Of a reference with several outputs it is that of `output`, or where this is a gradient of ⟨δ, y⟩ over all of
        them. None where it cannot be had, or where the reference does something else for other inputs.
        """
        found: list[list[Trace]] = []
        for depth in (0, 1, DEEPEST):
            made = [self._one(sides, arrays, depth, output) for arrays in inputs]
            here = [t for t in made if t is not None]
            alike = len(here) == len(made) and len({len(t.nodes) for t in here}) == 1
            if alike and (not found or len(here[0].nodes) != len(found[-1][0].nodes)):
                found.append(here)
        return found

    def _one(self, sides: Sides, arrays: Arrays, depth: int, output: str) -> Trace | None:
        key = id(sides), id(arrays), depth, output if names.is_forward(output) else ""
        if key not in self.known:  # the two are kept, so that no id is used twice
            self.known[key] = (sides, arrays), trace(sides, arrays, depth, output)
        return self.known[key][1]


def trace(sides: Sides, inputs: Arrays, depth: int, output: str = OUTPUT) -> Trace | None:
    """The reference's trace in float64; None for what is no layer and no loss, and for a reference too long to look
    at.
    """
    if isinstance(sides, LossSides):
        leaves = {"ŷ": _leaf(inputs["output"]), "target": _leaf(inputs["target"]).detach()}
        return _recorded(sides.module, Given(leaves, {}), leaves, depth, None)
    if isinstance(sides, LayerSides):
        params = {k: _leaf(v) for k, v in parameters_among(inputs).items()}
        given = Given({"x": _leaf(inputs["x"])}, params)
        upstream = torch.from_numpy(inputs["dy"].copy()).double() if "dy" in inputs else None
        return _recorded(sides.reference, given, given.arguments | params, depth, upstream)
    return _of_a_call(sides, inputs, depth, output) if isinstance(sides, CallSides) else None


def _of_a_call(sides: CallSides, inputs: Arrays, depth: int, output: str) -> Trace | None:
    if sides.complex_names:
        return None  # the derivatives of complex operations have no formulas here
    given = sides.given_tensors({k: v.astype(np.float64) if is_float(v) else v for k, v in inputs.items()})
    leaves = {k: v for k, v in (given.arguments | given.parameters).items() if isinstance(v, Tensor)}
    outputs = [names.output(part) for part in sides.structure.names()]
    upstream = {name: dy.double() for name, dy in sides.upstream_tensors(inputs, outputs).items()}
    if len(outputs) == 1:
        return _recorded(sides.reference, given, leaves, depth, upstream.get(outputs[0]))

    def one(y: Any) -> Tensor:
        """The output in question, or the scalar that all the gradients are of."""
        found = {names.output(part): tensor for part, tensor in sides.structure.flatten(y).items()}
        if names.is_forward(output):
            return found[output]
        weighted = [(found[name] * label(dy, f"∂J/∂{names.part_of(name)}")).sum() for name, dy in upstream.items()]
        return sum(weighted[1:], start=weighted[0])

    return _recorded(sides.reference, given, leaves, depth, upstream.get(output), one, sides.state)


def _recorded(
    reference: Any,
    given: Given,
    leaves: dict[str, Tensor],
    depth: int,
    upstream: Tensor | None,
    one: Callable[[Any], Tensor] = lambda y: y,
    state: tuple[str, ...] = (),
) -> Trace | None:
    if isinstance(reference, nn.Module):
        reference = copy.deepcopy(reference).double()
        for name, buffer in reference.named_buffers():
            label(buffer, name)
    return record(lambda: one(call_reference(reference, given, state)), leaves, depth, upstream)


def _leaf(v: Any) -> Tensor:
    t = torch.from_numpy(v.copy())
    return t.double().requires_grad_() if t.is_floating_point() else t
