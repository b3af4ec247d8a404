"""Right derivations in other words than torch's: algebraically equal, but each rounds in its own way. Does any differ?

    python -m benchmarks.detection.rewritten [--seeds 3] [--only tanh]

Each at all its scales, in float64 and in float32; and with a relative error of 1e-11 in one number of each of its
results, in float64 at scale 1, where it must differ. Exits with 1 if either is otherwise.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np

from handgrad.compare.checking.evaluate import evaluate
from handgrad.compare.judge.sides import Arrays, Sides
from handgrad.compare.judge.trajectories import TrajectorySides
from handgrad.compare.rounding.bounded import Bounded
from tests.derivations.right.rewritten import cases


class Off(TrajectorySides):
    """The same sides, but for one element of one output."""

    def __init__(self, sides: Sides, output: str, error: float) -> None:
        self.__dict__ |= {"sides": sides, "output": output, "error": error, "torch": sides.torch}

    def manual(self, inputs: Arrays) -> Arrays:
        out = dict(self.sides.manual(inputs))
        y = out[self.output]
        value = y.value if isinstance(y, Bounded) else y
        factor = np.ones(value.shape)
        factor.flat[int(np.abs(value).argmax())] += self.error
        return out | {self.output: y * factor}


def main(arguments: list[str] | None = None) -> int:
    """Count."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=3, help="how many draws of each (3)")
    parser.add_argument("--only", default="", metavar="WORD", help="the forms with this word in their names")
    args = parser.parse_args(arguments)
    seen, differ, planted, missed = 0, 0, 0, 0
    names = set()
    with np.errstate(all="ignore"):
        for seed in range(args.seeds):
            for case in (c for dtype in ("float64", "float32") for c in cases(dtype, seed=seed) if args.only in c.name):
                names.add(case.name.rpartition(",")[0])
                wrong = [k for k, e in evaluate(case.sides, case.inputs).items() if not e.verdict.agrees]
                seen, differ = seen + 1, differ + bool(wrong)
                if wrong:
                    print(f"{case.name}: {', '.join(wrong)}")
        for case in (c for c in cases("float64", (1.0,)) if args.only in c.name):
            for output in case.sides.torch(case.inputs).keys() & case.sides.manual(case.inputs).keys():
                agrees = evaluate(Off(case.sides, output, 1e-11), case.inputs)[output].verdict.agrees
                planted, missed = planted + 1, missed + agrees
                if agrees:
                    print(f"{case.name}: a fault in the {output} agrees")
    print(f"{seen} evaluations of {len(names)} forms, {differ} differ; of {planted} faults of 1e-11, {missed} agree")
    return int(differ + missed > 0)


if __name__ == "__main__":
    sys.exit(main())
