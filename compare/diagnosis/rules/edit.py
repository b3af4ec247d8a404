"""An edit of a recipe: one thing that goes wrong when a paper is put into code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from handgrad.compare.diagnosis.rules.kinds import EXPRESSIONS, LINES

Units = list[Any]  # the compiled lines of a rule; None for one that is left out
Apply = Callable[[Units, dict[str, Any]], None]  # changes the lines and the hyperparameters in place


class LineEdit(NamedTuple):
    """What is edited and how: the lines and hyperparameters that it touches, for pairs, and what is said of it."""

    kind: str
    touches: frozenset[str]
    apply: Apply
    details: Mapping[str, Any]
    complexity: int

    @classmethod
    def of(cls, kind: str, touches: frozenset[str], apply: Apply, /, **details: Any) -> LineEdit:
        """An edit as likely as its kind."""
        return cls(kind, touches, apply, details, {**EXPRESSIONS, **LINES}[kind].tier)


def instead(changed: Mapping[int, str]) -> Apply:
    """Other lines in the places of some."""
    code = {i: compiled(text) for i, text in changed.items()}

    def apply(lines: Units, hyper: dict[str, Any]) -> None:
        for i, line in code.items():
            lines[i] = line

    return apply


def rewritten(kind: str, changed: Mapping[int, str], /, **details: Any) -> LineEdit:
    """The edit that puts other lines in the places of some."""
    return LineEdit.of(kind, at(*changed), instead(changed), **details)


def at(*lines: int) -> frozenset[str]:
    """What an edit of some lines touches."""
    return frozenset(f"line {i}" for i in lines)


def with_hyper(values: Mapping[str, Any]) -> Apply:
    """Other values for hyperparameters."""

    def apply(lines: Units, hyper: dict[str, Any]) -> None:
        hyper.update(values)

    return apply


def earlier(state: str) -> str:
    """The name of a state array as the step before left it."""
    return f"{state}_before"


def starting(state: str) -> str:
    """What an edit writes among the hyperparameters to have a state array start at another number."""
    return f"the start of {state}"


@lru_cache(4096)
def compiled(text: str) -> Any:
    """A line, ready to be run."""
    return compile(text, "<recipe>", "exec")
