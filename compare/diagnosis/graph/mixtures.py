"""The weights in the derivative of a logsumexp: those before the data were seen for those after, π for r.

∂ log Σ exp(x) = Σ r ∂x with r = softmax(x), the responsibilities where x = log π + log p (Bishop, "Mixture Density
Networks", 1994). Who puts π there does so for the parameters of p; the path to π itself has π − r, as a softmax has.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from handgrad.compare.diagnosis.graph.draw import Draw
from handgrad.compare.diagnosis.graph.edits.backward.sums import weights_like
from handgrad.compare.diagnosis.graph.edits.edit import StepEdit
from handgrad.compare.diagnosis.graph.hypotheses import Projected
from handgrad.compare.diagnosis.graph.hypothesis import FactoredEdit, Hypothesis
from handgrad.compare.diagnosis.graph.record.node import Edge, Node

SUMS = {"add", "sub"}
KIND = "weights of a mixture"


def mixtures(draw: Draw, made: Projected) -> Iterator[Hypothesis]:
    """Other weights for the softmax of a logsumexp, on all paths below it or on all but that of these weights."""
    trace, m = draw.trace, draw.case.manual
    for node in trace.nodes:
        if node.operation != "logsumexp" or node.index not in draw.leading:
            continue
        x = trace.source(node)
        signs = dict(_terms(draw, x))
        for other in trace.nodes[: x.index] if len(signs) > 1 else ():
            if weights_like(other, x) is None:
                continue
            own = tuple(e for e in signs if other.index in trace.before(e[2]))
            for kept in {(), own}:
                edits = _with_weights(draw, {e: s for e, s in signs.items() if e not in kept}, node.index, other.index)
                made_of = draw.result({edit.edge: edit.with_factor(1.0) for edit in edits})
                if edits and made_of is not None and np.allclose(made_of, m, 1e-6, 1e-9 * float(np.abs(m).max())):
                    key = KIND, (("late", node.index), ("other", other.index), ("kept", kept))
                    yield Hypothesis((FactoredEdit.of(edits[0])._replace(key=key).at(edits),))


def _with_weights(draw: Draw, signs: dict[Edge, int], late: int, other: int) -> list[StepEdit]:
    of = ("late", late), ("other", other)
    found = [draw.edit(edge, (KIND, (*of, ("sign", sign)))) for edge, sign in signs.items()]
    return [edit for edit in found if edit is not None]


def _terms(draw: Draw, node: Node, sign: int = 1) -> Iterator[tuple[Edge, int]]:
    """The edges to what a sum of several terms is made of, each with the sign of the sum that it leads from."""
    for place, source in enumerate(node.sources()):
        inside = draw.trace.nodes[source]
        if source in draw.leading and inside.operation in SUMS:
            yield from _terms(draw, inside, -sign if node.operation == "sub" and place == 1 else sign)
        elif source in draw.leading:
            yield (node.index, place, source), sign
