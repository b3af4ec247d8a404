"""A sum below a logsumexp: δ with other weights than its softmax; see `graph.mixtures`."""

from __future__ import annotations

import torch

from handgrad.compare.diagnosis.graph.edits.backward.step import Step
from handgrad.compare.diagnosis.graph.edits.edit import StepEdit
from handgrad.compare.diagnosis.graph.record.node import Node, Tensor, is_like


def other_weights(step: Step, late: int, other: int, sign: int) -> StepEdit | None:
    """The right rule for δ with other weights than the softmax of the later logsumexp, and the sign of the sum."""
    found = weights_like(step.trace.nodes[other], step.trace.source(step.trace.nodes[late]))
    if found is None:
        return None
    up = step.flows[late]
    weighed = sign * (up if up.dim() == found.dim() else up.unsqueeze(-1)) * found
    return step.edit("other weights", step.before(lambda up: weighed), late=late, other=other, sign=sign)


def weights_like(node: Node, x: Node) -> Tensor | None:
    """What sums to one like softmax(x), or its exponential does, and is another."""
    if not is_like(node.value, x.value) or node.value.dim() == 0:
        return None
    v = node.value.detach()
    found = v if sums_to_one(v) else v.exp() if sums_to_one(v.exp()) else None
    return None if found is None or torch.allclose(found, torch.softmax(x.value.detach(), -1)) else found


def sums_to_one(v: Tensor) -> bool:
    """Whether it is a row of weights."""
    return bool((v > 0).all()) and torch.allclose(v.sum(-1), torch.ones_like(v.sum(-1)))
