"""Running statistics of 0 and 1 are not decided; factors of 1 are a note."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from handgrad import check
from handgrad.compare.checking.outcome import Outcome


def norm(module: nn.BatchNorm1d, used: bool) -> Any:
    """Batch norm in eval mode, which uses the running statistics or does not."""
    m, v = (module.running_mean.double().numpy(), module.running_var.double().numpy()) if used else (0.0, 1.0)
    r = 1 / np.sqrt(v + 1e-5)
    return (
        lambda x, weight, bias: (x - m) * r * weight + bias,
        lambda dy, x, weight, bias: (dy * weight * r, (dy * (x - m) * r).sum(0), dy.sum(0)),
    )


GIVEN = {"x": (4, 3), "params": {"weight": (3,), "bias": (3,)}, "explain": "off", "raises": False}


def test_running_statistics_as_they_are_made() -> None:
    module = nn.BatchNorm1d(3).eval()
    for used in (True, False):
        report = check(norm(module, used), module, **GIVEN)
        assert report.outcome is Outcome.UNDECIDED
        assert [gap.partition(" ")[0] for gap in report.gaps] == ["running_mean", "running_var"]


def test_other_running_statistics() -> None:
    module = nn.BatchNorm1d(3).eval()
    module.running_mean.copy_(torch.tensor([0.5, -0.25, 2.0]))
    module.running_var.copy_(torch.tensor([0.5, 4.0, 2.0]))
    assert check(norm(module, True), module, **GIVEN).outcome is Outcome.AGREES
    assert check(norm(module, False), module, **GIVEN).outcome is Outcome.DIFFERS


def elu(alpha: float) -> Any:
    return (
        lambda x: np.where(x > 0, x, alpha * np.expm1(x)),
        lambda dy, x: dy * np.where(x > 0, 1, alpha * np.exp(x)),
    )


def test_a_factor_of_one_is_a_note() -> None:
    report = check(elu(1.0), nn.ELU(), x=(4, 3), explain="off")
    assert [note for note in report.notes if note.startswith("alpha is 1")]
    assert not check(elu(0.5), nn.ELU(alpha=0.5), x=(4, 3), explain="off").notes


def test_class_weights_of_one_are_a_note() -> None:
    def loss(z: Any, t: Any) -> Any:
        e = np.exp(z - z.max(1, keepdims=True))
        p, h = e / e.sum(1, keepdims=True), np.eye(z.shape[1])[t]
        return -(np.log(p) * h).sum() / len(z), (p - h) / len(z)

    report = check(loss, nn.CrossEntropyLoss(weight=torch.ones(5)), output=(4, 5), target="class", explain="off")
    assert [note for note in report.notes if note.startswith("weight is 1 everywhere")]
