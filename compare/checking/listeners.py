"""Who hears of a check's report. Apart from `handgrad.compare.checking.check`, so that listening imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from handgrad.compare.checking.findings import Report


class Listener(NamedTuple):
    """Someone who is called with every report, in order."""

    hear: Callable[[Report], object]
    raises: bool  # whether a report of differences is raised all the same


_listeners: ContextVar[tuple[Listener, ...]] = ContextVar("handgrad_listeners", default=())


@contextmanager
def listening(hear: Callable[[Report], object], raises: bool = True) -> Iterator[None]:
    """Hear of every check that is made within this context, and in it alone: other threads have one of their own."""
    token = _listeners.set((*_listeners.get(), Listener(hear, raises)))
    try:
        yield
    finally:
        _listeners.reset(token)


def tell(report: Report) -> bool:
    """Hand a report to everyone who listens, and return whether its differences are to be raised."""
    listeners = _listeners.get()
    for listener in listeners:
        listener.hear(report)
    return all(listener.raises for listener in listeners)
