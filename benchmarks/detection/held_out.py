"""Faults from a file, as a stranger writes them: caught, named, misleading or without a name."""

from __future__ import annotations

import re
import time
from collections import Counter

import numpy as np

from tests.derivations.case import RULE, Derivation
from tests.derivations.held_out import load
from tests.derivations.scoring import Said, said_of, score

VERDICTS = ("named", "no cause", "misleading", "wrong tensors", "not caught", "crashed")


def verdict(derivation: Derivation, said: Said) -> str:
    """One of VERDICTS."""
    if not said:
        return "not caught"
    if derivation.kind == RULE:  # whose state need not be listed
        said = {tensor: causes for tensor, causes in said.items() if tensor in derivation.differs}
    result = score(derivation, said)
    if not result.located:
        return "wrong tensors"
    return "misleading" if result.wrong else "named" if result.named else "no cause"


def held_out(path: str, only: str = "", quiet: bool = False) -> Counter[str]:
    """Print what is said of every fault of a file, or only of those that are not named, and the counts."""
    counts: Counter[str] = Counter()
    times = []
    for derivation in load(path):
        if only and not re.search(only, derivation.name):
            continue
        started = time.perf_counter()
        try:
            with np.errstate(all="ignore"):
                said = said_of(derivation)
            result = verdict(derivation, said)
        except Exception as problem:
            said, result = {"": (f"{type(problem).__name__}: {problem}",)}, "crashed"
        times.append((time.perf_counter() - started, derivation.name))
        counts[result] += 1
        if quiet and result == "named":
            continue
        print(f"{result:13} {times[-1][0]:5.2f} s  {derivation.name}", flush=True)
        for tensor, causes in said.items():
            for cause in causes or ("-",):
                print(f"{'':24}{tensor}: {cause}")
    total = sum(counts.values())
    print(f"\n{total} faults: " + ", ".join(f"{counts[v]} {v}" for v in VERDICTS if counts[v]))
    if times:
        seconds, slowest = max(times)
        print(f"seconds a check: mean {sum(t for t, _ in times) / len(times):.2f}, largest {seconds:.2f} ({slowest})")
    return counts
