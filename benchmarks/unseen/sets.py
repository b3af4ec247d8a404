"""The testers' sets under one roof: each is left as its tester froze it, and calls the reference the twin.

`python -m benchmarks.unseen.run` puts them to `check`.
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SETS = ("first", "second", "third", "fourth")
TENSORS = {"x": "input gradient", "o": "output", "l": "loss", "lg": "loss gradient"}  # the first set's short names


@dataclass(frozen=True)
class Case:
    """One derivation and what is wrong with it; right where no tensor is named."""

    name: str
    kind: str  # layer, loss, update
    ours: Any  # what check takes: a pair of functions, a loss, an update rule
    reference: Any
    arguments: dict[str, Any]  # of check
    differs: frozenset[str] = frozenset()  # the tensors that must differ; "theta" for any step of an update rule
    truth: str = ""  # what is wrong, in the tester's words

    @property
    def right(self) -> bool:
        return not self.differs


def _module(which: str, name: str = "cases") -> Any:
    """A file of the set. A set's files import one another by their bare names, which are the same in every set."""
    folder = HERE / which
    for other in HERE.glob("*/*.py"):
        if other.parent != folder:
            sys.modules.pop(other.stem, None)
    sys.path.insert(0, str(folder))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(folder))


def _tensor(short: str) -> str:
    return TENSORS.get(short, "theta" if short[0] == "t" and short[1:].isdigit() else f"gradient of {short}")


def _first() -> Iterator[Case]:
    module = _module("first")
    for row in (*module.WRONG, *module.RIGHT):
        differs = frozenset(_tensor(short) for short in row.get("tensors", "").split())
        yield Case(row["name"], row["kind"], row["make"](), row["twin"], row["kw"], differs, row.get("truth", ""))


def _second() -> Iterator[Case]:
    for name, kind, ours, reference, arguments, differs, truths in _module("second").cases():
        tensors = {"theta"} if kind == "rule" else differs  # whose state differs with it
        yield Case(name, kind, ours, reference, arguments, frozenset(tensors), "; ".join(truths))


def _third() -> Iterator[Case]:
    for row in _module("third").CASES:
        yield Case(row.name, row.kind, row.ours(), row.twin(), row.kwargs, frozenset(row.differ), row.truth)
    for row in _module("third", "rights").RIGHTS:
        yield Case(row.name, row.kind, row.ours(), row.twin(), row.kwargs)


def _fourth() -> Iterator[Case]:
    module = _module("fourth")
    for row in (*module.CASES, *module.RIGHTS):
        yield Case(
            row.name,
            row.kind,
            row.ours(),
            row.twin(),
            row.kwargs,
            frozenset(row.differ),
            getattr(row, "truth", ""),
        )


@functools.cache
def cases(which: str) -> list[Case]:
    """All cases of a set."""
    return list({"first": _first, "second": _second, "third": _third, "fourth": _fourth}[which]())
