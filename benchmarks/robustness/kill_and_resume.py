"""A run killed at random moments and resumed, until it ends: is it the same as one that was never interrupted?

    python -m benchmarks.robustness.kill_and_resume              # 200 kills, 50 of each setting
    python -m benchmarks.robustness.kill_and_resume --kills 20

Each run is short and saves after every step, so that many of the kills fall into the writing of a checkpoint. Prints a
Markdown table and every difference; the exit code is 1 where there is one.
"""

# ruff: noqa: E402  (the number of threads must be settled before NumPy is imported)

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from handgrad.compare.foundation import process

process.settle()

import numpy as np

from handgrad.compare.commands import main as cli
from handgrad.compare.foundation.whole_files import TEMPORARY
from handgrad.compare.run.checkpoint.content import DOCUMENT, TIMES
from handgrad.compare.run.checkpoint.files import read_archive
from handgrad.compare.run.checkpoint.keeper import FOLDER, checkpoints

RULES = {
    "sgd with momentum": ("--optimizer", "sgd", "--momentum", "0.9", "--lr", "0.05", "--schedule", "one-cycle"),
    "adam": ("--optimizer", "adam", "--lr", "0.002", "--schedule", "exponential"),
}
SETTINGS = {
    f"{rule}, {mode}": (*arguments, *(["--resync"] if mode == "resync" else []))
    for rule, arguments in RULES.items()
    for mode in ("free", "resync")
}
SHORT = ("--sizes", "784-16-16-10", "--dtype", "float32", "--batch-size", "32", "--log-every", "1",
         "--checkpoint-every", "1")  # fmt: skip
SIDES = ("manual", "torch_ref", "compare")


# --- what two runs have alike -----------------------------------------------------------------------------------------


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """(step, value) of every scalar of a run's event files, as TensorBoard reads them, but for times."""
    return {
        f"{side}: {tag}": [(e.step, e.value) for e in events.Scalars(tag)]
        for side, events in accumulated(folder)
        for tag in events.Tags()["scalars"]
        if not tag.startswith("time/")
    }


def pages(folder: Path) -> dict[str, list[tuple[int, bytes]]]:
    """(step, content) of every picture, histogram, curve and text of a run's event files."""
    found = {}
    for side, events in accumulated(folder):
        for tag in events.Tags()["images"]:
            found[f"{side}: {tag}"] = [(e.step, e.encoded_image_string) for e in events.Images(tag)]
        for tag in events.Tags()["tensors"]:
            found[f"{side}: {tag}"] = [(e.step, e.tensor_proto.SerializeToString()) for e in events.Tensors(tag)]
    return found


def accumulated(folder: Path) -> Iterator[tuple[str, Any]]:
    """(name, EventAccumulator) of the three TensorBoard runs of a run, with everything that they have."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for side in [side for side in SIDES if (folder / side).exists()]:
        events = EventAccumulator(str(folder / side), size_guidance={"scalars": 0, "images": 0, "tensors": 0})
        events.Reload()
        yield side, events


def report(folder: Path) -> dict[str, Any]:
    """report.json without its times."""
    content: dict[str, Any] = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    del content["seconds"], content["log_fraction"]
    return content


def final_arrays(folder: Path) -> dict[str, bytes]:
    """Everything in a run's newest checkpoint, but for times."""
    arrays = read_archive(checkpoints(folder)[0])
    document = json.loads(arrays.pop(DOCUMENT).tobytes())
    for part in (document, document["progress"]):
        for name in TIMES:
            part.pop(name, None)
    return {name: np.asarray(a).tobytes() for name, a in arrays.items()} | {DOCUMENT: json.dumps(document).encode()}


def differences(one: Path, other: Path) -> list[str]:
    """What is not the same in two runs' folders: weights, optimizer states, everything that is logged, the report."""
    found = []
    for what in (final_arrays, scalars, pages, report):
        a, b = what(one), what(other)
        for name in sorted(a.keys() | b.keys()):
            if repr(a.get(name)) != repr(b.get(name)):  # NaN is not equal to itself, and 0 is to 0.0
                found.append(f"{what.__name__}: {name}")
    return found


# --- killing ----------------------------------------------------------------------------------------------------------


def command(arguments: Sequence[str]) -> None:
    """`handgrad mnist` in this process, silent; for a process that a server has forked."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    sys.exit(cli.main(["mnist", *arguments]))


class Forks:
    """Processes that run the command at once, because the server that forks them has imported everything."""

    def __init__(self) -> None:
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(
            ["handgrad.compare.commands.main", "handgrad.compare.commands.mnist", "handgrad.compare.board.events"]
        )

    def start(self, *arguments: object) -> BaseProcess:
        child = self.context.Process(target=command, args=([str(a) for a in arguments],))
        child.start()
        return child

    def run(self, *arguments: object) -> int:
        """The exit code of the command."""
        child = self.start(*arguments)
        child.join()
        assert child.exitcode is not None
        return child.exitcode


@dataclass
class Killed:
    """What became of a run that was killed again and again."""

    kills: int = 0
    while_writing: int = 0  # of these, those that left a checkpoint half written
    code: int = -1  # of the process that came to the end


def kill_and_resume(forks: Forks, logdir: Path, name: str, arguments: Sequence[str], kills: int, seed: int) -> Killed:
    """Start a run and kill it so many times, at random moments, and resume it each time; then let it end."""
    rng, found, folder = random.Random(seed), Killed(), logdir / name
    begin = (*SHORT, *arguments, "--logdir", logdir, "--name", name)
    while found.kills < kills:
        begun = (folder / "experiment.json").exists()
        child = forks.start(*(("--resume", folder) if begun else begin))
        MOMENTS[rng.randrange(len(MOMENTS))](child, folder, rng)
        child.kill()
        child.join()
        if child.exitcode != -signal.SIGKILL:
            found.code = child.exitcode or 0
            return found  # it was quicker
        found.kills += 1
        found.while_writing += any((folder / FOLDER).glob(f"*{TEMPORARY}"))
    begun = (folder / "experiment.json").exists()
    found.code = forks.run(*(("--resume", folder) if begun else begin))
    return found


def _at_any_time(child: BaseProcess, folder: Path, rng: random.Random) -> None:
    """Its start-up included; but not so late that a quick machine has made all of its steps."""
    before, end = _newest(folder), time.monotonic() + rng.uniform(0, 0.5)
    while time.monotonic() < end and _newest(folder) < before + 3:
        time.sleep(0.0005)


def _after_a_step(child: BaseProcess, folder: Path, rng: random.Random) -> None:
    before = _newest(folder)
    while child.is_alive() and _newest(folder) == before:
        time.sleep(0.0002)
    time.sleep(rng.uniform(0, 0.01))


def _while_writing(child: BaseProcess, folder: Path, rng: random.Random) -> None:
    before = set((folder / FOLDER).glob(f"*{TEMPORARY}"))
    while child.is_alive() and set((folder / FOLDER).glob(f"*{TEMPORARY}")) <= before:
        pass  # it takes about a millisecond


MOMENTS = (_at_any_time, _after_a_step, _while_writing)


def _newest(folder: Path) -> int:
    return max((int(path.stem.removeprefix("step-")) for path in checkpoints(folder)), default=-1)


def main() -> int:
    """Print the table, and return 1 if any run differs."""
    parser = argparse.ArgumentParser(description="Kill runs and resume them.")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    forks, each, wrong = Forks(), -(-options.kills // len(SETTINGS)), 0
    print("| run | kills | while a checkpoint was written | ends with the same bytes | seconds |")
    print("| :-- | --: | --: | :-- | --: |")
    with tempfile.TemporaryDirectory() as place:
        for i, (setting, chosen) in enumerate(SETTINGS.items()):
            logdir = Path(place) / str(i)
            arguments = (*chosen, "--max-steps", str(4 * each))
            started = time.perf_counter()
            forks.run(*SHORT, *arguments, "--logdir", logdir, "--name", "whole")
            killed = kill_and_resume(forks, logdir, "killed", arguments, each, options.seed + i)
            found = differences(logdir / "whole", logdir / "killed")
            found += [f"exit code {killed.code}"] if killed.code else []
            found += [f"only {killed.kills} kills"] if killed.kills < each else []
            wrong += bool(found)
            seconds = time.perf_counter() - started
            print(
                f"| {setting} | {killed.kills} | {killed.while_writing} | {'NO' if found else 'yes'} | {seconds:.0f} |"
            )
            print("\n".join(found), end="\n" if found else "", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
