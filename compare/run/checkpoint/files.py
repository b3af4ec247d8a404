"""Archives of arrays that are right to the last bit or refused.

An archive is an ordinary .npz, which `numpy.load(path)` reads, with the SHA-256 of all that stands before it as
the comment that ends a zip file. So no byte of it can change unnoticed, and nothing in it is ever unpickled.
"""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path
from typing import BinaryIO

import numpy as np

from handgrad.compare.foundation.whole_files import replace

CHECKSUM = 64  # hexadecimal digits, the last bytes of an archive


class Damaged(Exception):
    """A file that cannot be used; the message says in what way."""


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
