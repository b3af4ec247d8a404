"""What a child does that `apart` has made: the jobs, as far as they go, each told to the parent as it is done."""

from __future__ import annotations

import faulthandler
import io
import os
import pickle
import signal
import struct
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NoReturn

from handgrad.compare.foundation.debug import is_debugging, swallowed
from handgrad.compare.foundation.jobs import Ending, Job, Outcome, OutOfTime
from handgrad.compare.foundation.threads import torch_threads

SHARE = 0.5  # of the time that is left, for one job of several
HEAD = struct.Struct("!Q")


def words(error: BaseException) -> str:
    """What an exception says, in one line."""
    return f"{type(error).__name__}: {(str(error) or '(no words)').splitlines()[0]}"


def child(jobs: Sequence[Job], outcome: Outcome, read: io.FileIO, write: io.FileIO) -> NoReturn:
    """What the child does, and nothing of what its parent would do after it."""
    code = 1
    try:
        faulthandler.disable()
        _alone()
        read.close()
        signal.setitimer(signal.ITIMER_PROF, max(outcome.seconds - outcome.spent, 1e-3))
        with torch_threads(1):  # a pool of threads does not survive a fork
            _all(jobs, outcome, write.fileno())
        code = 0
    except BaseException as error:
        swallowed(error, "a process apart")
    finally:
        os._exit(code)


def _alone() -> None:
    """Hold nothing that the parent reads or writes, and let the parent alone hear Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGPROF, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGPROF, signal.SIGVTALRM})
    warnings.simplefilter("ignore")
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    if not is_debugging():
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        # what is still in the parent's buffers is the parent's to write
        sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115


class _Told(io.TextIOBase):
    """A stream whose words the parent writes: its own may be anything, a notebook's or a test's."""

    def __init__(self, send: Callable[[str], None]) -> None:
        self.send = send

    def write(self, text: str) -> int:
        self.send(text)
        return len(text)


def _all(jobs: Sequence[Job], outcome: Outcome, write: int) -> None:
    """Do the jobs, and send what comes of each."""

    def send(kind: str, name: str, value: Any) -> None:
        message = pickle.dumps((kind, name, value), pickle.HIGHEST_PROTOCOL)
        message = HEAD.pack(len(message)) + message
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGVTALRM})  # no message is cut off by the end of a share
        while message:
            message = message[os.write(write, message) :]
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGVTALRM})

    def spent(number: int, frame: Any) -> NoReturn:
        raise OutOfTime

    if is_debugging():
        sys.stdout = sys.stderr = _Told(partial(send, "said", ""))

    def one(job: Job) -> tuple[str, Any]:
        try:
            result = job.work(outcome.found, partial(send, "so_far", job.name))
            pickle.dumps(result)
        except Exception as error:
            swallowed(error, job.name)
            return "ended", (Ending.RAISED, words(error))
        return "found", result

    signal.signal(signal.SIGVTALRM, spent)
    for k, job in enumerate(jobs):
        send("doing", job.name, None)
        share = 0.0 if k == len(jobs) - 1 else SHARE * signal.getitimer(signal.ITIMER_PROF)[0]
        try:
            signal.setitimer(signal.ITIMER_VIRTUAL, share)
            kind, value = one(job)
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        except OutOfTime:
            kind, value = "ended", (Ending.SPENT, "")
        if kind == "found":
            outcome.found[job.name] = value
        send(kind, job.name, value)
