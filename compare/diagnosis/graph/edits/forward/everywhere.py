"""Changes of the reference in several places at once: τ and 1 − τ swapped, a number left out everywhere, 1 − t for
t.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import combinations
from typing import Any

from handgrad.compare.diagnosis.graph.edits.forward.operations import SHAPES, plain, with_number
from handgrad.compare.diagnosis.graph.record.notation import number, operation
from handgrad.compare.diagnosis.graph.record.rerun import Mutant
from handgrad.compare.diagnosis.graph.record.trace import Trace

MOST = 8  # different numbers of a reference that are looked at
Swapped = tuple[str, dict[int, Mutant]]


def swaps(trace: Trace) -> Iterator[tuple[Any, Swapped]]:
    """(key, (words, the operations changed)) of numbers swapped, a ↔ 1 − a, or others everywhere; signs stay."""
    sizes: dict[float, None] = {}
    places = []
    for node in trace.nodes:
        if node.op is None or operation(node) in SHAPES:
            continue
        for place, name, value in plain(node):
            if isinstance(value, float) and value not in (0.0, 1.0, -1.0) and name not in ("dim", "dims", "axis"):
                places.append((node, place, value))
                sizes.setdefault(abs(value))
    some = list(sizes)[:MOST]
    changes: list[tuple[Any, str, Callable[[float], float | None]]] = [
        ((a, b), f"{number(a)} and {number(b)} are swapped", partial(_exchanged, a, b))
        for a, b in combinations(some, 2)
    ]
    changes += [
        (("1 −", a), f"{number(a)} and 1 − {number(a)} are swapped", partial(_complemented, a)) for a in some if a < 1
    ]
    for a in some:
        for what, b in (("left out (taken as 1)", 1.0), ("doubled", 2 * a), ("halved", a / 2)):
            changes.append((("all", a, what), f"{number(a)} is {what} everywhere", {a: b}.get))
    for key, words, other in changes:
        wrong: dict[int, Mutant] = {}
        for node, place, value in places:
            size = other(abs(value))
            if size is not None and node.index not in wrong:
                made = with_number(trace, node, place, size if value > 0 else -size)
                wrong[node.index] = Mutant(node.index, key, 11, words, made)
        if len(wrong) > (key[0] == "all"):
            yield key, (words, wrong)


def _exchanged(a: float, b: float, size: float) -> float | None:
    return {a: b, b: a}.get(size)


def _complemented(a: float, size: float) -> float | None:
    return 1 - size if size == a or abs(size - (1 - a)) < 1e-12 else None


def of_inputs(trace: Trace, target: int) -> Iterator[tuple[Any, Swapped]]:
    """The same of every input that is not differentiated by: the target of a loss, another parameter."""
    for name, index in trace.inputs.items():
        v = trace.nodes[index].value
        if index == target or not v.is_floating_point():
            continue
        for words, other in ((f"1 − {name} stands", 1 - v), (f"−{name} stands", -v), (f"{name}² stands", v * v)):
            made = partial(_instead, other)
            text = f"{words} for {name} everywhere"
            yield (name, words), (text, {index: Mutant(index, words, 11, text, made)})


def _instead(other: Any, given: list[Any]) -> Any:
    return other
