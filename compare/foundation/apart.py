"""Work that may end badly, in a process of its own: what it has found so far is not lost with it.

A reference of torch that is run on inputs of our own making may write out of bounds and abort the interpreter, never
return, or leave something changed behind. So such work runs in a fork of this process, which sends back what it finds
as it finds it. The kernel ends it when its CPU time is spent (an interval timer, whatever code runs then), and Ctrl-C
ends it and nothing else. Where a fork is not safe, or where there is none, the work runs in this process, and is only
stopped between two jobs.
"""

from __future__ import annotations

import io
import os
import pickle
import re
import select
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from itertools import chain, starmap

import torch

from handgrad.compare.foundation.child import HEAD, child, words
from handgrad.compare.foundation.debug import swallowed
from handgrad.compare.foundation.jobs import Ending, Job, Outcome

IDLE = 5.0  # seconds of no CPU at all, after which a child waits for something that never comes
SLOWEST = 20.0  # seconds on the clock for one of CPU, on a machine that others use too
POLL = 0.2  # seconds between two looks at a child

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
            outcome.ended[job.name] = Ending.RAISED, words(error)
        outcome.spent += time.process_time() - started
        if outcome.spent >= outcome.seconds:
            return


def _interrupted(jobs: Sequence[Job], outcome: Outcome) -> None:
    for job in outcome.left(jobs):
        outcome.ended[job.name] = Ending.INTERRUPTED, ""


def _in_a_child(jobs: Sequence[Job], outcome: Outcome, show: Shown) -> None:
    """One child for all jobs; it ends with the last of them, or with what goes wrong.

    Ctrl-C may come between any two calls, but not while a list is extended: no file and no process is made that is not
    in its list.
    """
    _keep_quiet_about_threads()
    ends, pids = list[io.FileIO](), list[int]()
    watched = _Watched(ends, pids, outcome, jobs[0].name)
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        ends.extend(map(io.FileIO, chain.from_iterable(starmap(os.pipe, [()])), ("rb", "wb")))
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # which the child is not to hear before it is ready
        _fork(pids)
        if pids == [0]:
            child(jobs, outcome, *ends)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        watched.listen(show)
    except KeyboardInterrupt:
        _interrupted(jobs, outcome)
    finally:
        watched.end()
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    outcome.spent += watched.spent()
    for job in outcome.left(jobs)[: None if watched.stuck else 1]:
        outcome.ended[job.name] = watched.ending()


def _fork(pids: list[int]) -> None:
    """Fork into the list. A Ctrl-C that comes meanwhile is heard when that is done.

    Python runs code of others around a fork, which takes locks and gives them back, as logging does.
    """
    before = signal.getsignal(signal.SIGINT) if threading.current_thread() is threading.main_thread() else None
    if before is None:  # no other thread hears it
        pids.extend(starmap(os.fork, [()]))
        return
    heard = list[int]()
    try:
        signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
        pids.extend(starmap(os.fork, [()]))
    finally:
        signal.signal(signal.SIGINT, before)
    if heard and pids != [0]:
        signal.raise_signal(signal.SIGINT)


class _Watched:
    """A child as its parent sees it."""

    def __init__(self, ends: list[io.FileIO], pids: list[int], outcome: Outcome, doing: str) -> None:
        self.ends, self.pids, self.outcome, self.doing = ends, pids, outcome, doing
        self.started = time.monotonic()
        self.status: int | None = None
        self.usage = 0.0
        self.stuck = False

    def listen(self, show: Shown) -> None:
        """Take what it sends until it ends, or has to be ended."""
        read, write = self.ends
        write.close()
        waiting, moved, before = bytearray(), time.monotonic(), 0.0
        left = self.outcome.seconds - self.outcome.spent
        while True:
            if select.select([read], [], [], POLL)[0]:
                piece = read.read(1 << 16)
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
        if self.status is None:
            with suppress(ProcessLookupError):
                os.kill(self.pids[0], signal.SIGKILL)
        self._wait()

    def end(self) -> None:
        """Leave no process and no open file, whatever has come of it. A Ctrl-C that comes meanwhile is raised then."""
        late: KeyboardInterrupt | None = None
        while (self.pids and self.status is None) or not all(end.closed for end in self.ends):
            try:
                if self.pids:
                    self.stop()
                for end in self.ends:
                    end.close()
            except KeyboardInterrupt as problem:
                late = problem
        if late is not None:
            raise late

    def _wait(self) -> None:
        if self.status is None:
            try:
                _, self.status, usage = os.wait4(self.pids[0], 0)
                self.usage = usage.ru_utime + usage.ru_stime
            except ChildProcessError:  # someone else has waited for it
                self.status = 0

    def spent(self) -> float:
        """Seconds of CPU; on the clock where the system does not tell those of another process that still runs."""
        if self.status is not None or not self.pids:
            return self.usage
        try:
            return time.clock_gettime((~self.pids[0] << 3) | 2)  # Linux: the CPU clock of another process
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


def _keep_quiet_about_threads() -> None:
    """Python 3.12 warns of a fork beside other threads, and the child touches none of them.

    The filter is of this file alone, so it stays: taking it away again might take one of another thread's.
    """
    own = re.compile(re.escape(__name__))
    if sys.version_info >= (3, 12) and all(f[3] != own for f in warnings.filters):
        warnings.filterwarnings("ignore", category=DeprecationWarning, module=own.pattern)
