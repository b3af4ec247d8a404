"""Every lesson runs, prints, draws and asserts what it shows; one whose numbers are altered fails, and says where."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from handgrad import manual
from handgrad.compare.commands import lessons as command
from handgrad.compare.commands.main import main
from tests import ROOT

LESSONS = command.lessons()
FACTS = {
    "one_neuron": ["three weights, no bias   17.1", "the text prints          18.0", "w = 9.99988047"],
    "two_neurons": ["w₁ = 3.87498172, w₂ = 2.58052067, output 99.9947", "w₁ = 3.16227766, w₂ = 3.16227766"],
    "converging_is_not_right": [
        "9.99988047; 3.87498172 and 2.58052067, output 99.9947",
        "cause: a factor ½ too much (a 2 is missing)",
        "cause: the derivative of relu(x) is missing: relu' is taken as 1",
        "cause: in the derivative of x @ weightᵀ by weightᵀ, the factor x is left out (taken as 1)",
        "cause: in the derivative of x @ weightᵀ by weightᵀ, the sum of δ over axis 0 stands for δ",
        "∂J/∂2.input: weight was updated before it was used to propagate",
    ],
    "perceptron_and_adaline": ["20 corrections", "it says ½ to everything", "two layers  mistakes: 0"],
    "logistic_regression": ["dz¹/dW¹", "(3, 6)", "all 7 stages agree"],
    "regression_network": ["3-5-2 on paper: agrees", "32 parameters", "all 10 stages agree"],
    "batch_sizes": [f"rows a step: {rows}   iterations an epoch: {6 // rows}" for rows in (6, 2, 1)],
    "learning_rate": ["1/h = 0.25, 2/h = 0.5", "η = 0.25  arrives in one step", "is 2.298"],
    "why_activations": ["equal bit for bit", "leaky-relu", "layer 9"],
    "one_image_epoch_by_epoch": ["the first test digit, a 7", "η        1e-01   1e-02   1e-03   1e-04   1e-05"],
    "traps": ["(zero_grad() is missing)", "the sign of lr * g is wrong in", "together    13,002"],
}


@pytest.mark.parametrize("name", LESSONS)
def test_a_lesson_runs_and_says_what_it_shows(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lessons", name, "--out", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert [fact for fact in FACTS[name] if fact not in out] == []
    pictures = list((tmp_path / name).glob("*.png"))
    assert len(pictures) == (name != "converging_is_not_right")
    for picture in pictures:
        assert f"picture: {picture}" in out
        assert picture.read_bytes().startswith(b"\x89PNG")
        assert list(picture.parent.glob("events.out.tfevents.*"))


# What is put into a script in the place of what stands there, and the assertion that must notice.
PLANTED = [
    ("one_neuron", "[0.1, 1.2, 0.5]", "[0.1, 1.2, 0.6]", '== "17.1"'),
    ("one_neuron", "ITERATIONS = 5.5, 100", "ITERATIONS = 5.5, 99", '== "9.99988047"'),
    ("two_neurons", "learning_rate * error * w2", "learning_rate * error * path[-1][1]", "3.87498172"),
    ("converging_is_not_right", "[5.5], 0.01", "[5.4], 0.01", "9.99988047"),
    ("perceptron_and_adaline", "theta + error * ones[n]", "theta + 2 * error * ones[n]", "(by_rule == theta).all()"),
    ("logistic_regression", "STEPS = 1500", "STEPS = 3", "_shown(one) == _shown(other)"),
    ("regression_network", "* a1 * (1 - a1)", "* z1 * (1 - z1)", "report.agrees"),
    ("batch_sizes", '("mini-batch", 2, 3)', '("mini-batch", 2, 4)', "len(losses) == iterations"),
    ("learning_rate", "np.array([[6.0]]), 4.0, 3.0", "np.array([[6.0]]), 4.5, 3.0", "np.abs(distance"),
    ("why_activations", '+ second["bias"]  # (2,)', "# (2,)", "(by_two == by_one).all()"),
    ("one_image_epoch_by_epoch", "EPOCHS, BATCH = 2000, 10", "EPOCHS, BATCH = 2000, 0", "p[-1].argmax() == 7"),
    ("traps", "optimizer.zero_grad = lambda: None", "pass", "[d.tensor for d in found]"),
    ("traps", "784, 16, 16, 10", "784, 16, 15, 10", "13002"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "right", "wrong", "noticed"), PLANTED)
def test_a_lesson_whose_numbers_are_altered_fails(
    name: str, right: str, wrong: str, noticed: str,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    text = LESSONS[name].read_text("utf-8")
    assert text.count(right) == 1
    (tmp_path / f"{name}.py").write_text(text.replace(right, wrong), "utf-8")
    monkeypatch.setattr(command, "FOLDER", tmp_path)
    assert main(["lessons", name, "--out", str(tmp_path)]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert err.startswith(f"handgrad lessons: {name}.py, line ")
    assert noticed in err


def test_a_fault_in_the_projects_own_parts_fails_the_lesson(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    right = manual.HalfSquaredError.gradient
    monkeypatch.setattr(manual.HalfSquaredError, "gradient", lambda self, cache: right(self, cache) * (1 + 1e-11))
    assert main(["lessons", "regression_network", "--out", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith("handgrad lessons: regression_network.py, line ")


def test_the_list_is_all_and_only_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["lessons"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [[str(i), name] for i, name in enumerate(FACTS, start=1)]
    assert {path.stem for path in (ROOT / "examples" / "lessons").iterdir() if path.suffix == ".py"} == set(FACTS)
    assert all(len(line) <= 110 for line in lines)
    for number, name in ((10, "zebras"), (2, "apes")):
        (tmp_path / f"{name}.py").write_text(f'"""{number}. About {name}.\n\nMore.\n"""\n')
    monkeypatch.setattr(command, "FOLDER", tmp_path)
    assert main(["lessons"]) == 0
    assert capsys.readouterr().out == " 2  apes    About apes.\n10  zebras  About zebras.\n"


@pytest.mark.parametrize("name", ["one_neurone", "0", "12", "-3", ""])
def test_an_unknown_name_is_answered_in_one_line(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = main(["lessons", name])
    except SystemExit as stopped:  # what argparse takes for an option
        code = stopped.code
    out, err = capsys.readouterr()
    assert (code, out, err.count("\n")) == (2, "", 1)
    if not name.startswith("-"):
        assert f"a lesson must be one of one_neuron, two_neurons, {', '.join(list(FACTS)[2:])}, got {name!r}" in err


def test_without_the_examples_the_command_says_where_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "FOLDER", tmp_path / "nowhere")
    for arguments in ([], ["one_neuron"]):
        assert main(["lessons", *arguments]) == 2
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert "install from a checkout of the project" in err


def test_without_matplotlib_a_lesson_says_how_to_get_the_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["lessons", "1", "--out", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "w = 9.99988047" in out
    assert out.splitlines()[-1] == (
        "no picture one_weight.png: matplotlib is not installed (pip install 'handgrad[lessons]')"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_lesson_runs_alone(tmp_path: Path) -> None:
    result = run_python(tmp_path, str(LESSONS["two_neurons"]))
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "runs/lessons/two_neurons/two_weights.png").is_file()


def test_a_lesson_is_refused_where_assertions_are_off(tmp_path: Path) -> None:
    result = run_python(tmp_path, "-O", "-m", "handgrad", "lessons", "one_neuron")
    assert result.returncode == 2
    assert "Python runs with -O" in result.stderr


def run_python(folder: Path, *arguments: str) -> Any:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, cwd=folder, check=False)


def test_the_pictures_of_one_lesson_are_the_same_every_time(tmp_path: Path) -> None:
    names = [tmp_path / run / "one_neuron" / "one_weight.png" for run in "ab"]
    for name in names:
        assert main(["lessons", "one_neuron", "--out", str(name.parents[1])]) == 0
    assert np.array_equal(*(np.frombuffer(name.read_bytes(), np.uint8) for name in names))
