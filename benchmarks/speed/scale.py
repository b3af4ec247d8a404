"""How do a step and its certificate grow with width, depth and batch, how much memory does judging take, and loading?

    python -m benchmarks.speed.scale              the tables
    python -m benchmarks.speed.scale --large [--dtype float32]    a network of 100 million parameters, two judged steps

Networks are 784-w-w-10, or 784-64-…-64-10 of so many layers; SGD, cross-entropy, ReLU, float64, random batches. Times
are medians of a few steps; "memory" is the most that judging a step holds at once beside torch's record of it
(tracemalloc, which counts NumPy's arrays), divided by the parameters' own size, and in brackets by that of the
parameters, the batch and what the layers make of it.
"""

# ruff: noqa: E402  (the number of threads must be settled before NumPy is imported)

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import time
import tracemalloc
from typing import NamedTuple

from handgrad.compare.foundation import process

process.settle()  # before NumPy is imported

import numpy as np
import torch

from benchmarks.speed.timing import alternate, machine, median, table
from handgrad import data, manual
from handgrad.compare.judge.stages import StepJudge
from handgrad.compare.pairs.table import OPTIMIZERS
from handgrad.compare.rounding.bounded import Precision
from handgrad.compare.run.experiment import Experiment, build
from tests.derivations.right.steps import records

MEMORY_GOAL = 8
LARGE = (784, 9610, 9610, 10)


class Measured(NamedTuple):
    """Seconds a step, and memory over the parameters' own."""

    parameters: int
    manual: float
    torch: float
    judge: float
    memory: float
    memory_with_batch: float  # over the parameters, the batch and all activations


def measure(sizes: tuple[int, ...], batch: int, steps: int = 0, dtype: str = "float64") -> Measured:
    """Judge a few steps of this network, more of a small one. SystemExit where they do not agree."""
    e = Experiment(sizes=sizes, batch_size=batch, dtype=dtype)
    steps = steps or (40 if e.parameters < 100_000 else 5)
    sides = build(e, steps, steps)
    judge = StepJudge(
        sides.network, sides.loss, sides.optimizer, list(sides.model), sides.torch_loss,
        lambda params, rate: OPTIMIZERS["sgd"].torch(params, rate), Precision.of(sides.theta.dtype),
    )  # fmt: skip
    by_hand, by_torch, judged = [], [], []
    started = time.perf_counter()
    for k, record in enumerate(records(sides, batch, steps)):
        by_torch.append(time.perf_counter() - started)
        started = time.perf_counter()
        manual.training.step(
            sides.network, sides.loss, sides.optimizer, record.theta, record.state, record.x, record.target,
            record.learning_rate,
        )  # fmt: skip
        by_hand.append(time.perf_counter() - started)
        if k == 1:  # tracemalloc slows a step down, so this one is not timed
            tracemalloc.start()
            judge.judge(k, record)
            memory = tracemalloc.get_traced_memory()[1]
            held = record.theta.nbytes + record.x.nbytes + sum(y.nbytes for y in record.outputs)
            own = record.theta.nbytes
            tracemalloc.stop()
        else:
            started = time.perf_counter()
            judge.judge(k, record)
            judged.append(time.perf_counter() - started)
        started = time.perf_counter()
    if judge.disagreements:
        raise SystemExit(f"both sides must agree, but: {judge.disagreements[0]}")
    times = (statistics.median(t) for t in (by_hand, by_torch, judged))
    return Measured(sides.network.size, *times, memory / own, memory / held)


def row(name: str, m: Measured) -> list[str]:
    """One network as cells."""
    alone = m.manual + m.torch
    memory = f"{m.memory:.1f} ({m.memory_with_batch:.1f})" + ("" if m.memory <= MEMORY_GOAL else " **missed**")
    ms = [f"{1e3 * t:,.2f}" for t in (m.manual, m.torch, m.judge)]
    return [name, f"{m.parameters:,}", *ms, f"{(alone + m.judge) / alone:.2f}", memory]


def loading() -> None:
    """MNIST ready in so many seconds; bytes scaled per batch, or all of them once."""
    times = []
    for _ in range(5):
        started = time.perf_counter()
        dataset = data.load("mnist")
        times.append(time.perf_counter() - started)
    ready = statistics.median(times[1:])
    verdict = "met" if ready < 1 else "**missed**"
    print(
        f"\nMNIST ready: {ready:.2f} s (the first time, with torchvision's import, {times[0]:.2f} s); < 1 s {verdict}\n"
    )
    images, rng = dataset.train.images, np.random.default_rng(0)
    started = time.perf_counter()
    scaled = data.scale(images, np.float64)
    once = time.perf_counter() - started
    rows = []
    for batch in (32, 1024):
        indices = rng.permutation(len(images))[:batch]
        seconds = alternate(
            {
                "bytes, scaled per batch": lambda indices=indices: data.scale(images[indices], np.float64),
                "scaled once": lambda indices=indices: scaled[indices],
            }
        )
        rows += [[f"{name}, batch {batch}", f"{median(t) * 1e6:.0f}"] for name, t in seconds.items()]
    print(table(["a batch in float64", "µs"], rows))
    print(f"\nMemory: {images.nbytes / 1e6:.0f} MB as bytes, {scaled.nbytes / 1e6:.0f} MB scaled, in {once:.2f} s.")


def main() -> int:
    """Print the tables, or judge the large network."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--large", action="store_true")
    arguments.add_argument("--dtype", choices=("float64", "float32"), default="float64")
    args = arguments.parse_args()
    torch.set_num_threads(1)
    print(f"{machine('torch')}\n")
    header = ["", "parameters", "manual ms", "torch ms", "judge ms", "over the trainings", "memory ÷ parameters'"]
    if args.large:
        print(table(header, [row(f"{'-'.join(map(str, LARGE))}, {args.dtype}", measure(LARGE, 8, 2, args.dtype))]))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
        print(f"\nThe whole process held {peak:.1f} GiB at most.")
        return 0
    widths = [row(f"width {w}, batch 32", measure((784, w, w, 10), 32)) for w in (16, 64, 256, 1024, 4096)]
    depths = [row(f"{d} layers of 64", measure((784, *[64] * (d - 1), 10), 32)) for d in (2, 4, 16, 64)]
    batches = [row(f"width 16, batch {n}", measure((784, 16, 16, 10), n)) for n in (1, 32, 1024, 8192)]
    print(table(header, [*widths, *depths, *batches]))
    loading()
    return 0


if __name__ == "__main__":
    sys.exit(main())
