"""No cause is named that is none: what fits no known cause is said to fit none, with the facts."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn, optim

from handgrad import CheckFailed, check
from handgrad.compare.checking.findings import Finding
from handgrad.manual import SGD, Adam, Linear, Sigmoid, SoftmaxCrossEntropy
from tests.derivations.right.layers import RIGHT
from tests.derivations.wrong.breaking import Broken, BrokenLoss, Situation
from tests.derivations.wrong.losses import PAIRS
from tests.derivations.wrong.optimizers import BrokenRule

LAYERS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "Linear": (Linear(7, 5), nn.Linear(7, 5), {"x": (4, 7)}),
    "square Linear": (Linear(4, 4), nn.Linear(4, 4), {"x": (4, 4)}),
    "Sigmoid": (Sigmoid(), nn.Sigmoid(), {"x": (4, 6)}),
    **RIGHT,
}


def failure(*args: Any, **kwargs: Any) -> dict[str, Finding]:
    """The findings that differ."""
    with pytest.raises(CheckFailed) as caught:
        check(*args, **kwargs)
    return {f.tensor: f for f in caught.value.report.findings if f.differs}


def scattered(size: float, seed: int) -> Callable[..., Any]:
    """Every element off by a relative error of its own, always the same."""

    def change(value: Any, *situation: Any) -> Any:
        rng = np.random.default_rng([seed, value.size])
        return value * (1 + size * rng.uniform(0.2, 1, value.shape) * rng.choice([-1, 1], value.shape))

    return change


SIZES = (1e-2, 1e-6, 1e-10)


@pytest.mark.parametrize(("name", "size"), [(name, SIZES[k % 3]) for k, name in enumerate(list(LAYERS)[::2])])
def test_an_error_of_no_pattern_has_no_cause(name: str, size: float) -> None:
    layer, reference, arguments = LAYERS[name]
    tensors = ["input gradient", *(f"gradient of {k}" for k in layer.init(np.random.default_rng(0)))]
    broken = Broken(layer, {t: scattered(size, k) for k, t in enumerate(tensors)})
    found = failure(broken, reference, **arguments)
    assert set(found) == set(tensors)
    for finding in found.values():
        assert finding.phrases == ()
        assert "cause: none of the known ones makes these numbers" in finding.notes
        assert any(note.startswith("ratio manual / torch: smallest") for note in finding.notes)


@pytest.mark.parametrize("name", list(PAIRS)[::2])
def test_nor_has_one_in_a_loss(name: str) -> None:
    loss, reference, arguments = PAIRS[name]
    found = failure(BrokenLoss(loss, {"loss gradient": scattered(1e-7, 0)}), reference, **arguments)
    assert [f.phrases for f in found.values()] == [()]


def sgd(parameters: Any, lr: float) -> optim.Optimizer:
    return optim.SGD(parameters, lr=lr, momentum=0.9)


@pytest.mark.parametrize(("rule", "reference"), [(SGD(0.9), sgd), (Adam(), optim.Adam)])
def test_nor_has_one_in_an_update(rule: Any, reference: Any) -> None:
    def wrong(r: Any, w: Any, g: Any, s: Any, lr: float) -> Any:
        w, s = r.right.update(w, g, s, lr)
        return w * (1 + 1e-7 * (np.arange(w.size) % 7)), s

    found = failure(BrokenRule(rule, wrong), reference, theta=(20,), steps=4)
    assert {f.phrases for f in found.values()} == {()}


@settings(max_examples=3, deadline=None, derandomize=True)
@given(
    factor=st.floats(-50, 50).filter(lambda c: abs(c) > 1e-3 and abs(c - 1) > 1e-3),
    shift=st.floats(0.1, 3),
    seed=st.integers(0, 1000),
)
def test_a_factor_and_a_shift_are_not_a_factor(factor: float, shift: float, seed: int) -> None:
    def change(value: Any, s: Situation) -> Any:
        return factor * value + shift * np.random.default_rng([seed, value.size]).uniform(0.5, 1, value.shape)

    found = failure(Broken(Linear(7, 5), {"gradient of weight": change}), nn.Linear(7, 5), x=(4, 7))
    assert found["gradient of weight"].phrases == ()


@settings(max_examples=3, deadline=None, derandomize=True)
@given(factor=st.floats(-50, 50).filter(lambda c: abs(c) > 1e-3 and all(abs(c / k - 1) > 1e-3 for k in (1, 2, 4, 5))))
def test_a_factor_is_told_by_its_value(factor: float) -> None:
    found = failure(Broken(Linear(7, 5), {"input gradient": lambda v, s: factor * v}), nn.Linear(7, 5), x=(4, 7))
    (cause,) = found["input gradient"].phrases[-1:]
    named = {-1.0: "sign", 0.5: "½"}
    assert "constant factor" in cause or any(word in cause for word in (*named.values(), "times", "divided"))


def test_the_likelier_name_is_first_and_the_others_are_listed() -> None:
    """On a batch of 2 given as an array, a factor 2 and a sum over the batch are the same numbers."""
    x = np.random.default_rng(0).normal(0, 1, (2, 7))
    found = failure(Broken(Linear(7, 5), {"gradient of bias": lambda v, s: 2 * v}), nn.Linear(7, 5), x=x)
    finding = found["gradient of bias"]
    assert len(finding.phrases) == 1
    assert "factor 2" in finding.phrases[0]
    assert any("N times too large" in note for note in finding.notes)


def test_a_flipped_sign_is_that_and_not_a_derivative_at_minus_x() -> None:
    """For a linear layer both give the same numbers."""
    found = failure(Broken(Linear(4, 4), {"gradient of weight": lambda v, s: -v}), nn.Linear(4, 4), x=(4, 4))
    assert found["gradient of weight"].phrases == ("the sign is flipped",)


def test_a_torch_side_that_is_not_finite_is_no_cause() -> None:
    def reference(x: Any) -> Any:
        return (x.exp() * 1e308).exp()

    class Layer:
        def forward(self, params: Any, x: Any) -> Any:
            return x * 1.0, None

        def input_gradient(self, params: Any, cache: Any, dy: Any) -> Any:
            return dy

    for finding in failure(Layer(), reference, x=(3, 4)).values():
        assert finding.phrases == ()


def test_diagnosing_is_quick() -> None:
    """One check with every tensor wrong in its own way."""
    import time

    layer, reference, arguments = RIGHT["Conv1d"]
    tensors = ("output", "input gradient", "gradient of weight", "gradient of bias")
    started = time.process_time()
    failure(Broken(layer, {t: scattered(1e-3, k) for k, t in enumerate(tensors)}), reference, **arguments)
    assert time.process_time() - started < 16  # four tensors, 4 s each


def test_a_number_added_throughout_is_told_by_its_value() -> None:
    wrong = BrokenLoss(SoftmaxCrossEntropy(), {"loss gradient": lambda g, z, y: g + 1e-3})
    found = failure(wrong, nn.CrossEntropyLoss(), output=(4, 5), target="class")
    assert found["loss gradient"].phrases == ("0.001 is added to every number",)
