"""What an event log has written, and the removal of what it wrote after a checkpoint.

Events behind the checkpoint are made again by the run that goes on from there. Without cutting the files back
they would stand there twice, and the last one, half written when the process was killed, would be torn.
"""

from __future__ import annotations

import os
import re
import time
import zlib
from collections.abc import Mapping
from pathlib import Path

NAME = "events.out.tfevents."  # what every event file's name begins with; a time in seconds follows
EVENTS = re.compile(re.escape(NAME) + r"\d+\.[^/]*")
BLOCK = 1 << 20


def sums(folder: Path) -> dict[str, tuple[int, int]]:
    """The bytes and the CRC-32 of each event file below the folder, by its path in it."""
    return {path.relative_to(folder).as_posix(): _sum(path) for path in _files(folder)}


def cut_back(folder: Path, kept: Mapping[str, tuple[int, int]]) -> list[str]:
    """Shorten every event file to the size it had, and remove those that were not there; return what was damaged.

    A file whose name no log gives is left alone, and so is a link. Waits until the clock has passed the newest file's
    second: TensorBoard reads files in the order of the time in their names, and the next one must come last.
    """
    newest, notes = 0, []
    for path in _files(folder):
        known = kept.get(path.relative_to(folder).as_posix())
        if known is None:
            path.unlink()
            continue
        if path.stat().st_size > known[0]:
            os.truncate(path, known[0])
        if _sum(path) != tuple(known):
            notes.append(_damaged(path.relative_to(folder).as_posix()))
        newest = max(newest, int(path.name.removeprefix(NAME).split(".")[0]))
    notes += [_damaged(name) for name in kept if not (folder / name).is_file()]
    while newest <= time.time() < newest + 1:
        time.sleep(0.01)
    return notes


def _damaged(name: str) -> str:
    return f"the event file {name} is not as the run left it: what TensorBoard shows of the steps before may be torn"


def _sum(path: Path) -> tuple[int, int]:
    size = crc = 0
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            size, crc = size + len(block), zlib.crc32(block, crc)
    return size, crc


def _files(folder: Path) -> list[Path]:
    """Every file below the folder that has the name of a log's, and is one."""
    return sorted(
        path
        for path in folder.rglob(f"{NAME}*")
        if EVENTS.fullmatch(path.name) and path.is_file() and not path.is_symlink()
    )
