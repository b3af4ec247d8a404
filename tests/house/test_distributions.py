"""The wheel and the sdist hold what they must, nothing else, and are built without a word of warning."""

from __future__ import annotations

import sys
import tarfile
from email import message_from_bytes
from fnmatch import fnmatch
from pathlib import Path
from zipfile import ZipFile

from tests.house.environments import FOLDERS, must_run

ROOMS = ("compare", "data", "manual", "torch_ref")
DIGITS = "handgrad/data/MNIST/raw/*.gz"


def modules(source: Path) -> set[str]:
    """Every Python file of the packages, by the path that it is installed at."""
    rooms = {f"handgrad/{file.relative_to(source)}" for room in ROOMS for file in (source / room).rglob("*.py")}
    return rooms | {str(file.relative_to(source)) for file in (source / "handgrad").glob("*.py")}


def test_no_word_of_warning(built: Path) -> None:
    log = (built / "log").read_text("utf-8")
    assert "Successfully built handgrad-" in log
    said = [
        line for line in log.splitlines() if "warning" in line.lower() or "deprecat" in line.lower() or "!!" in line
    ]
    assert said == []


def test_an_index_accepts_them(built: Path) -> None:
    files = sorted((built / "dist").iterdir())
    said = must_run(sys.executable, "-m", "twine", "--no-color", "check", "--strict", *files, cwd=built)
    assert said.count("PASSED") == len(files) == 2


def test_the_wheel_holds_every_module_and_no_test(built: Path, wheel: Path) -> None:
    """A new package needs its row in [tool.setuptools] of pyproject.toml, `packages`."""
    with ZipFile(wheel) as file:
        names = {name for name in file.namelist() if ".dist-info/" not in name}
    digits = {name for name in names if fnmatch(name, DIGITS)}
    assert len(digits) == 4
    assert names - digits == modules(built / "source") | {"handgrad/py.typed", "handgrad/data/README.md"}


def test_the_wheel_is_small_but_for_the_digits(wheel: Path) -> None:
    """`handgrad mnist` needs the digits where there is no network; the md5 of each file is proved when it is read."""
    with ZipFile(wheel) as file:
        packed = {info.filename: info.compress_size for info in file.infolist()}
    digits = sum(size for name, size in packed.items() if fnmatch(name, DIGITS))
    assert 11_000_000 < digits < 12_000_000
    assert wheel.stat().st_size - digits < 1_000_000


def test_the_sdist_holds_the_suite_and_all_that_it_needs(built: Path) -> None:
    """A new kind of file needs its row in MANIFEST.in."""
    (path,) = (built / "dist").glob("*.tar.gz")
    with tarfile.open(path) as file:
        names = {name.partition("/")[2] for name in file.getnames()}
    source = built / "source"
    ours = {str(f.relative_to(source)) for folder in FOLDERS for f in (source / folder).rglob("*") if f.is_file()}
    assert ours - names == set()
    assert {"Makefile", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "pyproject.toml"} <= names
    assert "tests/conftest.py" in names


def test_what_an_index_shows(wheel: Path) -> None:
    with ZipFile(wheel) as file:
        (path,) = (name for name in file.namelist() if name.endswith(".dist-info/METADATA"))
        shown = message_from_bytes(file.read(path))
        (path,) = (name for name in file.namelist() if name.endswith(".dist-info/entry_points.txt"))
        commands = file.read(path).decode()
    assert shown["Name"] == "handgrad"
    assert len(shown["Summary"]) <= 512  # an index refuses a longer one
    assert shown["License-Expression"] == "MIT"
    assert set(shown.get_all("License-File", [])) == {"LICENSE", "data/README.md"}
    assert shown["Description-Content-Type"] == "text/markdown"
    assert shown["Requires-Python"] == ">=3.11"
    assert {"lessons", "plot", "test", "dev", "bench"} == set(shown.get_all("Provides-Extra", []))
    assert {"Typing :: Typed", "Framework :: Pytest"} <= set(shown.get_all("Classifier", []))
    assert "handgrad = handgrad.compare.commands.main:main" in commands
    assert "handgrad = handgrad.pytest_plugin" in commands
