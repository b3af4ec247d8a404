"""Two numbers of the twin that stand in each other's place, or one minus them: τ and 1 − τ, α and β."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import combinations
from typing import Any

from compare.diagnosis.graph.mutants import SHAPES, plain, with_number
from compare.diagnosis.graph.rerun import Mutant
from compare.diagnosis.graph.trace import Trace
from compare.diagnosis.graph.words import number, operation

MOST = 8  # different numbers of a twin that are looked at
Swapped = tuple[str, dict[int, Mutant]]


def swaps(trace: Trace) -> Iterator[tuple[Any, Swapped]]:
    """(key, (words, the operations changed)) of every two numbers swapped, and of a ↔ 1 − a; signs stay."""
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
        ((a, b), f"{number(a)} and {number(b)} are swapped", partial(_exchanged, a, b)) for a, b in combinations(some, 2)
    ]
    changes += [
        (("1 −", a), f"{number(a)} and 1 − {number(a)} are swapped", partial(_complemented, a)) for a in some if a < 1
    ]
    for key, words, other in changes:
        wrong: dict[int, Mutant] = {}
        for node, place, value in places:
            size = other(abs(value))
            if size is not None and node.index not in wrong:
                made = with_number(trace, node, place, size if value > 0 else -size)
                wrong[node.index] = Mutant(node.index, key, 11, words, made)
        if wrong:
            yield key, (words, wrong)


def _exchanged(a: float, b: float, size: float) -> float | None:
    return {a: b, b: a}.get(size)


def _complemented(a: float, size: float) -> float | None:
    return 1 - size if size == a or abs(size - (1 - a)) < 1e-12 else None
