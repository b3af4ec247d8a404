"""A command that cannot go on says so in one line, with its own exit code, and leaves whole files or none."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from handgrad import data
from handgrad.compare.commands import check as command
from handgrad.compare.foundation import whole_files
from handgrad.compare.run import lockstep
from handgrad.compare.run.checkpoint.keeper import Keeper
from tests import ROOT

RIGHT = """
import numpy as np, torch
from handgrad import check
def forward(x): return x ** 2
def backward(dy, x): return 2 * x * dy
def reference(x): return x ** 2
"""
CALL = 'check((forward, backward), reference, x=(3, 4), name="square")\n'


def one_line(err: str, command: str, says: str) -> None:
    assert err.startswith(f"handgrad {command}: ")
    assert err.endswith("\n")
    assert err.count("\n") == 1
    assert says in err
    assert "Traceback" not in err


@pytest.fixture
def file(tmp_path: Path) -> Any:
    def write(text: str) -> Path:
        path = tmp_path / "my_layer.py"
        path.write_text(text, encoding="utf-8")
        return path

    return write


# --- no room ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A disk that is full once the text of a file of this name is to be written."""
    right = Path.open

    def fill(name: str) -> None:
        def opened(self: Path, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
            file = right(self, mode, *args, **kwargs)
            if name in self.name and ("w" in mode or "x" in mode):
                with file:
                    file.write(b"some bytes")  # still fit
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))
            return file

        monkeypatch.setattr(Path, "open", opened)

    return fill


def test_no_room_for_the_settings(full, handgrad, tmp_path: Path, few_digits: Path) -> None:
    full("experiment.json")
    runs = tmp_path / "runs"
    outcome = handgrad("mnist", "--data-dir", few_digits, "--logdir", runs, "--name", "run", "--max-steps", 2)
    assert (outcome.code, outcome.out) == (2, "")
    one_line(
        outcome.err, "mnist", f"{runs / 'run'} takes no more (No space left on device): free some space, or make it"
    )
    assert list(runs.iterdir()) == []


def test_no_room_for_the_report(full, handgrad, tmp_path: Path, few_digits: Path) -> None:
    full("report.json")
    runs = tmp_path / "runs"
    outcome = handgrad("mnist", "--data-dir", few_digits, "--logdir", runs, "--name", "run", "--max-steps", 2)
    assert outcome.code == 4
    one_line(outcome.err, "mnist", "every file of the run must be written, but ")
    assert {path.name for path in (runs / "run").glob("*.json*")} == {"experiment.json"}
    assert not list((runs / "run").glob(".*"))
    assert json.loads((runs / "run" / "experiment.json").read_text("utf-8"))["settings"]["max_steps"] == 2
    assert "report: " not in outcome.out
    assert "2 steps" in outcome.out  # what was found is still told


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file may grow beyond 64 kB: the kernel's own refusal, while the digits are only read."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_log_that_takes_no_more(
    small_files, handgrad, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, few_digits: Path
) -> None:
    monkeypatch.setattr(Keeper, "after_step", lambda self, run: None)  # a checkpoint would be too large first
    arguments = ("--data-dir", few_digits, "--logdir", tmp_path, "--name", "run", "--log-every", 1, "--max-steps", 500)
    outcome = handgrad("mnist", *arguments, "--epochs", 100)
    assert outcome.code == 4
    one_line(outcome.err, "mnist", "takes no more (File too large): free some space, or make it writable")
    report = json.loads((tmp_path / "run" / "report.json").read_text("utf-8"))
    assert 0 < report["steps"] <= 500
    assert "File too large" in report["stopped"]


def test_a_json_file_is_whole_or_as_it_was(full, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    whole_files.write_json(path, {"before": 1})
    full("report.json")
    with pytest.raises(OSError, match="No space left"):
        whole_files.write_json(path, {"after": 2})
    assert json.loads(path.read_text("utf-8")) == {"before": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["report.json"]


def test_an_unwritable_log_folder(handgrad, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, few_digits: Path) -> None:
    def mkdir(self: Path, *args: Any, **kwargs: Any) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))

    monkeypatch.setattr(Path, "mkdir", mkdir)  # root, who runs many tests, may write anywhere
    outcome = handgrad("mnist", "--data-dir", few_digits, "--logdir", tmp_path / "runs", "--name", "run")
    assert (outcome.code, outcome.out) == (2, "")
    one_line(outcome.err, "mnist", "cannot be made (Permission denied): choose another --logdir or --name")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--name", "a" * 300), "cannot be made (File name too long): choose another --logdir or --name"),
        (("--name", "a\0b"), "cannot be made (embedded null byte): choose another --logdir or --name"),
        (("--sizes", "784-" + "9" * 400 + "-10"), "sizes must be two or more whole numbers of at least 1"),
        (("--epochs", "9" * 400), "epochs must be a whole number of at least 1 and at most 1000000000000000000, got 9"),
        (("--dampening", "nan", "--momentum", 0.9), "SGD: dampening must lie in [-inf, inf), got nan"),
        (("--judge-every", 0), "judge every must be a whole number of at least 1, got 0: choose another"),
        (("--device", "cuda:" + "9" * 30), "cannot be used (Could not parse device index"),
    ],
    ids=lambda x: " ".join(map(str, x))[:40] if isinstance(x, tuple) else "",
)
def test_odd_options(options: tuple[object, ...], says: str, handgrad, tmp_path: Path, few_digits: Path) -> None:
    runs = tmp_path / "runs"
    outcome = handgrad("mnist", "--data-dir", few_digits, "--logdir", runs, *options)
    assert (outcome.code, outcome.out) == (2, "")
    one_line(outcome.err, "mnist", says)
    assert not runs.exists() or list(runs.iterdir()) == []


# --- data -------------------------------------------------------------------------------------------------------------

GZ = "t10k-labels-idx1-ubyte.gz"
PLACES = {"magic": 0, "method": 2, "time stamp": 4, "first block": 40, "middle": 2000, "CRC": -8, "length": -1}


@pytest.mark.parametrize("place", PLACES)
def test_a_packed_file_damaged_anywhere(place: str, handgrad, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    folder.mkdir()
    for path in (Path(data.__file__).parent / "MNIST" / "raw").glob("*.gz"):
        (folder / path.name).symlink_to(path)
    content = bytearray((folder / GZ).read_bytes())
    content[PLACES[place]] ^= 1
    (folder / GZ).unlink()
    (folder / GZ).write_bytes(content)
    outcome = handgrad("mnist", "--data-dir", folder, "--logdir", tmp_path / "runs")
    assert (outcome.code, outcome.out) == (3, "")
    one_line(outcome.err, "mnist", f"{folder / GZ}: expected md5 ec29112dd5afa0611ce80d1b7f02629c, found md5 ")
    assert not (tmp_path / "runs").exists()
    assert not list(folder.glob("*-ubyte"))


def header(*numbers: int) -> bytes:
    return struct.pack(f">{len(numbers)}I", *numbers)


IMAGES, LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"
UNPACKED: dict[str, tuple[str, bytes, str]] = {
    "nothing": (IMAGES, b"", "expected an idx header of 16 bytes, found 0 bytes; put a good copy in its place"),
    "half a header": (LABELS, header(2049), "expected an idx header of 8 bytes, found 4 bytes; put a good copy"),
    "labels for images": (IMAGES, header(2049, 1, 28, 28) + bytes(784), "expected magic 2051, found 2049; put a good"),
    "floats": (IMAGES, header(0x0D03, 1, 28, 28) + bytes(784 * 4), "expected magic 2051, found 3331; put a good copy"),
    "little-endian": (LABELS, struct.pack("<2I", 2049, 50) + bytes(50), "expected magic 2049, found 17301504; put a"),
    "of another size": (
        IMAGES,
        header(2051, 50, 32, 32) + bytes(51200),
        "expected images of 28x28, found 32x32; put a",
    ),
    "an empty set": (LABELS, header(2049, 0), "expected at least one item, found 0; put a good copy in its place"),
    "cut": (LABELS, header(2049, 50) + bytes(49), "expected 58 bytes for 50 items, found 57; put a good copy"),
    "an absurd count": (
        IMAGES,
        header(2051, 2**32 - 1, 28, 28),
        "expected 3367254359296 bytes for 4294967295 items, f",
    ),
    "other counts": (LABELS, header(2049, 49) + bytes(49), "expected 50 labels as t10k-images-idx3-ubyte has images,"),
    "no such class": (LABELS, header(2049, 50) + bytes([10] * 50), "expected labels from 0 to 9, found 10 at index 0;"),
}


@pytest.mark.parametrize("row", UNPACKED)
def test_an_unpacked_file_that_is_wrong(row: str, handgrad, tmp_path: Path, few_digits: Path) -> None:
    name, content, says = UNPACKED[row]
    folder = tmp_path / "copy"
    shutil.copytree(few_digits, folder)
    (folder / name).write_bytes(content)
    outcome = handgrad("mnist", "--data-dir", folder, "--logdir", tmp_path / "runs")
    assert (outcome.code, outcome.out) == (3, "")
    one_line(outcome.err, "mnist", f"{folder / name}: {says}")
    assert not (tmp_path / "runs").exists()


# --- handgrad check ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["folder", "no/report.json", "file/report.json"])
def test_reports_that_cannot_be_written_are_refused_before_any_check(place: str, file, handgrad, tmp_path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    outcome = handgrad("check", file(RIGHT + CALL), "--json", tmp_path / place)
    assert (outcome.code, outcome.out) == (2, "")
    one_line(
        outcome.err, "check", f"--json must name a file in a folder that exists, got {tmp_path / place}: name anot"
    )


def test_no_room_for_the_reports(full, file, handgrad, tmp_path: Path) -> None:
    full("reports.json")
    outcome = handgrad("check", file(RIGHT + CALL), "--json", tmp_path / "reports.json")
    assert outcome.code == 2
    assert "square: agrees" in outcome.out
    one_line(outcome.err, "check", "--json must name a file that can be written, but ")
    assert not (tmp_path / "reports.json").exists()


def test_what_was_checked_before_a_mistake_is_shown(file, handgrad) -> None:
    outcome = handgrad("check", file(RIGHT + CALL + "check(1, 2)\n"))
    assert outcome.code == 2
    assert "square: agrees" in outcome.out
    one_line(outcome.err, "check", "takes exactly one of x= or inputs=")


def test_functions_that_all_raise_are_no_agreement(file, handgrad) -> None:
    outcome = handgrad("check", file("def check_it(): raise ValueError('two\\nlines')\n"))
    assert (outcome.code, outcome.out) == (2, "")
    one_line(outcome.err, "check", "check_it raises ValueError: two lines")


def test_an_interrupted_derivation_says_where(file, handgrad) -> None:
    outcome = handgrad("check", file(RIGHT.replace("return 2 * x * dy", "raise KeyboardInterrupt") + CALL))
    assert outcome.code == 130
    one_line(outcome.err, "check", "interrupted in backward, line 5 of ")


def test_a_slow_derivation_is_remarked_on(file, handgrad, monkeypatch: pytest.MonkeyPatch) -> None:
    path = file(RIGHT + CALL)
    assert handgrad("check", path).err == ""
    monkeypatch.setattr(command, "SLOW", 0.0)
    outcome = handgrad("check", path)
    assert outcome.code == 0
    one_line(
        outcome.err, "check", "square took 0 s, every draw running both sides many times: a smaller shape checks as"
    )


# --- what nobody foresaw ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("problem", "says"),
    [
        (ZeroDivisionError("two\nlines"), "nothing may fail unforeseen, but ZeroDivisionError came: two lines ("),
        (MemoryError("Unable to allocate 9 TiB"), "everything must fit into memory, but Unable to allocate 9 TiB: use"),
    ],
)
def test_a_fault_of_our_own_gives_4(
    problem: Exception, says: str, handgrad, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, few_digits: Path
) -> None:
    def fail(*_: object) -> None:
        raise problem

    monkeypatch.setattr(lockstep.Lockstep, "_step", fail)
    arguments = ("mnist", "--data-dir", few_digits, "--logdir", tmp_path, "--no-log")
    outcome = handgrad(*arguments, "--name", "quiet")
    assert outcome.code == 4
    one_line(outcome.err, "mnist", says)
    outcome = handgrad("--debug", *arguments, "--name", "debug")
    assert outcome.code == 4
    assert outcome.err.startswith("Traceback (most recent call last):\n")
    assert says in outcome.err.splitlines()[-1]


def test_debug_shows_the_traceback_of_wrong_usage_too(handgrad) -> None:
    quiet, debug = handgrad("mnist", "--epochs", 0), handgrad("--debug", "mnist", "--epochs", 0)
    assert quiet.code == debug.code == 2
    assert debug.err.endswith(quiet.err)
    assert "Traceback" in debug.err


def test_a_terminal_without_unicode(tmp_path: Path, file) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        [sys.executable, "-m", "handgrad", "check", str(file(RIGHT + CALL))],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (run.returncode, run.stderr) == (0, "")
    assert "max |\\u0394|" in run.stdout
