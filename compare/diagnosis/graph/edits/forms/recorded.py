"""A derivative in closed form, recorded like a reference, and each of its operations edited in turn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import combinations
from typing import Any, NamedTuple

import torch

from handgrad.compare.diagnosis.graph.details import detail
from handgrad.compare.diagnosis.graph.edits.edit import InForm, ReferenceEdit
from handgrad.compare.diagnosis.graph.edits.forward.operations import of_operations
from handgrad.compare.diagnosis.graph.formulas.derivatives import DERIVATIVES
from handgrad.compare.diagnosis.graph.labels import UP
from handgrad.compare.diagnosis.graph.record.node import Node, Rule, Tensor, is_like
from handgrad.compare.diagnosis.graph.record.notation import called
from handgrad.compare.diagnosis.graph.record.operations import MADE
from handgrad.compare.diagnosis.graph.record.recorder import record
from handgrad.compare.diagnosis.graph.record.rerun import DOES_NOT_FIT, Changed, Rerun, filled
from handgrad.compare.diagnosis.graph.record.trace import Trace

MOST_PLACES = 4  # of one quantity in a closed form
BESIDE = 4  # other quantities that may stand in a closed form


class Form(NamedTuple):
    """A recorded formula of a derivative.

    Quantities that are `free` may stand for any other; the others that are given only for one that is given as well,
    and a δ (`ups`) for a δ.
    """

    trace: Trace
    free: frozenset[int]
    ups: frozenset[int]

    def gives(self, right: Tensor | None) -> bool:
        """Whether it is the right derivative."""
        made = self.trace.nodes[self.trace.output].value
        return right is not None and right.shape == made.shape and torch.allclose(right, made, 1e-9, 1e-12)


def recorded(
    formula: Callable[[], Any], given: Mapping[str, Tensor], free: Iterable[str], ups: Iterable[str] = ()
) -> Form | None:
    """What a formula does with what it is given, by its names; None where it is no formula for that."""
    try:
        trace = record(formula, dict(given), 0)
    except (*DOES_NOT_FIT, KeyError):
        return None
    if trace is None:
        return None
    at = trace.inputs
    return Form(trace, frozenset(at[n] for n in free), frozenset(at[n] for n in (UP, *ups) if n in at))


def closed_forms(trace: Trace, node: Node, up: Tensor) -> Iterator[Form]:
    """The closed forms of the derivative of an operation by its first argument."""
    name, (x, *rest) = called(trace, node.sources()[0]), [trace.nodes[s].value.detach() for s in node.sources()]
    for formula in DERIVATIVES.get(node.op, ()):
        given, beside = {UP: up.detach(), name: x}, {} if rest else _beside(trace, node)
        args, kwargs = filled(node, [x, *rest])
        made = recorded(partial(formula, given[UP], *args, **kwargs), {**beside, **given}, beside or given)
        if made is not None:
            yield made


def _beside(trace: Trace, node: Node) -> dict[str, Tensor]:
    """Other quantities of the argument's shape, by their names: what may stand in the form for something else."""
    x, found = trace.source(node), dict[str, Tensor]()
    for other in sorted(trace.nodes, key=lambda n: abs(n.index - node.index)):
        name, alike = called(trace, other.index), is_like(other.value, x.value) and other.operation not in MADE
        if alike and not torch.equal(other.value, x.value) and name != called(trace, x.index):
            found.setdefault(name, other.value.detach())
        if len(found) == BESIDE:
            break
    return found


def edits_of(form: Form) -> Iterator[tuple[InForm, Rule]]:
    """Every edit of one operation of a closed form, and of some together, with the rule that comes of it."""
    trace, rerun = form.trace, Rerun(form.trace)
    every = [edit for edit in of_operations(trace) if _of_its_kind(form, edit)]
    moved = trace.leading_to(trace.inputs[UP])
    for edits in (*((edit,) for edit in every), *_together(trace, [edit for edit in every if edit.at in moved])):
        changes = {at: change for edit in edits for at, change in edit.changes.items()}
        yield InForm(trace, edits), partial(_value, rerun, changes, trace.inputs[UP])


def _value(rerun: Rerun, changes: Mapping[int, Changed], at: int, up: Tensor) -> Tensor:
    found = rerun.output(changes, {at: up})
    if found is None:
        raise ValueError("the changed form does not fit this δ")
    return found


def _of_its_kind(form: Form, edit: ReferenceEdit) -> bool:
    """Whether a quantity from beside stands for one that is given as well, another δ for δ."""
    for other in edit.reads:
        right = form.trace.source(form.trace.nodes[edit.at], detail(edit.key, "argument"))
        if form.trace.nodes[other].op is None and other not in form.free:
            return right.op is None and (right.index in form.ups) == (other in form.ups)
    return True


def _together(trace: Trace, every: list[ReferenceEdit]) -> Iterator[tuple[ReferenceEdit, ...]]:
    """The same edit of all sums or means, and the same quantity for another one at several of its places."""
    reduced: dict[Any, list[ReferenceEdit]] = {}
    instead: dict[Any, list[ReferenceEdit]] = {}
    for edit in every:
        node = trace.nodes[edit.at]
        if edit.reads:
            instead.setdefault((node.sources()[detail(edit.key, "argument")], edit.reads), []).append(edit)
        elif node.operation in ("mean", "sum"):
            reduced.setdefault((node.operation, edit.key), []).append(edit)
    yield from (tuple(many) for many in reduced.values() if len(many) > 1)
    for many in instead.values():
        for count in range(2, len(many) + 1) if len(many) <= MOST_PLACES else ():
            yield from (some for some in combinations(many, count) if len({edit.at for edit in some}) == count)
