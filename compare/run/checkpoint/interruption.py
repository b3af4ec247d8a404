"""Ctrl-C and SIGTERM: the first one lets the step end and the run be saved, the second one stops at once."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """A run was asked to stop. `code` is the exit code of a process that such a signal stops: 130 or 143."""

    def __init__(self, number: int, saved: bool) -> None:
        super().__init__(f"signal {number}")
        self.code, self.saved = 128 + number, saved


class Interruption:
    """While this context lasts, the first signal is noted in `number`, and another raises Interrupted."""

    def __init__(self) -> None:
        self.number = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():  # no other thread may handle signals
            self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.number:
            raise Interrupted(number, saved=False)
        self.number = number
