"""A difference comes with a script of a few lines that shows it again, on the smallest case that still differs."""

import math
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from handgrad import CheckFailed, check, manual

Run = Callable[[Path, list[str]], tuple[str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Python's own way to run a script, -m or -c, but in this process: what it printed, and what it raised."""

    def in_this_process(folder: Path, arguments: list[str]) -> tuple[str, str]:
        first, *more = arguments
        start = str((folder / first).parent) if not more else ""
        before, raised = set(sys.modules), ""
        capsys.readouterr()
        with monkeypatch.context() as patched:
            patched.chdir(folder)
            patched.setattr(sys, "path", [start, *sys.path])
            patched.setattr(sys, "argv", arguments)
            try:
                if first == "-m":
                    runpy.run_module(more[0], run_name="__main__", alter_sys=True)
                else:
                    script = write(folder / "cell.py", more[0]) if first == "-c" else str(folder / first)
                    runpy.run_path(script, run_name="__main__")
            except CheckFailed as failure:
                raised = str(failure)
        for name in set(sys.modules) - before:  # another folder's module may have the same name
            if str(getattr(sys.modules[name], "__file__", "")).startswith(str(folder.parent)):
                del sys.modules[name]
        return capsys.readouterr().out, raised

    return in_this_process


def run_apart(folder: Path, arguments: list[str]) -> tuple[str, str]:
    """The same in a process of its own."""
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    return done.stdout, done.stderr


def write(file: Path, text: str) -> str:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, "utf-8")
    return str(file)


def raised_by(run: Run, folder: Path, code: str) -> str:
    """What a script raises that is all alone in its folder."""
    write(folder / "alone" / "script.py", code)
    return run(folder / "alone", ["script.py"])[1]


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
def test_the_script_runs_and_differs_again(run: Run, tmp_path: Path, call: str) -> None:
    write(tmp_path / "layers.py", LAYER)
    catch = f"try:\n    {call}\nexcept CheckFailed as e:\n    print(e.report.reproducer)"
    write(tmp_path / "ask.py", f"from layers import *\nfrom handgrad import CheckFailed\n{catch}")
    script, _ = run(tmp_path, ["ask.py"])
    assert 5 <= len(script.splitlines()) <= 12
    assert "tensors differ" in raised_by(run, tmp_path, script)


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


def script(ours: object, reference: object, x: tuple[int, ...] = (2, 2)) -> str:
    with pytest.raises(CheckFailed) as failure:
        check(ours, reference, x=x)
    assert "the sign is flipped" in str(failure.value)
    return failure.value.report.reproducer


def same(x: np.ndarray) -> np.ndarray:
    return x * 1


class Negative:
    def backward(self, dy: np.ndarray, x: np.ndarray) -> np.ndarray:
        return -dy


def test_lambdas_are_cut_out_of_their_line(run: Run, tmp_path: Path) -> None:
    text = script((lambda x: x * 1, lambda dy, x: -dy), lambda x: x)
    assert "forward = lambda x: x * 1" in text
    assert "backward = lambda dy, x: -dy" in text
    assert "reference = lambda x: x\n" in text
    assert "..." not in text
    assert "1 of 2 tensors differ" in raised_by(run, tmp_path, text)


def test_what_cannot_be_written_is_told() -> None:
    class Odd:
        sign = -1

    odd = Odd()
    lines = script((same, lambda dy, x: odd.sign * dy), torch.nn.Identity()).splitlines()
    assert f"from {__name__} import same" in lines
    assert lines[-1].startswith("check((same, backward), torch.nn.Identity(), ")
    (told,) = [line for line in lines if line.startswith("# backward: ")]
    assert "the lambda of test_reproducer.py, line " in told
    assert "which uses odd of its own" in told
    assert "backward = ...  # a placeholder" in lines


def test_what_a_closure_uses_is_written_out(run: Run, tmp_path: Path) -> None:
    sign, weights = -1, np.array([1.0, 1.0])

    def flipped(v: np.ndarray) -> np.ndarray:
        return sign * v

    def backward(dy: np.ndarray, x: np.ndarray) -> np.ndarray:
        return flipped(dy) * weights

    text = script((lambda x: x * 1, backward), torch.nn.Identity())
    assert "sign = -1" in text
    assert "weights = np.array([1.0, 1.0], dtype='float64')" in text
    assert text.index("def flipped") < text.index("def backward")
    assert "1 of 2 tensors differ" in raised_by(run, tmp_path, text)


def test_a_function_inside_another_is_written_out(run: Run, tmp_path: Path) -> None:
    def backward(dy: float, x: float) -> float:
        return -np.abs(dy) * np.sign(dy) + 0 * math.pi

    text = script((lambda x: x * 1, backward), torch.clone)
    assert "    return -np.abs(dy) * np.sign(dy) + 0 * math.pi" in text
    assert "torch.clone" in text
    assert "import math\n" in text
    assert "1 of 2 tensors differ" in raised_by(run, tmp_path, text)


SCRIPT = """
import numpy as np
from torch import nn
from handgrad import CheckFailed, check

SLOPE = 2.0

class Doubled:
    def forward(self, params, x):
        return np.tanh(x), np.tanh(x)

    def input_gradient(self, params, cache, dy):
        return SLOPE * dy * (1 - cache**2)

def show(**options):
    try:
        check(Doubled(), nn.Tanh(), x=(3, 4), **options)
    except CheckFailed as failure:
        print(failure.report.reproducer)
"""
AT_ONCE = (
    SCRIPT
    + "\ntry:\n    check(Doubled(), nn.Tanh(), x=(3, 4))\nexcept CheckFailed as e:\n    print(e.report.reproducer)\n"
)
GUARDED = SCRIPT + '\nif __name__ == "__main__":\n    show()\n'
CELL = f"""
import linecache
text = {SCRIPT!r}
linecache.cache["<ipython-input-1>"] = (len(text), None, text.splitlines(True), "<ipython-input-1>")
exec(compile(text, "<ipython-input-1>", "exec"))
show()
"""


@pytest.mark.parametrize(
    ("files", "arguments", "said"),
    [
        ({"my-exp.py": GUARDED}, ["my-exp.py"], "runpy.run_path"),
        ({"plain.py": GUARDED}, ["plain.py"], "from plain import Doubled"),
        ({"at_once.py": AT_ONCE}, ["at_once.py"], "class Doubled:"),
        ({"odd-one.py": AT_ONCE}, ["odd-one.py"], "SLOPE = 2.0"),
        (
            {"parts/__init__.py": "", "parts/layer.py": GUARDED},
            ["-m", "parts.layer"],
            "from parts.layer import Doubled",
        ),
        ({}, ["-c", CELL], "class Doubled:"),
    ],
)
def test_the_script_runs_from_a_folder_of_its_own(
    run: Run, tmp_path: Path, files: dict[str, str], arguments: list[str], said: str
) -> None:
    assert_runs_elsewhere(run, tmp_path, files, arguments, said)


def assert_runs_elsewhere(run: Run, folder: Path, files: dict[str, str], arguments: list[str], said: str) -> None:
    (folder / "at").mkdir()
    for name, text in files.items():
        write(folder / "at" / name, text)
    script, problem = run(folder / "at", arguments)
    assert said in script, problem
    write(folder / "elsewhere" / "script.py", script)
    printed, raised = run(folder / "elsewhere", ["script.py"])
    assert "1 of 2 tensors differ" in raised
    assert printed == ""  # no check ran once more


def test_it_runs_in_processes_of_their_own(tmp_path: Path) -> None:
    """What the tests above do in this process."""
    assert_runs_elsewhere(run_apart, tmp_path, {"my-exp.py": GUARDED}, ["my-exp.py"], "runpy.run_path")


def test_a_script_stays_short(run: Run, tmp_path: Path) -> None:
    with pytest.raises(CheckFailed) as caught:
        check((lambda x: np.cumsum(x, 1), lambda dy, x: dy), lambda x: torch.cumsum(x, 1), x=(2, 128, 128))
    text = caught.value.report.reproducer
    assert len(text) < 4000
    assert len(text.splitlines()) < 40
    assert "1 of 2 tensors differ" in raised_by(run, tmp_path, text)


def test_what_is_long_is_drawn(run: Run, tmp_path: Path) -> None:
    def forward(x: np.ndarray) -> np.ndarray:
        assert x.shape[1:] == (40, 40)
        return x * 1

    text = script((forward, lambda dy, x: -dy), lambda x: x, (2, 40, 40))
    assert "rng = np.random.default_rng(0)" in text
    assert "x = rng.normal(size=(1, 40, 40))" in text
    assert len(text) < 4000
    assert "1 of 2 tensors differ" in raised_by(run, tmp_path, text)


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


@pytest.mark.parametrize(
    ("reference", "options"),
    [
        (nn.CrossEntropyLoss(label_smoothing=0.125), "(label_smoothing=0.125)"),
        (nn.CrossEntropyLoss(reduction="sum"), "(reduction='sum')"),
        (nn.CrossEntropyLoss(torch.tensor([1.0, 2.0, 0.5])), "(weight=torch.tensor([1.0, 2.0, 0.5]))"),
    ],
)
def test_a_loss_is_shown_with_its_options(reference: nn.Module, options: str) -> None:
    """Torch shows none of them, and without them the script would show nothing, or something else."""
    with pytest.raises(CheckFailed) as caught:
        check(manual.SoftmaxCrossEntropy(), reference, output=(4, 3), target="class", explain="quick")
    report = caught.value.report
    assert report.name.endswith(f"CrossEntropyLoss{options}")
    assert f"torch.nn.CrossEntropyLoss{options}" in report.reproducer
    with pytest.raises(CheckFailed):
        exec(report.reproducer, {})
