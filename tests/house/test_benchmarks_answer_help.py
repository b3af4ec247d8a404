"""`--help` of a benchmark says what it measures, and measures nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.speed import certificate, speed_of_check


@pytest.mark.parametrize("benchmark", [certificate, speed_of_check], ids=lambda module: module.__name__)
@pytest.mark.parametrize(("argument", "code"), [("--help", 0), ("--none-such", 2)])
def test_it_stops_there(benchmark: Any, argument: str, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        benchmark.main([argument])
    assert stopped.value.code == code
    said = capsys.readouterr()
    assert benchmark.__doc__.partition("\n")[0].split()[0] in said.out or said.err.startswith("usage: ")


def test_so_do_the_others() -> None:
    programs = [f for f in Path(str(certificate.__file__)).parent.glob("*.py") if "__main__" in f.read_text("utf-8")]
    assert len(programs) > 8
    assert [f.name for f in programs if "ArgumentParser" not in f.read_text("utf-8")] == []
