"""Manual code on bounds where rounding rules reach, and on plain arrays elsewhere; an exception is a result too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from handgrad.compare.foundation.debug import swallowed
from handgrad.compare.judge.agreement import Verdict, mismatched
from handgrad.compare.rounding.choices import plain
from handgrad.compare.rounding.model import NoRoundingRule


@dataclass(frozen=True)
class Unbounded:
    """A cache of code without a rounding rule: what uses it is judged by the two-precision tolerance too."""

    cache: Any


@dataclass(frozen=True)
class Raised:
    """What stands for the result of manual code that raised an exception."""

    error: Exception

    def verdict(self, size: int) -> Verdict:
        return mismatched(f"the manual code raises {type(self.error).__name__}: {self.error}", size)


LOST = object()  # what nobody can judge, because the code that makes its input raised an exception


def as_pair(result: Any) -> tuple[Any, Any]:
    """The result of a forward or an update as two."""
    return (result, LOST) if isinstance(result, Raised) else result


def follow(function: Callable[..., Any], *args: Any) -> tuple[Any, bool]:
    """The function's result, and whether the two-precision tolerance must judge it because no rounding rule applies.

    An exception is a result too, `Raised`. What would need the result of code that raised one is `LOST`.
    """
    unbounded = False
    for a in args:
        if a is LOST:
            return LOST, False
        unbounded = unbounded or isinstance(a, Unbounded)
    try:
        if not unbounded:
            try:
                return function(*args), False
            except (NoRoundingRule, FloatingPointError):  # the latter from code within np.errstate(all="raise")
                pass
        return function(*(a.cache if isinstance(a, Unbounded) else plain(a) for a in args)), True
    except Exception as error:
        swallowed(error, "the manual code")
        return Raised(error), False
