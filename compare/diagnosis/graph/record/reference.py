"""The reference written down on every draw, taken apart as far as it goes."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from handgrad.compare.diagnosis.graph.labels import label
from handgrad.compare.diagnosis.graph.record.node import Tensor
from handgrad.compare.diagnosis.graph.record.recorder import record
from handgrad.compare.diagnosis.graph.record.trace import Trace
from handgrad.compare.judge.names import parameters_among
from handgrad.compare.judge.sides import Arrays, FunctionSides, LayerSides, LossSides, Sides

DEEPEST = 4  # textbook forms within textbook forms


def traces(sides: Sides, inputs: Sequence[Arrays]) -> list[list[Trace]]:
    """The reference's trace on every input: as it is, with its fused operations taken apart once, and all the way.

    None where it cannot be had, or where the reference does something else for other inputs.
    """
    found: list[list[Trace]] = []
    for depth in (0, 1, DEEPEST):
        made = [trace(sides, arrays, depth) for arrays in inputs]
        here = [t for t in made if t is not None]
        alike = len(here) == len(made) and len({len(t.nodes) for t in here}) == 1
        if alike and (not found or len(here[0].nodes) != len(found[-1][0].nodes)):
            found.append(here)
    return found


def trace(sides: Sides, inputs: Arrays, depth: int) -> Trace | None:
    """The reference's trace in float64; None for what is no layer and no loss, and for a reference too long to look
    at.
    """
    if isinstance(sides, (LayerSides, FunctionSides)):
        reference: Any = sides.reference
        params = {k: _leaf(v) for k, v in parameters_among(inputs).items()}
        leaves = {"x": _leaf(inputs["x"]), **params}
        upstream = torch.from_numpy(inputs["dy"].copy()).double() if "dy" in inputs else None
    elif isinstance(sides, LossSides):
        reference, params, upstream = sides.module, {}, None
        leaves = {"ŷ": _leaf(inputs["output"]), "target": _leaf(inputs["target"]).detach()}
    else:
        return None
    if not isinstance(reference, nn.Module):
        call = (
            (lambda: reference(*leaves.values()))
            if isinstance(sides, LossSides)
            else lambda: reference(leaves["x"], **params)
        )
        return record(call, leaves, depth, upstream)
    reference = copy.deepcopy(reference).double()
    for name, buffer in reference.named_buffers():
        label(buffer, name)
    first = tuple(leaves.values()) if isinstance(sides, LossSides) else (leaves["x"],)
    return record(lambda: torch.func.functional_call(reference, params, first), leaves, depth, upstream)


def _leaf(v: Any) -> Tensor:
    t = torch.from_numpy(v.copy())
    return t.double().requires_grad_() if t.is_floating_point() else t
