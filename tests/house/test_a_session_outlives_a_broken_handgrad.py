"""Pytest loads our plugin in every session; whatever of handgrad is broken, a session that does not use it runs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.house.environments import Environment, run

THEIR_TEST = (
    "import sys\ndef test_it(): assert not {'numpy', 'torch', 'handgrad.compare.checking.check'} & set(sys.modules)\n"
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A stranger's project, with pytest as strict as it can be."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "pytest.ini").write_text(
        "[pytest]\nfilterwarnings = error\naddopts = --strict-config\n", encoding="utf-8"
    )
    (folder / "test_theirs.py").write_text(THEIR_TEST, encoding="utf-8")
    return folder


def broken_handgrad(environment: Environment, folder: Path, file: str, text: str) -> None:
    """A copy of what is installed, one file of it broken, in a folder for PYTHONPATH."""
    ignored = shutil.ignore_patterns("MNIST", "__pycache__")
    shutil.copytree(environment.handgrad.parent, folder / "handgrad", ignore=ignored)
    (folder / "handgrad" / file).write_text(text, encoding="utf-8")


def session(environment: Environment, project: Path, planted: Path) -> tuple[int, str]:
    """The exit code of `python -m pytest` under -W error, and all that it printed."""
    command = (environment.python, "-W", "error", "-m", "pytest", "-p", "no:cacheprovider")
    result = run(*command, cwd=project, PYTHONPATH=str(planted))
    assert result.returncode or "1 passed" in result.stdout, result.stdout
    return result.returncode, result.stdout


def of_us(said: str) -> list[str]:
    """What our plugin says: the lines that do not come from pytest itself."""
    of_pytest = ("rootdir: ", "plugins: ")
    return [line for line in said.splitlines() if "handgrad" in line and not line.startswith(of_pytest)]


def test_nothing_is_said_or_imported_where_nothing_is_broken(
    environment: Environment, project: Path, tmp_path: Path
) -> None:
    code, said = session(environment, project, tmp_path / "nothing")
    assert (code, of_us(said)) == (0, [])
    assert "handgrad" in said[said.index("plugins: ") :].splitlines()[0]


@pytest.mark.parametrize("module", ["torch", "numpy", "torchvision"])
def test_a_dependency_that_raises(wheel_environment: Environment, project: Path, tmp_path: Path, module: str) -> None:
    (tmp_path / "planted").mkdir()
    (tmp_path / "planted" / f"{module}.py").write_text("raise RuntimeError('broken')\n", encoding="utf-8")
    code, said = session(wheel_environment, project, tmp_path / "planted")
    assert (code, of_us(said)) == (0, [])


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("compare/__init__.py", "raise RuntimeError('broken\\nin two lines')\n"),
        ("compare/checking/__init__.py", "import no_such_module\n"),
        ("compare/commands/pytest_plugin.py", "def (:\n"),
        ("compare/commands/pytest_plugin.py", "raise ImportError\n"),
    ],
)
def test_a_handgrad_that_raises(
    wheel_environment: Environment, project: Path, tmp_path: Path, file: str, text: str
) -> None:
    broken_handgrad(wheel_environment, tmp_path / "planted", file, text)
    code, said = session(wheel_environment, project, tmp_path / "planted")
    assert code == 0
    (line,) = of_us(said)
    assert line.startswith("handgrad: the plugin is off because it cannot be imported (")
    (project / "test_ours.py").write_text("import handgrad.compare.commands.pytest_plugin\n", encoding="utf-8")
    code, _ = session(wheel_environment, project, tmp_path / "planted")
    assert code == 2  # a test that needs what is broken cannot be collected


def test_a_stranger_of_our_name_needs_the_plugin_left_out(
    wheel_environment: Environment, project: Path, tmp_path: Path
) -> None:
    """What `handgrad.pytest_plugin` says of a project's own handgrad.py, where it comes first on sys.path."""
    (project / "handgrad.py").write_text("WHOSE = 'theirs'\n", encoding="utf-8")
    (project / "test_theirs.py").write_text("import handgrad\ndef test_it(): handgrad.WHOSE\n", encoding="utf-8")
    code, said = session(wheel_environment, project, tmp_path)
    assert code != 0
    assert "ModuleNotFoundError: No module named 'handgrad.pytest_plugin'; 'handgrad' is not a package" in said
    with (project / "pytest.ini").open("a", encoding="utf-8") as file:
        file.write(" -p no:handgrad\n")
    assert session(wheel_environment, project, tmp_path)[0] == 0
