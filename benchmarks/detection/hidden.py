"""Derivations written to get past a check with its code in view: which verdict does each get?

    python -m benchmarks.detection.hidden                    # every set, on two processes
    python -m benchmarks.detection.hidden --set third relu   # the cases of one set whose name has this in it

Each set is at least 150 honest-looking wrong derivations and 60 right ones in unusual forms. It was frozen before any
of it was run, and is not changed afterwards; what it taught is in the code by now, so only the last set is at first
sight.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections import Counter, defaultdict
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from benchmarks.detection.unseen import settle
from benchmarks.speed.timing import table
from handgrad import UsageError, check
from handgrad.compare.checking.outcome import Outcome
from tests.derivations.hidden.sets import SETS, cases

REFUSED, CRASHED = "refused", "crashed"
HEARD = (Outcome.DIFFERS.value, Outcome.UNDECIDED.value, REFUSED)  # a wrong one is not believed after these


def put(which: str, number: int) -> dict[str, Any]:
    """One case put to `check`: its verdict, what was said, seconds of CPU."""
    case, started = cases(which)[number], time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            arguments = {"explain": "off", **case.arguments}
            report = check(case.ours(), case.reference(), name=case.name, raises=False, **arguments)
            verdict, words = report.outcome.value, str(report)
        except UsageError as refusal:
            verdict, words = REFUSED, str(refusal)
        except Exception as error:
            verdict, words = CRASHED, f"{type(error).__name__}: {error}"
    seconds = time.process_time() - started
    return {"set": which, "name": case.name, "truth": case.truth, "verdict": verdict, "words": words, "cpu": seconds}


def is_surprising(said: dict[str, Any]) -> bool:
    """Whether the verdict is not the one that it should be."""
    return said["verdict"] != (Outcome.DIFFERS if said["truth"] else Outcome.AGREES)


def tables(rows: list[dict[str, Any]]) -> str:
    """The verdicts on the wrong and on the right ones, by set."""
    counts: dict[tuple[str, bool], Counter[str]] = defaultdict(Counter)
    for said in rows:
        counts[said["set"], not said["truth"]][said["verdict"]] += 1
    verdicts = (*(outcome.value for outcome in Outcome), REFUSED, CRASHED)
    return table(
        ["set", "derivations", "of them", *verdicts],
        [
            [which, "right" if right else "wrong", str(sum(found.values())), *(str(found[v]) for v in verdicts)]
            for (which, right), found in sorted(counts.items(), key=lambda item: (SETS.index(item[0][0]), item[0][1]))
        ],
    )


def main() -> int:
    """Print every case whose verdict is not the one that it should be, and then the table."""
    parser = argparse.ArgumentParser(description="Put the derivations that were written to get past it to check.")
    parser.add_argument("--set", choices=SETS)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("names", nargs="*", help="only cases whose name has one of these in it")
    asked = parser.parse_args()
    jobs = [
        (which, number)
        for which in ((asked.set,) if asked.set else SETS)
        for number, case in enumerate(cases(which))
        if not asked.names or any(name in case.name for name in asked.names)
    ]
    rows = []
    with ProcessPoolExecutor(asked.processes, initializer=settle) as pool:
        for said in pool.map(put, *zip(*jobs, strict=True)):
            rows.append(said)
            if is_surprising(said):
                print(f"\n{said['set']} · {said['name']} · {said['verdict']} · {said['cpu']:.1f} s")
                words = said["words"].replace("\n", "\n    ")
                print(f"    truth: {said['truth'] or 'right'}\n    {words}", flush=True)
    print(f"\n{tables(rows)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
