"""Whatever exception becomes an answer is shown under --debug, and costs no verdict."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from handgrad import CheckFailed, Report, check, data, manual
from handgrad.compare.board import pictures
from handgrad.compare.checking import kinks, more_draws, referee, smallest
from handgrad.compare.foundation.debug import VARIABLE, debugging
from handgrad.compare.judge.torch_rounding import RandomRounding
from handgrad.compare.rounding.bounded import Bounded
from handgrad.compare.run import experiment, lockstep
from handgrad.compare.run.experiment import Experiment, Setup
from handgrad.compare.run.health import Stopped

COMPARE = Path(__file__).resolve().parents[2] / "compare"
X = {"x": (4, 3)}


def planted(*_: Any, **__: Any) -> Any:
    """Raise what every test looks for."""
    raise RuntimeError("planted")


class Doubled(manual.Tanh):
    """Wrong by a factor."""

    def input_gradient(self, params: Any, cache: Any, dy: Any) -> Any:
        return 2 * super().input_gradient(params, cache, dy)


class Picky(manual.Tanh):
    """Raises where `refuses` says so of the input."""

    def __init__(self, refuses: Callable[[Any], bool]) -> None:
        object.__setattr__(self, "refuses", refuses)

    def forward(self, params: Any, x: Any) -> Any:
        return planted() if self.refuses(x) else super().forward(params, x)


class AlmostRight(manual.Tanh):
    """Off by so little that it may be rounding, for all that float32 shows."""

    def input_gradient(self, params: Any, cache: Any, dy: Any) -> Any:
        return (1 + 1e-10) * super().input_gradient(params, cache, dy)


class PickyAndDoubled(Picky, Doubled):
    """Both."""


class OtherConvention(manual.ReLU):
    """Takes 1 at 0, where torch takes 0."""

    def input_gradient(self, params: Any, cache: Any, dy: Any) -> Any:
        return dy * (cache >= 0)


def report_of(ours: Any, reference: Any, **arguments: Any) -> Report:
    try:
        return check(ours, reference, **(arguments or X))
    except CheckFailed as failed:
        return failed.report


def away_from_float64(x: torch.Tensor) -> torch.Tensor:
    """A reference that does not run where float64 is torch's default."""
    return planted() if torch.ones(1).dtype == torch.float64 else torch.tanh(x)


def one_size(x: torch.Tensor) -> torch.Tensor:
    """A reference that takes rows of three numbers only."""
    return torch.tanh(x) if x.shape[-1] == 3 else planted()


def of_random_rounding(seeded: bool) -> Callable[[pytest.MonkeyPatch], None]:
    """Plant it in the operations that are rounded at random, or in those that are only taken apart."""
    dispatch = RandomRounding.__torch_dispatch__

    def raising(self: RandomRounding, *arguments: Any) -> Any:
        return planted() if (self.generator is not None) == seeded else dispatch(self, *arguments)

    return lambda patch: patch.setattr(RandomRounding, "__torch_dispatch__", raising)


def in_place_of(owner: Any, name: str) -> Callable[[pytest.MonkeyPatch], None]:
    return lambda patch: patch.setattr(owner, name, planted)


def nowhere(patch: pytest.MonkeyPatch) -> None:
    """The failure is in the derivation or the reference itself."""


Plant = Callable[[pytest.MonkeyPatch], None]
# What raises; where it is planted; what is checked; whether it agrees.
CHECKS: dict[str, tuple[Plant, Callable[[], Report], bool]] = {
    "the derivation": (nowhere, lambda: report_of(Picky(lambda x: True), nn.Tanh()), False),
    "the rounding bound": (nowhere, lambda: report_of(Picky(lambda x: isinstance(x, Bounded)), nn.Tanh()), True),
    "the test whether an exact draw rounds": (
        nowhere, lambda: report_of(Picky(lambda x: x.dtype == np.float32), nn.Tanh()), True,
    ),
    "the bound with wary constants": (
        nowhere,
        lambda: report_of(PickyAndDoubled(lambda x: isinstance(x, Bounded) and x.precision.wary), nn.Tanh()), False,
    ),
    "the reference in default float64": (nowhere, lambda: report_of(AlmostRight(), away_from_float64), False),
    "the reference in parts": (
        of_random_rounding(False), lambda: report_of(AlmostRight(), nn.Tanh()), False,
    ),
    "the reference under random rounding": (
        of_random_rounding(True), lambda: report_of(AlmostRight(), nn.Tanh()), False,
    ),
    "the referee": (in_place_of(referee, "opinion"), lambda: report_of(Doubled(), nn.Tanh()), False),
    "the look for a kink": (in_place_of(kinks, "_slopes"), lambda: report_of(OtherConvention(), nn.ReLU()), False),
    "a further draw": (in_place_of(more_draws, "evaluate"), lambda: report_of(Doubled(), nn.Tanh()), False),
    "a further draw of another size": (nowhere, lambda: report_of(Doubled(), one_size), False),
    "a smaller case": (in_place_of(smallest, "evaluate"), lambda: report_of(Doubled(), nn.Tanh()), False),
    "the schedule": (
        nowhere,
        lambda: report_of(lambda step: planted(), lambda o: torch.optim.lr_scheduler.StepLR(o, 1), steps=3), False,
    ),
}  # fmt: skip


@pytest.mark.parametrize("where", CHECKS)
def test_a_check(where: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    plant, run, agrees = CHECKS[where]
    plant(monkeypatch)
    monkeypatch.delenv(VARIABLE, raising=False)
    assert run().agrees == agrees
    assert capsys.readouterr().err == ""
    with debugging():
        report = run()
    assert report.agrees == agrees
    said = capsys.readouterr().err
    assert "RuntimeError: planted" in said
    assert f"handgrad --debug: {where.removesuffix(' of another size')} raised" in said


def test_the_environment_asks_for_it_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(referee, "opinion", planted)
    for value, shown in (("1", True), ("0", False)):
        monkeypatch.setenv(VARIABLE, value)
        assert not report_of(Doubled(), nn.Tanh()).agrees
        assert ("planted" in capsys.readouterr().err) == shown


@pytest.mark.parametrize("file", sorted(COMPARE.rglob("*.py")), ids=lambda file: str(file.relative_to(COMPARE)))
def test_no_file_swallows_an_exception_in_silence(file: Path) -> None:
    for handler in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(handler, ast.ExceptHandler) and ast.unparse(handler.type or ast.Name("Exception")) == "Exception":
            body = [node for statement in handler.body for node in ast.walk(statement)]
            shown = any(isinstance(n, ast.Call) and ast.unparse(n.func) == "swallowed" for n in body)
            assert shown or any(isinstance(n, ast.Raise) for n in body), f"{file}, line {handler.lineno}"


# --- a training ---------------------------------------------------------------------------------------------------


def trained(dataset: data.Dataset, layer: manual.Layer | None) -> lockstep.Lockstep:
    """Two judged steps with this layer in the place of the first activation."""

    def build(*arguments: Any) -> Setup:
        setup = experiment.build(*arguments)
        if layer is None:
            return setup
        layers = (setup.network.layers[0], layer, *setup.network.layers[2:])
        return setup._replace(network=dataclasses.replace(setup.network, layers=layers))

    run = lockstep.Lockstep(Experiment(activation="tanh", max_steps=2), dataset, build)
    run.run()
    return run


def test_the_diagnosis_of_a_stage(
    digits: data.Dataset, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(lockstep, "explain_stage", planted)
    with debugging():
        run = trained(digits, Doubled())
    (found,) = run.judge.disagreements
    assert found.stage == "1 · Doubled · input gradient"
    assert found.notes == ("no diagnosis, because it failed itself: RuntimeError: planted",)
    assert "handgrad --debug: the diagnosis of a stage raised" in capsys.readouterr().err


def test_the_manual_code_and_the_training(digits: data.Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    with debugging(), pytest.raises(Stopped, match="the manual side cannot go on: RuntimeError: planted"):
        trained(digits, Picky(lambda x: True))
    said = capsys.readouterr().err
    assert "handgrad --debug: the manual code raised" in said
    assert "handgrad --debug: the training raised" in said


def test_the_picture_of_the_differences(
    digits: data.Dataset, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = trained(digits, None)
    monkeypatch.setattr(manual.Linear, "forward", planted)
    with debugging():
        assert pictures.difference_in_bounds(run) is None
    assert "handgrad --debug: the picture of the differences raised" in capsys.readouterr().err


# --- the command --------------------------------------------------------------------------------------------------

FILE = """
from handgrad import check, manual

def check_right():
    check(manual.Tanh(), __import__("torch").nn.Tanh(), x=(2, 3))

def check_broken():
    raise RuntimeError("planted")
"""


def test_the_command(handgrad: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    file = tmp_path / "checks.py"
    file.write_text(FILE)
    quiet, loud = handgrad("check", file), handgrad("--debug", "check", file)
    assert quiet.code == loud.code == 2
    assert quiet.out == loud.out
    assert "1 check · all agree" in loud.out
    assert "Traceback" not in quiet.err
    assert "handgrad --debug: check_broken raised" in loud.err
    assert 'raise RuntimeError("planted")' in loud.err
