"""What torch's own formula rounds on the very numbers at hand is within its rounding; a jump and a fault are not."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from handgrad import CheckFailed, check, manual
from handgrad.compare.checking import check as checking
from handgrad.compare.checking.draws import Draw, Drawn
from handgrad.compare.checking.findings import Finding
from handgrad.compare.judge.agreement import WITHIN_REFERENCE
from handgrad.compare.judge.arbiter import Arbiter
from handgrad.compare.judge.sides import LayerSides, LossSides
from handgrad.compare.judge.torch_rounding import PythonNumber, RandomRounding, TorchRounding
from handgrad.compare.judge.trajectories import TrajectorySides
from handgrad.compare.rounding.bounded import Bounded
from tests.derivations.right.configurations import configurations
from tests.derivations.right.layers import Normalization
from tests.derivations.wrong.breaking import Broken


def findings(sides: Any, **inputs: Any) -> dict[str, Finding]:
    return {f.tensor: f for f in checking.run("these numbers", Drawn(sides, [Draw("draw", inputs)])).findings}


# --- within the reference's own rounding ------------------------------------------------------------------------------

LOGITS = [(-129.39493896, 0.0078125), (-1e9, 1e-15), (-800.0, 2.0**-40), (1e6, 1 - 2.0**-50)]


@pytest.mark.parametrize(("z", "y"), LOGITS)
def test_a_cross_entropy_that_cancels_in_torch(z: float, y: float) -> None:
    """Torch computes (1 − y) z + log(1 + e^−z), whose terms are |z| large; the result is y |z|."""
    sides = LossSides(manual.BinaryCrossEntropyWithLogits(), nn.BCEWithLogitsLoss())
    found = findings(sides, output=np.array([[z]]), target=np.array([[y]]))
    assert not any(f.differs for f in found.values()), found


@pytest.mark.parametrize(("seed", "number", "tensor"), [(1, 2130, "input gradient"), (2, 2046, "gradient of weight")])
def test_a_normalization_of_one_number(seed: int, number: int, tensor: str) -> None:
    """Its gradients are 0, exactly so in the parts of torch's formula; what torch makes of them is not."""
    (c,) = itertools.islice(configurations(number + 1, seed=seed), number, None)
    assert c.name.startswith(f"{number}: Normalization(size=1, axis=-1")
    found = findings(c.sides, **c.inputs)
    assert not any(f.differs for f in found.values()), found
    assert found[tensor].verdict.rule == WITHIN_REFERENCE
    assert found[tensor].verdict.largest_difference > 0


# --- beyond it --------------------------------------------------------------------------------------------------------


def off(error: float) -> Callable[..., Any]:
    """One element is off by so much; the others, and their size, are what torch's formula makes them."""

    def change(value: Any, *situation: Any) -> Any:
        factor = np.ones(value.shape)
        factor.flat[value.size // 2] += error
        return value * factor

    return change


@pytest.mark.parametrize("error", [1e-9, 1e-11])
def test_a_small_fault_in_a_normalization_near_a_million_is_not(error: float) -> None:
    rng = np.random.default_rng(0)
    inputs = {"x": 1e6 * rng.normal(size=(5, 8)), "dy": rng.normal(size=(5, 8)), "parameter bias": rng.normal(size=8)}
    inputs["parameter weight"] = 1 + rng.random(8)
    for tensor in ("output", "input gradient", "gradient of weight", "gradient of bias"):
        found = findings(LayerSides(Broken(Normalization(8, -1), {tensor: off(error)}), nn.LayerNorm(8)), **inputs)
        assert [f.tensor for f in found.values() if f.differs] == [tensor]


class OffLoss(manual.BinaryCrossEntropyWithLogits):
    def forward(self, output: Any, target: Any) -> tuple[Any, Any]:
        J, cache = super().forward(output, target)
        return J * (1 + 1e-11), cache


def test_a_small_fault_in_a_cross_entropy_is_not_where_torch_does_not_cancel() -> None:
    sides = LossSides(OffLoss(), nn.BCEWithLogitsLoss())
    assert not findings(sides, output=np.array([[0.7, -1.2]]), target=np.array([[0.25, 0.5]]))["loss"].agrees


class HardTanh(manual.Layer):
    def forward(self, params: Any, x: Any) -> Any:
        return np.clip(x, -1, 1), x

    def input_gradient(self, params: Any, cache: Any, dy: Any) -> Any:
        return dy * (np.abs(cache) <= 1)


def test_nor_is_a_jump() -> None:
    """At 1 torch takes the derivative 0 and this code 1; one ulp away both take the same."""
    x, dy = np.array([[1.0, 0.5, -1.0, 2.0]]), np.array([[0.7, 1.3, 0.9, 0.2]])
    found = findings(LayerSides(HardTanh(), nn.Hardtanh()), x=x, dy=dy)
    assert not found["input gradient"].agrees
    assert found["input gradient"].verdict.beyond == 2


def test_nor_is_one_that_rounding_may_cause() -> None:
    """floor(3 (x / 3)) of a whole x is decided by rounding: the runs that fall on the other side do not count."""
    reference: Callable[[Any], Any] = lambda x: x + torch.floor(x / 3 * 3)  # noqa: E731
    seen = TorchRounding(LayerSides(None, reference), {"x": np.arange(1.0, 9.0)[None]})  # type: ignore[arg-type]
    seen.draw(16)
    assert seen.noise["output"].max() < 1e-14


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_nor_is_a_step_that_is_not_what_torch_computes(dtype: str) -> None:
    """A record of torch's that its own layer does not give: gradients that were not zeroed, say."""
    x = np.linspace(0.3, 2.9, 12).astype(dtype)
    arbiter = Arbiter(LayerSides(manual.Tanh(), nn.Tanh()), {"x": x})
    ours = Bounded(np.tanh(x), np.full(12, 1e-15))
    assert (arbiter.widened("output", ours, np.tanh(x) * np.float32(1.01)) < 1e-3).all()


# --- what is moved ----------------------------------------------------------------------------------------------------


def moved(function: Callable[..., torch.Tensor], *x: torch.Tensor) -> torch.Tensor:
    """By how much, in ulp, the function's result moves under random rounding."""
    right = function(*x)
    with RandomRounding(0):
        result = function(*x)
    away = right.abs() + torch.nextafter(torch.tensor(0.0, dtype=torch.float64), right.abs())
    return (result - right).abs() / (torch.nextafter(away, away + 1) - away)


X = torch.linspace(0.3, 2.9, 12, dtype=torch.float64).reshape(3, 4)


@pytest.mark.parametrize(
    "chosen",
    [torch.relu, torch.abs, torch.neg, torch.t, lambda x: x.amax(0), lambda x: x.clamp(0.5, 2.0), lambda x: x[1:, ::2],
     lambda x: torch.where(x > 1, x, 0.0), lambda x: x.flatten().sort().values, lambda x: torch.cat([x, -x])],
)  # fmt: skip
def test_what_is_chosen_stays(chosen: Callable[..., torch.Tensor]) -> None:
    with RandomRounding(0):
        result = chosen(X)
    assert torch.equal(result, chosen(X))


@pytest.mark.parametrize("computed", [torch.exp, torch.tanh, lambda x: x * x, lambda x: x + x.flip(0), torch.sqrt])
def test_what_is_computed_moves_by_one_ulp(computed: Callable[..., torch.Tensor]) -> None:
    assert (moved(computed, X) == 1).all()


def test_in_a_sum_the_operands_move_too() -> None:
    terms = torch.tensor([1e8, 1.25, 1.75, -1e8], dtype=torch.float64)  # whole ones are added exactly
    with RandomRounding(1):
        results = {float(terms.sum()) for _ in range(8)}
    assert max(abs(r - 3) for r in results) > 1e-9  # an ulp of 1e8 is 1.5e-8, and one of the sum 2e-16


def test_infinity_stays() -> None:
    with RandomRounding(0):
        result = torch.tensor([800.0, 1.0], dtype=torch.float64).exp()
    assert result[0] == torch.inf


def test_zero_stays_zero_and_a_step_counter_whole() -> None:
    sides = TrajectorySides(None, lambda p, lr: torch.optim.Adam(p, lr=lr))  # type: ignore[arg-type]
    grads = np.array([[0.5, 0.0, -2.0]] * 3)
    seen = TorchRounding(sides, {"theta": np.array([1.0, 0.0, 3.0]), "grads": grads, "learning rate": 0.01})
    seen.draw(8)
    assert seen.noise["theta after step 3"][1] == 0
    assert 0 < seen.noise["theta after step 3"].max() < 1e-14  # a counter moved by an ulp of float32 makes 1e-9


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "NAdam"])
def test_taken_apart_torch_computes_the_same(name: str) -> None:
    sides = TrajectorySides(None, lambda p, lr: getattr(torch.optim, name)(p, lr=lr))  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    inputs = {"theta": rng.normal(size=5), "grads": rng.normal(size=(3, 5)), "learning rate": 0.01}
    whole, parts = sides.torch(inputs), TorchRounding(sides, inputs).in_parts
    assert whole.keys() == parts.keys()
    for key, y in whole.items():
        np.testing.assert_allclose(parts[key], y, rtol=1e-12, err_msg=key)


# --- constants --------------------------------------------------------------------------------------------------------


def test_a_rounded_constant_moves() -> None:
    mode = RandomRounding(0)
    assert {mode._rounded(0.3) for _ in range(16)} == {np.nextafter(0.3, 0), np.nextafter(0.3, 1)}
    assert min(mode._rounded(1 - 0.99) for _ in range(16)) < 0.01  # which has lost digits, and is above it
    assert [mode._rounded(x) for x in (0.5, 3, -2.0, 0.0)] == [0.5, 3, -2.0, 0.0]
    with mode:
        assert len({float(torch.mul(X, 0.1)[0, 0]) for _ in range(16)}) > 2  # and so does the product


@pytest.mark.parametrize(("betas", "least", "most"), [((0.5, 0.5), 0.0, 1e-15), ((0.9, 0.999), 1e-14, 1e-12)])
def test_an_optimizers_constants_move_and_what_it_makes_of_them(
    betas: tuple[float, float], least: float, most: float
) -> None:
    """1 − β₂ of 0.999 is off by a thousand roundings, of ½ by none."""
    sides = TrajectorySides(None, lambda p, lr: torch.optim.Adam(p, lr=lr, betas=betas))  # type: ignore[arg-type]
    seen = TorchRounding(sides, {"theta": np.zeros(3), "grads": np.full((1, 3), 0.25), "learning rate": 0.5})
    seen.draw(16)
    assert least < seen.noise["theta after step 1"].max() < most


def test_a_python_number_keeps_its_rounding() -> None:
    with RandomRounding(0) as mode:
        number = PythonNumber(0.999, mode._rounded)
        results = {float(1 - number**3) for _ in range(32)}
        assert len(results) > 2
        assert max(abs(r - (1 - 0.999**3)) for r in results) < 1e-15
        assert isinstance(2 * number / 3, PythonNumber)
        assert (number > 0.5) is True


def test_torchs_attention_is_given_no_rounding_that_it_does_not_have() -> None:
    """Its backward pass needs the logarithm of the sum, which the parts that torch takes it apart into do not give."""

    def softmax(z: Any) -> Any:
        e = np.exp(z - z.max(-1, keepdims=True))
        return e / e.sum(-1, keepdims=True)

    def turned(a: Any) -> Any:
        return a.transpose(0, 1, 3, 2)

    def backward(dy: Any, x: Any) -> Any:
        P = softmax(x @ turned(x) / 2)
        dP = dy @ turned(x)
        S = P * (dP - (P * dP).sum(-1, keepdims=True)) / 2
        return (turned(P) @ dy + S @ x + turned(S) @ x) * (1 + 1e-6)

    ours = (lambda x: softmax(x @ turned(x) / 2) @ x, backward)
    x = np.random.default_rng(0).normal(0, 3, (2, 1, 5, 4))
    with pytest.raises(CheckFailed) as caught:
        check(ours, lambda x: nn.functional.scaled_dot_product_attention(x, x, x), x=x)
    (wrong,) = [f for f in caught.value.report.findings if f.differs]
    assert wrong.verdict.beyond == x.size
