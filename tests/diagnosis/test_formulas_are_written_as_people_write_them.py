"""A formula of the reference in a cause can be read back: parentheses, ᵀ, and indices where one quantity meets
itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from handgrad.compare.diagnosis.graph.record.notation import formula
from handgrad.compare.diagnosis.graph.record.recorder import record
from handgrad.compare.diagnosis.graph.record.trace import Trace


def recorded(function: Any, **shapes: tuple[int, ...]) -> Trace:
    rng = np.random.default_rng(0)
    leaves = {k: torch.from_numpy(rng.normal(size=shape)).requires_grad_() for k, shape in shapes.items()}
    trace = record(lambda: function(*leaves.values()), leaves, 1)
    assert trace is not None
    return trace


def written(function: Any, **shapes: tuple[int, ...]) -> str:
    trace = recorded(function, **shapes)
    return formula(trace, trace.output)


def test_a_product_of_products_has_its_parentheses() -> None:
    scores = written(lambda x, Q, K: (x @ Q.T) @ (x @ K.T).T, x=(5, 4), Q=(6, 4), K=(6, 4))
    assert scores == "x @ Qᵀ @ (x @ Kᵀ)ᵀ"
    assert written(lambda x, A, B: x @ (A @ B), x=(2, 3), A=(3, 4), B=(4, 5)) == "x @ (A @ B)"


def test_heads_that_are_moved_to_the_front_are_not_transposed() -> None:
    def scores(x: Any, Q: Any, K: Any) -> Any:
        q, k = ((x @ W.T).reshape(5, 2, 3).transpose(0, 1) for W in (Q, K))
        return q @ k.transpose(1, 2)

    assert written(scores, x=(5, 4), Q=(6, 4), K=(6, 4)) == "x @ Qᵀ @ (x @ Kᵀ)ᵀ"


def test_one_quantity_along_two_axes_has_indices() -> None:
    assert written(lambda x: torch.exp(x[:, None] - x[None, :]), x=(4,)) == "exp(x_i − x_j)"
    assert written(lambda x: x[:, :, None] * x[:, None, :], x=(3, 4)) == "x_i · x_j"
    assert written(lambda x: x * x, x=(3, 4)) == "x · x"


def test_a_factor_one_that_torch_adds_is_not_written() -> None:
    assert written(lambda x: 1 / x + x, x=(3,)) == "1 / x + x"
