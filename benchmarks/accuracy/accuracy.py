"""How well are the 13,002 parameters trained, over seeds, both sides on the same batches and every step judged?

    python -m benchmarks.accuracy.accuracy [--recipe best] [--seeds 8] [--first 0] [--judge-every 1] [--table]

`best` is `handgrad mnist --recipe best`, which `benchmarks.accuracy.recipe_choice` chose on held-out training digits;
`sgd` is plain gradient descent for 10 epochs. Each seed is one run in runs/accuracy, tested once, on the 10,000 test
digits, after its last epoch. A run that was cut off goes on from its checkpoint, and a finished one is not made again,
so the table may be filled in over several sittings, or by two processes of which one begins at seed `--first 4`;
`--table` only prints it.
"""

# ruff: noqa: E402  (the number of threads must be settled before NumPy is imported)

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import sys
from pathlib import Path
from typing import Any

from handgrad.compare.foundation import process

process.settle()  # before NumPy is imported

from rich.console import Console

from benchmarks.speed.timing import machine, table
from handgrad.compare.commands import mnist
from handgrad.compare.run import recipes
from handgrad.compare.run.experiment import Experiment
from handgrad.compare.run.folder import EXPERIMENT, finished_report

FOLDER = Path(__file__).resolve().parents[2] / "runs" / "accuracy"
RUNS: dict[str, tuple[str | None, dict[str, Any]]] = {
    "sgd": (None, {"epochs": 10}),
    "best": ("best", {}),
}
GOALS = {"sgd": 95.0, "best": 97.2}  # of 100 test digits, the mean over the seeds
CHECKPOINT_EVERY = 10_000  # steps, besides one at each epoch's end


def finish(name: str, seed: int, judge_every: int) -> None:
    """Make this run, or what is missing of it; SystemExit where it does not agree, or is of another recipe."""
    recipe, settings = RUNS[name]
    experiment = recipes.experiment(recipe, **settings, seed=seed, judge_every=judge_every)
    folder = FOLDER / f"{name}-seed{seed}"
    console = Console(file=sys.stderr, width=120)
    if not (folder / EXPERIMENT).exists():
        code = mnist.run(experiment, None, FOLDER, folder.name, 0, console, CHECKPOINT_EVERY)
    else:
        begun = json.loads((folder / EXPERIMENT).read_text(encoding="utf-8"))["settings"]
        if dataclasses.replace(Experiment(**begun), judge_every=judge_every) != experiment:
            raise SystemExit(f"{folder} holds a run with other settings than {name} has now: move it away")
        code = mnist.resume(folder, {}, None, None, console)
    if code in (130, 143):  # interrupted; a second call goes on from the checkpoint
        raise SystemExit(code)
    if code:
        raise SystemExit(f"every run must agree, but {folder} ends with exit code {code}: see its report.json")


def row(name: str, reports: list[dict[str, Any]]) -> list[str]:
    """The cells of one recipe."""
    cells = [name, str(len(reports))]
    for side in ("manual", "torch_ref"):
        right = [100 * r["accuracy"][side] for r in reports]
        spread = f" ± {statistics.stdev(right):.2f}" if len(right) > 1 else ""
        cells.append(f"{statistics.mean(right):.2f}{spread}")
    ours = [100 * r["accuracy"]["manual"] for r in reports]
    cells.append(f"{GOALS[name]} {'met' if statistics.mean(ours) >= GOALS[name] else '**missed**'}")
    cells.append(f"{sum(r['steps'] // r['judge_every'] for r in reports):,}")
    cells += [
        f"{sum(r[what] for r in reports):,}" for what in ("numbers_compared", "vacuous", "within_reference", "kinks")
    ]
    cells.append(str(sum(len(r["disagreements"]) for r in reports)))
    cells.append(f"{max(r['drift'] for r in reports):.1e}")
    cells.append(f"{statistics.median(r['seconds']['total'] for r in reports):,.0f}")
    return cells


def main() -> int:
    """Make what is missing, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", choices=tuple(RUNS), action="append")
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--first", type=int, default=0, help="the seed to begin with")
    parser.add_argument("--judge-every", type=int, default=1, metavar="K", help="judge every K-th step")
    parser.add_argument("--table", action="store_true", help="only print what is there")
    args = parser.parse_args()
    rows, each = [], []
    for name in args.recipe or RUNS:
        reports = []
        for seed in range(args.first, args.seeds):
            if not args.table:
                finish(name, seed, args.judge_every)
            folder = FOLDER / f"{name}-seed{seed}"
            found = finished_report(folder) if folder.exists() else None
            if found is not None:
                begun = json.loads((folder / EXPERIMENT).read_text(encoding="utf-8"))["settings"]
                reports.append({**found, "judge_every": begun["judge_every"]})
        if reports:
            rows.append(row(name, reports))
            each.append(f"{name}, each seed: " + ", ".join(f"{100 * r['accuracy']['manual']:.2f}" for r in reports))
    header = [
        "recipe", "seeds", "manual, %", "torch, %", "goal", "steps judged", "numbers compared", "vacuous",
        "within the reference's rounding",
        "kinks", "disagreements", "largest drift", "seconds a run",
    ]  # fmt: skip
    print(f"{machine('torch')}\n\nRight, in %, of the 10,000 test digits:\n")
    print(table(header, rows))
    print("\n" + "\n\n".join(each))
    return 0


if __name__ == "__main__":
    sys.exit(main())
