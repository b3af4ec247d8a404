"""Code that may never end: counted by the lines that it runs, in its own thread, and stopped after too many.

A loop that waits for 10⁻¹⁴ ends in float64 and never in float32. Lines are counted and no seconds, so that the answer
is the same on every machine.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import numpy as np
import torch

T = TypeVar("T")

LEAST, TIMES = 2_000, 10  # so many lines, and so many times those of the run that ended, are no sign of anything
# Whose lines are not counted: nothing in there waits for a number to become small.
OTHERS = (*(str(Path(str(m.__file__)).parent) for m in (np, torch)), str(Path(__file__).parent.parent))


class Endless(BaseException):
    """A run takes far more lines than another did; no `except Exception` of the code itself takes this for its own."""


def counted(work: Callable[[], T], most: float = float("inf")) -> tuple[T, int]:
    """What the work returns, and how many lines of other people's Python it took. Endless after more than `most`."""
    lines = 0

    def line(frame: FrameType, event: str, given: Any) -> Any:
        nonlocal lines
        if event == "line":
            lines += 1
            if lines > most:
                raise Endless
        return line

    def call(frame: FrameType, event: str, given: Any) -> Any:
        return None if frame.f_code.co_filename.startswith(OTHERS) else line

    before = sys.gettrace()
    sys.settrace(call)
    try:
        return work(), lines
    finally:
        sys.settrace(before)


def as_long_as(lines: int) -> int:
    """So many lines are too many for a run beside one that took so many."""
    return LEAST + TIMES * lines
