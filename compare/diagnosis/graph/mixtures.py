"""The weights in the derivative of a logsumexp: those before the data were seen for those after, π for r.

∂ log Σ exp(x) = Σ r ∂x with r = softmax(x), the responsibilities where x = log π + log p (Bishop, "Mixture Density
Networks", 1994). Who puts π there does so for the parameters of p; the path to π itself has π − r, as a softmax has.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from handgrad.compare.diagnosis.graph.edits.backward.mixtures import sums_to_one, weights_like
from handgrad.compare.diagnosis.graph.hypotheses import Made
from handgrad.compare.diagnosis.graph.proof import Part, Room, Theory
from handgrad.compare.diagnosis.graph.record.notation import called, formula, operation
from handgrad.compare.diagnosis.graph.record.trace import Edge, Node, Trace

TERMS = {"add", "sub"}


def mixtures(room: Room, made: Made) -> Iterator[Theory]:
    """Other weights for the softmax of a logsumexp, on all paths below it or on all but that of these weights."""
    trace, m = room.trace, room.case.manual
    for node in trace.nodes:
        if operation(node) != "logsumexp" or node.index not in room.leading:
            continue
        x = trace.nodes[node.sources()[0]]
        signs = dict(_terms(room, x))
        edges = list(signs)
        for other in trace.nodes[: x.index]:
            if len(edges) < 2 or weights_like(other, x) is None:
                continue
            own = [e for e in edges if other.index in _before(trace, e[2])]
            for kept in {(), tuple(own)}:
                some = tuple(e for e in edges if e not in kept)
                keys = tuple(("weights", node.index, other.index, signs[e]) for e in some)
                slips = [room.slip(e, k) for e, k in zip(some, keys, strict=True)]
                result = room.result({s.edge: s.rule for s in slips if s is not None})
                if result is None or not np.allclose(result, m, 1e-6, 1e-9 * float(np.abs(m).max())):
                    continue
                what = called(trace, other.index)
                what = f"exp({what})" if not sums_to_one(other.value) else what
                words = f"in the derivative of {formula(trace, node.index)}, {what} stands for the softmax of its terms"
                words += "".join(f", but on the path through {called(trace, e[2])}" for e in kept)
                yield Theory((Part(some, "weights", "", 11, words, keys),))


def _terms(room: Room, node: Node, sign: int = 1) -> Iterator[tuple[Edge, int]]:
    """The edges to what a sum of several terms is made of, each with the sign of the sum that it leads from."""
    for place, source in enumerate(node.sources()):
        inside = room.trace.nodes[source]
        if source in room.leading and operation(inside) in TERMS:
            yield from _terms(room, inside, -sign if operation(node) == "sub" and place == 1 else sign)
        elif source in room.leading:
            yield (node.index, place, source), sign


def _before(trace: Trace, index: int) -> set[int]:
    found = {index}
    for node in reversed(trace.nodes[: index + 1]):
        if node.index in found:
            found.update(node.sources())
    return found
