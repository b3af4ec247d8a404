"""What an event log has written, and the removal of what it wrote after a checkpoint.

Events behind the checkpoint are made again by the run that goes on from there. Without cutting the files back
they would stand there twice, and the last one, half written when the process was killed, would be torn.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

NAME = "events.out.tfevents."  # what every event file's name begins with; a time in seconds follows


def sizes(folder: Path) -> dict[str, int]:
    """The bytes of each event file below the folder, by its path in it."""
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in _files(folder)}


def cut_back(folder: Path, kept: dict[str, int]) -> None:
    """Shorten every event file to the size it had, and remove those that were not there.

    Waits until the clock has passed the newest file's second: TensorBoard reads files in the order of the time
    in their names, and the next one must come last.
    """
    newest = 0
    for path in _files(folder):
        size = kept.get(path.relative_to(folder).as_posix())
        if size is None:
            path.unlink()
            continue
        if path.stat().st_size > size:
            os.truncate(path, size)
        newest = max(newest, int(path.name.removeprefix(NAME).split(".")[0]))
    while newest <= time.time() < newest + 1:
        time.sleep(0.01)


def _files(folder: Path) -> list[Path]:
    return sorted(folder.rglob(f"{NAME}*"))
