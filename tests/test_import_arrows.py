"""data → numpy, torchvision; manual → numpy; torch_ref → torch; compare → all three. No arrow points back."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
THIRD_PARTY = {
    "data": {"numpy", "torchvision"},
    "manual": {"numpy"},
    "torch_ref": {"torch"},
    "compare": {"numpy", "torch", "torchvision", "rich", "PIL", "matplotlib", "data", "manual", "torch_ref"},
}
ONLY_IN = {  # these are imported in one file and nowhere else
    "torch.utils.tensorboard": "compare/board/",
    "tensorboard": "compare/board/",
    "PIL": "compare/board/",
    "pytest": "compare/pytest_plugin.py",
    "matplotlib": "compare/lessons/picture.py",
}
FILES = [path for package in THIRD_PARTY for path in sorted((ROOT / package).rglob("*.py"))]


def imports(source: str, package: str) -> Iterator[tuple[int, str]]:
    """(line, full module name) of every import anywhere in the source, inside functions and by string included."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            # No file writes relative imports between its folders: one dot is the package, and two would lead out of it.
            base = {0: "", 1: package, 2: "<outside>"}[min(node.level, 2)]
            module = ".".join(part for part in (base, node.module) if part)
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and "import" in (name := ast.unparse(node.func)):
            argument = node.args[0] if node.args else None
            text = argument.value if isinstance(argument, ast.Constant) else None
            if name.endswith(("__import__", "import_module")) and package != "compare":
                yield node.lineno, str(text)


def forbidden(source: str, file: str) -> list[str]:
    """One line for every import in `source`, the text of `file`, that points the wrong way."""
    package = file.split("/")[0]
    allowed = THIRD_PARTY[package] | {package, "__main__"} | set(sys.stdlib_module_names)
    problems = []
    for line, name in imports(source, package):
        special = next((home for module, home in ONLY_IN.items() if f"{name}.".startswith(f"{module}.")), None)
        if special is not None:
            if not file.startswith(special):
                problems.append(f"{file}:{line}: {name} is for {special} alone")
        elif name.split(".")[0] not in allowed:
            problems.append(f"{file}:{line}: {package} must not import {name}")
    return problems


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_import_points_the_right_way(path: Path) -> None:
    assert forbidden(path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix()) == []


def test_all_four_packages_are_looked_at() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in FILES} == set(THIRD_PARTY)
    assert len(FILES) > 30


@pytest.mark.parametrize(
    ("file", "source", "complaint"),
    [
        ("manual/linear.py", "import torch", "manual/linear.py:1: manual must not import torch"),
        ("manual/linear.py", "import torch.nn as nn", "manual/linear.py:1: manual must not import torch.nn"),
        ("manual/linear.py", "from torch import nn", "manual/linear.py:1: manual must not import torch.nn"),
        ("manual/linear.py", "def f():\n    import torch", "manual/linear.py:2: manual must not import torch"),
        ("manual/linear.py", "import numpy, scipy.special", "manual/linear.py:1: manual must not import scipy.special"),
        ("manual/network.py", "from compare import pairs", "manual/network.py:1: manual must not import compare.pairs"),
        ("manual/network.py", "from torch_ref.losses import *", "manual must not import torch_ref.losses.*"),
        ("manual/network.py", "from ..torch_ref import losses", "manual must not import <outside>.torch_ref.losses"),
        ("manual/network.py", "__import__('torch')", "manual must not import torch"),
        ("manual/network.py", "import importlib\nimportlib.import_module(x)", "manual must not import None"),
        ("manual/network.py", "import data", "manual must not import data"),
        ("torch_ref/models.py", "import numpy as np", "torch_ref must not import numpy"),
        ("torch_ref/models.py", "import manual", "torch_ref must not import manual"),
        ("torch_ref/models.py", "from torch.utils.tensorboard import SummaryWriter", "is for compare/board/ alone"),
        ("data/mnist.py", "import torch", "data must not import torch"),
        ("data/mnist.py", "from manual import Linear", "data must not import manual.Linear"),
        ("compare/run/lockstep.py", "from torch.utils import tensorboard", "is for compare/board/ alone"),
        (
            "compare/run/lockstep.py",
            "from torch.utils.tensorboard import SummaryWriter",
            "compare/board/ alone",
        ),
        ("compare/checking/check.py", "import pandas", "compare must not import pandas"),
    ],
)
def test_a_planted_import_is_reported(file: str, source: str, complaint: str) -> None:
    (problem,) = forbidden(source, file)
    assert complaint in problem


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("manual/linear.py", "import numpy as np\nfrom numpy.typing import NDArray\nimport math\nfrom . import layer"),
        ("torch_ref/models.py", "from torch import nn\nfrom torch_ref.losses import HalfSquaredError"),
        ("data/files.py", "from torchvision import datasets\nimport zlib\nimport numpy"),
        (
            "compare/board/events.py",
            "from torch.utils.tensorboard import SummaryWriter\nimport manual, torch_ref, data",
        ),
    ],
)
def test_what_is_allowed_is_not_reported(file: str, source: str) -> None:
    assert forbidden(source, file) == []


@pytest.mark.parametrize(
    ("arguments", "strangers"),
    [
        (
            ["-c", "import compare.cli, sys; compare.cli.main(['--help'])"],
            {"numpy", "torch", "torchvision", "matplotlib"},
        ),
        (["-c", "import compare.cli, sys; compare.cli.main(['mnist', '--help'])"], {"numpy", "torch", "torchvision"}),
        (["-c", "import compare.cli, sys; compare.cli.main(['board', '--help'])"], {"numpy", "torch", "tensorboard"}),
        (["-c", "import compare.cli, sys; compare.cli.main(['lessons'])"], {"numpy", "torch", "matplotlib"}),
        (["-c", "import manual"], {"torch", "torchvision", "torch_ref", "compare", "data"}),
        (["-c", "import torch_ref.models, torch_ref.training"], {"manual", "compare", "data"}),
        (["-c", "import data"], {"torch", "torchvision", "manual", "torch_ref", "compare"}),
    ],
    ids=lambda value: value[1] if isinstance(value, list) else "",
)
def test_what_is_not_needed_is_not_imported(arguments: list[str], strangers: set[str]) -> None:
    flag, code = arguments
    report = f"import atexit, sys\natexit.register(lambda: print('\\nLOADED', *sys.modules))\n{code}"
    result = subprocess.run([sys.executable, flag, report], capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = set(result.stdout.rpartition("LOADED ")[2].split())
    assert "sys" in loaded
    assert loaded & strangers == set()
