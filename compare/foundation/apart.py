"""Work that may end badly, in a process of its own: what it has found so far is not lost with it.

A reference of torch that is run on inputs of our own making may write out of bounds and abort the interpreter, never
return, or leave something changed behind. So such work runs in a fork of this process, which sends back what it finds
as it finds it. The kernel ends it when its CPU time is spent (an interval timer, whatever code runs then), and Ctrl-C
ends it and nothing else. Where a fork is not safe, or where there is none, the work runs in this process, and is only
stopped between two jobs.
"""

from __future__ import annotations

import faulthandler
import io
import os
import pickle
import select
import signal
import struct
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NoReturn

import torch

from handgrad.compare.foundation.debug import is_debugging, swallowed
from handgrad.compare.foundation.jobs import Ending, Job, Outcome, OutOfTime
from handgrad.compare.foundation.threads import torch_threads

IDLE = 5.0  # seconds of no CPU at all, after which a child waits for something that never comes
SLOWEST = 20.0  # seconds on the clock for one of CPU, on a machine that others use too
POLL = 0.2  # seconds between two looks at a child
SHARE = 0.5  # of the time that is left, for one job of several
HEAD = struct.Struct("!Q")

Shown = Callable[[str, float], None]  # what is being done, and the seconds of CPU spent


def can_fork() -> bool:
    """Whether a fork of this process may compute: not beside CUDA, and not on macOS, whose libraries forbid it."""
    return hasattr(os, "fork") and sys.platform != "darwin" and not torch.cuda.is_initialized()  # type: ignore[no-untyped-call]


def apart(jobs: Sequence[Job], seconds: float, show: Shown = lambda what, spent: None) -> Outcome:
    """Do the jobs one after another, as far as so many seconds of CPU go.

    A job that dies, raises or has spent its share costs its own result alone. KeyboardInterrupt is an answer, too: all
    jobs that are left are INTERRUPTED. Results must be picklable.
    """
    outcome = Outcome(seconds)
    while (waiting := outcome.left(jobs)) and outcome.spent < seconds:
        if can_fork():
            _in_a_child(waiting, outcome, show)
        else:
            _in_this_process(waiting, outcome)
    for job in outcome.left(jobs):
        outcome.ended[job.name] = Ending.SPENT, ""
    return outcome


def _in_this_process(jobs: Sequence[Job], outcome: Outcome) -> None:
    for job in jobs:
        started = time.process_time()
        try:
            outcome.found[job.name] = job.work(outcome.found, partial(outcome.so_far.__setitem__, job.name))
        except KeyboardInterrupt:
            _interrupted(jobs, outcome)
        except Exception as error:
            swallowed(error, job.name)
            outcome.ended[job.name] = Ending.RAISED, _words(error)
        outcome.spent += time.process_time() - started
        if outcome.spent >= outcome.seconds:
            return


def _interrupted(jobs: Sequence[Job], outcome: Outcome) -> None:
    for job in outcome.left(jobs):
        outcome.ended[job.name] = Ending.INTERRUPTED, ""


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {(str(error) or '(no words)').splitlines()[0]}"


def _in_a_child(jobs: Sequence[Job], outcome: Outcome, show: Shown) -> None:
    """One child for all jobs; it ends with the last of them, or with what goes wrong."""
    read, write = os.pipe()
    with warnings.catch_warnings():  # Python warns of a fork beside other threads: the child touches none of them
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        os.close(read)
        _child(jobs, outcome, write)
    os.close(write)
    watched = _Watched(pid, read, outcome, jobs[0].name)
    try:
        watched.listen(show)
    except KeyboardInterrupt:
        watched.stop()
        _interrupted(jobs, outcome)
    except BaseException:
        watched.stop()
        raise
    finally:
        os.close(read)
    outcome.spent += watched.spent()
    for job in outcome.left(jobs)[: None if watched.stuck else 1]:
        outcome.ended[job.name] = watched.ending()


class _Watched:
    """A child as its parent sees it."""

    def __init__(self, pid: int, read: int, outcome: Outcome, doing: str) -> None:
        self.pid, self.read, self.outcome, self.doing = pid, read, outcome, doing
        self.started = time.monotonic()
        self.status: int | None = None
        self.usage = 0.0
        self.stuck = False

    def listen(self, show: Shown) -> None:
        """Take what it sends until it ends, or has to be ended."""
        waiting, moved, before = bytearray(), time.monotonic(), 0.0
        left = self.outcome.seconds - self.outcome.spent
        while True:
            if select.select([self.read], [], [], POLL)[0]:
                piece = os.read(self.read, 1 << 16)
                if not piece:
                    self._wait()
                    return
                waiting += piece
                self._take(waiting)
            now, spent = time.monotonic(), self.spent()
            if spent > before:
                moved, before = now, spent
            if now - moved > IDLE or now - self.started > SLOWEST * left + IDLE:
                self.stuck = True
                self.stop()
                return
            show(self.doing, self.outcome.spent + spent)

    def _take(self, waiting: bytearray) -> None:
        """Every whole message."""
        while len(waiting) >= HEAD.size and len(waiting) >= HEAD.size + HEAD.unpack_from(waiting)[0]:
            size = HEAD.size + HEAD.unpack_from(waiting)[0]
            kind, name, value = pickle.loads(bytes(waiting[HEAD.size : size]))
            del waiting[:size]
            if kind == "doing":
                self.doing = name
            elif kind == "said":
                print(value, end="", file=sys.stderr)
            else:
                getattr(self.outcome, kind)[name] = value

    def stop(self) -> None:
        """End it for certain."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self._wait()

    def _wait(self) -> None:
        if self.status is None:
            try:
                _, self.status, usage = os.wait4(self.pid, 0)
                self.usage = usage.ru_utime + usage.ru_stime
            except ChildProcessError:  # someone else has waited for it
                self.status = 0

    def spent(self) -> float:
        """Seconds of CPU; on the clock where the system does not tell those of another process that still runs."""
        if self.status is not None:
            return self.usage
        try:
            return time.clock_gettime((~self.pid << 3) | 2)  # Linux: the CPU clock of another process
        except (OSError, ValueError, OverflowError):
            return time.monotonic() - self.started

    def ending(self) -> tuple[Ending, str]:
        """How the job ended that it had no time to end itself."""
        assert self.status is not None
        if self.stuck:
            return Ending.SPENT, "it did not return"
        if not os.WIFSIGNALED(self.status):
            return Ending.DIED, f"its process ended with exit code {os.waitstatus_to_exitcode(self.status)}"
        number = os.WTERMSIG(self.status)
        if number == signal.SIGPROF:
            return Ending.SPENT, ""
        return Ending.DIED, f"its process was ended by {signal.Signals(number).name}"


def _child(jobs: Sequence[Job], outcome: Outcome, write: int) -> NoReturn:
    """What the child does, and nothing of what its parent would do after it."""
    code = 1
    try:
        faulthandler.disable()
        _alone()
        signal.setitimer(signal.ITIMER_PROF, max(outcome.seconds - outcome.spent, 1e-3))
        with torch_threads(1):  # a pool of threads does not survive a fork
            _all(jobs, outcome, write)
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
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGPROF, signal.SIGVTALRM})
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
            return "ended", (Ending.RAISED, _words(error))
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
