"""A quantity of the reference that the derivation works out anew, and wrongly: the softmax without its temperature.

The reference itself is right, and so is every other use of the quantity: one operation's derivative is evaluated at
what the reference would have there with one change, or what flows along one edge was multiplied with such a quantity.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch

from handgrad.compare.diagnosis.graph.edits.backward.step import Place, Slip, path
from handgrad.compare.diagnosis.graph.edits.forward.operations import mutants
from handgrad.compare.diagnosis.graph.record.notation import called
from handgrad.compare.diagnosis.graph.record.rerun import Mutant, Rerun
from handgrad.compare.diagnosis.graph.record.trace import Tensor, Trace

LONGEST = 60  # operations of a reference that is looked at like this
LIKELY = 12  # how unlikely a change may be
PLAIN = ("left out", "doubled", "halved", "wrong sign", "squared", "one minus itself")


def recomputed(trace: Trace) -> dict[Any, tuple[Mutant, dict[int, Any]]]:
    """The plain changes of one operation, with all results that are others then; made once for a trace."""
    if "recomputed" not in trace.kept:
        found: dict[Any, tuple[Mutant, dict[int, Any]]] = {}
        if len(trace.nodes) <= LONGEST:
            rerun = Rerun(trace, "")
            for m in mutants(trace):
                if m.complexity <= LIKELY and any(p in m.words for p in PLAIN):
                    values = rerun.values_with({m.at: m})
                    if values is not None:
                        found[m.at, m.key] = (m, values)
        trace.kept["recomputed"] = found
    made: dict[Any, tuple[Mutant, dict[int, Any]]] = trace.kept["recomputed"]
    return made


def of_recomputing(here: Place, leading: frozenset[int]) -> Iterator[Slip]:
    """Of one edge."""
    for key, (m, values) in recomputed(here.trace).items():
        for p, source in enumerate(here.node.sources()):
            v, right = values.get(source), here.arguments[p]
            if isinstance(v, torch.Tensor) and isinstance(right, torch.Tensor) and v.shape == right.shape:
                words = f"{here.of}, {called(here.trace, source)} is worked out wrongly: {m.words}"
                yield here.slip(("recomputed", p, key), m.complexity + 2, words, here.with_other(p, v))
        flow = _flows_with(here.trace, m, values, leading).get(here.node.index)
        if isinstance(flow, torch.Tensor) and flow.shape == here.up.shape and not torch.equal(flow, here.up):
            words = f"{path(here.trace, here.edge)}: what arrives there is worked out wrongly: {m.words}"
            yield here.slip(("arriving", key), m.complexity + 2, words, _Always(here, flow))


def _flows_with(trace: Trace, m: Mutant, values: dict[int, Any], leading: frozenset[int]) -> dict[int, Any]:
    """What flows where if a quantity that does not depend on the input, a target's or a mask's, is another one."""
    if m.at in leading:
        return {}
    key = ("flows", m.at, m.key, leading)
    if key not in trace.kept:
        nodes = [replace(n, value=values.get(n.index, n.value)) for n in trace.nodes]
        changed = Trace(nodes, trace.inputs, trace.output, trace.upstream, still=trace.still)
        try:
            trace.kept[key] = changed.down({trace.output: trace.upstream}, leading)
        except (RuntimeError, IndexError, TypeError, ValueError):
            trace.kept[key] = {}
    found: dict[int, Any] = trace.kept[key]
    return found


class _Always:
    """The right rule for a δ that is always this one."""

    def __init__(self, here: Place, flow: Tensor) -> None:
        self.here, self.flow = here, flow

    def __call__(self, up: Tensor) -> Tensor:
        return self.here.right(self.flow)
