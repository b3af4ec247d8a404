"""The line of a person's own code at which a check was asked for. Imports nothing heavy: the pytest plugin needs it."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import FrameType, TracebackType

HOUSE = __name__.partition(".")[0]
COMMANDS = f"{HOUSE}.compare.commands"  # a check that a command makes itself stands at no line of anyone's
BETWEEN = "contextlib"  # stands between a decorated function and its caller


def calling_line() -> str:
    """FILE:LINE of the innermost caller outside this project; empty where a command makes the check."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and _within(frame):
        if _module(frame).startswith(COMMANDS):
            return ""
        frame = frame.f_back
    return "" if frame is None else f"{seen(frame.f_code.co_filename)}:{frame.f_lineno}"


def raising_line(traceback: TracebackType | None) -> str:
    """The same for an exception that came out of this project."""
    steps = list(_steps(traceback))
    while steps and _within(steps[-1].tb_frame):
        steps.pop()
    return f"{seen(steps[-1].tb_frame.f_code.co_filename)}:{steps[-1].tb_lineno}" if steps else ""


def seen(file: str) -> str:
    """A file's path, from the current folder where it lies within."""
    path = Path(file)
    with suppress(ValueError, OSError):  # it lies elsewhere, or the current folder is gone
        path = path.relative_to(Path.cwd())
    return str(path)


def _steps(traceback: TracebackType | None) -> Iterable[TracebackType]:
    while traceback is not None:
        yield traceback
        traceback = traceback.tb_next


def _within(frame: FrameType) -> bool:
    """Whether a frame is of this project, or only stands between two that are."""
    module = _module(frame)
    return module in (HOUSE, BETWEEN) or module.startswith(f"{HOUSE}.")


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))
