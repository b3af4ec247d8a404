"""A derivation whose results have other shapes differs, whatever grad mode the caller is in; nothing crashes."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import pytest
import torch

from handgrad import CheckFailed, UsageError, check


def square(x: Any) -> Any:
    return x**2


WRONG = {
    "transposed": (square, lambda dy, x: (2 * x * dy).T),
    "cut": (square, lambda dy, x: (2 * x * dy)[:2]),
    "summed": (square, lambda dy, x: (2 * x * dy).sum(0)),
    "an output that is summed": (lambda x: (x**2).sum(1), lambda dy, x: 2 * x * dy),
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", WRONG)
def test_another_shape_differs(name: str, dtype: str) -> None:
    with pytest.raises(CheckFailed, match=r"shape \(.*\) beside torch's \(4, 8\)"):
        check(WRONG[name], square, x=(4, 8), dtype=dtype)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_the_caller_s_grad_mode_decides_nothing(mode: Callable[[], AbstractContextManager[Any]]) -> None:
    with mode():
        report = check((square, lambda dy, x: 2 * x * dy), square, x=(4, 8))
        with pytest.raises(CheckFailed):
            check((square, lambda dy, x: x * dy), square, x=(4, 8))
    assert report.agrees


def test_a_scheduler_that_ends_early_is_refused() -> None:
    def make(optimizer: torch.optim.Optimizer) -> Any:
        return torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.0, total_steps=20)

    with pytest.raises(UsageError, match="a scheduler that takes 60 steps, but after 21 it raised ValueError"):
        check(lambda k: np.float64(1.0), make, steps=60)
