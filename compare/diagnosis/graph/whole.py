"""What is wrong with a gradient as a whole: a quantity of the derivation too often, not at all, or too late."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from handgrad.compare.diagnosis.cause import Explanation
from handgrad.compare.diagnosis.graph.draw import Draw
from handgrad.compare.diagnosis.graph.factor_kinds import WHOLES
from handgrad.compare.diagnosis.graph.proof import residual
from handgrad.compare.diagnosis.graph.record.node import Edge, fits_into, is_float
from handgrad.compare.diagnosis.graph.sentences import of_the_whole

POWERS = {"whole too much": 1, "whole lacking": -1, "whole lacking twice": -2}


def whole_gradients(draws: Sequence[Draw]) -> Iterator[Explanation]:
    """Of every quantity of the reference."""
    trace, shape = draws[0].trace, draws[0].case.torch.shape
    for node in trace.nodes:
        for kind, power in POWERS.items():
            left = residual(draws, partial(_times, node.index, power))
            if left <= 1:
                yield Explanation.of(WHOLES[kind].tier, [of_the_whole(trace, kind, node.index, left)], left)
    for node in trace.nodes:
        for place, source in enumerate(node.sources()) if node.operation in ("mul", "div") else ():
            b = trace.source(node, 1 - place).value if len(node.sources()) == 2 else None
            divisor = node.operation == "div" and place == 1
            if divisor or source not in draws[0].leading or not is_float(b) or b.numel() < 2 or not fits_into(b, shape):
                continue
            left = residual(draws, partial(_late, (node.index, place, source)))
            if left <= 1:  # where nothing is mixed, before and after are the same
                kind = "multiplied too late" if node.operation == "mul" else "divided too late"
                yield Explanation.of(
                    WHOLES[kind].tier, [of_the_whole(trace, kind, node.sources()[1 - place], left)], left
                )


def _times(index: int, power: int, draw: Draw) -> np.ndarray | None:
    """The gradient times a power of a quantity."""
    v, t = draw.trace.nodes[index].value, draw.case.torch
    if not is_float(v) or v.dim() == 0 or not fits_into(v, t.shape):
        return None
    with np.errstate(all="ignore"):
        return t * v.numpy().astype(np.float64) ** power


def _late(edge: Edge, draw: Draw) -> np.ndarray | None:
    """The gradient with a factor multiplied in at the end, after the derivative of what it does not pass."""
    node, other = draw.trace.nodes[edge[0]], 1 - edge[1]
    edit = draw.edit(edge, ("factor left out", (("argument", other),)))
    made = None if edit is None else draw.result({edge: edit.with_factor(1.0)})
    b = draw.trace.source(node, other).value.numpy()
    if made is None:
        return None
    with np.errstate(all="ignore"):
        return made * b if node.operation == "mul" else made / b
