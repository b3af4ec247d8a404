"""Every derivation of tests/derivations can be loaded in the one shape, and the harnesses can put it to a check."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.detection.held_out import held_out
from benchmarks.detection.hidden import put as put_hidden
from benchmarks.detection.unseen import READINGS, put, reading
from tests.derivations.case import LAYER, LOSS, RULE, Derivation
from tests.derivations.held_out import load
from tests.derivations.hidden import sets as hidden
from tests.derivations.right.rewritten import FORMS
from tests.derivations.unseen.sets import SETS, cases
from tests.derivations.wrong import held_out_first, held_out_second

SIZES = {"first": (288, 80), "second": (104, 30), "third": (163, 55), "fourth": (53, 27)}  # wrong, right


@pytest.mark.parametrize("which", SETS)
def test_an_unseen_set_is_as_it_was_frozen(which: str) -> None:
    found = cases(which)
    wrong = [d for d in found if not d.right]
    assert (len(wrong), len(found) - len(wrong)) == SIZES[which]
    assert len({d.name for d in found}) == len(found)
    assert all(d.truth for d in wrong)
    assert {d.kind for d in found} == {LAYER, LOSS, RULE}
    assert {d.origin for d in found} == {which}
    assert json.loads(READINGS.read_text())[which].keys() <= {d.name for d in wrong}


@pytest.mark.parametrize("which", SETS)
def test_one_of_each_set_is_caught_and_its_reading_is_looked_up(which: str) -> None:
    said = put(which, next(i for i, d in enumerate(cases(which)) if not d.right))
    assert said["crash"] == ""
    assert said["differs"] == said["expected"] != []
    known = {which: {said["name"]: {"read": "in part", "causes": said["causes"]}}}
    assert reading(said, known) == "in part"
    assert reading(said | {"causes": {"output": ["another sentence"]}}, known) == "unread"


def test_the_held_out_faults_are_there() -> None:
    assert len(held_out_first.first()) == 29
    assert len(held_out_first.second()) == 15
    assert len(load(held_out_second.__file__)) == 113


def test_forms_in_other_words_have_names_of_their_own() -> None:
    assert len({form.name for form, _ in FORMS}) == len(FORMS) > 80


FILE = """
import numpy as np, torch

def pair(factor):
    return np.tanh, lambda dy, x: factor * dy * (1 - np.tanh(x) ** 2)

FAULTS = [
    {"name": "half", "ours": pair(0.5), "reference": torch.tanh, "x": (4, 5), "causes": {"input gradient": words}}
    for words in ("FACTOR", ["factor", "another"], "something else")
] + [
    {"name": "right", "ours": pair(1), "reference": torch.tanh, "x": (4, 5), "causes": {"input gradient": "factor"}},
    {"name": "elsewhere", "ours": pair(0.5), "reference": torch.tanh, "x": (4, 5), "causes": {"output": "factor"}},
    {"name": "odd", "ours": 1, "reference": torch.tanh, "x": (4, 5), "causes": {"output": "factor"}},
]
"""


def test_a_file_of_a_stranger_is_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.py").write_text(FILE)
    counts = held_out(str(tmp_path / "mine.py"))
    assert counts == {
        "named": 1, "no cause": 1, "misleading": 1, "not caught": 1, "wrong tensors": 1, "crashed": 1,
    }  # fmt: skip
    assert "6 faults: 1 named, 1 no cause, 1 misleading" in capsys.readouterr().out


def test_a_kind_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="the kind must be one of layer, loss, update rule, training step, got 'rule'"):
        Derivation("x", "rule", None, None)


def test_patterns_that_are_no_tuple_are_refused() -> None:
    with pytest.raises(TypeError, match="must be a tuple, got the string 'factor'"):
        Derivation("x", LAYER, None, None, differs={"output": "factor"})  # type: ignore[dict-item]


HIDDEN = {"first": (258, 206), "second": (225, 120), "third": (212, 85)}  # wrong, right


@pytest.mark.parametrize("which", HIDDEN)
def test_a_hidden_set_is_as_it_was_frozen(which: str) -> None:
    found = hidden.cases(which)
    assert (sum(not c.right for c in found), sum(c.right for c in found)) == HIDDEN[which]


def test_one_of_them_is_put_to_a_check() -> None:
    said = put_hidden("third", next(i for i, c in enumerate(hidden.cases("third")) if c.name == "selu/right"))
    assert said["verdict"] == "agrees", said["words"]
