"""Which settings does the recipe `best` hold? Candidates on held-out training digits; the test digits are never read.

    python benchmarks/recipe_choice.py            # every candidate that is not yet in the cache, then the table
    python benchmarks/recipe_choice.py --table    # the table of what is in the cache

Each candidate is the base below with one change or two. It trains on 54,000 of the training digits and is tested on the
last 6,000, once, after its last epoch. The manual side trains alone and unjudged, on the very batches that a run of
`handgrad mnist` has, so a run costs a tenth of a judged one.
"""

# ruff: noqa: E402  (the number of threads must be settled before NumPy is imported)

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from compare.run import process

process.settle()  # before NumPy is imported

import numpy as np

import data
import manual.training
from compare.run.experiment import CHOICES, Experiment, build
from compare.run.stream import Stream, hold_out

CACHE = Path(__file__).resolve().parent.parent / "runs" / "recipe_choice.json"
VALIDATION = 6000

BASE: dict[str, Any] = {
    "activation": "relu", "optimizer": "adamw", "optimizer_options": {"weight_decay": 0.01}, "learning_rate": 4e-3,
    "schedule": "cosine", "batch_size": 64, "augmentation": "medium",
}  # fmt: skip

# (epochs, seeds, what differs from the base)
CANDIDATES: list[tuple[int, int, dict[str, Any]]] = [
    (20, 3, change)
    for change in (
        {},
        {"activation": "leaky-relu"},
        {"activation": "tanh"},
        {"augmentation": "weak"},
        {"augmentation": "strong"},
        {"learning_rate": 2e-3},
        {"learning_rate": 8e-3},
        {"batch_size": 128},
        {"batch_size": 128, "learning_rate": 8e-3},
        {"optimizer_options": {"weight_decay": 0.1}},
        {"augmentation": "none"},
        {"initialization": "he-uniform"},
        {"schedule": "one-cycle", "learning_rate": 8e-3},
    )
]


def train(e: Experiment) -> tuple[int, float]:
    """Train the manual side alone. Returns the held-out digits that it has right, and the seconds it took."""
    dataset = hold_out(data.load(e.dataset), e.validation)
    stream = Stream(e, dataset, np.dtype(CHOICES["dtype"][e.dtype]))
    sides = build(e, stream.steps, stream.steps_per_epoch)
    theta, state = sides.theta, sides.optimizer.init(sides.theta)
    started = time.perf_counter()
    for k, batch in enumerate(stream.batches()):
        record = manual.training.step(
            sides.network, sides.loss, sides.optimizer, theta, state, batch.x, batch.target, sides.schedule(k)
        )
        theta, state = record.theta, record.state
    output = sides.network.predict(theta, data.scale(dataset.test.images, theta.dtype))
    return int((output.argmax(axis=1) == dataset.test.labels).sum()), time.perf_counter() - started


def words(change: dict[str, Any]) -> str:
    """A change as the table shows it."""
    flat = {**change, **change.get("optimizer_options", {})}
    flat.pop("optimizer_options", None)
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in flat.items()) or "the base"


def main() -> int:
    """Train what is missing, print the table."""
    parser = argparse.ArgumentParser(description="candidates for the recipe, on held-out training digits")
    parser.add_argument("--table", action="store_true", help="only print what is in the cache")
    only_table = parser.parse_args().table
    cache: dict[str, dict[str, Any]] = json.loads(CACHE.read_text(encoding="utf-8")) if CACHE.exists() else {}
    rows = []
    for epochs, seeds, change in CANDIDATES:
        right = []
        for seed in range(seeds):
            e = Experiment(**{**BASE, **change}, epochs=epochs, seed=seed, validation=VALIDATION)
            key = json.dumps(e.as_json(), sort_keys=True)
            if key not in cache and not only_table:
                correct, seconds = train(e)
                cache[key] = {"correct": correct, "seconds": seconds}
                CACHE.parent.mkdir(exist_ok=True)
                CACHE.write_text(json.dumps(cache, indent=1) + "\n", encoding="utf-8")
                print(f"{words(change)}, {epochs} epochs, seed {seed}: {correct / VALIDATION:.2%} in {seconds:.0f} s",
                      file=sys.stderr, flush=True)  # fmt: skip
            if key in cache:
                right.append(100 * cache[key]["correct"] / VALIDATION)
        if right:
            spread = f" ± {statistics.stdev(right):.2f}" if len(right) > 1 else ""
            rows.append(f"| {words(change)} | {epochs} | {len(right)} | {statistics.mean(right):.2f}{spread} |")
    base = {**BASE, **BASE["optimizer_options"]}
    del base["optimizer_options"]
    print(f"The base: {words(base)}. Right, in %, of {VALIDATION:,} held-out digits:\n")
    print("| | epochs | seeds | right |\n| :-- | --: | --: | --: |")
    print("\n".join(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
