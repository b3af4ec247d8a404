"""A change of a recipe, and how its lines are run."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

Units = list[Any]  # the compiled lines of a rule; None for one that is left out


class Change(NamedTuple):
    """A change of a recipe: the lines that it touches, for pairs; how unlikely it is; the words; and itself."""

    touches: frozenset[str]
    complexity: int
    words: str
    apply: Callable[[Units, dict[str, Any]], None]  # changes both in place


def earlier(state: str) -> str:
    """The name of a state array as the step before left it."""
    return f"{state}_before"


def starting(state: str) -> str:
    """What a change writes among the hyperparameters to have a state array start at another number."""
    return f"the start of {state}"


@lru_cache(4096)
def compiled(text: str) -> Any:
    """A line, ready to be run."""
    return compile(text, "<recipe>", "exec")
