"""The two-precision tolerance: no draw decides a verdict, no large number hides a small one, 0-d arrays stay arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from handgrad import check
from handgrad.compare.checking.findings import Report
from handgrad.compare.judge import two_precision
from handgrad.compare.judge.agreement import TWO_PRECISION
from handgrad.compare.judge.calls import CallSides
from handgrad.compare.judge.derivations import Functions
from handgrad.compare.judge.sides import Arrays
from handgrad.compare.judge.two_precision import in_double, neighbours, tolerance, unfollowed
from handgrad.compare.rounding.bounded import Precision

SINGLE = Precision.of(np.float32)


def report(*args: Any, **options: Any) -> Report:
    return check(*args, **options, raises=False)


def unseen(x: Any) -> Any:
    """The same numbers, by a way on which no bound follows them."""
    return np.array(x.tolist(), x.dtype)


# Each formula by one way and by another: torch's is the second.
PAIRS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "softplus": (lambda x: -np.log(1 - 1 / (1 + np.exp(-x))), torch.nn.functional.softplus),
    "log cosh": (lambda x: np.log(np.cosh(x)), lambda x: x + torch.nn.functional.softplus(-2 * x) - np.log(2)),
    "tanh": (lambda x: (np.exp(x) - np.exp(-x)) / (np.exp(x) + np.exp(-x)), torch.tanh),
    "polynomial": (lambda x: (x - 1) ** 3, lambda x: x**3 - 3 * x**2 + 3 * x - 1),
    "product": (lambda x: x * x * x * x / 3, lambda x: x**4 * (1 / 3)),
    "sums": (lambda x: (x + 100) - 100, lambda x: x * 1),
}


@pytest.mark.parametrize("name", PAIRS)
def test_no_right_element_of_ten_thousand_is_an_alarm(name: str) -> None:
    """Of one axis, so that every element stands for itself."""
    ours, reference = PAIRS[name]
    sides = CallSides(Functions(lambda x: unseen(ours(x)), lambda dy, x: dy), reference, ("x",))
    x = (np.random.default_rng(0).normal(size=10_000) * 2).astype(np.float32)
    inputs = {"x": x}
    allowed = tolerance(sides, inputs)["output"]
    assert allowed.shape == x.shape
    verdict, _ = unfollowed(sides.manual(inputs)["output"], sides.torch(inputs)["output"], allowed, SINGLE)
    assert verdict.agrees, verdict.describe()
    close = sides.manual(in_double(inputs))["output"]
    assert np.all(allowed <= 1e-2 * np.maximum(np.abs(close), 0.1))  # and it would see a fault of a hundredth


def test_the_margin_is_what_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(two_precision, "MARGIN", 1)
    with pytest.raises(AssertionError):
        test_no_right_element_of_ten_thousand_is_an_alarm("softplus")


@pytest.mark.parametrize("seed", range(8))
def test_a_check_does_not_depend_on_its_seed(seed: int) -> None:
    forward, backward = PAIRS["log cosh"][0], lambda dy, x: unseen(dy * np.tanh(x))
    pair = (lambda x: unseen(forward(x))), backward
    found = report(pair, lambda x: torch.log(torch.cosh(x)), x=(1,), dtype="float32", seed=seed)
    assert found.agrees, str(found)
    assert {f.verdict.rule for f in found.findings} == {TWO_PRECISION}


SCALES = np.array([1e8, 1.0, 1e-2, 1e-4])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("share", [1.0, 0.5])
def test_large_columns_do_not_hide_what_is_lost_in_a_small_one(dtype: str, share: float) -> None:
    def backward(dy: Any, x: Any) -> Any:
        g = unseen(2 * x * dy * SCALES.astype(x.dtype))
        g[:, -1] *= share
        return g

    pair = (lambda x: unseen(x * x * SCALES.astype(x.dtype))), backward
    found = report(pair, lambda x: x * x * torch.tensor(SCALES).to(x), x=(6, 4), dtype=dtype)
    assert found.agrees == (share == 1.0), str(found)
    if share != 1.0:
        assert not next(f for f in found.findings if f.tensor == "input gradient").agrees


def test_neighbours_of_an_array_without_an_axis_are_arrays() -> None:
    inputs: Arrays = {"x": np.ones(3), "dy": np.array(2.0)}
    for near in neighbours(inputs):
        assert isinstance(near["dy"], np.ndarray)
        assert near["dy"].dtype == np.float32
        assert in_double(near)["dy"].dtype == np.float64


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("factor", [1.0, 1.001])
def test_a_scalar_output_of_strict_code_is_judged(dtype: str, factor: float) -> None:
    def backward(dy: Any, x: Any) -> Any:
        if not isinstance(dy, np.ndarray) or dy.dtype != x.dtype:
            raise AssertionError
        return unseen(factor * np.asarray(dy).astype(x.dtype) * 2 * x)

    pair = (lambda x: np.asarray(np.sum(unseen(x * x)))), backward
    found = report(pair, lambda x: (x * x).sum(), x=(4, 3), dtype=dtype)
    assert found.agrees == (factor == 1.0), str(found)
