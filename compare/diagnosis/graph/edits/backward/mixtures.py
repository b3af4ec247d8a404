"""Other weights in the derivative of a logsumexp than its softmax; see `mixtures`."""

from __future__ import annotations

from functools import partial

import torch

from handgrad.compare.diagnosis.graph.edits.backward.step import Place, Slip
from handgrad.compare.diagnosis.graph.record.trace import Node, Tensor


def other_weights(place: Place, late: int, other: int, sign: int) -> Slip | None:
    """The right rule at a sum below a logsumexp, of δ with other weights than its softmax, and the sign of the sum."""
    nodes = place.trace.nodes
    found = weights_like(nodes[other], nodes[nodes[late].sources()[0]])
    if found is None:
        return None
    up = place.flows[late]
    up = up if up.dim() == found.dim() else up.unsqueeze(-1)
    return place.slip(("weights", late, other, sign), 11, "", place.before(partial(_instead, sign * up * found)))


def _instead(weighed: Tensor, up: Tensor) -> Tensor:
    return weighed


def _softmax(x: Tensor) -> Tensor:
    return torch.softmax(x.detach(), -1)


def weights_like(node: Node, x: Node) -> Tensor | None:
    """What sums to one like softmax(x), or its exponential does, and is another."""
    v = node.value
    if not isinstance(v, torch.Tensor) or v.shape != x.value.shape or not v.is_floating_point() or v.dim() == 0:
        return None
    v = v.detach()
    found = v if sums_to_one(v) else v.exp() if sums_to_one(v.exp()) else None
    return None if found is None or torch.allclose(found, _softmax(x.value)) else found


def sums_to_one(v: Tensor) -> bool:
    """Whether it is a row of weights."""
    return bool((v > 0).all()) and torch.allclose(v.sum(-1), torch.ones_like(v.sum(-1)))
