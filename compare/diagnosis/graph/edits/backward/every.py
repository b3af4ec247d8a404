"""Every edit of the derivation: all other rules that an edge could have been given, as a person goes wrong there.

An edge goes from an operation to one of its arguments. Its rule takes δ of the operation to the δ that flows to that
argument. The right rule is among the edits, as the one that a factor, a sign or a zero is put before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from handgrad.compare.diagnosis.graph.edits.backward.formulas import (
    of_a_closed_form,
    of_a_longer_formula,
    of_a_loss,
)
from handgrad.compare.diagnosis.graph.edits.backward.functions import (
    of_a_choice,
    of_a_function,
    of_a_power,
    of_elsewhere,
    of_pieces,
)
from handgrad.compare.diagnosis.graph.edits.backward.places import (
    of_a_reshape,
    of_a_sequence,
    of_places,
    of_quantities,
    of_upstream,
)
from handgrad.compare.diagnosis.graph.edits.backward.products import of_a_product
from handgrad.compare.diagnosis.graph.edits.backward.recomputed import of_recomputing
from handgrad.compare.diagnosis.graph.edits.backward.step import Step
from handgrad.compare.diagnosis.graph.edits.backward.sums import (
    of_a_logsumexp,
    of_a_lookup,
    of_a_softmax,
    of_a_sum,
    of_an_extreme,
)
from handgrad.compare.diagnosis.graph.edits.backward.windows import (
    of_a_convolution,
    of_a_maximum,
    of_an_average,
    of_an_enlargement,
)
from handgrad.compare.diagnosis.graph.edits.edit import RIGHT, StepEdit
from handgrad.compare.diagnosis.graph.record.node import Tensor, is_float
from handgrad.compare.diagnosis.graph.record.operations import (
    AVERAGE_POOLS,
    ELEMENTWISE,
    ENLARGEMENTS,
    MAX_POOLS,
    MIXING,
    PIECES,
    PRODUCTS,
    RESHAPES,
)
from handgrad.compare.diagnosis.graph.record.trace import Trace


def steps(
    trace: Trace, flows: Mapping[int, Any], target: int, likely: bool = False, at: int | None = None
) -> Iterator[StepEdit]:
    """Every edit of every edge that leads to the target, from the output backwards; an edge's first is the right rule.

    Or only those that are likely, which are quickly made; or those at one operation.
    """
    leading = trace.leading_to(target)
    for node in reversed(trace.nodes) if at is None else (trace.nodes[at],):
        up = flows.get(node.index)
        if node.operation in MAX_POOLS and isinstance(up, dict):
            yield from of_a_maximum(Step(trace, flows, (node.index, 0, node.sources()[0])))
        if node.op is None or not isinstance(up, Tensor):
            continue
        for place, source in enumerate(node.sources()):
            if source in leading and is_float(trace.nodes[source].value):
                step = Step(trace, flows, (node.index, place, source))
                yield step.edit(RIGHT, step.right)
                yield from _of_its_kind(step)
                if not likely:
                    yield from of_quantities(step)
                    yield from of_places(step)
                    yield from of_upstream(step)
                    yield from of_recomputing(step, leading)
        if not likely:
            yield from of_a_closed_form(Step(trace, flows, (node.index, 0, node.sources()[0])))
            yield from of_a_longer_formula(trace, flows, node, leading)
            yield from of_a_loss(trace, flows, node, leading)


def _of_its_kind(step: Step) -> Iterator[StepEdit]:
    """What goes wrong at this kind of operation."""
    if step.name in PIECES and step.place == 0:
        yield from of_pieces(step)
    if step.name in ELEMENTWISE and sum(isinstance(a, Tensor) for a in step.arguments) == 1:
        yield from of_a_function(step)
    else:
        for edits in BY_OPERATION.get(step.name, ()):
            yield from edits(step)


BY_OPERATION: dict[str, tuple[Callable[[Step], Iterator[StepEdit]], ...]] = {
    **dict.fromkeys(PRODUCTS, (of_a_product,)),
    "convolution": (of_a_convolution, of_a_product),
    **dict.fromkeys(AVERAGE_POOLS, (of_an_average,)),
    **dict.fromkeys(ENLARGEMENTS, (of_an_enlargement,)),
    "where": (of_a_choice,),
    **dict.fromkeys(("amax", "amin"), (of_an_extreme,)),
    "pow": (of_a_power,),
    **dict.fromkeys(MIXING, (of_elsewhere,)),
    "_softmax": (of_elsewhere, of_a_softmax),
    "logsumexp": (of_elsewhere, of_a_logsumexp),
    **dict.fromkeys(("embedding", "index", "index_select"), (of_a_lookup,)),
    **dict.fromkeys(("sum", "mean"), (of_a_sum,)),
    **dict.fromkeys(RESHAPES, (of_a_reshape,)),
    **dict.fromkeys(("cumsum", "flip", "roll"), (of_a_sequence,)),
}
