"""A report says at which line of a person's own code its check was called, whoever stands in between."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch
from torch import nn

from handgrad import CheckFailed, UsageError, check, manual
from handgrad.compare.checking.places import raising_line
from handgrad.compare.commands.main import main
from tests import ROOT

HERE = "tests/checking/test_a_check_knows_its_line.py"


class Negative(manual.Tanh):
    def input_gradient(self, params: Any, cache: Any, dy: Any) -> Any:
        return -super().input_gradient(params, cache, dy)


def line() -> int:
    """The line of the caller."""
    frame: FrameType = sys._getframe(1)
    return frame.f_lineno


@pytest.fixture(autouse=True)
def at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def test_of_a_check_that_agrees_or_differs() -> None:
    agreeing, number = check(manual.Tanh(), nn.Tanh(), x=(2, 3)), line()
    assert agreeing.where == f"{HERE}:{number}"
    with pytest.raises(CheckFailed) as failure:
        check(Negative(), nn.Tanh(), x=(2, 3))
    assert failure.value.report.where == f"{HERE}:{line() - 1}"
    assert failure.value.report.as_json()["where"] == failure.value.report.where


def test_of_a_schedule_and_of_a_call_by_another() -> None:
    def make(optimizer: Any) -> Any:
        return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5**step)

    report, number = partial(check, lambda step: 0.1 * 0.5**step, make)(steps=4), line()
    assert report.where == f"{HERE}:{number}"


def test_from_elsewhere_the_path_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    report, number = check(manual.Tanh(), nn.Tanh(), x=(2, 3)), line()
    assert report.where == f"{ROOT / HERE}:{number}"


def test_a_check_of_the_command_itself_has_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "handgrad.manual:Tanh", "--reference", "torch.tanh", "--input", "x:2,3"]) == 0
    assert "test_a_check_knows" not in capsys.readouterr().out


def test_of_what_check_refuses() -> None:
    with pytest.raises(UsageError) as refusal:
        check(manual.Tanh(), nn.Tanh())
    assert raising_line(refusal.tb) == f"{HERE}:{line() - 1}"
