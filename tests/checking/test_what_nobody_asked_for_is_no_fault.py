"""Inputs of our own making: what comes apart only because of what these inputs are is not called wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from handgrad import check, constant
from handgrad.compare.checking.outcome import Outcome

MASK = np.array([[1, 1, 0, 0], [0, 0, 0, 0], [1, 0, 1, 1]], float)


def pooled(x: Any, m: Any) -> Any:
    return (x * m[..., None]).sum(1) / np.maximum(m.sum(1), 1)[:, None]


def pooled_back(factor: float) -> Any:
    return lambda dy, x, m: factor * (m / np.maximum(m.sum(1), 1)[:, None])[..., None] * dy[:, None, :]


@pytest.mark.parametrize(("factor", "outcome"), [(1.0, Outcome.AGREES), (2.0, Outcome.DIFFERS)])
def test_an_array_that_keeps_its_rows_is_not_broadcast_beside_one(factor: float, outcome: Outcome) -> None:
    def reference(x: Any, m: Any) -> Any:
        return (x * m[..., None]).sum(1) / m.sum(1).clamp(min=1)[:, None]

    given = {"x": (3, 4, 2), "m": constant(MASK)}
    report = check((pooled, pooled_back(factor)), reference, inputs=given, explain="off", raises=False)
    assert report.outcome is outcome, str(report)


def cosine(a: Any, b: Any) -> Any:
    return (a * b).sum(-1) / np.sqrt((a * a).sum(-1) * (b * b).sum(-1))


def cosine_back(dy: Any, a: Any, b: Any) -> Any:
    na, nb = (np.sqrt((v * v).sum(-1, keepdims=True)) for v in (a, b))
    c, d = (a * b).sum(-1, keepdims=True) / (na * nb), dy[:, None]
    return d * (b / (na * nb) - c * a / na**2), d * (a / (na * nb) - c * b / nb**2)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("shape", [("n", "d"), (4, 2)])
def test_no_number_at_a_row_of_zeros_is_not_decided_whatever_the_draw(shape: Any, seed: int) -> None:
    def reference(a: Any, b: Any) -> Any:
        return torch.cosine_similarity(a, b, -1)

    given = {"inputs": {"a": shape, "b": shape}, "explain": "off", "raises": False, "seed": seed}
    report = check((cosine, cosine_back), reference, **given)
    assert report.outcome is Outcome.UNDECIDED, str(report)
    assert "NaN or ∞" in report.gaps[0]
    wrong = check(
        (cosine, lambda dy, a, b: (2 * cosine_back(dy, a, b)[0], cosine_back(dy, a, b)[1])), reference, **given
    )
    assert wrong.outcome is Outcome.DIFFERS
