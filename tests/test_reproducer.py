"""A difference comes with a script of a few lines that shows it again, on the smallest case that still differs."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import manual
from compare import CheckFailed, check

LAYER = """
from dataclasses import dataclass
import numpy as np
import torch
import manual
from compare import check

@dataclass(frozen=True)
class Doubled(manual.Tanh):
    def input_gradient(self, params, cache, dy):
        return 2 * super().input_gradient(params, cache, dy)

@dataclass(frozen=True)
class Late(manual.SGD):
    def update(self, theta, grad, state, learning_rate):
        return theta - learning_rate * grad - (0.1 if state.get("n", 0) else 0), {"n": 1}

@dataclass(frozen=True)
class HalfLoss(manual.MeanSquaredError):
    def gradient(self, cache):
        return super().gradient(cache) / 2
"""


@pytest.mark.parametrize(
    "call",
    [
        "check(Doubled(), torch.nn.Tanh(), x=(5, 6))",
        "check(HalfLoss(), torch.nn.MSELoss(), output=(4, 3), target=(4, 3))",
        "check(Late(), torch.optim.SGD, theta=(9,))",
        "check(Doubled(), torch.nn.Tanh(), x=(5, 6), dtype='float32')",
    ],
)
def test_the_script_runs_and_differs_again(tmp_path: Path, call: str) -> None:
    (tmp_path / "layers.py").write_text(LAYER, "utf-8")
    catch = f"try:\n    {call}\nexcept CheckFailed as e:\n    print(e.report.reproducer)"
    ask = f"from layers import *\nfrom compare import CheckFailed\n{catch}"
    script = run_python(tmp_path, ask).stdout
    assert 5 <= len(script.splitlines()) <= 12
    again = run_python(tmp_path, script)
    assert again.returncode == 1
    assert "tensors differ" in again.stderr


def run_python(folder: Path, code: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )


class WrongWhereNegative(manual.Tanh):
    def input_gradient(self, params: manual.Params, cache: manual.Array, dy: manual.Array) -> manual.Array:
        right = super().input_gradient(params, cache, dy)
        return np.where(cache < 0, 2 * right, right)


def test_it_is_cut_down_to_a_single_element() -> None:
    with pytest.raises(CheckFailed) as failure:
        check(WrongWhereNegative(), torch.nn.Tanh(), x=(6, 7))
    (line,) = [line for line in failure.value.report.reproducer.splitlines() if line.startswith("x = ")]
    value = np.asarray(eval(line.removeprefix("x = "), {"np": np}))
    assert value.shape == (1, 1)
    assert value < 0  # where it is right there is nothing to reproduce
    assert "dy = np.array([[1.]]" in failure.value.report.reproducer


def test_what_cannot_be_imported_has_no_script() -> None:
    with pytest.raises(CheckFailed) as failure:
        check((lambda x: x * 1, lambda dy, x: -dy), lambda x: x, x=(2, 2))
    assert failure.value.report.reproducer == ""
    assert "the sign is flipped" in str(failure.value)
