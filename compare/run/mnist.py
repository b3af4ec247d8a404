"""`handgrad mnist`: train both sides, judge every step, leave a folder, print the verdict."""

from __future__ import annotations

import contextlib
import os
import platform
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from rich.console import Console

import data
from compare.json_values import write_json
from compare.run import report as reports
from compare.run import terminal
from compare.run.experiment import Experiment, UsageError
from compare.run.health import Stopped
from compare.run.lockstep import Lockstep
from compare.run.process import THREAD_VARIABLES


def default_name(e: Experiment) -> str:
    """A time stamp and the main settings."""
    network = f"{'-'.join(map(str, e.sizes))}_{e.activation}_{e.loss}"
    training = f"{e.optimizer}_lr{e.learning_rate:g}_b{e.batch_size}_{e.dtype}_seed{e.seed}"
    return f"{time.strftime('%Y%m%d-%H%M%S')}_{network}_{training}"


def make_folder(logdir: Path, name: str) -> Path:
    """A new folder for this run. UsageError where it exists or cannot be written."""
    if Path(name).name != name or name in ("", ".", ".."):
        raise UsageError(f"name must be a plain folder name, got {name!r}: put the path into --logdir")
    folder = logdir / name
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise UsageError(f"the run's folder must be new, but {folder} exists: choose another --name") from None
    except (OSError, ValueError) as problem:  # ValueError: a null character
        raise UsageError(
            f"the log folder must be writable, but {folder} cannot be made ({reason(problem)}): "
            "choose another --logdir or --name"
        ) from None
    return folder


def reason(problem: BaseException) -> str:
    """What the system says, in one line: "No space left on device"."""
    return " ".join(str(getattr(problem, "strerror", None) or problem).split())


def versions() -> dict[str, Any]:
    """What the numbers of a run may depend on besides its settings."""
    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "machine": platform.machine(),
        "threads": {
            "torch": torch.get_num_threads(),
            **{name: os.environ[name] for name in THREAD_VARIABLES if name in os.environ},
        },
    }


def run(
    experiment: Experiment,
    data_dir: Path | None,
    logdir: Path,
    name: str | None,
    log_every: int,
    console: Console,
) -> int:
    """Run the experiment and return the exit code. `log_every` 0 writes no TensorBoard events.

    Raises UsageError and data.DataError before anything is written.
    """
    started = time.perf_counter()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    dataset = data.load(experiment.dataset, data_dir)
    lockstep = Lockstep(experiment, dataset)
    folder = make_folder(logdir, name or default_name(experiment))
    settings = {"settings": experiment.as_json(), "versions": versions()}
    try:
        write_json(folder / "experiment.json", settings)
    except OSError as problem:
        folder.rmdir()
        raise UsageError(no_room(folder, problem)) from problem
    console.print(terminal.heading(lockstep), highlight=False, soft_wrap=True)

    stopped, code = "", reports.EXIT_AGREES
    bar = terminal.LiveBar(console, lockstep.steps)
    try:
        with contextlib.ExitStack() as stack:
            observers: list[Any] = []
            if log_every:
                from compare.board.events import EventLog  # slow to import, and not needed without a log

                stack.enter_context(threads_raise_once())
                log = EventLog(folder, log_every)
                stack.callback(log.close)
                observers.append(log)
            stack.enter_context(bar)
            observers.append(bar)
            try:
                lockstep.run(observers)
            except Stopped as problem:
                stopped, code = str(problem), reports.EXIT_USAGE
            except KeyboardInterrupt:
                stopped, code = "interrupted", reports.EXIT_INTERRUPTED
    except BrokenPipeError:
        raise
    except OSError as problem:  # of the event log, in a step or when it is closed
        stopped, code = no_room(folder, problem), reports.EXIT_STOPPED

    bar.show_disagreements(lockstep)
    result = reports.report(lockstep, time.perf_counter() - started, stopped)
    try:
        write_json(folder / "report.json", result)
    except OSError as problem:
        stopped, code = no_room(folder, problem), reports.EXIT_STOPPED
    if result["verdict"] == "disagrees" and code not in (reports.EXIT_INTERRUPTED, reports.EXIT_STOPPED):
        code = reports.EXIT_DISAGREES
    if result["stages"]:
        console.print(terminal.final_table(result))
    if (folder / "report.json").exists():
        console.print(f"report: {folder / 'report.json'}", highlight=False, soft_wrap=True)
    console.print(terminal.closing(result), highlight=False, soft_wrap=True)
    if stopped:
        print(f"handgrad mnist: {stopped}", file=sys.stderr)
    return code


@contextlib.contextmanager
def threads_raise_once() -> Iterator[None]:
    """Keep quiet about an OSError in the log's writing thread: the log raises it again where it is caught."""
    before = threading.excepthook
    threading.excepthook = lambda args: None if issubclass(args.exc_type, OSError) else before(args)
    try:
        yield
    finally:
        threading.excepthook = before


def no_room(folder: Path, problem: OSError) -> str:
    """The sentence for a file of the run that cannot be written."""
    return (
        f"every file of the run must be written, but {folder} takes no more ({reason(problem)}): "
        "free some space, or choose another --logdir"
    )
