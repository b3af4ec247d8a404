"""What does it cost to judge a training, over the two trainings alone, and where does the time go?

    python -m benchmarks.speed.certificate [--runs 3]

Both sides train the 784-16-16-10 network on the digits in float64, as `handgrad mnist` does, without a log: an epoch at
batch 32, five at batch 1024, so that the first ten steps, which are also judged as a whole, weigh little. The cost is
(manual + torch + compare) ÷ (manual + torch) within one run; the table shows the median of some runs. The least that a
judge can take which runs the manual step again, on torch's numbers, is that step's own time once more. "Where compare's
time goes" times the judge's parts during one such run; the manual code on `Bounded` arrays is told apart by stage.
"""

# ruff: noqa: E402  (the number of threads must be settled before NumPy is imported)

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections import defaultdict
from typing import Any

from handgrad.compare.foundation import process

process.settle()  # before NumPy is imported

import torch

from benchmarks.speed.timing import machine, table
from handgrad import data
from handgrad.compare.judge.stages import StepJudge
from handgrad.compare.run.experiment import Experiment
from handgrad.compare.run.lockstep import Lockstep

RUNS = 3
# batch, judge every, steps, goal
CASES = ((32, 1, 1875, 2.5), (32, 10, 1875, None), (1024, 1, 295, 1.5), (1024, 10, 295, None))
KINDS = {"parameter_gradients": "parameter gradients", "input_gradient": "input gradients", "gradient": "loss gradient"}


def trained(dataset: data.Dataset, batch: int, every: int, steps: int) -> Lockstep:
    """A run of so many steps; SystemExit where it does not agree."""
    epochs = -(-steps * batch // len(dataset.train)) + 1
    run = Lockstep(Experiment(batch_size=batch, judge_every=every, max_steps=steps, epochs=epochs), dataset)
    run.run()
    if run.judge.disagreements:
        raise SystemExit(f"both sides must agree, but: {run.judge.disagreements[0]}")
    return run


def cost(seconds: dict[str, float]) -> float:
    """The certificate: how many times as long as the two trainings alone."""
    alone = seconds["manual"] + seconds["torch_ref"]
    return (alone + seconds["compare"]) / alone


def shares(dataset: data.Dataset, batch: int, steps: int) -> list[tuple[str, float]]:
    """Milliseconds a step by part of the judge."""
    spent: dict[str, float] = defaultdict(float)

    def timed(name: str, kind: Any) -> Any:
        method = getattr(StepJudge, name)

        def wrapper(self: StepJudge, *args: Any) -> Any:
            started = time.perf_counter()
            try:
                return method(self, *args)
            finally:
                spent[kind(*args)] += time.perf_counter() - started

        return method, wrapper

    def stage(function: Any, *args: Any) -> str:
        owner = type(getattr(function, "__self__", None)).__name__
        if function.__name__ == "forward":
            return "the loss, with its bound" if "Entropy" in owner else "forward, with its bound"
        return KINDS.get(function.__name__, function.__name__) + ", with its bound"

    kinds = {
        "run": stage,
        "settle": lambda *_: "verdicts",
        "_judge_page": lambda *_: "verdicts",
        "judge": lambda *_: "",
    }
    methods = {name: timed(name, kind) for name, kind in kinds.items()}
    try:
        for name, (_, wrapper) in methods.items():
            setattr(StepJudge, name, wrapper)
        run = trained(dataset, batch, 1, steps)
    finally:
        for name, (method, _) in methods.items():
            setattr(StepJudge, name, method)
    whole = spent.pop("")
    rows = sorted(spent.items(), key=lambda item: -item[1])
    rows.append(("the judge's bookkeeping", whole - sum(spent.values())))
    rows.append(("kinks, drift, the first steps as a whole", run.progress.seconds["compare"] - whole))
    return [(name, 1e3 * seconds / steps) for name, seconds in rows]


def main(arguments: list[str] | None = None) -> int:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=RUNS, help=f"of each case, whose median is shown ({RUNS})")
    runs_each = parser.parse_args(arguments).runs
    if runs_each < 1:
        parser.error(f"--runs must be at least 1, got {runs_each}")
    torch.set_num_threads(1)
    dataset = data.load("mnist")
    print(f"{machine('torch')}\n")
    rows = []
    for batch, every, steps, goal in CASES:
        runs = [trained(dataset, batch, every, steps).progress.seconds for _ in range(runs_each)]
        middle = statistics.median(cost(seconds) for seconds in runs)
        parts = [statistics.median(s[side] / steps * 1e3 for s in runs) for side in ("manual", "torch_ref", "compare")]
        verdict = "" if goal is None else f"≤ {goal:g}, {'met' if middle <= goal else '**missed**'}"
        least = statistics.median(cost({**s, "compare": s["manual"]}) for s in runs)
        how = f"batch {batch}, every {'' if every == 1 else f'{every}th '}step judged"
        floor = f"{least:.2f}" if every == 1 else ""
        rows.append([how, *(f"{part:.2f}" for part in parts), f"{middle:.2f}", verdict, floor])
    header = ["ms per step", "manual", "torch", "compare", "over the trainings alone", "goal", "the step again, alone"]
    print(table(header, rows))
    for batch, steps in ((32, 400), (1024, 60)):
        print(f"\nWhere compare's time goes at batch {batch}, ms per step, the stopwatch's own cost included:\n")
        print(table(["", "ms"], [[name, f"{ms:.2f}"] for name, ms in shares(dataset, batch, steps)]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
