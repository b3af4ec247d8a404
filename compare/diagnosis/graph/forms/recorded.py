"""The derivatives that papers give in closed form: what a person writes down for a softmax or a normalisation.

Each takes δ and the arguments of the aten operation that it belongs to, and returns δ of the first of them. It is
recorded like a reference, and each of its operations is changed in turn: a sum over another axis, a term left out, x
for x̂.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import combinations
from typing import Any

import torch

from handgrad.compare.diagnosis.graph.edits.forward.operations import mutants
from handgrad.compare.diagnosis.graph.forms.derivatives import CLOSED
from handgrad.compare.diagnosis.graph.record.notation import MADE, called, operation
from handgrad.compare.diagnosis.graph.record.recorder import record
from handgrad.compare.diagnosis.graph.record.rerun import Mutant, Rerun, Swap, filled
from handgrad.compare.diagnosis.graph.record.trace import Node, Rule, Tensor, Trace

MOST_PLACES = 4  # of one quantity in a closed form
BESIDE = 4  # other quantities that may stand in a closed form


def closed(trace: Trace, node: Node, up: Any) -> Iterator[tuple[int, Trace]]:
    """(the source, the recorded closed form) of the derivative of an operation by its first argument."""
    for form in CLOSED.get(node.op, ()):
        values = [trace.nodes[s].value for s in node.sources()]
        leaves = {"δ": up.detach(), called(trace, node.sources()[0]): values[0].detach()}
        args, kwargs = filled(node, [leaves[called(trace, node.sources()[0])], *values[1:]])
        beside = _beside(trace, node, values[0]) if len(values) == 1 else {}
        made = recorded(partial(form, leaves["δ"], *args, **kwargs), {**beside, **leaves})
        if made is not None:
            yield node.sources()[0], made


def _beside(trace: Trace, node: Node, x: Tensor) -> dict[str, Tensor]:
    """Other quantities of the shape, by their names: what may stand in the form for something else."""
    found: dict[str, Tensor] = {}
    for other in sorted(trace.nodes, key=lambda n: abs(n.index - node.index)):
        v, name = other.value, called(trace, other.index)
        alike = isinstance(v, torch.Tensor) and v.shape == x.shape and v.is_floating_point()
        if (
            alike
            and operation(other) not in MADE
            and not torch.equal(v, x)
            and name != called(trace, node.sources()[0])
        ):
            found.setdefault(name, v.detach())
        if len(found) == BESIDE:
            break
    return found


def recorded(form: Callable[[], Any], leaves: dict[str, Tensor]) -> Trace | None:
    """What a closed form does; None where it is none for these arguments."""
    try:
        return record(form, leaves, 0)
    except (RuntimeError, TypeError, ValueError, IndexError, KeyError, AttributeError):
        return None


def changed(made: Trace) -> Iterator[tuple[Any, int, str, Rule]]:
    """(key, complexity, words, rule) of every change of one operation of a closed form."""
    rerun = Rerun(made, "")

    def rule_of(*many: Mutant) -> Rule:
        def rule(up: Tensor) -> Tensor:
            found = rerun.output({m.at: m for m in many}, {made.inputs["δ"]: up})
            if found is None:
                raise ValueError("it does not fit")
            return found

        return rule

    moved = made.leading_to(made.inputs["δ"])
    every = [m for m in mutants(made) if _alike(made, m)]
    for m in every:
        yield (m.at, m.key), m.complexity, m.words, rule_of(m)
    for key, many in _together([m for m in every if m.at in moved], made):
        words = " and ".join(m.words for m in many)
        yield key, many[0].complexity + 1, words, rule_of(*many)


def _alike(made: Trace, m: Mutant) -> bool:
    """Whether what stands for something else is of its kind: another δ for δ, another quantity given for one given."""
    if not isinstance(m.made, Swap):
        return True
    right, other = made.nodes[made.nodes[m.at].sources()[m.made.place]], made.nodes[m.made.other]
    if other.op is None and other.index > 2:
        return right.op is None and right.name.startswith("δ") == other.name.startswith("δ")
    return True


def _together(every: list[Mutant], made: Trace) -> Iterator[tuple[Any, list[Mutant]]]:
    """The same change of all sums or means, and the same quantity for another one at several of its places."""
    reduced: dict[Any, list[Mutant]] = {}
    swapped: dict[Any, list[Mutant]] = {}
    for m in every:
        node = made.nodes[m.at]
        if isinstance(m.made, Swap):
            swapped.setdefault((node.sources()[m.made.place], m.made.other), []).append(m)
        elif operation(node) in ("mean", "sum"):
            reduced.setdefault((operation(node), m.key), []).append(m)
    for key, many in reduced.items():
        if len(many) > 1:
            yield ("all", key), many
    for key, many in swapped.items():
        if len(many) <= MOST_PLACES:
            for count in range(2, len(many) + 1):
                for some in combinations(many, count):
                    if len({m.at for m in some}) == count:
                        yield ("places", key, tuple(m.at for m in some)), list(some)
