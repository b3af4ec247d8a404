"""The names of inputs, outputs and stages: what one function makes, another takes apart; no other file does either."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from handgrad import manual
from handgrad.compare.judge import names

COMPARE = Path(__file__).resolve().parents[2] / "compare"
ROOMS = ("foundation", "rounding", "judge", "checking", "run", "lessons", "board", "commands")
FILES = sorted(file for room in ROOMS for file in (COMPARE / room).rglob("*.py") if file.name != "names.py")


def test_a_parameter_and_its_gradient() -> None:
    assert names.parameters_among({names.parameter("weight"): 1, "x": 2, "parameters": 3}) == {"weight": 1}
    assert names.parameter_of(names.gradient_of("weight")) == "weight"
    assert [names.parameter_of(name) for name in ("input gradient", "output", "weight", "theta")] == [""] * 4


def test_what_an_output_is() -> None:
    assert names.differentiated(names.gradient_of("weight")) == names.parameter("weight")
    assert names.differentiated("input gradient") == "x"
    assert names.differentiated("loss gradient") == "output"
    assert [names.differentiated(name) for name in ("output", "loss", "theta", "exp_avg")] == [None] * 4
    thetas = ("theta", names.theta_after(3), names.theta_after(3, "W"), "exp_avg")
    assert [names.is_theta(name) for name in thetas] == [True, True, True, False]
    assert [names.steps_of(name) for name in thetas] == [None, 3, 3, None]
    forward = ("output", "loss", names.output("h"), "loss gradient")
    assert [names.is_forward(name) for name in forward] == [True, True, True, False]


@pytest.mark.parametrize("part", ["", "h", "state.c"])
def test_an_output_its_part_and_its_upstream_gradient_go_together(part: str) -> None:
    assert names.part_of(names.output(part)) == part
    assert names.is_upstream(names.upstream_of(names.output(part)))
    assert not names.is_upstream(names.output(part))


@pytest.mark.parametrize("name", ["x", "q"])
def test_an_argument_and_its_gradient_go_together(name: str) -> None:
    assert names.differentiated(names.argument_gradient(name)) == names.argument(name)
    assert names.constants_among({names.constant(name): 1, names.argument(name): 2}) == {name: 1}
    assert names.input_symbol(names.argument(name)) == names.input_symbol(names.constant(name)) == name


def test_stages_as_reports_name_them() -> None:
    assert names.layer_stage(1, manual.ReLU(), names.INPUT_GRADIENT) == "1 · ReLU · input gradient"
    assert names.loss_stage(manual.SoftmaxCrossEntropy()) == "loss · SoftmaxCrossEntropy"
    assert names.update_stage(manual.SGD()) == "update · SGD"
    assert names.phase_of(names.layer_stage(1, manual.ReLU(), names.FORWARD)) == "forward"
    assert names.phase_of(names.learning_rate_stage(manual.Constant(0.1))) == ""


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(COMPARE)))
def test_no_other_file_knows_how_a_name_is_made(file: Path) -> None:
    text = file.read_text("utf-8")
    assert not re.search(r'"(gradient of|parameter|theta after(?: step)?)[ "]', text.replace('"parameter", []', ""))
    assert not re.search(r'(startswith|endswith|removeprefix|split|partition)\(f?"[^"]*( of | · |after|gradient)', text)
