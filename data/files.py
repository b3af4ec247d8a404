"""The four idx files of a data set: find them, prove them whole, unpack them.

torchvision downloads, unpacks and later reads the files. What it does not do is kept here: it
accepts any unpacked file that merely exists, it unpacks in place (so that a second process can see
half a file), and it fetches a missing file from the network without asking.
"""

import os
import struct
import tempfile
import zlib
from pathlib import Path
from typing import Any

# This package's own folder is a torchvision root: the digits lie in data/MNIST/raw.
SHIPPED = Path(__file__).resolve().parent

CLASSES = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST", "kmnist": "KMNIST"}


class DataError(Exception):
    """A data file is missing, damaged or not what it should be. The message is one line."""


def torchvision_class(name: str) -> Any:
    """The torchvision class of the data set ``name``; ValueError for a name not in CLASSES."""
    if not isinstance(name, str) or name not in CLASSES:
        raise ValueError(f"expected a data set among {', '.join(CLASSES)}, got {name!r}; choose one")
    # Imported here because torchvision takes seconds, which `--help` should not have to pay.
    from torchvision import datasets  # type: ignore[import-untyped,unused-ignore]

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
    shipped = name == "mnist" and data_dir is None
    root = SHIPPED if shipped else data_dir or cache_root()
    raw = _find(cls, root)
    present = _present(cls, raw)
    if not present and not shipped:
        if name == "mnist":
            raise DataError(
                f"{root}: expected {_file_names(cls)} in it or in {CLASSES[name]}/raw below it, "
                "found none of them; put them there, or leave out --data-dir for the shipped copy"
            )
        _download(cls, name, root, raw)
    elif data_dir is not None and not any(file.endswith(".gz") for file in present):
        # Only a folder that the user named is taken unpacked, on the word of its form alone.
        _check_complete(cls, raw, present)
        return raw

    if shipped:
        remedy = "restore it with git checkout, or install handgrad again"
    elif data_dir is None:
        remedy = f"delete the folder {raw} and run again, to download it anew"
    else:
        remedy = "put a good copy in its place, or name another --data-dir"
    for file, md5 in cls.resources:
        _check_md5(raw / file, md5, remedy)
    return _unpack_all(cls, raw)


def cache_root() -> Path:
    """The folder of handgrad in the user's cache (which need not exist yet)."""
    cache = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification tells programs to ignore a relative path.
    if not os.path.isabs(cache):
        cache = os.path.expanduser("~/.cache")
    if not os.path.isabs(cache):
        raise DataError("expected a home folder for the cache, found none; set XDG_CACHE_HOME")
    return Path(cache) / "handgrad"


def _file_names(cls: Any) -> str:
    return ", ".join(file for file, _ in cls.resources)


def _present(cls: Any, folder: Path) -> list[str]:
    """Those of the data set's files, packed and unpacked, that ``folder`` holds."""
    files = [name for file, _ in cls.resources for name in (file, file.removesuffix(".gz"))]
    return [file for file in files if (folder / file).is_file()]


def _find(cls: Any, root: Path) -> Path:
    """torchvision's raw folder below ``root``, unless only ``root`` itself holds the files."""
    raw = root / cls.__name__ / "raw"
    return root if _present(cls, root) and not _present(cls, raw) else raw


def _check_complete(cls: Any, raw: Path, present: list[str]) -> None:
    for file in (file.removesuffix(".gz") for file, _ in cls.resources):
        if file not in present:
            raise DataError(
                f"{raw / file}: expected this file or {file}.gz next to {present[0]}, found neither; put it there"
            )


def _check_md5(path: Path, md5: str, remedy: str) -> None:
    from torchvision.datasets import utils  # type: ignore[import-untyped,unused-ignore]

    if not path.is_file():
        raise DataError(f"{path}: expected a file with md5 {md5}, found no such file; {remedy}")
    if not utils.check_integrity(str(path), md5):
        size, found = path.stat().st_size, utils.calculate_md5(str(path))
        raise DataError(f"{path}: expected md5 {md5}, found md5 {found} in {size} bytes; {remedy}")


def _unpack_all(cls: Any, raw: Path) -> Path:
    """Unpack next to the packed files, or else in the user's cache; the folder that took them."""
    # Only trying tells whether a folder can be written: root may write anything by its
    # permissions, and nobody may on a read-only mount.
    try:
        return _unpack_into(raw, cls, raw)
    except OSError as error:
        here = error
    try:
        # Not where downloads lie: a later run would take these for a download without its .gz.
        return _unpack_into(cache_root() / "unpacked" / cls.__name__, cls, raw)
    except OSError as error:
        raise DataError(
            f"{raw}: expected room to unpack there or in the cache, found {here}; {error}; "
            "free some space, or set XDG_CACHE_HOME to a folder that can be written"
        ) from error


def _unpack_into(folder: Path, cls: Any, raw: Path) -> Path:
    for file, _ in cls.resources:
        _unpack(raw / file, folder)
    return folder


def _unpack(packed: Path, folder: Path) -> None:
    """Have ``packed``, known to be whole, unpacked in ``folder``; a whole file there is kept."""
    from torchvision.datasets import utils  # type: ignore[import-untyped,unused-ignore]

    target = folder / packed.stem
    if _matches(packed, target):
        return
    folder.mkdir(parents=True, exist_ok=True)
    # Unpacked aside and renamed, so that a second process sees no file or a whole one. The suffix
    # makes .gitignore's *-ubyte cover what a killed process leaves behind.
    with tempfile.TemporaryDirectory(dir=folder, prefix=".unpack-", suffix="-ubyte") as aside:
        utils.extract_archive(str(packed), aside)
        os.replace(Path(aside) / packed.stem, target)


def _matches(packed: Path, unpacked: Path) -> bool:
    """Whether ``unpacked`` has the CRC32 and length that the last 8 bytes of ``packed`` give."""
    if not unpacked.is_file():
        return False
    content = unpacked.read_bytes()
    trailer = struct.pack("<II", zlib.crc32(content), len(content) % 2**32)
    return packed.read_bytes()[-8:] == trailer


def _download(cls: Any, name: str, root: Path, raw: Path) -> None:
    """Let torchvision download into a folder aside, then move it to ``raw`` in one step."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root, prefix=".download-") as aside:
            cls(aside, download=True)
            raw.parent.mkdir(exist_ok=True)
            try:
                os.replace(Path(aside) / cls.__name__ / "raw", raw)
            except OSError:
                # Another process has been faster: its files are as good, and are checked next.
                if not _present(cls, raw):
                    raise
    except Exception as error:  # torchvision lets RuntimeError, OSError and http.client's through
        reason = " ".join(str(error).split())
        raise DataError(
            f"{root}: expected to download {name} into it, found {reason}; put {_file_names(cls)} there by hand"
        ) from error
