"""Exceptions that become an answer instead of an end, shown under `handgrad --debug` or with HANDGRAD_DEBUG=1."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

VARIABLE = "HANDGRAD_DEBUG"
_asked: ContextVar[bool] = ContextVar("handgrad_debug", default=False)


@contextmanager
def debugging(on: bool = True) -> Iterator[None]:
    """While this lasts, swallowed exceptions are shown where `on`, or where the environment asks for it."""
    token = _asked.set(on)
    try:
        yield
    finally:
        _asked.reset(token)


def is_debugging() -> bool:
    """Whether tracebacks are wanted."""
    return _asked.get() or os.environ.get(VARIABLE, "0") not in ("", "0")


def swallowed(error: BaseException, where: str) -> None:
    """To be called wherever an unforeseen exception becomes an answer; `where` says what goes on without its result."""
    if is_debugging():
        print(f"handgrad --debug: {where} raised", file=sys.stderr)
        traceback.print_exception(error)
