"""A difference comes with a script of a few lines that shows it again, on the smallest case that still differs."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from handgrad import CheckFailed, check, manual

LAYER = """
from dataclasses import dataclass
import numpy as np
import torch
from torch import nn
from handgrad import manual
from handgrad import check

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
    ask = f"from layers import *\nfrom handgrad import CheckFailed\n{catch}"
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


def script(ours: object, reference: object) -> str:
    with pytest.raises(CheckFailed) as failure:
        check(ours, reference, x=(2, 2))
    assert "the sign is flipped" in str(failure.value)
    return failure.value.report.reproducer


def same(x: np.ndarray) -> np.ndarray:
    return x * 1


class Negative:
    def backward(self, dy: np.ndarray, x: np.ndarray) -> np.ndarray:
        return -dy


def test_what_cannot_be_imported_is_told() -> None:
    lines = script((same, lambda dy, x: -dy), lambda x: x).splitlines()
    assert f"from {__name__} import same" in lines
    assert lines[-1].startswith("check((same, backward), reference, ")
    (told,) = [line for line in lines if line.startswith("# backward: ")]
    assert "the lambda of test_reproducer.py, line " in told
    assert "backward = ..." in lines
    assert any(line.startswith("# reference: the lambda of ") for line in lines)


def test_what_a_closure_uses_is_told() -> None:
    sign = -1

    def backward(dy: np.ndarray, x: np.ndarray) -> np.ndarray:
        return sign * dy

    text = script((same, backward), torch.nn.Identity())
    assert "# backward: the function backward of test_reproducer.py, line " in text
    assert "which uses sign of its own" in text


def test_a_function_inside_another_is_written_out(tmp_path: Path) -> None:
    def backward(dy: float, x: float) -> float:
        return -np.abs(dy) * np.sign(dy) + 0 * math.pi

    text = script((same, backward), torch.clone)
    assert "    return -np.abs(dy) * np.sign(dy) + 0 * math.pi" in text
    assert "torch.clone" in text
    assert "import math as math" in text
    module = tmp_path.joinpath(*__name__.split(".")).with_suffix(".py")
    module.parent.mkdir(parents=True)
    module.write_text("def same(x):\n    return x * 1\n", "utf-8")
    assert "1 of 2 tensors differ" in run_python(tmp_path, text).stderr


def test_a_method_is_named_by_its_owner() -> None:
    text = script((same, Negative().backward), torch.nn.Identity())
    assert "check((same, Negative().backward), torch.nn.Identity(), " in text
    assert "..." not in text


class Scaled(nn.Module):
    """A module of one's own, whose instance does not tell with what it was made."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.factor * x


def test_a_module_made_with_unknown_arguments_is_not_made_up() -> None:
    with pytest.raises(CheckFailed) as caught:
        check((lambda x: 3 * x, lambda dy, x: 2 * dy), Scaled(3.0), x=(2, 3))
    assert "Scaled()" not in caught.value.report.reproducer
    assert "a Scaled, which cannot be imported, or was made with arguments" in caught.value.report.reproducer


def test_modules_in_a_row_are_written_as_python() -> None:
    with pytest.raises(CheckFailed) as caught:
        check((lambda x: np.tanh(np.tanh(x)), lambda dy, x: dy), nn.Sequential(nn.Tanh(), nn.Tanh()), x=(2, 3))
    assert "torch.nn.Sequential(torch.nn.Tanh(), torch.nn.Tanh())" in caught.value.report.reproducer
