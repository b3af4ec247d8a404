"""The same command gives the same bytes: weights, optimizer states, every logged scalar, the report; all but times."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.robustness.kill_and_resume import differences
from tests import ROOT

SETTING = ("--max-steps", 12, "--log-every", 2, "--optimizer", "adam", "--lr", 0.002, "--dtype", "float32")


@pytest.fixture
def run(handgrad, tmp_path: Path, few_digits: Path):
    def start(name: str, *arguments: object) -> Path:
        place = ("--data-dir", few_digits, "--logdir", tmp_path, "--name", name)
        assert handgrad("mnist", *place, *SETTING, *arguments).code == 0
        return tmp_path / name

    return start


def test_two_processes_do_the_same(run, tmp_path: Path, few_digits: Path) -> None:
    place = ("--data-dir", few_digits, "--logdir", tmp_path, "--name", "other")
    command = [sys.executable, "-m", "handgrad", "mnist", *place, *SETTING]
    environment = {**os.environ, "PYTHONHASHSEED": "12345", "PYTHONPATH": str(ROOT)}
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        environment.pop(name, None)  # the command settles them itself
    subprocess.run([str(word) for word in command], cwd=ROOT, env=environment, check=True, capture_output=True)
    assert differences(run("one"), tmp_path / "other") == []
    threads = json.loads((tmp_path / "other" / "experiment.json").read_text())["versions"]["threads"]
    assert threads == {"torch": 1, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@pytest.mark.parametrize(
    ("planted", "found"),
    [
        (("--seed", 1), {"final_arrays: manual/theta", "final_arrays: torch_ref/state/exp_avg", "report: loss"}),
        (("--log-every", 3), {"scalars: manual: learning/training loss"}),
        (("--resync",), {"final_arrays: torch_ref/theta", "report: drift"}),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_what_is_not_the_same_is_found(run, planted: tuple[object, ...], found: set[str]) -> None:
    assert found <= set(differences(run("one"), run("other", *planted)))
