"""Which recipe trains the 13,002 parameters best? Chosen on held-out training digits; no test digit is seen.

    python -m benchmarks.accuracy.recipe_choice [--table]

Every candidate trains on 54,000 of the training digits for 100 epochs, and is tested on the last 6,000, once, after its
last epoch; the finalists, which did best with the first seed, do so with several. The manual side trains alone and
unjudged, on the very batches that a run of `handgrad mnist` has. Moving the digits costs twice as much as training on
them, so candidates that see the same batches train side by side on one stream of them, which changes none of their
numbers. What is done is kept in runs/recipe_choice.json and not done again; `--table` only prints it.
"""

# ruff: noqa: E402  (the number of threads must be settled before NumPy is imported)

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from handgrad.compare.foundation import process

process.settle()  # before NumPy is imported

import numpy as np

from handgrad import data, manual
from handgrad.compare.run.experiment import CHOICES, Experiment, build
from handgrad.compare.run.stream import Stream, hold_out

CACHE = Path(__file__).resolve().parents[2] / "runs" / "recipe_choice.json"
VALIDATION = 6000
EPOCHS, SEEDS = 100, 3  # seeds of a finalist; the others have one

BASE: dict[str, Any] = {
    "activation": "relu", "optimizer": "adamw", "optimizer_options": {"weight_decay": 0.01}, "learning_rate": 4e-3,
    "schedule": "cosine", "batch_size": 64, "augmentation": "medium",
}  # fmt: skip

# What differs from the base.
FINALISTS: list[dict[str, Any]] = [
    {"batch_size": 128, "schedule": "one-cycle", "learning_rate": 8e-3},
    {"activation": "leaky-relu", "batch_size": 128, "schedule": "one-cycle", "learning_rate": 8e-3},
    {},
    {"activation": "leaky-relu"},
    {"schedule": "one-cycle", "learning_rate": 8e-3},
    {"activation": "leaky-relu", "schedule": "one-cycle", "learning_rate": 8e-3},
]
CANDIDATES: list[dict[str, Any]] = [
    *FINALISTS,
    {"activation": "tanh"},
    {"initialization": "he-uniform"},
    {"learning_rate": 2e-3},
    {"learning_rate": 8e-3},
    {"schedule": "one-cycle"},
    {"optimizer_options": {"weight_decay": 0.1}},
    {"batch_size": 128},
    {"batch_size": 128, "learning_rate": 8e-3},
    {"batch_size": 32},
    {"batch_size": 32, "learning_rate": 2e-3},
    {"batch_size": 32, "schedule": "one-cycle", "learning_rate": 8e-3},
    {"augmentation": "weak"},
    {"augmentation": "strong"},
]


def experiment(change: dict[str, Any], seed: int) -> Experiment:
    """The run of a candidate."""
    return Experiment(**{**BASE, **change}, epochs=EPOCHS, seed=seed, validation=VALIDATION)


def groups(seed: int) -> Iterator[list[Experiment]]:
    """The candidates' runs, those with the same batches together."""
    together: dict[tuple[Any, ...], list[Experiment]] = {}
    for e in (experiment(change, seed) for change in (FINALISTS if seed else CANDIDATES)):
        together.setdefault((e.batch_size, e.augmentation), []).append(e)
    yield from together.values()


def train(experiments: list[Experiment], dataset: data.Dataset) -> list[int]:
    """Train the manual side alone, once for each experiment. Returns the numbers of held-out digits each has right."""
    first = experiments[0]
    dataset = hold_out(dataset, first.validation)
    stream = Stream(first, dataset, np.dtype(CHOICES["dtype"][first.dtype]))
    runs = [build(e, stream.steps, stream.steps_per_epoch) for e in experiments]
    thetas = [sides.theta for sides in runs]
    states = [sides.optimizer.init(sides.theta) for sides in runs]
    for k, batch in enumerate(stream.batches()):
        for i, sides in enumerate(runs):
            record = manual.training.step(
                sides.network, sides.loss, sides.optimizer, thetas[i], states[i], batch.x, batch.target,
                sides.schedule(k),
            )  # fmt: skip
            thetas[i], states[i] = record.theta, record.state
    held = data.scale(dataset.test.images, stream.dtype)
    outputs = [sides.network.predict(theta, held) for sides, theta in zip(runs, thetas, strict=True)]
    return [int(np.count_nonzero(output.argmax(axis=1) == dataset.test.labels)) for output in outputs]


def key(e: Experiment) -> str:
    """The name of a run in the cache: all its settings."""
    return json.dumps(e.as_json(), sort_keys=True)


def words(change: dict[str, Any]) -> str:
    """A change as the table shows it."""
    flat = {**change, **change.get("optimizer_options", {})}
    flat.pop("optimizer_options", None)
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in flat.items()) or "the base"


def table(cache: dict[str, int]) -> str:
    """The candidates, the best first."""
    rows = []
    for change in CANDIDATES:
        keys = [key(experiment(change, seed)) for seed in range(SEEDS)]
        right = [100 * cache[k] / VALIDATION for k in keys if k in cache]
        if right:
            spread = f" ± {statistics.stdev(right):.2f}" if len(right) > 1 else ""
            mean = statistics.mean(right)
            rows.append((-mean, f"| {words(change)} | {len(right)} | {mean:.2f}{spread} |"))
    return "\n".join(["| | seeds | right |", "| :-- | --: | --: |", *(row for _, row in sorted(rows))])


def main() -> int:
    """Train what is missing, print the table."""
    parser = argparse.ArgumentParser(description="candidates for the recipe, on held-out training digits")
    parser.add_argument("--table", action="store_true", help="only print what is in the cache")
    only_table = parser.parse_args().table
    cache: dict[str, int] = json.loads(CACHE.read_text(encoding="utf-8")) if CACHE.exists() else {}
    dataset = data.load("mnist")
    for seed in range(SEEDS if not only_table else 0):
        for group in groups(seed):
            missing = [e for e in group if key(e) not in cache]
            if not missing:
                continue
            cache |= dict(zip(map(key, missing), train(missing, dataset), strict=True))
            CACHE.parent.mkdir(exist_ok=True)
            CACHE.write_text(json.dumps(cache, indent=1) + "\n", encoding="utf-8")
            print(f"seed {seed}: {len(missing)} candidates with batches of {missing[0].batch_size}, "
                  f"augmentation {missing[0].augmentation}", file=sys.stderr, flush=True)  # fmt: skip
    base = {**BASE, **BASE["optimizer_options"]}
    del base["optimizer_options"]
    print(f"The base: {words(base)}. Right after {EPOCHS} epochs, in %, of {VALIDATION:,} held-out digits:\n")
    print(table(cache))
    return 0


if __name__ == "__main__":
    sys.exit(main())
