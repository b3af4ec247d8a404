"""What a person sees while a cause is looked for: what is being done, and how much of the time for it is spent."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.errors import LiveError
from rich.live import Live

from handgrad.compare.foundation.apart import Shown

PATIENCE = 1.0  # seconds in which nothing is shown
ALONE = {"redirect_stdout": False, "redirect_stderr": False}  # other threads print there too


@contextmanager
def shown(seconds: float) -> Iterator[Shown]:
    """A line on a terminal, after a second, that is gone when this ends; nothing anywhere else."""
    console, started, live = Console(stderr=True), time.monotonic(), list[Live]()

    def show(what: str, spent: float) -> None:
        if not console.is_terminal or time.monotonic() - started < PATIENCE:
            return
        try:
            if not live:
                live.append(
                    Live(
                        console=console,
                        auto_refresh=False,
                        transient=True,
                        redirect_stdout=False,
                        redirect_stderr=False,
                    )
                )
                live[0].start()
            live[0].update(f"looking for the cause: {what} · {spent:.1f} of {seconds:.0f} s of CPU", refresh=True)
        except LiveError:  # the caller shows something of its own
            return

    try:
        yield show
    finally:
        for line in live:
            line.stop()
        sys.stderr.flush()
