"""`import handgrad` costs nothing, says what is in it, and is typed; a checkout that is not installed says so."""

from __future__ import annotations

import shutil
import sys
import venv
from importlib.metadata import version
from pathlib import Path
from zipfile import ZipFile

import pytest

import handgrad
from tests import ROOT
from tests.house.environments import Environment, must_run, run, site_packages


@pytest.mark.parametrize("arguments", [("--version",), ("--help",), ("mnist", "--help"), ("no-such-command",), ()])
def test_two_names_of_one_command(environment: Environment, arguments: tuple[str, ...], tmp_path: Path) -> None:
    script, module = (
        run(*command, *arguments, cwd=tmp_path)
        for command in ((environment.folder / "bin" / "handgrad",), (environment.python, "-m", "handgrad"))
    )
    assert script.returncode == module.returncode
    assert script.stdout == module.stdout != ""
    assert "Traceback" not in script.stdout


def test_its_version() -> None:
    assert handgrad.__version__ == version("handgrad")


def test_what_it_offers() -> None:
    assert set(dir(handgrad)) == {*handgrad.__all__, *handgrad.ROOMS}
    for name in dir(handgrad):
        assert getattr(handgrad, name) is not None
    assert handgrad.manual.Tanh is not None
    with pytest.raises(AttributeError, match="module 'handgrad' has no attribute 'chekc'"):
        handgrad.chekc  # noqa: B018


def test_its_help(wheel_environment: Environment, tmp_path: Path) -> None:
    said = must_run(wheel_environment.python, "-c", "import handgrad; help(handgrad)", cwd=tmp_path)
    assert said.index("Is this hand-written gradient right") < said.index("check(MyLayer(8)") < said.index("CLASSES")
    for part in ("check(ours: ", "class CheckFailed(", "class Report(", "class UsageError(", "VERSION\n    0."):
        assert part in said


def test_its_import_takes_no_time(environment: Environment, tmp_path: Path) -> None:
    """The least of several: another program may have the processor."""
    command = (environment.python, "-X", "importtime", "-c", "import handgrad")
    lines = [must_run(*command, cwd=tmp_path).splitlines()[-1].split("|") for _ in range(5)]
    assert {line[2].strip() for line in lines} == {"handgrad"}
    assert min(int(line[1]) for line in lines) < 30_000  # microseconds


def test_a_type_checker_sees_check(wheel: Path, tmp_path: Path) -> None:
    """In an environment with the wheel alone: torch's own types would take most of a minute."""
    venv.create(tmp_path / "env", symlinks=True)
    with ZipFile(wheel) as file:
        file.extractall(site_packages(tmp_path / "env"))
    theirs = tmp_path / "theirs.py"
    mypy = (
        sys.executable,
        "-m",
        "mypy",
        "--python-executable",
        tmp_path / "env" / "bin" / "python",
        "--no-incremental",
    )
    theirs.write_text("from handgrad import check\nprint(check(1, 2, x=(2, 3)).agrees)\n", encoding="utf-8")
    assert "Success" in must_run(*mypy, "--strict", theirs, cwd=tmp_path)
    theirs.write_text("import handgrad\nhandgrad.check(1, 2, steps='ten').agrees + 'x'\n", encoding="utf-8")
    said = run(*mypy, theirs, cwd=tmp_path).stdout
    assert 'Argument "steps" to "check" has incompatible type "str"; expected "int | None"' in said
    assert 'Unsupported operand types for + ("bool" and "str")' in said


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("-c", "from handgrad import check"), "handgrad.compare is not installed"),
        (("-c", "import handgrad; handgrad.check"), "handgrad.compare is not installed"),
        (("-c", "from handgrad import manual"), "handgrad.manual is not installed"),
        (("-c", "import handgrad; handgrad.__version__"), "handgrad is not installed"),
        (("-m", "handgrad"), "handgrad.compare is not installed"),
    ],
)
def test_a_checkout_that_is_not_installed(command: tuple[str, ...], said: str, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "handgrad", tmp_path / "handgrad")
    result = run(sys.executable, "-S", *command, cwd=tmp_path)  # without site-packages
    assert result.returncode == 1
    last = result.stdout.splitlines()[-1]
    assert last == f"ModuleNotFoundError: {said}: run pip install -e . in the checkout"


def test_an_import_that_fails_for_another_reason_keeps_its_own_words(
    wheel_environment: Environment, tmp_path: Path
) -> None:
    (tmp_path / "torch.py").write_text("import no_such_module\n", encoding="utf-8")
    result = run(wheel_environment.python, "-c", "from handgrad import check", cwd=tmp_path)
    assert result.stdout.splitlines()[-1] == "ModuleNotFoundError: No module named 'no_such_module'"
