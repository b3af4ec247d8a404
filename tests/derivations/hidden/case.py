"""The shape of a derivation of these sets, and the families that they are written in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Case:
    """A derivation beside its reference; it is right where nothing is said of what is wrong."""

    name: str
    ours: Callable[[], Any]
    reference: Callable[[], Any]
    arguments: Mapping[str, Any]  # of check
    truth: str = ""  # what is wrong, in a sentence

    @property
    def right(self) -> bool:
        """Whether a check must find nothing."""
        return not self.truth


def family(
    name: str,
    make: Callable[[str], Any],
    reference: Callable[[], Any],
    arguments: Mapping[str, Any],
    faults: Mapping[str, str],
    right: Iterable[str] = ("right",),
) -> list[Case]:
    """`make(switch)` is the derivation: right under each name in `right`, wrong, as its sentence says, under others."""
    rights = [Case(f"{name}/{form}", lambda form=form: make(form), reference, arguments) for form in right]
    return rights + [
        Case(f"{name}/{switch}", lambda switch=switch: make(switch), reference, arguments, truth)
        for switch, truth in faults.items()
    ]
