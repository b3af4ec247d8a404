"""Who hears of a check's report. Apart from `handgrad.compare.checking.check`, so that listening imports no torch."""

from __future__ import annotations

import threading
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


class _Threads:
    """Who hears of checks in threads that have no listener of their own: whoever began last and has not ended.

    A new thread starts with an empty context, and nothing tells which thread started it. So this is the one thing
    here that threads share; each listener is in it only as long as its context lasts.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: list[Listener] = []

    @contextmanager
    def heard_by(self, listener: Listener) -> Iterator[None]:
        """Let this listener hear of them while this lasts."""
        with self._lock:
            self._listeners.append(listener)
        try:
            yield
        finally:
            with self._lock:  # another session may have begun later and not have ended
                self._listeners = [other for other in self._listeners if other is not listener]

    def last(self) -> tuple[Listener, ...]:
        """The one who hears of them now, if there is one."""
        with self._lock:
            return tuple(self._listeners[-1:])


_listeners: ContextVar[tuple[Listener, ...]] = ContextVar("handgrad_listeners", default=())
_threads = _Threads()


@contextmanager
def listening(hear: Callable[[Report], object], raises: bool = True) -> Iterator[None]:
    """Hear of every check that is made within this context, and in it alone: other threads have one of their own."""
    token = _listeners.set((*_listeners.get(), Listener(hear, raises)))
    try:
        yield
    finally:
        _listeners.reset(token)


@contextmanager
def listening_to_threads(hear: Callable[[Report], object]) -> Iterator[None]:
    """Hear, and no one around this context, of every check within it and within threads without a listener.

    `hear` may be called from several threads at once.
    """
    listener = Listener(hear, raises=True)
    token = _listeners.set((listener,))
    try:
        with _threads.heard_by(listener):
            yield
    finally:
        _listeners.reset(token)


def tell(report: Report) -> bool:
    """Hand a report to everyone who listens, and return whether its differences are to be raised."""
    listeners = _listeners.get() or _threads.last()
    for listener in listeners:
        listener.hear(report)
    return all(listener.raises for listener in listeners)
