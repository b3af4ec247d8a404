"""A fault of the forward pass, carried on: its wrong values put into the right formula of the derivative.

ε outside the root makes another x̂ and another σ; a derivation by hand puts these into the closed form that it knows.
That is the gradient of no function. So the reference is run with one operation changed, and differentiated by its own
rules as they are, at the values that come out. Where the output shows the fault, only changes that give that output
count, and another slip on the way back may come on top.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from handgrad.compare.diagnosis.graph.another_function import Change, Changeable
from handgrad.compare.diagnosis.graph.edits.forward.operations import mutants
from handgrad.compare.diagnosis.graph.factors import constants_of
from handgrad.compare.diagnosis.graph.hypotheses import Budget, Made, singles
from handgrad.compare.diagnosis.graph.proof import Found, Room, gap, prove
from handgrad.compare.diagnosis.graph.record.notation import operation
from handgrad.compare.diagnosis.graph.record.rerun import Mutant, Rerun, Swap
from handgrad.compare.diagnosis.graph.record.trace import Node, Trace, is_ref
from handgrad.compare.judge.case import Case

LIKELY = 12  # how unlikely a change may be
LEAST = 40  # changes that are tried where the output agrees, at least: a check has a share of them for all its outputs
SEEN = 4  # changes that give the manual output, with which the gradient is searched
POWERS = {"sqrt": 2, "rsqrt": -2}  # what undoes an operation whose derivative is written with its result


def other_values(
    cases: Sequence[Case], taken_apart: Sequence[Sequence[Trace]], target: str, budget: Budget, known: Change | None
) -> list[Found]:
    """The changes of the forward pass whose values, in the reference's own derivative, explain every case.

    Where it is known what is wrong with the output, that change comes first.
    """
    outputs = [case.beside.get("output") for case in cases]
    shown = any(o is not None and not bool((np.abs(o.manual - o.torch) <= o.allowed).all()) for o in outputs)
    if known is not None and shown and known.depth < len(taken_apart):
        traces = taken_apart[known.depth]
        many = [known.wrong(Changeable(case, t, target)) for case, t in zip(cases, traces, strict=True)]
        if all(many) and (found := list(_carried(cases, traces, known, [m for m in many if m], target, shown))):
            return found
    found = []
    for traces in taken_apart:
        every = [{(m.at, m.key): m for m in _plausible(t)} for t in traces]
        keys = [k for k in every[0] if all(k in m for m in every)]
        if shown:
            keys = [k for k in keys if all(_gives(c, t, m[k]) for c, t, m in zip(cases, traces, every, strict=True))]
        for k in keys[: SEEN if shown else max(budget.left, LEAST)]:
            budget.left -= not shown
            change = Change(every[0][k].complexity, every[0][k].words, lambda room: None)
            found += _carried(cases, traces, change, [{m[k].at: m[k]} for m in every], target, shown)
        if found:
            break
    return found


def _plausible(trace: Trace) -> Iterator[Mutant]:
    yield from (
        m for m in mutants(trace) if m.complexity <= LIKELY and not isinstance(m.made, Swap) and trace.nodes[m.at].flat
    )


def _gives(case: Case, trace: Trace, m: Mutant) -> bool:
    """Whether the change gives the manual output."""
    output = case.beside.get("output")
    if output is None:
        return True
    made = Rerun(trace, "").output({m.at: m})
    return made is not None and bool(
        np.abs(made.numpy() - output.manual).max(initial=0)
        <= np.max(output.allowed, initial=0) + 1e-12 * np.abs(output.manual).max(initial=0)
    )


def _carried(
    cases: Sequence[Case], traces: Sequence[Trace], change: Change, many: Sequence[dict[int, Mutant]], target: str,
    shown: bool,
) -> Iterator[Found]:  # fmt: skip
    words = f"{change.words}, as in the output" if shown else change.words
    ways = ((False, "its values are put into the right derivative"), (True, "the gradient is of that function"))
    for whole, how in ways if shown else ways[:1]:
        rooms: list[Room] = []
        worst = 0.0
        for case, t, m in zip(cases, traces, many, strict=True):
            changed = _changed(t, m, whole)
            if changed is None:
                return
            try:
                rooms.append(Room(case, changed, target, constants_of(case, changed) if shown else {}))
            except (RuntimeError, IndexError, TypeError, ValueError):
                return
            made = rooms[-1].flows.get(rooms[-1].target)
            fits = made is not None and made.shape == case.manual.shape and bool(torch.isfinite(made).all())
            worst = max(worst, gap(case, made.numpy()) if fits and made is not None else np.inf)
            if not worst <= 1 and not shown:
                break
        if worst <= 1:
            if not whole:  # the other way it is the gradient of another function, and found as such
                yield Found(change.complexity + 1, (f"{words}: {how}",), worst)
            return
        if shown:
            room = max(rooms, key=lambda r: int(r.case.where().sum()))
            made_of = Made.of(room, room.flows)
            for theory in sorted(singles(room, made_of), key=lambda t: t.complexity)[:SEEN] if made_of else ():
                proven = prove(rooms, theory)
                if proven is not None:
                    yield proven._replace(
                        complexity=proven.complexity + change.complexity, words=(f"{words}: {how}", *proven.words)
                    )


class _Changed:
    """An operation that does something else, by the name of the one that it stands for."""

    def __init__(self, node: Node, m: Mutant) -> None:
        self._schema, self._args, self._made = node.op._schema, node.args, m.made

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._made([a for a, known in zip(args, self._args, strict=False) if is_ref(known)])


def _changed(trace: Trace, wrong: dict[int, Mutant], whole: bool) -> Trace | None:
    """The trace with other values from one operation on, which is itself another one only if asked for."""
    values: dict[int, Any] = {}
    nodes = list(trace.nodes)

    def look(k: int) -> Any:
        return values.get(k, trace.nodes[k].value)

    try:
        for node in trace.nodes[min(wrong) :]:
            m = wrong.get(node.index)
            if m is not None:
                given = [look(s) for s in node.sources()]
                value = m.made(given, look(m.made.other)) if isinstance(m.made, Swap) else m.made(given)
            elif any(s in values for s in node.sources()):
                value = trace.run(node, look)[0]
            else:
                continue
            if isinstance(value, torch.Tensor) and value.shape != node.value.shape:
                return None
            values[node.index] = value
            op = _Changed(node, m) if whole and m is not None else node.op
            nodes[node.index] = replace(node, value=value, op=op)
        changed = Trace(nodes, trace.inputs, trace.output, trace.upstream)
        for i in wrong if not whole else ():
            _by_result(changed, i)
    except (RuntimeError, IndexError, TypeError, ValueError, ZeroDivisionError, OverflowError, AttributeError):
        return None
    return changed


def _by_result(changed: Trace, i: int) -> None:
    """Where a derivative is written with the operation's result, it is that of the wrong result."""
    node = changed.nodes[i]
    y, power = node.value, POWERS.get(operation(node))
    if power:
        changed.leaves[i] = changed.at(i, {0: y**power})
    elif operation(node) == "_softmax":
        with torch.enable_grad():
            leaf = torch.zeros_like(y).requires_grad_()
            changed.leaves[i] = [leaf], y * (leaf - (y * leaf).sum(node.args[1], keepdim=True))
