"""`handgrad check FILE` finds and runs every check of a file, and says 0, 1 or 2."""

import json
from pathlib import Path

import pytest

from handgrad.compare.commands.main import main

RIGHT = """
import numpy as np, torch
from handgrad import check

def forward(x): return x ** 2
def backward(dy, x): return 2 * x * dy
def reference(x): return x ** 2

check((forward, backward), reference, x=(3, 4), name="square")
"""
WRONG = RIGHT.replace("2 * x * dy", "x * dy").replace('"square"', '"half a square"')
IN_FUNCTIONS = RIGHT.replace("check((", "def check_it(): check((").replace("name=", "seed=1, name=")


def written(folder: Path, text: str) -> str:
    file = folder / "my_layer.py"
    file.write_text(text, encoding="utf-8")
    return str(file)


@pytest.mark.parametrize("text", [RIGHT, IN_FUNCTIONS], ids=["top level", "in a function"])
def test_a_right_derivation_exits_0(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    assert main(["check", written(tmp_path, text)]) == 0
    out = capsys.readouterr().out
    assert "square: agrees" in out
    assert "1 check · all agree" in out


def test_every_check_of_a_file_runs_though_the_first_differs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report.json"
    assert main(["check", written(tmp_path, WRONG + RIGHT), "--json", str(report)]) == 1
    out = capsys.readouterr().out
    assert "half a square: 1 of 2 tensors differ" in out
    assert "square: agrees" in out
    assert "2 checks · 1 differ" in out
    first, second = json.loads(report.read_text("utf-8"))
    assert (first["agrees"], second["agrees"]) == (False, True)
    (wrong,) = [f for f in first["findings"] if not f["agrees"]]
    assert wrong["tensor"] == "input gradient"
    assert wrong["causes"] == ["a factor ½ too much (a 2 is missing)"]


def test_the_function_and_the_line_of_each_check_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", written(tmp_path, IN_FUNCTIONS + RIGHT)]) == 0
    top, within = (line for line in capsys.readouterr().out.splitlines() if line.startswith("square: "))
    assert top.endswith("(line 18)")
    assert within.endswith("(check_it, line 9)")


REFUSED = RIGHT.replace("check((", "def check_refused(): check((").replace("x=(3, 4), ", "")


@pytest.mark.parametrize(("others", "code", "said"), [
    (IN_FUNCTIONS, 2, "1 check · all agree · 1 could not run"),
    (WRONG.replace("check((", "def test_it(): check(("), 1, "1 check · 1 differ · 1 could not run"),
])  # fmt: skip
def test_a_check_that_cannot_run_ends_no_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], others: str, code: int, said: str
) -> None:
    report = tmp_path / "report.json"
    assert main(["check", written(tmp_path, REFUSED + others), "--json", str(report)]) == code
    out, err = capsys.readouterr()
    assert out.splitlines()[-1].startswith(said)
    assert err.startswith("handgrad check: check_refused, ")
    assert "my_layer.py:9: check takes exactly one of x= or inputs= (a layer or a function)" in err
    assert err.count("\n") == 1
    assert len(json.loads(report.read_text("utf-8"))) == 1


def test_what_was_checked_before_the_file_failed_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", written(tmp_path, WRONG + "check(1, 2)\n")]) == 1
    out, err = capsys.readouterr()
    assert out.splitlines()[-1] == "1 check · 1 differ · 1 could not run"
    assert "my_layer.py:10: check takes exactly one of x= or inputs= (a layer or a function)" in err


def test_all_runs_every_shipped_pair(capsys: pytest.CaptureFixture[str]) -> None:
    from handgrad.compare.pairs.shipped import shipped

    assert main(["check", "--all"]) == 0
    out = capsys.readouterr().out
    assert f"{len(list(shipped()))} checks · all agree" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "expected a file, MODULE:NAME or --all, and only one of them"),
        (["--all", "FILE"], "expected a file, MODULE:NAME or --all, and only one of them"),
        (["FILE", "--seed", "3"], "--seed goes with MODULE:NAME, got it beside "),
        (["--all", "--input", "x:4"], "--input goes with MODULE:NAME, got it beside --all: leave it out"),
        (["no_such_file.py"], "must exist, but there is no no_such_file.py: give the path of a Python file"),
    ],
)
def test_nothing_to_run_exits_2_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    file = written(tmp_path, RIGHT)
    assert main(["check", *(file if a == "FILE" else a for a in arguments)]) == 2
    err = capsys.readouterr().err
    assert words in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = 1", "must call handgrad.check, at its top level or in functions named check_… or test_…"),
        ("import no_such_module", "must run, but it raises ModuleNotFoundError: No module named 'no_such_module'"),
        ("x = (", "must run, but it raises SyntaxError"),
        (
            "from handgrad import check\ncheck(1, 2)",
            "exactly one of x= or inputs= (a layer or a function), output= (a loss)",
        ),
        (RIGHT.replace("x=(3, 4)", "x=(0, 4)"), "x must have at least one element, got shape (0, 4)"),
        (
            RIGHT.replace("def reference(x): return x ** 2", "def reference(x): return x @ x"),
            "but it raised RuntimeError",
        ),
        (
            RIGHT.replace("def reference(x): return x ** 2", "def reference(x): return x * torch.rand(())"),
            "must be deterministic",
        ),
        (RIGHT.replace("reference, x", "torch.nn.Linear(4, 4), x"), "must have the manual side's names and shapes"),
        (RIGHT.replace("(forward, backward)", "forward"), "forward(params, x) and input_gradient(params, cache, dy)"),
        (
            RIGHT.replace("(forward, backward)", "dict"),
            "takes an instance of a layer, got the class dict: write dict(…)",
        ),
        (
            RIGHT.replace("x=(3, 4)", "x=np.arange(6).reshape(2, 3)"),
            "must be an input of floating-point numbers",
        ),
        (
            RIGHT.replace("def reference(x): return x ** 2", "def reference(x): return x, x"),
            "forward must return what the reference does, a tuple of 0, 1",
        ),
    ],
)
def test_a_file_that_cannot_be_checked_exits_2_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, words: str
) -> None:
    assert main(["check", written(tmp_path, text)]) == 2
    err = capsys.readouterr().err
    assert words in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("2 * x * dy", "1 / 0"), "the derivation raises ZeroDivisionError: division by zero (my_layer.py, line 6)"),
        (("def backward(dy, x): return 2 * x * dy", "def backward(dy, x):\n    x *= 3\n    return x * dy"),
         "the derivation writes into x in place: it was judged on copies"),
        (("2 * x * dy", "list(2 * x * dy)"), "returns list for the input gradient where an array belongs"),
        (("2 * x * dy", "(2 * x * dy).T"), "shape (4, 3) beside torch's (3, 4)"),
        (("2 * x * dy", "{}"), "the manual side returns no input gradient"),
        (("2 * x * dy", "{'x': 2 * x * dy, 'w': dy}"), "returns a gradient of w that torch does not have"),
        (("2 * x * dy", "(2 * x * dy).astype(np.float32)"), "the result is float32, where torch's is float64"),
        (("2 * x * dy", "2 * x * dy * np.nan"), "manual nan, torch"),
    ],
)  # fmt: skip
def test_a_derivation_that_misbehaves_is_a_finding_and_not_a_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: tuple[str, str], words: str
) -> None:
    text = RIGHT.replace(*change)
    assert text != RIGHT
    assert main(["check", written(tmp_path, text)]) == 1
    captured = capsys.readouterr()
    assert words in captured.out
    assert "Traceback" not in captured.out + captured.err


def test_a_schedule_need_not_inherit_and_a_state_may_have_names_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = """
import torch
from handgrad import check

def halving(step): return 0.1 * 0.5 ** (step // 3)

class Momentum:
    def init(self, theta): return {"velocity": 0 * theta}
    def update(self, theta, grad, state, learning_rate):
        v = 0.9 * state["velocity"] + grad
        return theta - learning_rate * v, {"velocity": v}

check(halving, lambda o: torch.optim.lr_scheduler.StepLR(o, 3, 0.5), steps=20)
check(Momentum(), lambda p, lr: torch.optim.SGD(p, lr=lr, momentum=0.9), theta=(5,))
"""
    assert main(["check", written(tmp_path, text)]) == 0
    assert "2 checks · all agree" in capsys.readouterr().out
    assert main(["check", written(tmp_path, text.replace("step // 3", "(step + 1) // 3"))]) == 1
    assert "learning rate, step 2: " in capsys.readouterr().out
