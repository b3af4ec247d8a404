"""Wrong and right derivations by testers who had not seen the code: are they caught, and what is said of them?

    python -m benchmarks.detection.unseen                       # every set, on two processes (about ten minutes)
    python -m benchmarks.detection.unseen --set second rotary   # the cases of one set whose name has this in it

A tester got the README alone, wrote a set of wrong derivations with a sentence of what is wrong with each (and right
ones in unusual forms), and froze it in a commit before any diagnosis was seen. Sets are not changed afterwards.

Whether the tensors are the right ones is counted. Whether the causes say what the tester's sentence says, a person must
read: `readings.json` keeps what was read, and how. Causes that are worded otherwise since count as `unread`.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections import Counter, defaultdict
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.speed.timing import table
from handgrad import check
from handgrad.compare.checking.outcome import Outcome
from handgrad.compare.foundation import process, threads
from tests.derivations.case import RULE
from tests.derivations.unseen import sets
from tests.derivations.unseen.sets import SETS, cases

READINGS = Path(sets.__file__).with_name("readings.json")
READ = ("right", "in poor words", "in part", "misleading", "none")


def settle() -> None:
    """One thread in each process."""
    process.keep_freed_memory()
    threads.limit()


def put(which: str, number: int) -> dict[str, Any]:
    """One case put to `check`: which tensors differ, what is said of each, seconds of CPU."""
    case = cases(which)[number]
    said: dict[str, Any] = {
        "set": which, "name": case.name, "kind": case.kind, "right": case.right, "truth": case.truth,
        "differs": [], "expected": sorted(case.differs), "causes": {}, "crash": "", "outcome": "",
    }  # fmt: skip
    started = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            report = check(case.ours, case.reference, name=case.name, raises=False, **case.arguments)
            said["outcome"] = report.outcome.value
        except Exception as error:
            said["crash"] = f"{type(error).__name__}: {error}"
            report = None
    for finding in report.findings if report is not None else ():
        if finding.differs:
            tensor = "theta" if finding.tensor.startswith("theta") or case.kind == RULE else finding.tensor
            said["causes"].setdefault(tensor, list(finding.phrases))
    said["differs"] = sorted(said["causes"])
    return said | {"seconds": time.process_time() - started}


def reading(said: dict[str, Any], readings: dict[str, Any]) -> str:
    """How a person read these causes; "unread" where they are not those that were read."""
    known = readings.get(said["set"], {}).get(said["name"])
    if not any(said["causes"].values()):
        return "none"
    return known["read"] if known and known["causes"] == said["causes"] else "unread"


def show(said: dict[str, Any], read: str) -> None:
    """A case beside its truth."""
    wrong = "" if said["differs"] == said["expected"] else f"  TENSORS: expected {', '.join(said['expected'])}"
    print(f"\n{said['set']} · {said['name']} · {said['seconds']:.1f} s · {read}{wrong} {said['crash']}")
    print(f"    truth: {said['truth'] or 'right'}")
    for tensor, causes in said["causes"].items():
        print(f"    {tensor}: {'; '.join(causes) or '—'}", flush=True)


def tables(rows: list[dict[str, Any]], readings: dict[str, Any]) -> str:
    """What was caught, and how the causes were read, by set."""
    wrong, right = defaultdict(list), defaultdict(list)
    for said in rows:
        (right if said["right"] else wrong)[said["set"]].append(said)
    head = [
        "set", "wrong", "caught", "right tensors", *(f"causes {read}" for read in READ), "unread",
        "right ones that differ", "not decided",
    ]  # fmt: skip
    lines = []
    for which in wrong:
        counts = Counter(reading(said, readings) for said in wrong[which])
        alarms = sum(bool(said["differs"] or said["crash"]) for said in right[which])
        lines.append([
            which, str(len(wrong[which])),
            str(sum(bool(said["differs"]) for said in wrong[which])),
            str(sum(said["differs"] == said["expected"] for said in wrong[which])),
            *(str(counts[read]) for read in (*READ, "unread")), f"{alarms} of {len(right[which])}",
            str(sum(said["outcome"] == Outcome.UNDECIDED for said in right[which])),
        ])  # fmt: skip
    return table(head, lines)


def main() -> int:
    """Print every case, and then the table."""
    parser = argparse.ArgumentParser(description="Put the testers' unseen derivations to check.")
    parser.add_argument("--set", choices=SETS)
    parser.add_argument("--to", type=Path, help="also write what was said to this JSON file")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("names", nargs="*", help="only cases whose name has one of these in it")
    asked = parser.parse_args()
    jobs = [
        (which, number)
        for which in ((asked.set,) if asked.set else SETS)
        for number, case in enumerate(cases(which))
        if not asked.names or any(name in case.name for name in asked.names)
    ]
    readings = json.loads(READINGS.read_text()) if READINGS.exists() else {}
    rows = []
    with ProcessPoolExecutor(asked.processes, initializer=settle) as pool:
        for said in pool.map(put, *zip(*jobs, strict=True)):
            rows.append(said)
            show(said, reading(said, readings))
    if asked.to:
        asked.to.write_text(json.dumps(rows, ensure_ascii=False, indent=1))
    print(f"\n{tables(rows, readings)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
