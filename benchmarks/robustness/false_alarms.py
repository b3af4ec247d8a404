"""Is a right derivation ever called wrong? Every activation × loss × optimizer × mode × dtype, on real digits.

    python -m benchmarks.robustness.false_alarms                        # the whole grid, 200 steps a run, 15 to 40 min
    python -m benchmarks.robustness.false_alarms --only adamw,float32   # the runs that have all these words
    python -m benchmarks.robustness.false_alarms --steps 30 --every 10  # every tenth run

Prints a Markdown table, and every disagreement; the exit code is 1 where there is one. The schedule changes from
run to run, in a Latin square over activations, losses and optimizers.
"""

# ruff: noqa: E402  (the number of threads must be settled before NumPy is imported)

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from handgrad.compare.foundation import process

process.settle()

import torch

from handgrad import data
from handgrad.compare.pairs import table as pairs
from handgrad.compare.run.experiment import Experiment
from handgrad.compare.run.health import Diverged
from handgrad.compare.run.lockstep import Lockstep

BATCH_SIZE = 32
OPTIMIZERS: dict[str, tuple[str, float, dict[str, Any]]] = {  # name: (rule, learning rate, options)
    "sgd": ("sgd", 0.1, {}),
    "sgd + weight decay": ("sgd", 0.1, {"weight_decay": 0.01}),
    "sgd + momentum": ("sgd", 0.02, {"momentum": 0.9}),
    "sgd + momentum + dampening": ("sgd", 0.1, {"momentum": 0.9, "dampening": 0.5, "weight_decay": 0.001}),
    "sgd + nesterov": ("sgd", 0.02, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.001}),
    "adam": ("adam", 0.002, {}),
    "adam + weight decay": ("adam", 0.01, {"beta1": 0.8, "beta2": 0.99, "eps": 1e-6, "weight_decay": 0.01}),
    "adamw": ("adamw", 0.002, {}),
    "adamw + weight decay": ("adamw", 0.01, {"beta1": 0.5, "weight_decay": 0.3}),
    "rmsprop": ("rmsprop", 0.001, {}),
    "rmsprop + momentum": ("rmsprop", 0.001, {"alpha": 0.9, "momentum": 0.9, "weight_decay": 0.01}),
    "rmsprop + centered": ("rmsprop", 0.001, {"centered": True}),
    "rmsprop + centered + momentum": ("rmsprop", 0.001, {"centered": True, "momentum": 0.9, "eps": 1e-4}),
}


@dataclass
class Count:
    """What the runs of one row of the table found."""

    runs: int = 0
    numbers: int = 0
    disagreements: int = 0
    within_reference: int = 0
    vacuous: int = 0
    kinks: int = 0
    closest: float = 0.0
    not_finite: int = 0
    within_reference_at: Counter[str] = field(default_factory=Counter)

    def add(self, run: Lockstep, finite: bool) -> None:
        """Count one run."""
        rows = run.judge.rows.values()
        self.runs += 1
        self.numbers += sum(r.numbers for r in rows)
        self.disagreements += sum(r.disagreements for r in rows)
        self.within_reference += sum(r.within_reference for r in rows)
        self.vacuous += sum(r.vacuous for r in rows)
        self.kinks += sum(run.progress.kinks.values())
        self.closest = max(self.closest, *(r.closest for r in rows))
        self.not_finite += not finite
        self.within_reference_at.update({r.name: r.within_reference for r in rows if r.within_reference})

    def row(self, name: str) -> str:
        """One line of the Markdown table."""
        cells = [
            self.runs,
            self.numbers,
            self.disagreements,
            self.within_reference,
            self.vacuous,
            self.kinks,
            self.not_finite,
        ]
        return f"| {name} | {' | '.join(f'{cell:,}' for cell in cells)} | {self.closest:.3f} |"


HEADER = """\
| runs with | runs | numbers compared | disagreements | within reference | vacuous | kinks | not finite | closest call |
| :-- | --: | --: | --: | --: | --: | --: | --: | --: |"""


def grid(steps: int) -> Iterator[tuple[tuple[str, ...], Experiment]]:
    """(names, experiment) of every run."""
    axes = (pairs.ACTIVATIONS, pairs.LOSSES, OPTIMIZERS, ("free", "resync"), ("float64", "float32"))
    schedules = list(pairs.SCHEDULES)
    for names in product(*axes):
        activation, loss, optimizer, mode, dtype = names
        square = list(pairs.ACTIVATIONS).index(activation) + list(pairs.LOSSES).index(loss)
        schedule = schedules[(square + list(OPTIMIZERS).index(optimizer)) % len(schedules)]
        rule, rate, options = OPTIMIZERS[optimizer]
        yield (activation, loss, optimizer, mode, dtype, schedule), Experiment(
            activation=activation, loss=loss, optimizer=rule, optimizer_options=options, learning_rate=rate,
            schedule=schedule, batch_size=BATCH_SIZE, epochs=10**6, max_steps=steps, dtype=dtype,
            resync=mode == "resync",
        )  # fmt: skip


def digits(steps: int, mnist: data.Dataset) -> data.Dataset:
    """As many training digits as the steps want, and a few test digits; a run would else spend its time on them."""
    train, test = (
        data.Digits(d.images[:n], d.labels[:n]) for d, n in ((mnist.train, steps * BATCH_SIZE), (mnist.test, 100))
    )
    return data.Dataset("mnist", train, test, mnist.classes)


def main() -> int:
    """Run the grid."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--steps", type=int, default=200, help="of each run (200)")
    parser.add_argument("--only", default="", metavar="WORD,WORD", help="runs that have all of these names")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="every Nth run only (1)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    words = [word.strip() for word in args.only.split(",") if word.strip()]
    runs = [(names, e) for names, e in grid(args.steps) if all(word in names for word in words)][:: args.every]
    if not runs:
        parser.error(f"--only {args.only!r} selects no run; the names are those of the table, separated by commas")
    dataset, started = digits(args.steps, data.load("mnist")), time.perf_counter()

    total, counts = Count(), {}
    for i, (names, experiment) in enumerate(runs, start=1):
        run, finite = Lockstep(experiment, dataset), True
        try:
            run.run()
        except Diverged as problem:
            finite = False
            print(f"- {' · '.join(names)}: {problem}", flush=True)
        for d in run.judge.disagreements:
            print(f"- {' · '.join(names)}: {d}", flush=True)
        for count in (total, *(counts.setdefault(name, Count()) for name in dict.fromkeys(names))):
            count.add(run, finite)
        if i % 20 == 0:
            print(f"{i} of {len(runs)} runs, {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)

    order = [*pairs.ACTIVATIONS, *pairs.LOSSES, *OPTIMIZERS, *pairs.SCHEDULES, "free", "resync", "float64", "float32"]
    print(f"\n{HEADER}")
    for name in dict.fromkeys(order):
        if name in counts:
            print(counts[name].row(name))
    print(total.row("**all**"))
    for stage, n in total.within_reference_at.most_common():
        print(f"\nwithin the reference's own rounding at {stage}: {n:,}")
    print(f"\n{args.steps} steps a run, {time.perf_counter() - started:.0f} s", flush=True)
    return 1 if total.disagreements else 0


if __name__ == "__main__":
    sys.exit(main())
