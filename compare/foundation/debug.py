"""What is answered instead of raised, shown under `handgrad --debug` or with HANDGRAD_DEBUG=1 in the environment."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

VARIABLE = "HANDGRAD_DEBUG"
_debugging: ContextVar[bool | None] = ContextVar("handgrad_debug", default=None)


@contextmanager
def debugging(on: bool = True) -> Iterator[None]:
    """Show every swallowed exception while this lasts; False leaves it to the environment."""
    token = _debugging.set(True if on else None)
    try:
        yield
    finally:
        _debugging.reset(token)


def swallowed(error: BaseException, where: str) -> None:
    """Call this wherever an unforeseen exception becomes an answer: its traceback goes to stderr under --debug."""
    on = _debugging.get()
    if on or (on is None and os.environ.get(VARIABLE, "") not in ("", "0")):
        print(f"handgrad: {where} goes on without this:", file=sys.stderr)
        traceback.print_exception(error)
