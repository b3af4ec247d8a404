"""Agreement of nothing is no agreement: it is a verdict of its own, with what to do about it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from handgrad import CheckFailed, check
from handgrad.compare.checking.outcome import Outcome
from handgrad.compare.commands.main import main


def dead(k: float) -> Any:
    """ReLU far below 0, where its gradient is 0 and so is any multiple of it."""
    return lambda x: np.maximum(x - 100, 0), lambda dy, x: k * dy * (x > 100)


def below(rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(1, 2, (3, 4))


def undefined(rng: np.random.Generator) -> np.ndarray:
    return -rng.uniform(1, 2, (3, 4))


REFERENCE = {"x": below, "explain": "off"}


@pytest.mark.parametrize("k", [1, 7])
def test_zeros_alone_are_not_decided(k: float) -> None:
    report = check(dead(k), lambda x: torch.relu(x - 100), raises=False, **REFERENCE)
    assert report.outcome is Outcome.UNDECIDED
    assert not report
    assert {f.tensor for f in report.findings if f.outcome is Outcome.UNDECIDED} == {"output", "input gradient"}
    assert "output, input gradient: every number is 0 on both sides" in str(report)
    assert 'give inputs= that show more, or accept={"undecided"}' in str(report)
    assert "not decided" in report._repr_html_()
    assert report.as_json()["outcome"] == "not decided"
    assert json.loads(json.dumps(report.as_json()))["undecided"] == list(report.undecided)


def test_numbers_that_neither_side_has_are_not_decided() -> None:
    pair = (np.log, lambda dy, x: dy / np.log(x))
    report = check(pair, lambda x: torch.log(x) * torch.log(x).detach() / torch.log(x), x=undefined, raises=False)
    assert report.outcome is Outcome.UNDECIDED
    assert "NaN or ∞ on both sides" in str(report)


def test_it_is_raised_and_may_be_accepted() -> None:
    with pytest.raises(CheckFailed, match="not decided") as caught:
        check(dead(1), lambda x: torch.relu(x - 100), **REFERENCE)
    assert not caught.value.report.differing
    accepted = check(dead(1), lambda x: torch.relu(x - 100), accept={"undecided"}, **REFERENCE)
    assert accepted.outcome is Outcome.AGREES
    assert "accepted, not decided: output, input gradient: every number is 0" in str(accepted)


def test_a_difference_comes_before_what_is_not_decided() -> None:
    pair = (lambda x: np.maximum(x - 100, 0) + 1, lambda dy, x: 0 * dy)
    report = check(pair, lambda x: torch.relu(x - 100), raises=False, **REFERENCE)
    assert report.outcome is Outcome.DIFFERS
    assert report["input gradient"].outcome is Outcome.UNDECIDED
    assert report.headline.count("output differs")


def test_the_command_has_a_code_for_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "dead.py"
    file.write_text(
        "import numpy as np, torch\nfrom handgrad import check\n"
        "check((lambda x: np.maximum(x - 100, 0), lambda dy, x: 7 * dy * (x > 100)), lambda x: torch.relu(x - 100), "
        "x=np.ones((2, 3)))\n"
    )
    assert main(["check", str(file)]) == 5
    assert "1 check · 1 not decided" in capsys.readouterr().out


def keys(k: float) -> Any:
    """Attention to keys with a bias, which moves every score of a query alike: its gradient is 0 but for rounding."""

    def weights(q: Any, key: Any, b: Any) -> Any:
        s = q @ (key + b).T
        e = np.exp(s - s.max(1, keepdims=True))
        return e / e.sum(1, keepdims=True)

    def backward(dy: Any, q: Any, key: Any, b: Any) -> Any:
        p = weights(q, key, b)
        ds = p * (dy - (dy * p).sum(1, keepdims=True))
        dkey = ds.T @ q
        return ds @ (key + b), dkey, dkey.sum(0) + k

    return weights, backward


@pytest.mark.parametrize(("off", "outcome"), [(0.0, Outcome.AGREES), (1e-9, Outcome.DIFFERS)])
def test_what_is_zero_but_for_rounding_is_compared(off: float, outcome: Outcome) -> None:
    def reference(q: Any, key: Any, b: Any) -> Any:
        return (q @ (key + b).T).softmax(1)

    inputs = {"q": ("n", 4), "key": ("m", 4), "b": (4,)}
    report = check(keys(off), reference, inputs=inputs, explain="off", raises=False)
    assert report.outcome is outcome, str(report)
    assert report["gradient of b"].outcome is outcome
    assert ("both sides are 0 within rounding" in str(report)) is (not off)
