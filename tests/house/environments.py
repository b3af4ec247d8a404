"""Virtual environments for the tests of the installation, each with one handgrad.

An environment borrows every other package of the running one by links: nothing is downloaded, and torch is not copied.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

from handgrad import ROOMS
from tests import ROOT

FOLDERS = ("benchmarks", "compare", "data", "docs", "examples", "handgrad", "manual", "tests", "torch_ref", ".ci")
GENERATED = ("__pycache__", "*-ubyte", ".download-*", "FashionMNIST", "KMNIST", ".*_cache", ".hypothesis")

PYTEST = """
from importlib.metadata import entry_points
(command,) = entry_points(group="console_scripts", name="pytest")
raise SystemExit(command.load()())
"""


def clean_environ(**more: str) -> dict[str, str]:
    """The environment variables of a stranger: none that steers Python, pytest or a virtual environment."""
    steering = ("PYTHON", "PYTEST", "VIRTUAL_ENV", "IPYTHON", "JUPYTER")
    return {k: v for k, v in os.environ.items() if not k.startswith(steering)} | {"OMP_NUM_THREADS": "1"} | more


def run(*command: object, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a stranger would; its output and errors stand together."""
    return subprocess.run(
        [str(part) for part in command], cwd=cwd, env=clean_environ(**environ), text=True, encoding="utf-8",
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, timeout=300,
    )  # fmt: skip


def must_run(*command: object, cwd: Path) -> str:
    """Run a command that has to succeed, and return what it printed."""
    result = run(*command, cwd=cwd)
    assert result.returncode == 0, result.stdout
    return result.stdout


@dataclass(frozen=True)
class Environment:
    """A virtual environment, and the one handgrad that it may import."""

    folder: Path
    handgrad: Path  # its __init__.py

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def pytest(self) -> Path:
        """The command `pytest`; like every script of pip's it does not put the working directory on sys.path."""
        return self.folder / "bin" / "pytest"

    @property
    def site(self) -> Path:
        """Where pip installs into."""
        return site_packages(self.folder)


def site_packages(folder: Path) -> Path:
    return next(folder.glob("lib/python*/site-packages"))


def make_environment(folder: Path) -> None:
    """A virtual environment with links to all that is installed here, but handgrad."""
    venv.create(folder, symlinks=True)
    borrowed = folder / "borrowed" / "site-packages"
    borrowed.mkdir(parents=True)
    for site in (Path(p) for p in sys.path if Path(p).name in ("site-packages", "dist-packages")):
        for entry in site.iterdir():
            own = entry.name.startswith(("handgrad", "__editable__", "__pycache__")) or entry.suffix == ".pth"
            if not own and not (borrowed / entry.name).exists():
                (borrowed / entry.name).symlink_to(entry)
    (site_packages(folder) / "borrowed.pth").write_text(f"{borrowed}\n", encoding="utf-8")
    script = folder / "bin" / "pytest"
    script.write_text(f"#!{folder}/bin/python\n{PYTEST}", encoding="utf-8")
    script.chmod(0o755)


def install(folder: Path, *what: object) -> None:
    """Let pip install handgrad alone, with the build tools that are there."""
    pip = (sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install", "--quiet")
    must_run(*pip, "--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check", *what, cwd=folder)


def copy_of_the_checkout(folder: Path) -> None:
    """All that belongs to the project: building leaves files behind, which a checkout should not get from its tests."""
    folder.mkdir()
    for path in ROOT.iterdir():
        if path.name in FOLDERS:
            shutil.copytree(path, folder / path.name, ignore=shutil.ignore_patterns(*GENERATED))
        elif path.is_file() and path.name != ".git":
            shutil.copy2(path, folder)


def laid_out(top: Path) -> Path:
    """A copy of the packages in a folder, without the digits, as they are installed."""
    shutil.copytree(ROOT / "handgrad", top / "handgrad")
    for room in ROOMS:
        shutil.copytree(ROOT / room, top / "handgrad" / room, ignore=shutil.ignore_patterns("MNIST", "__pycache__"))
    return top
