"""The four idx files of a data set: find them, prove them whole, unpack them.

torchvision downloads the files, takes their md5 and unpacks them. What it does not do is kept here: it accepts any
unpacked file that merely exists, it unpacks in place (so that a second process can see half a file), and it fetches a
missing file from the network without asking.
"""

import os
import struct
import tempfile
import zlib
from pathlib import Path
from typing import Any

from handgrad.data.choices import CLASSES

# This package's own folder is a torchvision root: the digits lie in data/MNIST/raw.
SHIPPED = Path(__file__).resolve().parent


class DataError(Exception):
    """A data file is missing, damaged or not what it should be. The message is one line."""


def torchvision_class(name: str) -> Any:
    """The torchvision class of the data set ``name``; ValueError for a name not in CLASSES."""
    if not isinstance(name, str) or name not in CLASSES:
        raise ValueError(f"expected a data set among {', '.join(CLASSES)}, got {name!r}; choose one")
    from torchvision import datasets  # it takes seconds, which `--help` should not have to pay

    return getattr(datasets, CLASSES[name])


def unpacked_folder(name: str, data_dir: Path | None) -> Path:
    """The folder with the four unpacked files of ``name``, each as whole as can be proved.

    With ``data_dir`` None, mnist comes from the shipped folder and any other set from the user's
    cache. Otherwise ``data_dir`` is a torchvision root or the very folder with the files, packed
    or only unpacked. Packed files are proved by md5, and unpacked ones against the packed. mnist is
    never downloaded; another set is, where none of its files is there.

    Raises DataError (missing, damaged, not to be downloaded, no room to unpack) and OSError.
    """
    cls = torchvision_class(name)
    packed = [file for file, _ in cls.resources]
    shipped = name == "mnist" and data_dir is None
    root = SHIPPED if shipped else data_dir or cache_root()
    raw = root / cls.__name__ / "raw"
    if _present(packed, root) and not _present(packed, raw):
        raw = root
    present = _present(packed, raw)
    if not present and not shipped:
        if name == "mnist":
            raise DataError(
                f"{root}: expected {', '.join(packed)} in it or in {cls.__name__}/raw below it, "
                "found none of them; put them there, or leave out --data-dir for the shipped copy"
            )
        _download(cls, name, root, raw)
    elif data_dir is not None and not set(packed) & set(present):
        # Only a folder that the user named is taken unpacked, on the word of its form alone.
        for file in packed:
            if Path(file).stem not in present:
                raise DataError(
                    f"{raw / Path(file).stem}: expected this file or {file} next to {present[0]}, found neither; "
                    "put it there"
                )
        return raw

    if shipped:
        remedy = "restore it with git checkout, or install handgrad again"
    elif data_dir is None:
        remedy = f"delete the folder {raw} and run again, to download it anew"
    else:
        remedy = "put a good copy in its place, or name another --data-dir"
    for file, md5 in cls.resources:
        _check_md5(raw / file, md5, remedy)
    return _unpack_somewhere([raw / file for file in packed], cls.__name__)


def cache_root() -> Path:
    """The folder of handgrad in the user's cache (which need not exist yet)."""
    cache = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification tells programs to ignore a relative path.
    if not os.path.isabs(cache):
        cache = os.path.expanduser("~/.cache")
    if not os.path.isabs(cache):
        raise DataError("expected a home folder for the cache, found none; set XDG_CACHE_HOME")
    return Path(cache) / "handgrad"


def _present(packed: list[str], folder: Path) -> list[str]:
    """Those of the files, packed and unpacked, that ``folder`` holds."""
    return [name for file in packed for name in (file, Path(file).stem) if (folder / name).is_file()]


def _check_md5(path: Path, md5: str, remedy: str) -> None:
    from torchvision.datasets import utils

    if not path.is_file():
        raise DataError(f"{path}: expected a file with md5 {md5}, found no such file; {remedy}")
    if (found := utils.calculate_md5(str(path))) != md5:
        raise DataError(f"{path}: expected md5 {md5}, found md5 {found} in {path.stat().st_size} bytes; {remedy}")


def _unpack_somewhere(packed: list[Path], name: str) -> Path:
    """Unpack next to the packed files, or else in the user's cache; the folder that took them."""
    # Only trying tells whether a folder can be written: root may write anything by its
    # permissions, and nobody may on a read-only mount.
    raw = packed[0].parent
    try:
        return _unpack(packed, raw)
    except OSError as error:
        here = error
    try:
        # Not where downloads lie: a later run would take these for a download without its .gz.
        return _unpack(packed, cache_root() / "unpacked" / name)
    except OSError as error:
        raise DataError(
            f"{raw}: expected room to unpack there or in the cache, found {here}; {error}; "
            "free some space, or set XDG_CACHE_HOME to a folder that can be written"
        ) from error


def _unpack(packed: list[Path], folder: Path) -> Path:
    """Have the files, known to be whole, unpacked in ``folder``, and return it; a whole file there is kept."""
    from torchvision.datasets import utils

    for file in packed:
        target = folder / file.stem
        if _matches(file, target):
            continue
        folder.mkdir(parents=True, exist_ok=True)
        # Unpacked aside and renamed, so that a second process sees no file or a whole one. The suffix
        # makes .gitignore's *-ubyte cover what a killed process leaves behind.
        with tempfile.TemporaryDirectory(dir=folder, prefix=".unpack-", suffix="-ubyte") as aside:
            utils.extract_archive(str(file), aside)
            os.replace(Path(aside) / file.stem, target)
    return folder


def _matches(packed: Path, unpacked: Path) -> bool:
    """Whether ``unpacked`` has the CRC32 and length that the last 8 bytes of ``packed`` give."""
    if not unpacked.is_file():
        return False
    content = unpacked.read_bytes()
    return packed.read_bytes()[-8:] == struct.pack("<II", zlib.crc32(content), len(content) % 2**32)


def _download(cls: Any, name: str, root: Path, raw: Path) -> None:
    """Let torchvision download into a folder aside, then move it to ``raw`` in one step."""
    packed = [file for file, _ in cls.resources]
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root, prefix=".download-") as aside:
            cls(aside, download=True)
            raw.parent.mkdir(exist_ok=True)
            try:
                os.replace(Path(aside) / cls.__name__ / "raw", raw)
            except OSError:
                # Another process has been faster: its files are as good, and are checked next.
                if not _present(packed, raw):
                    raise
    except Exception as error:  # torchvision lets RuntimeError, OSError and http.client's through
        reason = " ".join(str(error).split())
        raise DataError(
            f"{root}: expected to download {name} into it, found {reason}; put {', '.join(packed)} there by hand"
        ) from error
