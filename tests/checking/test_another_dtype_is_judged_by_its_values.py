"""A dtype decides no verdict: integers, bools, Python numbers, wider and narrower floats are judged by their values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from handgrad import check
from handgrad.compare.checking.findings import Finding, Report


def report(*args: Any, **options: Any) -> Report:
    return check(*args, **options, raises=False)


def notes(f: Finding) -> list[str]:
    return [note for note in f.notes if "its values are judged as" in note]


def step(x: torch.Tensor) -> torch.Tensor:
    return torch.sign(x) + 0 * x


class FloatLoss:
    def __init__(self, factor: float) -> None:
        self.factor = factor

    def forward(self, output: Any, target: Any) -> Any:
        return float(self.factor * np.mean((output - target) ** 2)), output - target

    def gradient(self, d: Any) -> Any:
        return 2 * d / d.size


WIDE = np.sqrt(2)  # a float64 number, which makes a float64 array of a float32 one
CASES = {
    "integers": (
        lambda k: (lambda x: k * np.sign(x).astype(int), lambda dy, x: np.zeros(x.shape)),
        (step, {"x": (3, 4)}), "output", "returns int64; its values are judged as float64",
    ),
    "bools": (
        lambda k: (lambda x: x > (k - 1) / 2, lambda dy, x: np.zeros(x.shape)),
        (lambda x: (x > 0) * 1.0 + 0 * x, {"x": lambda rng: rng.normal(size=(20, 4))}),
        "output", "returns bool; its values are judged as float64",
    ),
    "a gradient of integers": (
        lambda k: (lambda x: 3.0 * x.sum(), lambda dy, x: np.full(x.shape, 3 * k) * int(dy)),
        (lambda x: 3.0 * x.sum(), {"x": (3, 2), "dy": np.array(2.0)}), "input gradient", "returns int64; its values",
    ),
    "a number of Python": (
        FloatLoss, (nn.MSELoss(), {"output": (3, 2), "target": (3, 2)}), "loss", "returns float; its values",
    ),
    "wider numbers": (
        lambda k: (lambda x: x * WIDE, lambda dy, x: k * dy * WIDE),
        (lambda x: x * 2**0.5, {"x": (3, 4), "dtype": "float32"}),
        "input gradient", "returns float64; its values are judged as float32",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_it_agrees_by_its_values_with_a_note_and_differs_by_them(name: str) -> None:
    make, (reference, options), tensor, note = CASES[name]
    right = report(make(1), reference, **options)
    assert not right.differing, str(right)
    (found,) = [f for f in right.findings if f.tensor == tensor]
    assert note in "\n".join(notes(found))
    wrong = report(make(2), reference, **options)
    (found,) = [f for f in wrong.findings if f.tensor == tensor]
    assert not found.agrees
    assert note in "\n".join(found.notes)
    assert not found.verdict.problem


def narrow(k: float) -> Any:
    return lambda x: (k * x).astype(np.float32), lambda dy, x: (k * dy).astype(np.float32)


def test_a_narrower_result_whose_values_are_those_of_its_rounding_is_told_so() -> None:
    found = report(narrow(1), lambda x: x * 1, x=(3, 4))
    assert {phrase for f in found.findings for phrase in f.phrases} == {
        "the result is float32, where torch's is float64"
    }


def test_a_narrower_result_does_not_hide_another_fault() -> None:
    found = report(narrow(3), lambda x: x * 1, x=(3, 4))
    for f in found.findings:
        assert not f.agrees
        assert any("3, not 1" in phrase for phrase in f.phrases), f.phrases


def test_a_narrower_result_of_exact_numbers_agrees() -> None:
    found = report(narrow(2), lambda x: x * 2, x=np.array([[1.5, -2.0]]), dy=np.array([[1.0, 0.25]]))
    assert found.agrees
    assert all(notes(f) for f in found.findings)
