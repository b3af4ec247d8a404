"""Times that can be trusted on a machine that also does other things: short blocks, alternating, medians.

Every candidate runs a block of about two milliseconds in turn, in an order that is drawn anew each round, so whatever
disturbs the machine disturbs all of them alike. A time is the median over the rounds, and a ratio is the median of the
ratios within a round.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

BLOCK = 0.002  # seconds
ROUNDS = 60


def alternate(
    candidates: Mapping[str, Callable[[], object]], rounds: int = ROUNDS, block: float = BLOCK
) -> dict[str, list[float]]:
    """Seconds per call of every candidate, one number a round; each is called a few times beforehand."""
    calls = {name: _calls(run, block) for name, run in candidates.items()}
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    rng, names = np.random.default_rng(0), list(candidates)
    for _ in range(rounds):
        for i in rng.permutation(len(names)):
            run, n = candidates[names[i]], calls[names[i]]
            run()  # what the one before left in the caches is not this one's fault
            started = time.perf_counter()
            for _ in range(n):
                run()
            seconds[names[i]].append((time.perf_counter() - started) / n)
    return seconds


def _calls(run: Callable[[], object], block: float) -> int:
    """How many calls fill a block."""
    for _ in range(5):
        run()
    once = min(_once(run) for _ in range(5))
    return max(1, round(block / once))


def _once(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def median(times: list[float]) -> float:
    """The median, in seconds."""
    return statistics.median(times)


def ratio(times: list[float], others: list[float]) -> float:
    """How many times as long the first takes, round by round."""
    return statistics.median(a / b for a, b in zip(times, others, strict=True))


def machine(*packages: str) -> str:
    """One line: the processor and the versions of Python and the given packages, one thread each."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        models = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        name = models[0] if models else name
    versions = [f"Python {platform.python_version()}"]
    for package in ("numpy", *packages):
        try:
            versions.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"{package} not installed, so left out")
    return f"{name}, {os.cpu_count()} cores, every library on one thread; {', '.join(versions)}{_kernel()}"


def _kernel() -> str:
    """Which of OpenBLAS's kernels NumPy's products run on, where threadpoolctl is there to tell."""
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return ""
    asked = os.environ.get("OPENBLAS_CORETYPE")
    found = [f"{lib['internal_api']} {lib['version']} {lib.get('architecture', '')}".strip()
             for lib in threadpool_info() if lib["user_api"] == "blas" and "numpy" in lib["filepath"]]  # fmt: skip
    return (
        f"; NumPy's products by {', '.join(found)}{f' (OPENBLAS_CORETYPE={asked})' if asked else ''}" if found else ""
    )


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table, the first column to the left and all others to the right."""
    lines = [header, [":--"] + ["--:"] * (len(header) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
