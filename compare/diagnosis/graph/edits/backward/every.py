"""What a person does wrong at one step of a derivation: every other rule that an edge could have been given.

An edge goes from an operation to one of its arguments. Its rule takes δ of the operation to the δ that flows to that
argument. The right rule is among the slips, as the one that a factor, a sign or a zero is put before.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch

from handgrad.compare.diagnosis.graph.edits.backward.functions import (
    MIXING,
    PIECES,
    PLAIN,
    of_a_choice,
    of_a_function,
    of_a_mask,
    of_a_power,
    of_a_softmax,
    of_elsewhere,
)
from handgrad.compare.diagnosis.graph.edits.backward.places import of_places, of_quantities, of_upstream
from handgrad.compare.diagnosis.graph.edits.backward.pools import of_a_pool
from handgrad.compare.diagnosis.graph.edits.backward.products import of_a_product
from handgrad.compare.diagnosis.graph.edits.backward.recomputed import of_recomputing
from handgrad.compare.diagnosis.graph.edits.backward.step import Edge, Place, Slip, path
from handgrad.compare.diagnosis.graph.edits.backward.sums import of_a_logsumexp, of_a_lookup, of_a_sum, of_an_extreme
from handgrad.compare.diagnosis.graph.edits.backward.windows import of_a_window
from handgrad.compare.diagnosis.graph.forms.loss_gradients import closed_losses
from handgrad.compare.diagnosis.graph.forms.normalisations import as_of_a_softmax, by_pattern
from handgrad.compare.diagnosis.graph.forms.recorded import changed, closed
from handgrad.compare.diagnosis.graph.record.notation import called, formula, operation
from handgrad.compare.diagnosis.graph.record.trace import JUMP, Node, Tensor, Trace

PRODUCTS = {"mul", "div", "mm", "bmm", "matmul", "convolution", "dot", "mv"}
LINEAR = {"constant_pad_nd", "convolution", "cumsum", "flip", "roll", "index_select"}  # whose transpose is another one
LONGEST = 6  # operations that δ may be put through as in the forward pass
SHORT = {"sigmoid", "tanh"}  # functions whose derivative, y (1 − y) or 1 − y², is said better as a whole
RESHAPED = {"permute", "transpose", "t", "view", "_unsafe_view", "clone"}


def slips(
    trace: Trace, flows: dict[int, Any], target: int, likely: bool = False, at: int | None = None
) -> Iterator[Slip]:
    """Every slip on every edge that leads to the target, from the output backwards; an edge's first is the truth.

    Or only those that are likely, which are quickly made; or those at one operation.
    """
    leading = trace.leading_to(target)
    for node in reversed(trace.nodes) if at is None else (trace.nodes[at],):
        up = flows.get(node.index)
        if operation(node).startswith("max_pool") and isinstance(up, dict):
            yield from of_a_pool(trace, node)
        if node.op is None or not isinstance(up, torch.Tensor):
            continue
        for place, source in enumerate(node.sources()):
            value = trace.nodes[source].value
            if source in leading and isinstance(value, torch.Tensor) and value.is_floating_point():
                here = Place(trace, flows, node, place, source)
                yield from _of_edge(here, likely)
                if not likely:
                    yield from of_recomputing(here, leading)
        if not likely:
            yield from _closed(trace, node, up)
            yield from _jumps(trace, node, up, leading, flows)
            yield from _losses(trace, node, up, leading)


def _of_edge(here: Place, likely: bool) -> Iterator[Slip]:
    yield here.slip("true", 0, path(here.trace, here.edge), here.right)
    if not isinstance(here.y, torch.Tensor):
        return
    name = here.name
    yield from of_a_window(here)
    if name in PIECES and here.place == 0:
        yield from of_a_mask(here)
    if name in PLAIN and sum(isinstance(a, torch.Tensor) for a in here.arguments) == 1:
        yield from of_a_function(here)
    elif name in PRODUCTS:
        yield from of_a_product(here)
    elif name == "where":
        yield from of_a_choice(here)
    elif name in ("amax", "amin"):
        yield from of_an_extreme(here)
    elif name == "pow":
        yield from of_a_power(here)
    elif name in MIXING:
        yield from of_elsewhere(here)
        if name == "_softmax":
            yield from of_a_softmax(here)
        if name == "logsumexp":
            yield from of_a_logsumexp(here)
    elif name in ("embedding", "index", "index_select"):
        yield from of_a_lookup(here)
    elif name in ("sum", "mean"):
        yield from of_a_sum(here)
    elif name in RESHAPED:
        words = f"δ is only reshaped where it should be transposed back, at {here.here}"
        yield here.slip("reshaped", 12, words, lambda up: up.reshape(here.x.shape))
    elif name in ("cumsum", "flip", "roll"):
        words = f"δ is put through {name} as it is, not reversed"
        yield here.slip("forward", 11, words, lambda up: here.node.op(up, *here.node.args[1:]))
    if not likely:
        yield from of_quantities(here)
        yield from of_places(here)
        yield from of_upstream(here)


def _closed(trace: Trace, node: Node, up: Tensor) -> Iterator[Slip]:
    """Slips in the closed form of an operation's derivative."""
    for k, (source, form) in enumerate(closed(trace, node, up)):
        if _same(trace.pull(node.index, up)[0], form.nodes[form.output].value):
            more = 2 if operation(node) in SHORT else 0
            for key, complexity, words, rule in changed(form):
                text = f"in the derivative of {formula(trace, node.index)}: {words}"
                yield Slip((node.index, 0, source), ("closed", k, key), complexity + more, text, rule)


def _jumps(trace: Trace, node: Node, up: Tensor, leading: frozenset[int], flows: dict[int, Any]) -> Iterator[Slip]:
    """Slips in the derivative of a longer formula by what it is a formula of."""
    for early in sorted(leading):
        x = trace.nodes[early].value
        if early >= node.index or not isinstance(x, torch.Tensor) or x.shape != node.value.shape:
            continue
        edge, at = (node.index, JUMP, early), called(trace, early)
        if trace.between(node.index, early, leading) >= 2 and _is_linear(trace, edge):
            here = formula(trace, node.index)
            yield Slip(edge, "true", 0, f"the path through {here}", partial(_down, trace, edge, leading))
            words = f"δ is put through {here} as in the forward pass, where its transpose belongs"
            yield Slip(edge, "forward", 11, words, partial(_put_through, trace, edge))
        if trace.between(node.index, early) < 2:
            continue
        right = _all_the_way(trace, edge, leading, up)
        if right is not None:
            others = _later(trace, flows, node)
            yield from _of_jump(trace, edge, leading, formula(trace, node.index), at, right, up, others)


def _later(trace: Trace, flows: dict[int, Any], node: Node) -> dict[str, Tensor]:
    """What a result is multiplied to, and its δ: what stands where a gain is forgotten, or not taken out again."""
    same = {node.index}  # and what only has another shape
    for later in trace.nodes[node.index + 1 :]:
        up = flows.get(later.index)
        if operation(later) in ("view", "_unsafe_view") and later.sources()[0] in same:
            same.add(later.index)
        elif operation(later) == "mul" and same & set(later.sources()) and isinstance(up, torch.Tensor):
            if up.numel() == node.value.numel():
                here, shape = formula(trace, later.index), node.value.shape
                return {f"δ of {here}": up.detach().reshape(shape), here: later.value.reshape(shape)}
            return {}
    return {}


def _losses(trace: Trace, node: Node, up: Tensor, leading: frozenset[int]) -> Iterator[Slip]:
    """Slips in the gradient of one of torch's losses, as books have it."""
    for call in (c for c in trace.calls if c.at == node.index):
        of = f"in the derivative of {call.loss}"
        for k, (z, form) in enumerate(closed_losses(trace, call, up)):
            edge = (node.index, JUMP, z)
            right = _all_the_way(trace, edge, leading, up) if z in leading else None
            if not trace.between(node.index, z, leading) or not _same(right, form.nodes[form.output].value):
                continue
            yield Slip(edge, "true", 0, f"the path through {call.loss}", partial(_down, trace, edge, leading))
            for key, complexity, words, rule in changed(form):
                yield Slip(edge, ("loss", k, key), complexity, f"{of} by {called(trace, z)}: {words}", rule)


def _down(trace: Trace, edge: Edge, leading: frozenset[int], up: Tensor) -> Tensor:
    found = _all_the_way(trace, edge, leading, up)
    assert found is not None
    return found


def _of_jump(
    trace: Trace,
    edge: Edge,
    leading: frozenset[int],
    here: str,
    at: str,
    right: Tensor,
    up: Tensor,
    others: dict[str, Tensor],
) -> Iterator[Slip]:
    yield Slip(edge, "true", 0, f"the path through {here}", partial(_down, trace, edge, leading))
    yield Slip(edge, "one", 12, f"the derivative of {here} by {at} is missing (taken as 1)", lambda up: up)
    x, y = trace.nodes[edge[2]].value, trace.nodes[edge[0]].value
    for axes, rule in as_of_a_softmax(y):
        text = (
            f"in the derivative of {here} by {at}: p · (δ − sum(δ · p)), that of the softmax, stands for δ − p · sum(δ)"
        )
        yield Slip(edge, ("softmax's", axes), 11, text, rule)
    for k, form in enumerate(by_pattern(x, y, up, at, right, others)):
        if _same(right, form.nodes[form.output].value):
            for key, complexity, words, rule in changed(form):
                text = f"in the derivative of {here} by {at}: {words}"
                yield Slip(edge, ("pattern", k, key), complexity, text, rule)


def _is_linear(trace: Trace, edge: Edge) -> bool:
    """Whether a short formula is nothing but linear in what it is a formula of."""
    late, _, early = edge
    within = {early}
    for node in trace.nodes[early + 1 : late + 1]:
        moved = [p for p, s in enumerate(node.sources()) if s in within]
        if not moved:
            continue
        if len(moved) > 1 or moved[0] or operation(node) not in LINEAR | RESHAPED | {"unsqueeze", "squeeze"}:
            return False
        within.add(node.index)
    return late in within and len(within) <= LONGEST and any(operation(trace.nodes[i]) in LINEAR for i in within)


def _put_through(trace: Trace, edge: Edge, up: Tensor) -> Tensor:
    """What the formula makes of δ, less what it makes of nothing."""

    def made(v: Tensor) -> Tensor:
        values: dict[int, Any] = {edge[2]: v}
        for node in trace.nodes[edge[2] + 1 : edge[0] + 1]:
            if any(s in values for s in node.sources()):
                values[node.index] = trace.run(node, lambda k: values.get(k, trace.nodes[k].value))[0]
        found: Tensor = values[edge[0]]
        return found

    return (made(up) - made(torch.zeros_like(up))).detach()


def _all_the_way(trace: Trace, edge: Edge, leading: frozenset[int], up: Tensor) -> Tensor | None:
    found: Tensor | None = trace.down({edge[0]: up}, trace.leading_to(edge[2]) & leading).get(edge[2])
    return found


def _same(a: Tensor | None, b: Tensor) -> bool:
    return a is not None and a.shape == b.shape and torch.allclose(a, b, 1e-9, 1e-12)
