"""`--help` of a benchmark says what it measures, and measures nothing; `python -m benchmarks` lists them all."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from benchmarks.__main__ import HERE, harnesses, main
from benchmarks.speed import certificate, speed_of_check
from tests import ROOT


@pytest.mark.parametrize("benchmark", [certificate, speed_of_check], ids=lambda module: module.__name__)
@pytest.mark.parametrize(("argument", "code"), [("--help", 0), ("--none-such", 2)])
def test_it_stops_there(benchmark: Any, argument: str, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        benchmark.main([argument])
    assert stopped.value.code == code
    said = capsys.readouterr()
    assert benchmark.__doc__.partition("\n")[0].split()[0] in said.out or said.err.startswith("usage: ")


def test_so_do_the_others() -> None:
    programs = [f for f in HERE.glob("*/*.py") if "__main__" in f.read_text("utf-8")]
    assert len(programs) > 8
    assert [f.name for f in programs if "ArgumentParser" not in f.read_text("utf-8")] == []


def test_each_is_listed_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    main()
    lines = capsys.readouterr().out.splitlines()
    programs = {f for f in HERE.glob("*/*.py") if "__main__" in f.read_text("utf-8")}
    assert {line.split()[2] for line in lines} == {f"benchmarks.{f.parent.name}.{f.stem}" for f in programs}
    assert all(what.endswith((".", "?")) for _, what in harnesses())


def test_one_runs_as_a_module_of_a_checkout() -> None:
    command = [sys.executable, "-m", "benchmarks.detection.unseen", "--help"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "unseen" in result.stdout
