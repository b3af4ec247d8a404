"""The distributions, and two environments: one with the wheel, one with an editable install. All workers share them."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from tests.house.environments import (
    Environment,
    copy_of_the_checkout,
    install,
    make_environment,
    must_run,
    site_packages,
)

Once = Callable[[str, Callable[[Path], None]], Path]


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """Make a folder once for all workers: once("name", fill)."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def made(name: str, fill: Callable[[Path], None]) -> Path:
        folder, done = base / name, base / f"{name}.done"
        with FileLock(base / f"{name}.lock"):
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                fill(folder)
                done.touch()
        return folder

    return made


@pytest.fixture(scope="session")
def built(once: Once) -> Path:
    """A folder with `source/`, a copy of the checkout; `dist/`, what is built of it; and `log`, what was said."""

    def fill(folder: Path) -> None:
        copy_of_the_checkout(folder / "source")
        build = (sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist", folder / "source")
        (folder / "log").write_text(must_run(*build, cwd=folder), encoding="utf-8")

    return once("built", fill)


@pytest.fixture(scope="session")
def wheel(built: Path) -> Path:
    (path,) = (built / "dist").glob("*.whl")
    return path


@pytest.fixture(scope="session")
def wheel_environment(once: Once, wheel: Path) -> Environment:
    def fill(folder: Path) -> None:
        make_environment(folder)
        install(folder, wheel)

    folder = once("wheel", fill)
    return Environment(folder, site_packages(folder) / "handgrad" / "__init__.py")


@pytest.fixture(scope="session")
def editable_environment(once: Once) -> Environment:
    def fill(folder: Path) -> None:
        make_environment(folder)
        copy_of_the_checkout(folder / "source")
        install(folder, "--editable", folder / "source")

    folder = once("editable", fill)
    return Environment(folder, folder / "source" / "handgrad" / "__init__.py")


@pytest.fixture(params=["wheel", "editable"])
def environment(request: pytest.FixtureRequest) -> Environment:
    """Each of the two ways to install."""
    found: Environment = request.getfixturevalue(f"{request.param}_environment")
    return found
