"""Code that asks NumPy to raise at underflow and overflow is judged by its numbers, like any other."""

import numpy as np
import pytest
import torch

from handgrad import check
from handgrad.compare.checking.findings import CheckFailed


def forward(x):
    with np.errstate(all="raise"):
        return np.exp(np.maximum(x, -700.0))  # raises nothing itself, where its rounding bound underflows


def backward(dy, x):
    with np.errstate(all="raise"):
        return dy * np.exp(np.maximum(x, -700.0)) * (x > -700)


X = np.array([[-650.0, -1.0, 2.0, 30.0]])


def test_right_it_does_not_differ() -> None:
    """What was not reached with these numbers, the -700, is said."""
    report = check((forward, backward), torch.exp, x=X, raises=False)
    assert not report.differing
    assert all("`np.maximum(x, -700.0)` never took its second argument" in gap for gap in report.gaps)


def test_wrong_it_differs() -> None:
    with pytest.raises(CheckFailed, match="input gradient"):
        check((forward, lambda dy, x: backward(dy, x) * (1 + 1e-9)), torch.exp, x=X)


def test_what_raises_is_told() -> None:
    def overflows(dy, x):
        with np.errstate(all="raise"):
            return dy * np.exp(100 * x)

    with pytest.raises(CheckFailed, match="raises FloatingPointError: overflow"):
        check((forward, overflows), torch.exp, x=X)
