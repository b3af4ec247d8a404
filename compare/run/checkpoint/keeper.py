"""Saves a run while it goes on, and finds the newest checkpoint that is whole."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Protocol

from handgrad.compare.foundation.whole_files import TEMPORARY
from handgrad.compare.run.checkpoint import event_files
from handgrad.compare.run.checkpoint.content import Document, capture, restore
from handgrad.compare.run.checkpoint.files import Damaged, read_archive, write_archive
from handgrad.compare.run.checkpoint.interruption import Interrupted, Interruption
from handgrad.compare.run.checkpoint.log_state import Logged, LogState
from handgrad.compare.run.health import NoRoom
from handgrad.compare.run.lockstep import Lockstep

FOLDER = "checkpoints"  # in the run's own folder
DAMAGED = ".damaged"  # put behind the name of a file that cannot be used
KEPT = 2  # the newest one, and the one before it in case that one is damaged
EVERY = 500  # steps, by default


class Log(Protocol):
    """An event log, which says what it has written so that another one can go on there."""

    def state(self) -> LogState:
        """Flush every event to its file, and return what another log needs."""


class Keeper:
    """Saves checkpoints below `folder`: every `every` steps, at each epoch's end, and before a signal stops the run."""

    def __init__(self, folder: Path, every: int, interruption: Interruption, log: Log | None, began: float) -> None:
        self.folder, self.every, self.interruption, self.log = folder, every, interruption, log
        self.began = began  # on time.perf_counter's clock: the seconds since then are the run's

    def after_step(self, run: Lockstep) -> None:
        """Save the run if it is time to. Raises Interrupted after a signal, and NoRoom where it cannot be saved."""
        done, stop = run.progress.step + 1, self.interruption.number
        if stop or done % self.every == 0 or done % run.steps_per_epoch == 0 or done == run.steps:
            started = time.perf_counter()
            self.save(run)
            run.progress.seconds["checkpoint"] += time.perf_counter() - started
        if stop:
            raise Interrupted(stop, saved=True)

    def save(self, run: Lockstep) -> None:
        """Write a checkpoint and remove the ones that are no longer needed. NoRoom where there is no room for it."""
        log: Logged | None = None
        path = self.folder / FOLDER / f"step-{run.progress.step:010d}.npz"
        try:
            if self.log is not None:  # the log first: what a checkpoint has behind it must be in the files
                log = Logged(self.log.state(), event_files.sums(self.folder))
            path.parent.mkdir(exist_ok=True)
            write_archive(path, capture(run, log, time.perf_counter() - self.began))
        except OSError as problem:
            how = (
                "continue from the one before it"
                if checkpoints(self.folder)
                else "begin again, as nothing is saved yet,"
            )
            raise NoRoom(
                f"a checkpoint must be written, but {path} cannot be ({problem.strerror or problem}): make room, and "
                f"{how} with handgrad mnist --resume {self.folder}"
            ) from problem
        for old in [*checkpoints(self.folder)[KEPT:], *path.parent.glob(f"*{TEMPORARY}")]:
            old.unlink(missing_ok=True)


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of the run in this folder, the newest first."""
    return sorted((folder / FOLDER).glob("step-*.npz"), reverse=True)


def load_newest(run: Lockstep, folder: Path) -> tuple[Document | None, list[Path]]:
    """Put a run where its newest whole checkpoint was taken; None where it has not saved any yet.

    Returns the damaged files that were passed over, too; each has a note in the run's progress. Damaged where there
    are checkpoints and none is whole.
    """
    damaged: list[Path] = []
    notes: list[str] = []
    for path in checkpoints(folder):
        try:
            document = restore(run, read_archive(path))
        except Damaged as problem:
            damaged.append(path)
            notes.append(f"checkpoint {path.name} could not be used ({problem})")
            continue
        run.progress.notes += [f"{note}; the run went on from {path.name}, the one before it" for note in notes]
        return document, damaged
    if damaged:
        raise Damaged(f"expected a whole checkpoint in {folder / FOLDER}, but {'; '.join(notes)}: begin the run again")
    return None, []


def set_aside(damaged: list[Path]) -> None:
    """Give damaged checkpoints another name, so that they are neither used nor lost."""
    for path in damaged:
        path.replace(path.with_name(path.name + DAMAGED))
