"""Derivatives as books write them: of an operation in closed form, of a longer formula by what it is a formula of, of a
loss. Each of their operations is changed in turn.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from handgrad.compare.diagnosis.graph.edits.backward.step import Step
from handgrad.compare.diagnosis.graph.edits.edit import RIGHT, StepEdit
from handgrad.compare.diagnosis.graph.edits.forms.loss_gradients import loss_gradients
from handgrad.compare.diagnosis.graph.edits.forms.normalisations import as_of_a_softmax, normalisations
from handgrad.compare.diagnosis.graph.edits.forms.recorded import Form, closed_forms, edits_of
from handgrad.compare.diagnosis.graph.labels import UP
from handgrad.compare.diagnosis.graph.record.node import JUMP, Node, Tensor, is_like
from handgrad.compare.diagnosis.graph.record.notation import called, formula
from handgrad.compare.diagnosis.graph.record.operations import RESHAPES
from handgrad.compare.diagnosis.graph.record.trace import Trace
from handgrad.compare.diagnosis.likelihood import DEEPER, WHOLE

LINEAR = {"constant_pad_nd", "convolution", "cumsum", "flip", "roll", "index_select"}  # whose transpose is another one
LONGEST = 6  # operations that δ may be put through as in the forward pass
SHORT = {"sigmoid", "tanh"}  # functions whose derivative, y (1 − y) or 1 − y², is said better as a whole


class Stretch(Step):
    """Several steps at once, from an operation to an earlier one that everything before it goes through."""

    def __init__(self, trace: Trace, flows: Mapping[int, Any], late: int, early: int, leading: frozenset[int]) -> None:
        super().__init__(trace, flows, (late, JUMP, early))
        self._through = trace.leading_to(early) & leading

    def reached(self, up: Tensor) -> Tensor | None:
        """What flows all the way down; None where nothing does."""
        found: Tensor | None = self.trace.down({self.node.index: up}, self._through).get(self.source)
        return found

    def right(self, up: Tensor) -> Tensor:
        """The same where something does."""
        found = self.reached(up)
        if found is None:
            raise ValueError("nothing flows along this stretch")
        return found

    def is_linear(self) -> bool:
        """Whether a short formula is nothing but linear in what it is a formula of."""
        within = {self.source}
        for node in self._operations():
            moved = [p for p, s in enumerate(node.sources()) if s in within]
            if not moved:
                continue
            if len(moved) > 1 or moved[0] or node.operation not in LINEAR | RESHAPES | {"unsqueeze", "squeeze"}:
                return False
            within.add(node.index)
        linear = any(self.trace.nodes[i].operation in LINEAR for i in within)
        return linear and self.node.index in within and len(within) <= LONGEST

    def put_through(self, up: Tensor) -> Tensor:
        """What the formula makes of δ, less what it makes of nothing."""
        return (self._made(up) - self._made(torch.zeros_like(up))).detach()

    def _operations(self) -> list[Node]:
        return self.trace.nodes[self.source + 1 : self.node.index + 1]

    def _made(self, v: Tensor) -> Tensor:
        values: dict[int, Any] = {self.source: v}
        for node in self._operations():
            if any(s in values for s in node.sources()):
                values[node.index] = self.trace.run(node, lambda k: values.get(k, self.trace.nodes[k].value))[0]
        made: Tensor = values[self.node.index]
        return made


def _of_form(step: Step, kind: str, form: Form, more: int = 0, **details: Any) -> Iterator[StepEdit]:
    for inside, rule in edits_of(form):
        changed = tuple((edit.at, edit.key) for edit in inside.edits)
        yield step.in_form(kind, rule, inside, more + DEEPER * (len(changed) > 1), **details, changed=changed)


def of_a_closed_form(step: Step) -> Iterator[StepEdit]:
    """Of an operation by its first argument."""
    right = step.trace.pull(step.node.index, step.up)[0]
    for k, form in enumerate(closed_forms(step.trace, step.node, step.up)):
        if form.gives(right):
            yield from _of_form(step, "closed form", form, WHOLE * (step.name in SHORT), number=k)


def of_a_longer_formula(
    trace: Trace, flows: Mapping[int, Any], node: Node, leading: frozenset[int]
) -> Iterator[StepEdit]:
    """Of an operation by every earlier result of its shape that it is a formula of."""
    for early in sorted(leading):
        if early >= node.index or not is_like(trace.nodes[early].value, node.value):
            continue
        step = Stretch(trace, flows, node.index, early, leading)
        if trace.between(node.index, early, leading) >= 2 and step.is_linear():
            yield step.edit(RIGHT, step.right)
            yield step.edit("formula not transposed", step.put_through)
        if trace.between(node.index, early) >= 2:
            yield from _of_a_stretch(step, step.reached(step.up))


def _of_a_stretch(step: Stretch, right: Tensor | None) -> Iterator[StepEdit]:
    if right is None:
        return
    yield step.edit(RIGHT, step.right)
    yield step.edit("formula as 1", lambda up: up)
    for axis, rule in as_of_a_softmax(step.y):
        yield step.edit("softmax for its logarithm", rule, axis=axis)
    name = called(step.trace, step.source)
    for k, form in enumerate(normalisations(step.x, step.y, step.up, name, right, *_later(step))):
        if form.gives(right):
            yield from _of_form(step, "form of a formula", form, number=k)


def _later(step: Step) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """δ of what a result is multiplied to, and that itself, by name: where a gain is forgotten, or stays in."""
    same = {step.node.index}  # and what only has another shape
    for later in step.trace.nodes[step.node.index + 1 :]:
        up = step.flows.get(later.index)
        if later.operation in ("view", "_unsafe_view") and later.sources()[0] in same:
            same.add(later.index)
        elif later.operation == "mul" and same & set(later.sources()) and isinstance(up, Tensor):
            if up.numel() != step.y.numel():
                break
            here, shape = formula(step.trace, later.index), step.y.shape
            return {f"{UP} of {here}": up.detach().reshape(shape)}, {here: later.value.reshape(shape)}
    return {}, {}


def of_a_loss(trace: Trace, flows: Mapping[int, Any], node: Node, leading: frozenset[int]) -> Iterator[StepEdit]:
    """Of one of torch's losses by its output, as books have it."""
    for call in (c for c in trace.calls if c.at == node.index):
        for k, (z, form) in enumerate(loss_gradients(trace, call, flows[node.index])):
            if z not in leading or not trace.between(node.index, z, leading):
                continue
            step = Stretch(trace, flows, node.index, z, leading)
            if form.gives(step.reached(step.up)):
                yield step.edit(RIGHT, step.right)
                yield from _of_form(step, "form of a loss", form, loss=call.loss, number=k)
