"""`handgrad mnist`: train both sides, judge every step, leave a folder, print the verdict."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from handgrad import data
from handgrad.compare.foundation import exit_codes
from handgrad.compare.foundation.errors import UsageError
from handgrad.compare.foundation.threads import limited
from handgrad.compare.foundation.whole_files import write_json
from handgrad.compare.run import report as reports
from handgrad.compare.run import terminal
from handgrad.compare.run.checkpoint.content import Document
from handgrad.compare.run.checkpoint.event_files import cut_back
from handgrad.compare.run.checkpoint.interruption import Interrupted, Interruption
from handgrad.compare.run.checkpoint.keeper import EVERY, Keeper, load_newest, set_aside
from handgrad.compare.run.experiment import Experiment
from handgrad.compare.run.folder import (
    EXPERIMENT,
    FORMAT,
    REPORT,
    finished_report,
    held,
    make_folder,
    read_experiment,
    reason,
    require_no_links,
    require_same,
    version_notes,
    versions,
)
from handgrad.compare.run.health import NoRoom, Stopped
from handgrad.compare.run.lockstep import Lockstep, Observer


@dataclass(frozen=True)
class Place:
    """Where a run is written, and how often."""

    folder: Path
    log_every: int  # 0 writes no TensorBoard events
    checkpoint_every: int
    console: Console


def default_name(e: Experiment) -> str:
    """A time stamp and the main settings."""
    network = f"{'-'.join(map(str, e.sizes))}_{e.activation}_{e.loss}"
    training = f"{e.optimizer}_lr{e.learning_rate:g}_b{e.batch_size}_{e.dtype}_seed{e.seed}"
    return f"{time.strftime('%Y%m%d-%H%M%S')}_{network}_{training}"


def new_name(logdir: Path, e: Experiment) -> str:
    """The default name, with a number behind it where there is such a run: two may start in the same second."""
    name = default_name(e)
    numbered = (f"{name}-{n}" for n in count(2))
    return name if not (logdir / name).exists() else next(n for n in numbered if not (logdir / n).exists())


@limited()
def run(
    experiment: Experiment,
    data_dir: Path | None,
    logdir: Path,
    name: str | None,
    log_every: int,
    console: Console,
    checkpoint_every: int = EVERY,
    overwrite: bool = False,
) -> int:
    """Run the experiment and return the exit code. `log_every` 0 writes no TensorBoard events.

    Raises UsageError and data.DataError before anything is written.
    """
    began = time.perf_counter()
    lockstep = _build(experiment, data_dir)
    folder = make_folder(logdir, new_name(logdir, experiment) if name is None else name, overwrite)
    content = {
        "format": FORMAT,
        "settings": experiment.as_json(),
        "versions": versions(),
        "data_dir": None if data_dir is None else str(data_dir.absolute()),
        "log_every": log_every,
        "checkpoint_every": checkpoint_every,
    }
    try:
        write_json(folder / EXPERIMENT, content)
    except OSError as problem:
        folder.rmdir()
        raise UsageError(no_room(folder, problem)) from problem
    console.print(terminal.heading(lockstep), highlight=False, soft_wrap=True)
    with held(folder):
        return _train(lockstep, Place(folder, log_every, checkpoint_every, console), began, None)


@limited()
def resume(
    folder: Path, given: dict[str, Any], data_dir: Path | None, checkpoint_every: int | None, console: Console
) -> int:
    """Go on with the run in this folder, from its newest whole checkpoint, and return the exit code.

    `given` are settings that were asked for again; UsageError where one is not the run's own. Damaged where every
    checkpoint is. A run that is finished already is left alone and has the exit code that it had.
    """
    began = time.perf_counter()
    experiment, content = read_experiment(folder)
    require_no_links(folder)
    require_same(experiment, given)
    finished = finished_report(folder)
    if finished is not None:
        console.print(f"finished already: {folder / REPORT}", highlight=False, soft_wrap=True)
        console.print(reports.sentence(finished), highlight=False, soft_wrap=True)
        return exit_codes.EXIT_DISAGREES if finished["verdict"] == reports.DISAGREES else exit_codes.EXIT_AGREES
    if data_dir is None and content.get("data_dir") is not None:
        data_dir = Path(content["data_dir"])
        if not data_dir.is_dir():
            raise data.DataError(
                f"the digits must be where they were when the run began, but {data_dir} is no folder: "
                "give their new one with --data-dir"
            )
    lockstep = _build(experiment, data_dir)
    with held(folder):
        document, damaged = load_newest(lockstep, folder)
        now = lockstep.progress
        notes = version_notes(content["versions"])
        notes += cut_back(folder, document.log.files if document and document.log else {})
        now.notes += [note for note in notes if note not in now.notes]
        console.print(terminal.heading(lockstep), highlight=False, soft_wrap=True)
        for note in now.notes:
            console.print(f"note: {note}", highlight=False, soft_wrap=True)
        where = f"goes on after step {now.step}" if document else "begins again: nothing of it was saved"
        console.print(f"{folder} {where}", highlight=False, soft_wrap=True)
        if document is not None:
            began -= document.elapsed
        place = Place(folder, content["log_every"], checkpoint_every or content["checkpoint_every"], console)
        return _train(lockstep, place, began, document, damaged)


def _build(experiment: Experiment, data_dir: Path | None) -> Lockstep:
    torch.manual_seed(experiment.seed % 2**63)  # for a reference that draws
    return Lockstep(experiment, data.load(experiment.dataset, data_dir))


def _train(
    lockstep: Lockstep, place: Place, began: float, document: Document | None, damaged: list[Path] | None = None
) -> int:
    """Train to the end from where the lockstep stands, report, and return the exit code.

    A signal while one is already being answered, or before and after training, stops at once: nothing more is done,
    the last checkpoint stands, and how to go on is said.
    """
    try:
        return _train_and_report(lockstep, place, began, document, damaged)
    except KeyboardInterrupt as problem:
        _say_how_to_go_on(place.folder)
        return problem.code if isinstance(problem, Interrupted) else 128 + signal.SIGINT


def _train_and_report(
    lockstep: Lockstep, place: Place, began: float, document: Document | None, damaged: list[Path] | None
) -> int:
    folder, console = place.folder, place.console
    stopped, code, interrupted = "", exit_codes.EXIT_AGREES, False
    bar = terminal.LiveBar(console, lockstep.steps)
    bar.reported = len(lockstep.judge.disagreements)
    try:
        with contextlib.ExitStack() as stack:
            observers: list[Observer] = []
            log = None
            if place.log_every:
                started = time.perf_counter()
                from handgrad.compare.board.events import EventLog  # slow to import, and not needed without a log

                log = EventLog(
                    lockstep,
                    folder,
                    place.log_every,
                    resume_state=document.log.state if document and document.log else None,
                    purge_step=lockstep.progress.step + 1 if document else None,
                )
                stack.callback(log.close)
                observers.append(log)
                lockstep.progress.seconds["log"] += time.perf_counter() - started
            observers.append(stack.enter_context(bar))
            interruption = stack.enter_context(Interruption())
            keeper = Keeper(folder, place.checkpoint_every, interruption, log, began)
            try:
                if damaged:  # what their names are changed for must not be forgotten if this process is killed too
                    keeper.save(lockstep)
                    set_aside(damaged)
                lockstep.run(observers, keeper)
            except NoRoom as problem:
                stopped, code = str(problem), exit_codes.EXIT_STOPPED
            except Stopped as problem:
                stopped, code = str(problem), exit_codes.EXIT_USAGE
            except Interrupted as problem:
                if not problem.saved:
                    raise
                stopped, code, interrupted = "interrupted", problem.code, True
            if log is not None:
                started = time.perf_counter()
                log.finish(lockstep, reports.report(lockstep, started - began, stopped))
                lockstep.progress.seconds["log"] += time.perf_counter() - started
    except BrokenPipeError:
        raise
    except OSError as problem:  # of the event log, in a step or when it is closed
        stopped, code = stopped or no_room(folder, problem), exit_codes.EXIT_STOPPED

    bar.show_disagreements(lockstep)
    result = reports.report(lockstep, time.perf_counter() - began, stopped)
    try:
        write_json(folder / REPORT, result)
    except OSError as problem:
        stopped, code = stopped or no_room(folder, problem), exit_codes.EXIT_STOPPED
    if result["verdict"] == reports.DISAGREES and code < exit_codes.EXIT_STOPPED:
        code = exit_codes.EXIT_DISAGREES
    if result["stages"]:
        console.print(terminal.final_table(result))
    if (folder / REPORT).exists():
        console.print(f"report: {folder / REPORT}", highlight=False, soft_wrap=True)
    console.print(terminal.closing(result), highlight=False, soft_wrap=True)
    if interrupted:
        _say_how_to_go_on(folder)
    elif stopped:
        print(f"handgrad mnist: {stopped}", file=sys.stderr)
    return code


def _say_how_to_go_on(folder: Path) -> None:
    print(f"handgrad mnist: interrupted; to go on: handgrad mnist --resume {folder}", file=sys.stderr)


def no_room(folder: Path, problem: OSError) -> str:
    """The sentence for a file of the run that cannot be written."""
    return (
        f"every file of the run must be written, but {folder} takes no more ({reason(problem)}): "
        "free some space, or make it writable"
    )
