"""Files that are whole or not there at all."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

TEMPORARY = ".tmp"


def replace(path: Path, write: Callable[[BinaryIO], Any]) -> None:
    """Let `write` fill a temporary file, sync it, and put it in the place of `path` in one step.

    Whenever the process or the machine stops, `path` is either what it was or what it is to be. OSError where
    that cannot be written, and then nothing of it is left.
    """
    temporary = path.with_name(path.name + TEMPORARY)
    try:
        temporary.unlink(missing_ok=True)  # of a process that was killed; or a link, which is not to be followed
        with temporary.open("x+b") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)  # the new name is in the folder, so that must reach the disk too


def _sync_folder(folder: Path) -> None:
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return  # not every system opens a folder
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file that people can read: whole, or not at all. Raises OSError."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    replace(path, lambda file: file.write(text.encode()))
