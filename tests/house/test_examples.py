"""The examples run, agree, and with their fault switched on say what is wrong."""

import importlib.util
from types import ModuleType

import numpy as np
import pytest

from handgrad.compare.commands.main import main
from tests import ROOT

EXAMPLES = ROOT / "examples"


def loaded(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_your_own_layer_agrees(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(EXAMPLES / "your_own_layer.py")]) == 0
    assert "1 check · all agree" in capsys.readouterr().out


def test_your_own_layer_with_its_faults(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAULT", "1")
    assert main(["check", str(EXAMPLES / "your_own_layer.py")]) == 1
    out = capsys.readouterr().out
    assert "cause: the projection term is missing: rsqrt(mean(x^2, axis 1) + 1e-06) is held constant in x" in out
    assert "cause: N times too small: averaged over the batch where the sum belongs" in out
    assert "from your_own_layer import FaultyRMSNorm" in out


def test_a_layer_of_your_own_in_training(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    example = loaded("train_your_own_layer")
    assert example.main(max_steps=5) == 0
    assert "1 · Softsign · input gradient" in capsys.readouterr().out
    monkeypatch.setattr(example.Softsign, "input_gradient", lambda self, params, cache, dy: dy / (1 + np.abs(cache)))
    assert example.main(max_steps=5) == 1
    out = capsys.readouterr().out
    assert "step 0, 1 · Softsign · input gradient" in out
    assert "step 0, 3 · Softsign · input gradient" in out
    assert out.rstrip().splitlines()[-1].count("2 tensors disagree") == 1
