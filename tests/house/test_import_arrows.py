"""Arrows point one way: import-linter keeps the contracts of pyproject.toml, and notices a planted import."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests import ROOT
from tests.house.environments import laid_out


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the packages, laid out as they are installed."""
    return laid_out(tmp_path_factory.mktemp("house"))


def lint(house: Path) -> tuple[int, str]:
    """What import-linter says of the packages in a folder: its exit code, and its words in one line."""
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache", ROOT / "pyproject.toml"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=house)
    return result.returncode, " ".join(result.stdout.split())


def test_no_arrow_points_back(house: Path) -> None:
    code, said = lint(house)
    assert code == 0, said


@pytest.mark.parametrize(
    ("file", "line", "complaint"),
    [
        ("manual/linear.py", "import torch", "handgrad.manual is not allowed to import torch"),
        ("manual/linear.py", "def f():\n    import torch.nn", "handgrad.manual is not allowed to import torch"),
        ("manual/linear.py", "from handgrad import data", "handgrad.manual"),
        ("torch_ref/losses.py", "import numpy", "handgrad.torch_ref is not allowed to import numpy"),
        (
            "data/batches.py",
            "from handgrad.manual import Linear",
            "handgrad.data is not allowed to import handgrad.man",
        ),
        ("manual/linear.py", "from handgrad.compare.judge import case", "is not allowed to import handgrad.compare"),
        ("compare/rounding/model.py", "from handgrad.compare.judge import case", "is not allowed to import"),
        ("compare/judge/case.py", "from handgrad.compare.diagnosis import causes", "is not allowed to import"),
        ("compare/rounding/model.py", "from handgrad.compare.rounding import rules", "handgrad.compare.rounding."),
        (
            "compare/run/progress.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from handgrad.compare.run import lockstep",
            "No cycles are allowed in handgrad.compare.run.",
        ),
        ("compare/run/stream.py", "import tensorboard", "handgrad.compare is not allowed to import tensorboard"),
        ("compare/run/stream.py", "import pytest", "handgrad.compare is not allowed to import pytest"),
    ],
)
def test_a_planted_import_is_reported(house: Path, file: str, line: str, complaint: str) -> None:
    path = house / "handgrad" / file
    before = path.read_text(encoding="utf-8")
    path.write_text(f"{before}\n{line}\n", encoding="utf-8")
    try:
        code, said = lint(house)
    finally:
        path.write_text(before, encoding="utf-8")
    assert code == 1
    assert complaint in said


@pytest.mark.parametrize(
    ("code", "strangers"),
    [
        ("import handgrad", {"numpy", "torch", "handgrad.compare"}),
        ("from handgrad.compare.commands import main; main.main(['--help'])", {"numpy", "torch", "matplotlib"}),
        ("from handgrad.compare.commands import main; main.main(['mnist', '--help'])", {"numpy", "torch"}),
        (
            "from handgrad.compare.commands import main; main.main(['board', '--help'])",
            {"numpy", "torch", "tensorboard"},
        ),
        ("from handgrad.compare.commands import main; main.main(['lessons'])", {"numpy", "torch", "matplotlib"}),
        ("import handgrad.pytest_plugin", {"numpy", "torch", "handgrad.compare"}),
        ("import handgrad.compare.commands.pytest_plugin", {"numpy", "torch", "tensorboard"}),
        ("from handgrad import manual", {"torch", "torchvision", "handgrad.torch_ref", "handgrad.compare"}),
        ("from handgrad import torch_ref", {"torchvision", "handgrad.manual", "handgrad.compare", "handgrad.data"}),
        ("from handgrad.data import load", {"torch", "torchvision", "handgrad.manual", "handgrad.compare"}),
    ],
)
def test_what_is_not_needed_is_not_imported(code: str, strangers: set[str]) -> None:
    report = f"import atexit, sys\natexit.register(lambda: print('\\nLOADED', *sys.modules))\n{code}"
    result = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = set(result.stdout.rpartition("LOADED ")[2].split())
    assert "sys" in loaded
    assert loaded & strangers == set()
