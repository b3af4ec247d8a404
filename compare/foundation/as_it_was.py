"""What a check may change on its way in the thread that runs it, put back however the check ends.

`with` puts everything back, too, but not where Ctrl-C comes just after the change and before the body. So all of it is
noted while nothing is changed yet, and looked at once more at the end.
"""

from __future__ import annotations

import signal
import sys
from typing import Any, NamedTuple

import numpy as np
import torch

from handgrad.compare.foundation.threads import own_threads, set_own_threads
from handgrad.compare.foundation.torch_internals import modes_entered, modes_left


class AsItWas(NamedTuple):
    """The state of one thread; nothing in it is of the process."""

    modes: tuple[int, int]  # of torch, entered
    gradients: bool  # whether torch records operations
    threads: list[int]
    errors: Any  # what NumPy does about an overflow
    blocked: set[Any]  # signals
    tracer: Any  # of a debugger, say

    @classmethod
    def now(cls) -> AsItWas:
        """The state as it is."""
        return cls(modes_entered(), torch.is_grad_enabled(), own_threads(), np.geterr(), _blocked(), sys.gettrace())

    def put_back(self) -> None:
        """Make it so again. A Ctrl-C that comes meanwhile is raised when that is done."""
        late: KeyboardInterrupt | None = None
        while True:
            try:
                modes_left(self.modes)
                if torch.is_grad_enabled() != self.gradients:
                    torch.set_grad_enabled(self.gradients)
                set_own_threads(self.threads)
                np.seterr(**self.errors)
                if sys.gettrace() is not self.tracer:
                    sys.settrace(self.tracer)
                if self.blocked != _blocked():
                    signal.pthread_sigmask(signal.SIG_SETMASK, self.blocked)
                break
            except KeyboardInterrupt as problem:
                late = problem
        if late is not None:
            raise late


def _blocked() -> set[Any]:
    """The signals that this thread does not take now; none where the system has no such thing."""
    return set(signal.pthread_sigmask(signal.SIG_BLOCK, ())) if hasattr(signal, "pthread_sigmask") else set()
