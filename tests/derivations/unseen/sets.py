"""The testers' sets as derivations: each was written its own way, and is left as it was frozen.

`python -m benchmarks.detection.unseen` puts them to `check`.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Iterable, Iterator
from typing import Any

from tests.derivations.case import RULE, Derivation, kind_of

SETS = ("first", "second", "third", "fourth")
TENSORS = {"x": "input gradient", "o": "output", "l": "loss", "lg": "loss gradient"}  # the first set's short names


def _module(which: str, name: str = "cases") -> Any:
    """A file of the set."""
    return importlib.import_module(f"{__package__}.{which}.{name}")


def _derivation(
    which: str, name: str, ours: Any, reference: Any, arguments: dict[str, Any], tensors: Iterable[str], truth: str
) -> Derivation:
    """A person must read the causes, so no words are expected; the state of an update rule differs with theta."""
    kind = kind_of(arguments)
    differs = dict.fromkeys({"theta"} if tensors and kind == RULE else tensors, ())
    return Derivation(name, kind, ours, reference, arguments, differs, truth, which)


def _tensor(short: str) -> str:
    return TENSORS.get(short, "theta" if short[0] == "t" and short[1:].isdigit() else f"gradient of {short}")


def _first() -> Iterator[Derivation]:
    module = _module("first")
    for row in (*module.WRONG, *module.RIGHT):
        tensors = [_tensor(short) for short in row.get("tensors", "").split()]
        yield _derivation("first", row["name"], row["make"](), row["twin"], row["kw"], tensors, row.get("truth", ""))


def _second() -> Iterator[Derivation]:
    for name, _, ours, reference, arguments, tensors, truths in _module("second").cases():
        yield _derivation("second", name, ours, reference, arguments, tensors, "; ".join(truths))


def _third() -> Iterator[Derivation]:
    for row in (*_module("third").CASES, *_module("third", "rights").RIGHTS):
        truth = getattr(row, "truth", "")
        yield _derivation("third", row.name, row.ours(), row.twin(), row.kwargs, getattr(row, "differ", ()), truth)


def _fourth() -> Iterator[Derivation]:
    module = _module("fourth")
    for row in (*module.CASES, *module.RIGHTS):
        yield _derivation("fourth", row.name, row.ours(), row.twin(), row.kwargs, row.differ, getattr(row, "truth", ""))


@functools.cache
def cases(which: str) -> list[Derivation]:
    """All derivations of a set."""
    return list({"first": _first, "second": _second, "third": _third, "fourth": _fourth}[which]())
