"""An edit in a recurrent cell or a weight normalization is named by its gate, though the reference is one fused
operation.
"""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from handgrad import CheckFailed, check
from handgrad.compare.diagnosis.graph.record.recorder import record


def sigmoid(z: Any) -> Any:
    return 1 / (1 + np.exp(-z))


def gru(x: Any, W: Any) -> tuple[Any, ...]:
    """One step from the state h = x[:, 2:], as torch.gru_cell with U = 0 and no bias."""
    r, z, n = np.split(x[:, :2] @ W.T, 3, axis=1)
    return sigmoid(r), sigmoid(z), np.tanh(n)


def forward(x: Any, W: Any) -> Any:
    _, z, n = gru(x, W)
    return (1 - z) * n + z * x[:, 2:]


def reference(x: Any, W: Any) -> Any:
    return torch.gru_cell(x[:, :2], x[:, 2:], W, W.new_zeros(6, 2))


def backward_with(update: Any, candidate: Any) -> Any:
    def backward(dy: Any, x: Any, W: Any) -> Any:
        _, z, n = gru(x, W)
        da = np.concatenate([0 * z, update(dy, x[:, 2:], z, n), candidate(dy, z, n)], axis=1)
        return {"x": np.concatenate([da @ W, dy * z], axis=1), "W": da.T @ x[:, :2]}

    return backward


def update(dy: Any, h: Any, z: Any, n: Any) -> Any:
    return dy * (h - n) * z * (1 - z)


def candidate(dy: Any, z: Any, n: Any) -> Any:
    return dy * (1 - z) * (1 - n * n)


SHAPES: dict[str, Any] = {"x": (3, 4), "params": {"W": (6, 2)}}


def causes(backward: Any) -> dict[str, tuple[str, ...]]:
    with pytest.raises(CheckFailed) as caught:
        check((forward, backward), reference, **SHAPES)
    return {f.tensor: f.phrases for f in caught.value.report.findings if f.differs}


def test_the_right_cell_agrees() -> None:
    assert check((forward, backward_with(update, candidate)), reference, **SHAPES).agrees


@pytest.mark.parametrize(
    ("backward", "words"),
    [
        (backward_with(update, lambda dy, z, n: dy * (1 - z) * n * (1 - n)), "y(1 − y) stands for it"),
        (backward_with(lambda dy, h, z, n: -update(dy, h, z, n), candidate), "has the wrong sign"),
    ],
)
def test_the_gate_is_named(backward: Any, words: str) -> None:
    found = causes(backward)
    assert set(found) == {"input gradient", "gradient of W"}
    for (cause,) in found.values():
        assert words in cause


def test_what_is_almost_an_edit_is_none() -> None:
    found = causes(backward_with(update, lambda dy, z, n: dy * (1 - z) * (1 - n * n + 1e-6 * n**3)))
    assert found == {"input gradient": (), "gradient of W": ()}


def test_what_is_changed_in_place_keeps_its_numbers_in_the_record() -> None:
    cell = nn.LSTMCell(2, 3, dtype=torch.float64)
    x = torch.randn(4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    trace = record(lambda: cell(x)[0], {"x": x}, 1)
    assert trace is not None
    for node in trace.nodes:
        if node.op is not None and isinstance(node.value, torch.Tensor):
            again, _ = trace.run(node, lambda k: trace.nodes[k].value)
            assert torch.equal(again, node.value), node.op


def weight_norm_backward(kept: float) -> Any:
    def backward(dy: Any, x: Any, v: Any, g: Any) -> Any:
        size = np.sqrt((v * v).sum(1, keepdims=True))
        dw, unit = dy.T @ x, v / size
        along = (dw * unit).sum(1, keepdims=True)
        return {"x": dy @ (g * unit), "v": g * (dw - kept * unit * along) / size, "g": along}

    return backward


@pytest.mark.parametrize(
    ("kept", "words"),
    [(0.0, ["the projection term is missing: ‖v‖ is held constant"]), (0.999, ["a constant factor of (1 − 0.001)"])],
)
def test_a_weight_normalization_has_its_projection_term(kept: float, words: list[str]) -> None:
    def by_norm(x: Any, v: Any, g: Any) -> Any:
        return x @ (g * v / np.sqrt((v * v).sum(1, keepdims=True))).T

    def fused(x: Any, v: Any, g: Any) -> Any:
        return x @ torch._weight_norm(v, g, 0).T

    with pytest.raises(CheckFailed) as caught:
        check((by_norm, weight_norm_backward(kept)), fused, x=(4, 3), params={"v": (5, 3), "g": (5, 1)})
    (finding,) = (f for f in caught.value.report.findings if f.differs)
    assert finding.tensor == "gradient of v"
    assert len(finding.phrases) == len(words)
    assert all(word in cause for word, cause in zip(words, finding.phrases, strict=True))
