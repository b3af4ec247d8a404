"""Two stories that give the same numbers on every draw of the check are told apart by further ones."""

from typing import Any

import numpy as np
import pytest
import torch

from handgrad import CheckFailed, check
from handgrad.compare.checking.losses import loss_inputs
from handgrad.compare.checking.more_draws import evaluate_more


class Contrastive:
    """The far ones are pushed to a margin, at 2 in the value; where in the gradient is given."""

    def __init__(self, margin: float, spoiled: bool = False) -> None:
        self.margin, self.spoiled = margin, spoiled

    def forward(self, output: Any, target: Any) -> Any:
        d = np.sqrt((output**2).sum(1))
        J = (target * d**2 + (1 - target) * np.maximum(0, 2 - d) ** 2).mean()
        return J + (1.0 if self.spoiled and d.min() < 0.9 else 0.0), (output, target)

    def gradient(self, cache: Any) -> Any:
        z, t = cache[0], cache[1][:, None]
        d = np.sqrt((z**2).sum(1, keepdims=True))
        return 2 * (t * z - (1 - t) * np.maximum(0, self.margin - d) * z / d) / len(z)


def contrastive(z: Any, t: Any) -> Any:
    d = z.norm(dim=1)
    return (t * d**2 + (1 - t) * torch.relu(2 - d) ** 2).mean()


FEW = {"output": (7, 3), "target": lambda rng: rng.integers(0, 2, 7) * 1.0}


def test_a_margin_that_no_draw_comes_near_is_not_a_missing_term() -> None:
    with pytest.raises(CheckFailed) as caught:
        check(Contrastive(1.0), contrastive, **FEW)
    (found,) = [f for f in caught.value.report.findings if f.differs]
    (cause,) = found.phrases
    assert cause.endswith("the constant 2 is left out (taken as 1) in 2 − norm(ŷ)")


class Scaled:
    """Three classes, and a 3 that is no size."""

    def forward(self, output: Any, target: Any) -> Any:
        return 3 * ((output - target) ** 2).mean(), (output, target)

    def gradient(self, cache: Any) -> Any:
        return 2 * (cache[0] - cache[1]) / cache[0].size  # without the 3


def test_a_constant_that_is_also_a_size_is_the_constant() -> None:
    with pytest.raises(CheckFailed) as caught:
        check(Scaled(), lambda z, t: 3 * ((z - t) ** 2).mean(), output=(5, 3), target=(5, 3))
    (found,) = [f for f in caught.value.report.findings if f.differs]
    (cause,) = found.phrases
    assert "the constant 3" in cause
    assert not any("K times" in note for note in found.notes)


def test_a_draw_where_something_else_is_wrong_too_is_left_out() -> None:
    for spoiled, count in ((False, 1), (True, 0)):
        sides, inputs, *_ = loss_inputs(Contrastive(1.0, spoiled), contrastive, *FEW.values(), np.float64, 0)
        assert len(evaluate_more(sides, inputs, {"loss"})) == count


def test_a_right_derivation_is_not_drawn_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*arguments: Any) -> Any:
        raise AssertionError

    monkeypatch.setattr("handgrad.compare.checking.causes.evaluate_more", never)
    assert check(Contrastive(2.0), contrastive, **FEW).agrees
