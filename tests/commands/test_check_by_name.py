"""`handgrad check MODULE:NAME --reference …` checks what is named, with no file that calls `check`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from handgrad.compare.commands import named
from handgrad.compare.commands.main import main
from handgrad.compare.commands.parser import parser

MODULE = """
import numpy as np
from handgrad import manual

number = 3

def forward(x): return np.tanh(x)
def backward(dy, x): return dy * (1 - np.tanh(x) ** 2)
def doubled(dy, x): return 2 * backward(dy, x)
pair = forward, backward

def scaled(x, gain): return x * gain
def scaled_back(dy, x, gain): return {"x": dy * gain, "gain": (dy * x).sum(0)}

def norm(): return manual.Linear(8, 3)
def needs(size): return manual.Linear(size, size)
def torch_scaled(x, gain): return x * gain

class Tanh(manual.Tanh): pass
class Holder:
    tanh = manual.Tanh()

adam = manual.Adam()

class Squares:
    def forward(self, output, target): return np.mean((output - target) ** 2), (output, target)
    def gradient(self, cache): return 2 * (cache[0] - cache[1]) / cache[0].size
"""


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A module in the current folder, and nothing of it or of the path left afterwards."""
    (tmp_path / "my_layers.py").write_text(MODULE, encoding="utf-8")
    (tmp_path / "broken.py").write_text("1 / 0\n", encoding="utf-8")
    (tmp_path / "in_need.py").write_text("import no_such_package\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield
    for name in ("my_layers", "broken", "in_need"):
        sys.modules.pop(name, None)


def asked(*arguments: str) -> dict[str, Any]:
    return named.arguments(parser().parse_args(["check", *arguments]))


@pytest.mark.parametrize(
    "arguments",
    [
        "my_layers:forward,backward --reference torch.tanh --input x:4,8",
        "my_layers:pair --reference torch.nn.functional.tanh --input x:N,8 --seed 3 --dtype float32",
        "my_layers:Tanh --reference torch.nn.Tanh --input x:5",
        "my_layers:Holder.tanh --reference torch.nn.Tanh --input x:5",
        "my_layers:norm --reference torch.nn.Linear --reference-arguments 8,3 --input x:4,8",
        "my_layers:scaled,scaled_back --reference my_layers.torch_scaled --input x:N,D --param gain:D",
        "my_layers:Squares --reference torch.nn.MSELoss --output 4,3 --target 4,3",
        "my_layers:adam --reference torch.optim.Adam --theta 20",
        "handgrad.manual:SoftmaxCrossEntropy --reference torch.nn.CrossEntropyLoss --output N,K --target class",
    ],
)
def test_what_is_named_agrees(arguments: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", *arguments.split()]) == 0, capsys.readouterr()
    out = capsys.readouterr().out
    name, _, reference = arguments.split()[:3]
    assert out.startswith(f"{name} beside {reference}")
    assert "1 check · all agree" in out


def test_what_is_named_differs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "report.json"
    arguments = ["my_layers:forward,doubled", "--reference", "torch.tanh", "--input", "x:4,8", "--json"]
    assert main(["check", *arguments, str(file)]) == 1
    assert "cause: a factor 2 too much" in capsys.readouterr().out
    (report,) = json.loads(file.read_text("utf-8"))
    assert (report["name"], report["where"]) == ("my_layers:forward,doubled beside torch.tanh", "")


def test_arguments_of_the_reference_reach_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "my_layers:adam", "--reference", "torch.optim.Adam", "--theta", "20",
                 "--reference-arguments", "betas=(0.5, 0.999)"]) == 1  # fmt: skip
    assert "torch.optim.Adam(betas=(0.5, 0.999)): " in capsys.readouterr().out
    found = asked("my_layers:pair", "--reference", "torch.nn.functional.elu", "--reference-arguments",
                  "alpha=2.0, inplace=False", "--input", "x:4")["reference"]  # fmt: skip
    x = torch.tensor([-1.0])
    assert torch.equal(found(x), torch.nn.functional.elu(x, alpha=2.0))


def test_letters_are_named_sizes() -> None:
    found = asked(
        "my_layers:scaled,scaled_back", "--reference", "torch.mul", "--input", "x:N,D,N,3", "--param", "gain:D",
        "--param", "shift:M,1",
    )  # fmt: skip
    assert found["inputs"] == {"x": ("N", "D", "N", 3)}
    assert found["params"] == {"gain": ("D",), "shift": ("M", 1)}


def test_what_is_not_given_is_left_to_check() -> None:
    found = asked("my_layers:pair", "--reference", "torch.tanh", "--input", "x:4,8")
    assert found.keys() == {"ours", "reference", "name", "inputs"}
    more = asked("my_layers:pair", "--reference", "torch.tanh", "--input", "x:4", "--explain", "off", "--seed", "0")
    assert (more["explain"], more["seed"]) == ("off", 0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("mine:pair --reference torch.tanh", "there must be a module mine, but none is found from "),
        ("broken:pair --reference torch.tanh", "broken must import, but it raises ZeroDivisionError: division by zero"),
        ("in_need:pair --reference torch.tanh", "in_need must import, but it raises ModuleNotFoundError: No module"),
        ("my_layers:forwrd --reference torch.tanh", "my_layers must have a forwrd, but it has none: it has forward"),
        ("my_layers:zzz --reference torch.tanh", "my_layers must have a zzz, but it has none: mind the spelling"),
        ("my_layers:number,backward --reference torch.tanh", "number of my_layers must be a function, got the int '3'"),
        (
            "my_layers:number --reference torch.tanh",
            "(forward, backward) of functions, or stateful(…), got int",
        ),
        (
            "my_layers:needs --reference torch.tanh",
            "one function alone, which returns (J, gradients), must have a single",
        ),
        ("my_layers:pair --reference torch.tanhh", "torch must have a tanhh, but it has none: it has tanh"),
        ("my_layers:pair --reference torch.pi", "--reference must be a function or a class, got the float '3.14"),
        ("my_layers:pair --reference tanh()", "--reference must be a dotted name such as torch.nn.functional.gelu, go"),
        ("my_layers:pair --reference torchh.tanh", "there must be a module torchh, but none is found from "),
        ("my_layers:pair --reference torch.nn.Linear", "torch.nn.Linear is made with the arguments (), but that raise"),
        (
            "my_layers:pair --reference torch.tanh --reference-arguments __import__('os').getcwd()",
            "--reference-arguments must be literals such as '8, eps=1e-6', got",
        ),
        ("my_layers:pair --reference torch.tanh --reference-arguments **{}", "--reference-arguments must be literals"),
        ("my_layers:pair --reference torch.tanh --reference-arguments 1)+(2", "--reference-arguments must be literals"),
        ("my_layers:pair --reference torch.tanh --reference-arguments 1)(2", "--reference-arguments must be literals"),
        ("my_layers:pair", "is checked beside a reference, got none: give --reference, such as torch.nn.functional"),
        ("my_layers:pair --reference torch.tanh --dtype float8", "dtype"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(arguments: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", *arguments.split(), "--input", "x:4,8"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("handgrad check: ")
    assert words in err
    assert err.count("\n") == 1


def test_without_inputs_it_asks_for_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "my_layers:pair", "--reference", "torch.tanh"]) == 2
    assert "is checked on inputs, got none: give --input x:4,8 for a layer" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "value"),
    [("--input", "4,8"), ("--input", "x:"), ("--param", "x:4,-1"), ("--output", "4;8"), ("--theta", "")],
)
def test_sizes_that_are_none_are_refused(option: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        main(["check", "my_layers:pair", option, value])
    assert exit.value.code == 2
    assert f"argument {option}: expected " in capsys.readouterr().err


def test_a_file_is_a_file_though_its_name_has_a_colon(tmp_path: Path) -> None:
    assert named.is_named("my_layers:pair")
    assert not named.is_named("my_layers.py")
    assert not named.is_named("folder/my_layers.py:3")
    (tmp_path / "a:b").write_text("", encoding="utf-8")
    assert not named.is_named("a:b")
