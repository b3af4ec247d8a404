"""Files that are whole or not there at all, and archives of arrays that are right to the last bit or refused.

An archive is an ordinary .npz, which `numpy.load(path)` reads, with the SHA-256 of all that stands before it as
the comment that ends a zip file. So no byte of it can change unnoticed, and nothing in it is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

CHECKSUM = 64  # hexadecimal digits, the last bytes of an archive
TEMPORARY = ".tmp"


class Damaged(Exception):
    """A file that cannot be used; the message says in what way."""


def replace(path: Path, write: Callable[[BinaryIO], None]) -> None:
    """Let `write` fill a temporary file, sync it, and put it in the place of `path` in one step.

    Whenever the process or the machine stops, `path` is either what it was or what it is to be. OSError where
    that cannot be written, and then nothing of it is left.
    """
    temporary = path.with_name(path.name + TEMPORARY)
    try:
        with temporary.open("w+b") as file:
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


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file that people can read."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    replace(path, lambda file: _write_all(file, text.encode()))


def _write_all(file: BinaryIO, content: bytes) -> None:
    file.write(content)


def write_archive(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write arrays by name as an archive. The same arrays give the same bytes, at any time."""

    def write(file: BinaryIO) -> None:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for name, array in arrays.items():
                # A ZipInfo of its own has no time stamp.
                with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)
            archive.comment = b"0" * CHECKSUM
        size = file.tell() - CHECKSUM
        digest = _digest(file, size)
        file.seek(size)
        file.write(digest)

    replace(path, write)


def read_archive(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an archive. Damaged where a byte has changed, or where it holds anything but plain arrays."""
    try:
        size = path.stat().st_size - CHECKSUM
        if size <= 0:
            raise Damaged(f"it has only {size + CHECKSUM} bytes")
        with path.open("rb") as file:
            digest = _digest(file, size)
            if file.read() != digest:
                raise Damaged("its checksum does not match its content")
        with np.load(path, allow_pickle=False) as archive:
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.zip.infolist()):
                raise Damaged("it is compressed, and no archive of ours is")
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, MemoryError, zipfile.BadZipFile) as problem:
        raise Damaged(f"it cannot be read: {problem}") from None


def _digest(file: BinaryIO, size: int) -> bytes:
    """The SHA-256 of the first `size` bytes, as hexadecimal digits; the file stands behind them."""
    file.seek(0)
    digest = hashlib.sha256()
    while size > 0:
        block = file.read(min(size, 1 << 20))
        if not block:
            break
        digest.update(block)
        size -= len(block)
    return digest.hexdigest().encode()
