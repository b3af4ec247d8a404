"""How long does one training step of 784-16-16-10 take, by hand and in other libraries, and what can nobody do without?

    python -m benchmarks.speed.training_step [--rule adam] [--batch N] [--dtype float32]

Forward, loss, backward and update, ReLU and softmax cross-entropy, on one thread. Rule `sgd` has the constant rate
0.1; `adam` follows a one-cycle schedule. Every library must first arrive at the same weights after three steps. They
alternate in short blocks; a time is the median over the rounds, a ratio the median of the rounds' ratios. One that is
not installed is left out by name. The floor is the step's eight matrix products alone, as NumPy's @; "its NumPy calls
alone" is the manual step without layers, checks and record, as one function of NumPy calls: what is left to be saved.
"""

# ruff: noqa: E402  (the number of threads must be settled before NumPy is imported)

from __future__ import annotations

import argparse
import importlib
import sys
from itertools import pairwise

from handgrad.compare.foundation import process

process.settle()  # before NumPy is imported

import numpy as np

from benchmarks.speed.peers import SIZES, Problem, Step, Unfit
from benchmarks.speed.timing import ROUNDS, alternate, machine, median, ratio, table

MODULES = ("arrays", "torch_eager", "jax_jit", "sklearn_mlp", "mygrad_tape", "autograd_tape")
PACKAGES = ("torch", "jax", "scikit-learn", "mygrad", "autograd")
BARE = "its NumPy calls alone"
MANUAL, FLOOR, EAGER, JAX = "manual", "the eight matrix products alone", "torch eager", "JAX jit"
BATCHES = (1, 32, 128, 1024)
# The goals: torch eager takes at least so many times as long as manual; manual at most so many times the floor.
EAGER_GOALS = {1: 4.0, 32: 4.0, 128: 2.0, 1024: 1.2}
FLOOR_GOALS = {1: 2.2, 32: 1.8, 128: 1.4, 1024: 1.2}


def problem(batch: int, dtype: np.dtype, rule: str) -> Problem:
    """Random weights as torch draws them, and a batch with four pixels of five black, as in the digits."""
    rng = np.random.default_rng(0)
    params = []
    for inputs, outputs in pairwise(SIZES):
        limit = 1 / np.sqrt(inputs)
        params.append(tuple(rng.uniform(-limit, limit, shape).astype(dtype) for shape in ((outputs, inputs), outputs)))
    x = (rng.random((batch, SIZES[0])) * (rng.random((batch, SIZES[0])) < 0.2)).astype(dtype)
    return Problem(params, x, rng.integers(0, SIZES[-1], batch), rule)


def peers(p: Problem) -> tuple[dict[str, Step], dict[str, str]]:
    """The step of every library that has one, and why the others have none."""
    steps: dict[str, Step] = {}
    left_out: dict[str, str] = {}
    for module in MODULES:
        try:
            makers = importlib.import_module(f"benchmarks.speed.peers.{module}").makers
        except ImportError as error:
            left_out[module] = f"not installed ({error.name})"
            continue
        for name, make in makers.items():
            try:
                steps[name] = make(p)
            except Unfit as reason:
                left_out[name] = str(reason)
    return steps, left_out


def require_same_step(steps: dict[str, Step], dtype: np.dtype) -> None:
    """Three steps each; SystemExit where the weights are not those of the manual step."""
    for name, step in steps.items():
        if name != FLOOR:
            for _ in range(3):
                step.run()
    ours = steps[MANUAL].first_weight()
    allowed = 1e-4 if dtype == np.float32 else 1e-9  # libraries round differently; another step is off by 1e-3 and more
    for name, step in steps.items():
        off = float(np.abs(step.first_weight() - ours).max())
        if name != FLOOR and not off < allowed:
            raise SystemExit(f"every library must make the same step, but {name} is off by {off:.1e}: see its file")


def row(name: str, seconds: dict[str, list[float]], batch: int) -> list[str]:
    """One library: its time, beside manual's and beside the floor."""
    cells = [name, f"{median(seconds[name]) * 1e6:,.0f}"]
    cells.append("" if name == MANUAL else f"{ratio(seconds[name], seconds[MANUAL]):.2f}")
    cells.append("" if name == FLOOR else f"{ratio(seconds[name], seconds[FLOOR]):.2f}")
    return cells


def goals(seconds: dict[str, list[float]], batch: int) -> list[str]:
    """The goals in words, met or missed."""
    found = [
        (f"torch eager ≥ {EAGER_GOALS[batch]:g} × manual", EAGER, lambda r: r >= EAGER_GOALS[batch]),
        ("JAX jit ≥ manual", JAX, lambda r: r >= 1),
    ]
    words = []
    for what, name, met in found:
        if name in seconds:
            r = ratio(seconds[name], seconds[MANUAL])
            words.append(f"{what}: {r:.2f}, {'met' if met(r) else '**missed**'}")
    over = ratio(seconds[MANUAL], seconds[FLOOR])
    verdict = "met" if over <= FLOOR_GOALS[batch] else "**missed**"
    words.append(f"manual ≤ {FLOOR_GOALS[batch]:g} × the floor: {over:.2f}, {verdict}")
    words[-1] += f" (its NumPy calls alone: {ratio(seconds[BARE], seconds[FLOOR]):.2f})"
    return words


def main() -> int:
    """Print a table per dtype and batch size."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--rule", choices=("sgd", "adam"), default="sgd")
    arguments.add_argument("--batch", type=int, choices=BATCHES, action="append")
    arguments.add_argument("--dtype", choices=("float32", "float64"), action="append")
    arguments.add_argument("--rounds", type=int, default=ROUNDS)
    args = arguments.parse_args()
    print(f"{machine(*PACKAGES)}\n\nRule: {args.rule}, microseconds per step")
    for dtype in args.dtype or ("float64", "float32"):
        for batch in args.batch or BATCHES:
            p = problem(batch, np.dtype(dtype), args.rule)
            steps, left_out = peers(p)
            require_same_step(steps, p.dtype)
            seconds = alternate({name: step.run for name, step in steps.items()}, args.rounds)
            ordered = sorted(seconds, key=lambda name: median(seconds[name]))
            print(f"\n**{dtype}, batch {batch}**\n")
            print(table(["", "µs", "÷ manual", "÷ floor"], [row(name, seconds, batch) for name in ordered]))
            print("\n" + "; ".join(goals(seconds, batch)) if args.rule == "sgd" else "")
            for name, why in left_out.items():
                print(f"\nLeft out: {name}: {why}")
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
