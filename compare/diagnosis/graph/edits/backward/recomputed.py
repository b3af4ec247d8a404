"""A quantity of the reference that the derivation works out anew, and wrongly: the softmax without its temperature.

The reference itself is right, and so is every other use of the quantity: one operation's derivative is evaluated at
what the reference would have there with one edit, or what flows along one edge was multiplied with such a quantity.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch

from handgrad.compare.diagnosis.graph.details import Key
from handgrad.compare.diagnosis.graph.edits.backward.step import Step
from handgrad.compare.diagnosis.graph.edits.edit import InForm, ReferenceEdit, StepEdit
from handgrad.compare.diagnosis.graph.edits.forward.operations import of_operations
from handgrad.compare.diagnosis.graph.record.node import Tensor
from handgrad.compare.diagnosis.graph.record.rerun import DOES_NOT_FIT, Rerun
from handgrad.compare.diagnosis.graph.record.trace import Trace
from handgrad.compare.diagnosis.likelihood import RECOMPUTED, Tier

LONGEST = 60  # operations of a reference that is looked at like this
LIKELY = Tier.RARE  # how unlikely an edit may be
# What is forgotten, or put in too often, when a quantity is worked out anew.
FORGOTTEN = {
    "as 0", "as 1", "doubled", "halved", "negative", "complement", "bound left out", "term left out", "left out",
    "factor before one", "sign", "mask true", "mask false", "constant as 0", "constant as 1", "constant negative",
    "constant squared",
}  # fmt: skip


def of_recomputing(step: Step, leading: frozenset[int]) -> Iterator[StepEdit]:
    """Of one edge."""
    trace = step.trace
    for key, (edit, values) in trace.once("recomputed", lambda: _recomputed(trace)).items():
        found: list[tuple[str, dict[str, Any], Any]] = []
        for p, source in enumerate(step.node.sources()):
            v, right = values.get(source), step.arguments[p]
            if isinstance(v, Tensor) and isinstance(right, Tensor) and v.shape == right.shape:
                found.append(("recomputed", {"argument": p}, step.with_other(p, v)))
        flow = _flows_with(trace, key, edit, values, leading).get(step.node.index)
        if isinstance(flow, Tensor) and flow.shape == step.up.shape and not torch.equal(flow, step.up):
            found.append(("arriving recomputed", {}, step.before(lambda up, flow=flow: flow)))  # type: ignore[misc]
        for kind, details, rule in found:
            yield step.in_form(kind, rule, InForm(trace, (edit,)), more=RECOMPUTED, **details, edit=key)


def _recomputed(trace: Trace) -> dict[tuple[int, Key], tuple[ReferenceEdit, dict[int, Any]]]:
    """What may be forgotten at one operation, with all results that are others then."""
    found = {}
    if len(trace.nodes) <= LONGEST:
        rerun = Rerun(trace)
        for edit in of_operations(trace):
            if edit.complexity <= LIKELY and edit.kind in FORGOTTEN:
                values = rerun.results(edit.changes)
                if values is not None:
                    found[edit.at, edit.key] = edit, {k: v.detach() for k, v in values.items() if isinstance(v, Tensor)}
    return found


def _flows_with(
    trace: Trace, key: tuple[int, Key], edit: ReferenceEdit, values: dict[int, Any], leading: frozenset[int]
) -> dict[int, Any]:
    """What flows where if a quantity that does not depend on the input, a target's or a mask's, is another one."""

    def work() -> dict[int, Any]:
        nodes = [replace(n, value=values.get(n.index, n.value)) for n in trace.nodes]
        changed = Trace(nodes, trace.inputs, trace.output, trace.upstream, still=trace.still)
        try:
            return changed.down({trace.output: trace.upstream}, leading)
        except DOES_NOT_FIT:
            return {}

    return {} if edit.at in leading else trace.once(("flows", key, leading), work)
