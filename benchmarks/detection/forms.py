"""Does every form in which a derivation can be handed in go in as it is, and is a fault in it found and named?

    python -m benchmarks.detection.forms

Each form of `tests.derivations.forms` is checked once right and once with a fault. Printed are whether the right one
agrees, the tensors in which the other differs, the cause that is named, and the CPU time of both checks.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

from handgrad import check
from handgrad.compare.checking.findings import Report
from handgrad.compare.foundation import threads
from tests.derivations.forms import FUNCTIONS, LOSSES, RULES, Form


def main(arguments: list[str] | None = None) -> int:
    """Print a row for each form; 1 if a right one differs or a fault is not found."""
    argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0]).parse_args(arguments)
    threads.limit()
    failed = 0
    print("| form | right | its time | with a fault | its time | the cause that is named |")
    print("| :-- | :-- | --: | :-- | --: | :-- |")
    for name, form in {**FUNCTIONS, **RULES, **LOSSES}.items():
        right, right_time = timed(form, form.right)
        wrong, wrong_time = timed(form, form.wrong)
        differ = [f for f in wrong.findings if f.differs]
        named = next((phrase for f in differ for phrase in f.phrases), "–")
        failed += not right.agrees or not differ
        print(
            f"| {name} | {'agrees' if right.agrees else 'DIFFERS'} | {right_time:.1f} s | "
            f"{', '.join(f.tensor for f in differ[:2]) or 'NOT FOUND'} | {wrong_time:.1f} s | {named} |"
        )
    return bool(failed)


def timed(form: Form, ours: Any) -> tuple[Report, float]:
    """The report, and the CPU seconds that it took."""
    started = time.process_time()
    report = check(ours, form.reference, **form.options, raises=False)
    return report, time.process_time() - started


if __name__ == "__main__":
    sys.exit(main())
