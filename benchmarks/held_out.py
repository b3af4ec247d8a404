"""Faults from a file, as a stranger writes them: caught, named, misleading or without a name.

The file is Python and has a list `FAULTS` of dictionaries:

    {
        "name": "GELU: x φ(x) dropped",
        "ours": (forward, backward),            # whatever `check` takes: a pair, a layer, a loss, an update rule
        "reference": torch.nn.functional.gelu,       # the right function in torch
        "x": (4, 5),                            # and every other argument of `check`: params, output, target, theta, …
        "causes": {"input gradient": "product|x φ"},
    }

`causes` has the name of every tensor that is wrong, and a regular expression (case does not matter) that a cause named
for it must match; a list of them where several faults meet in one tensor. "theta" stands for every step of an update
rule, whose state need not be listed.
"""

from __future__ import annotations

import importlib.util
import re
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from handgrad.compare.checking import check as checking
from handgrad.compare.checking.inputs import layer_inputs, loss_inputs, rule_inputs
from handgrad.compare.foundation.validation import choose
from handgrad.compare.judge.sides import TrajectorySides
from handgrad.compare.run.experiment import CHOICES

VERDICTS = ("named", "no cause", "misleading", "wrong tensors", "not caught", "crashed")


def load(path: str) -> list[dict[str, Any]]:
    """The list `FAULTS` of a Python file."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    faults: list[dict[str, Any]] = module.FAULTS
    return faults


def causes_of(row: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    """What a check of this fault says: every tensor that differs, with its causes. {} where all agree."""
    a = {"dtype": "float64", "seed": 0, "params": None, "dy": None, "learning_rate": 0.01, "steps": 10, **row}
    ours, reference, seed, real = a["ours"], a["reference"], a["seed"], choose("dtype", a["dtype"], CHOICES["dtype"])
    if "theta" in a:
        sides, inputs = rule_inputs(ours, reference, a["theta"], a["learning_rate"], a["steps"], real, seed)
    elif "output" in a:
        sides, inputs = loss_inputs(ours, reference, a["output"], a["target"], real, seed)
    else:
        sides, inputs = layer_inputs(ours, reference, a["x"], a["params"], a["dy"], real, seed)
    said: dict[str, tuple[str, ...]] = {}
    for finding in checking.run(a["name"], sides, inputs).findings:
        if not finding.agrees:
            rule = isinstance(sides, TrajectorySides)
            name = "theta" if rule and finding.tensor.startswith("theta after") else finding.tensor
            said[name] = tuple(dict.fromkeys((*said.get(name, ()), *finding.phrases)))
    return said


def verdict(row: dict[str, Any], said: dict[str, tuple[str, ...]]) -> str:
    """One of VERDICTS."""
    wanted = {k: [v] if isinstance(v, str) else v for k, v in row["causes"].items()}
    if not said:
        return "not caught"
    if set(said) - set(wanted) - ({"theta"} | set(said) if "theta" in row else set()) or set(wanted) - set(said):
        return "wrong tensors"
    given = {k: said[k] for k in wanted}
    if any(not any(re.search(w, c, re.IGNORECASE) for w in wanted[k]) for k, causes in given.items() for c in causes):
        return "misleading"
    all_named = all(any(re.search(w, c, re.IGNORECASE) for c in given[k]) for k in wanted for w in wanted[k])
    return "named" if all_named else "no cause"


def held_out(path: str, only: str = "", quiet: bool = False) -> Counter[str]:
    """Print what is said of every fault of a file, or only of those that are not named, and the counts."""
    counts: Counter[str] = Counter()
    times = []
    for row in load(path):
        if only and not re.search(only, row["name"]):
            continue
        started = time.perf_counter()
        try:
            with np.errstate(all="ignore"):
                said = causes_of(row)
            result = verdict(row, said)
        except Exception as problem:
            said, result = {"": (f"{type(problem).__name__}: {problem}",)}, "crashed"
        times.append((time.perf_counter() - started, row["name"]))
        counts[result] += 1
        if quiet and result == "named":
            continue
        print(f"{result:13} {times[-1][0]:5.2f} s  {row['name']}", flush=True)
        for tensor, causes in said.items():
            for cause in causes or ("-",):
                print(f"{'':24}{tensor}: {cause}")
    total = sum(counts.values())
    print(f"\n{total} faults: " + ", ".join(f"{counts[v]} {v}" for v in VERDICTS if counts[v]))
    if times:
        seconds, slowest = max(times)
        print(f"seconds a check: mean {sum(t for t, _ in times) / len(times):.2f}, largest {seconds:.2f} ({slowest})")
    return counts
