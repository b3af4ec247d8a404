"""Checks interrupted at random moments by Ctrl-C: is everything in the process as it was before?

    python -m benchmarks.robustness.interrupts              # 2,000 interrupts
    python -m benchmarks.robustness.interrupts --times 100

The moments are spread evenly over each check, with real signals. Compared are what threads of this process share and
what this one has: torch's default dtype, threads, modes and hooks, whether a function of torch or NumPy is another one,
random states, NumPy's reaction to overflows, filters of warnings, signal handlers, open files, processes and threads,
and whether torch still computes the same. Prints a Markdown table and every difference; the exit code is 1 where there
is one.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from torch.optim import optimizer as torch_optimizer
from torch.utils import _python_dispatch as dispatch

from handgrad import check
from handgrad.compare.foundation.torch_internals import modes_entered

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGPROF, signal.SIGVTALRM, signal.SIGALRM, signal.SIGPIPE)
LATEST = 1.1  # of the time that a check takes


# --- what must be as it was -------------------------------------------------------------------------------------------


def state() -> dict[str, Any]:
    """Everything that a check might leave changed."""
    x = torch.linspace(0.1, 3.0, 50, dtype=torch.float64)
    return {
        "torch's default dtype": torch.get_default_dtype(),
        "torch's threads": torch.get_num_threads(),
        "torch's gradients": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
        "torch's modes": modes_entered(),
        "torch's note of modes": getattr(dispatch, "_is_in_torch_dispatch_mode", None),
        "torch's hooks on optimizers": [
            len(getattr(torch_optimizer, f"_global_optimizer_{when}_hooks")) for when in ("pre", "post")
        ],
        "torch's numbers": float((x.exp().sum() / 3).log()).hex(),
        "torch's random state": torch.get_rng_state().numpy().tobytes(),
        "NumPy's random state": np.random.get_state()[1].tobytes(),  # type: ignore[union-attr]  # noqa: NPY002
        "Python's random state": random.getstate(),
        "NumPy's errors": np.geterr(),
        "filters of warnings": tuple(warnings.filters),
        "functions": {name: {k: id(v) for k, v in vars(owner).items() if callable(v)} for name, owner in OWNERS},
        "signal handlers": [signal.getsignal(number) for number in SIGNALS],
        "tracer": sys.gettrace(),
        "blocked signals": signal.pthread_sigmask(signal.SIG_BLOCK, ()),
        "streams": (id(sys.stdin), id(sys.stdout), id(sys.stderr)),
        "sys.path": tuple(sys.path),
        "environment": dict(os.environ),
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "processes": _children(),
        "open files": _open_files(),
    }


OWNERS = [
    (owner.__name__, owner)
    for owner in (torch, torch.Tensor, functional, torch.optim.Optimizer, torch.optim.SGD, np, np.linalg)
]


def _children() -> bool:
    """Whether this process has a child, alive or dead."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _open_files() -> int:
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.is_dir() else 0


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """What is not as it was, in words."""
    return [
        f"{name}: {str(before[name])[:60]} became {str(after[name])[:60]}"
        for name in before
        if before[name] != after[name]
    ]


# --- what is interrupted ----------------------------------------------------------------------------------------------


def _tanh(x: Any) -> Any:
    return np.tanh(x)


def _cancelling(x: Any) -> Any:
    return np.log(1 + np.exp(-np.abs(x))) + np.maximum(x, 0)


def _cancelling_in_torch(x: Any) -> Any:
    return torch.where(x > 0, x + (1 + (-x).exp()).log(), ((1 + x.exp()) * (x.exp() / x.exp())).log())


class _Rule:
    """Adam; with a factor it is wrong."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def init(self, theta: Any) -> Any:
        return {"m": np.zeros_like(theta), "v": np.zeros_like(theta), "t": 0}

    def update(self, theta: Any, grad: Any, state: Any, learning_rate: float) -> Any:
        t = state["t"] + 1
        m, v = 0.9 * state["m"] + 0.1 * grad, 0.999 * state["v"] + 0.001 * grad**2
        step = m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        return theta - self.factor * learning_rate * step, {"m": m, "v": v, "t": t}


def _without_rules(x: Any) -> Any:
    return np.asarray(np.vectorize(np.tanh)(np.asarray(x)), dtype=x.dtype)


def _slope(dy: Any, x: Any, factor: float = 1.0) -> Any:
    return factor * dy * (1 - np.tanh(x) ** 2)


# Each takes another way: random rounding, the two-precision tolerance, many updates, a search for the cause apart.
CASES: dict[str, Callable[[], Any]] = {
    "a right layer": partial(check, (_tanh, _slope), torch.tanh, x=(3, 4)),
    "torch that rounds": partial(
        check, (_cancelling, lambda dy, x: dy / (1 + np.exp(-x))), _cancelling_in_torch, x=(3, 4), raises=False,
        explain="off",
    ),
    "no rounding bound": partial(check, (_without_rules, _slope), torch.tanh, x=(3, 4)),
    "a right rule": partial(check, _Rule(1.0), torch.optim.Adam, theta=5, raises=False, explain="off"),
    "a wrong rule": partial(check, _Rule(1.5), torch.optim.Adam, theta=5, raises=False, explain="off"),
    "a wrong layer": partial(
        check, (_tanh, partial(_slope, factor=1.5)), torch.tanh, x=(3, 4), raises=False, explain="off"
    ),
    "a search for the cause": partial(
        check, (_tanh, lambda dy, x: dy), torch.tanh, x=(3, 4), raises=False, explain="quick"
    ),
}  # fmt: skip


def interrupted(case: Callable[[], Any], delay: float) -> bool:
    """Run a check and send this process a Ctrl-C after so many seconds; whether it ended the check."""
    sender = threading.Timer(delay, os.kill, (os.getpid(), signal.SIGINT))
    ended = False
    try:
        sender.start()
        case()
        sender.join()  # the check was faster: the signal comes here
        time.sleep(0.01)
    except KeyboardInterrupt:
        ended = True
    sender.join()
    return ended


def seconds(case: Callable[[], Any]) -> float:
    """How long a check takes, once everything is imported."""
    case()
    started = time.perf_counter()
    case()
    return time.perf_counter() - started


def main() -> int:
    """Interrupt every case."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--times", type=int, default=2000, help="interrupts of all checks together (2000)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (0)")
    args = parser.parse_args()
    rng, faults = random.Random(args.seed), 0
    print("| check | interrupts | of these it ended | something left behind |\n| :-- | --: | --: | --: |", flush=True)
    for k, (name, case) in enumerate(CASES.items()):
        share = args.times // len(CASES) + (k < args.times % len(CASES))
        lasts, before = seconds(case), state()
        ended, left = 0, list[str]()
        for _ in range(share):
            ended += interrupted(case, rng.uniform(0, LATEST * lasts))
            left += changed(before, state())
        faults += len(left)
        print(f"| {name} | {share:,} | {ended:,} | {len(left):,} |", flush=True)
        for line in dict.fromkeys(left):
            print(f"- {name}: {line}", file=sys.stderr, flush=True)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
