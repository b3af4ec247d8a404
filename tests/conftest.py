"""What several tests share: one thread, real digits, and a command run in this process."""

# ruff: noqa: E402  (the number of threads must be settled before NumPy is imported)

from handgrad.compare.foundation import process

process.settle()

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings

from handgrad import data
from handgrad.compare.commands import main as cli

torch.set_num_threads(1)

# The suite's examples are the same each time; `make fuzz` draws new ones, and many more.
settings.register_profile("suite", derandomize=True, deadline=None)
settings.register_profile("fuzz", deadline=None, max_examples=10_000, print_blob=True)
settings.load_profile("suite")


def first(dataset: data.Dataset, train: int, test: int) -> data.Dataset:
    """The first few digits of a data set."""
    parts = [data.Digits(d.images[:n], d.labels[:n]) for d, n in ((dataset.train, train), (dataset.test, test))]
    return data.Dataset(dataset.name, *parts, dataset.classes)


@pytest.fixture(scope="session")
def mnist() -> data.Dataset:
    """All the digits."""
    return data.load("mnist")


@pytest.fixture(scope="session")
def digits(mnist: data.Dataset) -> data.Dataset:
    """1,000 real digits to train on, and 100 to test."""
    return first(mnist, 1000, 100)


def write_idx(folder: Path, dataset: data.Dataset) -> None:
    """The data set as the four unpacked files that torchvision reads."""
    folder.mkdir(parents=True)
    for stem, part in (("train", dataset.train), ("t10k", dataset.test)):
        for name, array in (
            ("images-idx3", part.images.reshape(-1, 28, 28)),
            ("labels-idx1", part.labels.astype(np.uint8)),
        ):
            header = struct.pack(f">{1 + array.ndim}I", 0x0800 + array.ndim, *array.shape)
            (folder / f"{stem}-{name}-ubyte").write_bytes(header + array.tobytes())


@pytest.fixture(scope="session")
def few_digits(mnist: data.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for --data-dir with 200 digits to train on, and 50 to test."""
    folder = tmp_path_factory.mktemp("data") / "few"
    write_idx(folder, first(mnist, 200, 50))
    return folder


@dataclass
class Outcome:
    """What a command did."""

    code: int
    out: str
    err: str


@pytest.fixture
def handgrad(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Run `handgrad` in this process: handgrad("mnist", "--seed", 3)."""

    def run(*arguments: object) -> Outcome:
        capsys.readouterr()
        try:
            code = cli.main([str(argument) for argument in arguments])
        except SystemExit as problem:
            code = int(problem.code or 0)
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run
