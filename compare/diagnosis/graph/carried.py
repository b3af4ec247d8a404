"""A fault of the forward pass, carried on: its wrong values put into the right formula of the derivative.

ε outside the root makes another x̂ and another σ; a derivation by hand puts these into the closed form that it knows.
That is the gradient of no function. So the reference is run with one operation changed, and differentiated by its own
rules as they are, at the values that come out. Where the output shows the fault, only edits that give that output
count, and an edit of the way back may come on top.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

from handgrad.compare.diagnosis.cause import Cause, Explanation
from handgrad.compare.diagnosis.graph.another_function import EditableDraw, OtherReference
from handgrad.compare.diagnosis.graph.draw import Draw, most_telling
from handgrad.compare.diagnosis.graph.edits.edit import ReferenceEdit
from handgrad.compare.diagnosis.graph.edits.forward.operations import of_operations
from handgrad.compare.diagnosis.graph.factors import factors
from handgrad.compare.diagnosis.graph.formulas.parts import softmax_derivative
from handgrad.compare.diagnosis.graph.hypotheses import Budget, Projected, singles
from handgrad.compare.diagnosis.graph.proof import prove, residual
from handgrad.compare.diagnosis.graph.record.rerun import DOES_NOT_FIT, Changed, Made, Rerun
from handgrad.compare.diagnosis.graph.record.trace import Trace
from handgrad.compare.diagnosis.graph.sentences import of_a_carried_one
from handgrad.compare.diagnosis.likelihood import CARRIED, Tier
from handgrad.compare.foundation.torch_internals import tree_map
from handgrad.compare.judge.case import Case

LIKELY = Tier.RARE  # how unlikely an edit may be
LEAST = 40  # edits that are tried where the output agrees, at least: a check has a share of them for all its outputs
SEEN = 4  # edits that give the manual output, with which the gradient is searched
POWERS = {"sqrt": 2, "rsqrt": -2}  # what undoes an operation whose derivative is written with its result


def carried(
    cases: Sequence[Case],
    taken_apart: Sequence[Sequence[Trace]],
    target: str,
    budget: Budget,
    known: OtherReference | None,
) -> list[Explanation]:
    """The edits of the forward pass whose values, in the reference's own derivative, explain every case.

    Where it is known what is wrong with the output, that edit comes first.
    """
    outputs = [case.beside.get("output") for case in cases]
    shown = any(o is not None and not bool((np.abs(o.manual - o.torch) <= o.allowed).all()) for o in outputs)
    if known is not None and shown and known.depth < len(taken_apart):
        draws = [EditableDraw(c, t, target) for c, t in zip(cases, taken_apart[known.depth], strict=True)]
        changes = [c for draw in draws if (c := draw.changes(known))]
        edit = draws[0].edits[known.edits[0]]._replace(complexity=known.complexity)
        if len(changes) == len(draws) and (
            found := list(_explained(draws, cases, edit, changes, target, shown, known))
        ):
            return found
    found = []
    for traces in taken_apart:
        reruns = [Rerun(trace) for trace in traces]
        every = [{(e.at, e.key): e for e in of_operations(t) if _is_plausible(t, e)} for t in traces]
        keys = [k for k in every[0] if all(k in edits for edits in every)]
        if shown:
            drawn = list(zip(cases, reruns, every, strict=True))
            keys = [k for k in keys if all(_gives(c, rerun, edits[k]) for c, rerun, edits in drawn)]
        for k in keys[: SEEN if shown else max(budget.left, LEAST)]:
            budget.left -= not shown
            found += _explained(reruns, cases, every[0][k], [edits[k].changes for edits in every], target, shown)
        if found:
            break
    return found


def _is_plausible(trace: Trace, edit: ReferenceEdit) -> bool:
    return edit.complexity <= LIKELY and not edit.reads and trace.nodes[edit.at].flat


def _gives(case: Case, rerun: Rerun, edit: ReferenceEdit) -> bool:
    """Whether the edit gives the manual output."""
    output = case.beside.get("output")
    if output is None:
        return True
    made = rerun.output(edit.changes)
    near = np.max(output.allowed, initial=0) + 1e-12 * np.abs(output.manual).max(initial=0)
    return made is not None and bool(np.abs(made.numpy() - output.manual).max(initial=0) <= near)


def _explained(
    reruns: Sequence[Rerun],
    cases: Sequence[Case],
    edit: ReferenceEdit,
    changes: Sequence[dict[int, Changed]],
    target: str,
    shown: bool,
    known: OtherReference | None = None,
) -> Iterator[Explanation]:
    """The derivative at the values that come out, and where the output shows the edit, that of the function itself."""
    for whole in (False, True) if shown else (False,):
        draws, worst = list[Draw](), 0.0
        for case, rerun, changed in zip(cases, reruns, changes, strict=True):
            draw = _draw(case, rerun, changed, target, shown, whole)
            if draw is None:
                return
            draws.append(draw)
            worst = max(worst, residual([draw], Draw.gradient))
            if worst > 1 and not shown:
                break
        if worst <= 1:
            if not whole:  # the other way it is the gradient of another function, and found as such
                cause = _cause(reruns[0].trace, edit, shown, whole, known, worst)
                yield Explanation.of(edit.complexity + CARRIED, [cause], worst)
            return
        main = most_telling(draws)
        made = Projected.of(main, main.flows) if shown else None
        for hypothesis in sorted(singles(main, made), key=lambda h: h.complexity)[:SEEN] if made else ():
            if (found := prove(draws, hypothesis)) is not None:
                assert found.residual is not None
                cause = _cause(reruns[0].trace, edit, shown, whole, known, found.residual)
                yield Explanation.of(found.complexity + edit.complexity, [cause, *found.causes], found.residual)


def _cause(
    trace: Trace, edit: ReferenceEdit, shown: bool, whole: bool, known: OtherReference | None, left: float
) -> Cause:
    often, number = (known.in_turns, known.number) if known is not None else (False, None)
    return of_a_carried_one(trace, edit, shown, whole, often, number, left)


def _draw(case: Case, rerun: Rerun, changes: dict[int, Changed], target: str, shown: bool, whole: bool) -> Draw | None:
    """The draw at other values from one operation on, which is itself another one only if asked for."""
    trace, values = rerun.trace, rerun.results(changes)
    if values is None:
        return None
    nodes = list(trace.nodes)
    for k, value in values.items():
        if isinstance(value, torch.Tensor) and value.shape != nodes[k].value.shape:
            return None
        nodes[k] = replace(nodes[k], value=tree_map(_detached, value))
    try:
        for k, change in changes.items():
            if whole:
                nodes[k] = replace(
                    nodes[k], instead=partial(_with_reads, change.made, [nodes[r].value for r in change.reads])
                )
        changed = replace(trace, nodes=nodes, calls=[], leaves={}, known={})
        for k in changes if not whole else ():
            _by_result(changed, k)
        return Draw(case, changed, target, factors(case, changed) if shown else {})
    except DOES_NOT_FIT:
        return None


def _with_reads(made: Made, read: list[Any], given: list[Any]) -> Any:
    return made([*given, *read])


def _detached(v: Any) -> Any:
    return v.detach() if isinstance(v, torch.Tensor) else v


def _by_result(changed: Trace, i: int) -> None:
    """Where a derivative is written with the operation's result, it is that of the wrong result."""
    node = changed.nodes[i]
    y, power = node.value, POWERS.get(node.operation)
    if power:
        changed.leaves[i] = changed.at(i, {0: y**power})
    elif node.operation == "_softmax":
        with torch.enable_grad():
            leaf = torch.zeros_like(y).requires_grad_()
            changed.leaves[i] = [leaf], softmax_derivative(leaf, y, node.args[1])
