"""References that cannot follow into float32, and inputs that tie, neither crash a check nor fail a right
derivation.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from handgrad import CheckFailed, check

MATRIX = np.random.default_rng(0).normal(size=(5, 3))
WEIGHTS = np.array([1.0, 2.0, 0.5, 3.0])


def product(x: Any) -> Any:
    return x @ torch.tensor(MATRIX)  # float64, whatever x is


def test_a_reference_that_only_runs_in_float64() -> None:
    check((lambda x: x @ MATRIX, lambda dy, x: dy @ MATRIX.T), product, x=(4, 5))
    with pytest.raises(CheckFailed, match="a factor 2 too much"):
        check((lambda x: x @ MATRIX, lambda dy, x: 2 * dy @ MATRIX.T), product, x=(4, 5))


class WeightedCrossEntropy:
    def __init__(self, factor: float) -> None:
        self.factor = factor

    def forward(self, output: Any, target: Any) -> Any:
        shifted = output - output.max(axis=1, keepdims=True)
        log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        w = WEIGHTS[target]
        return -(w * log_p[np.arange(len(target)), target]).sum() / w.sum(), (log_p, target, w)

    def gradient(self, cache: Any) -> Any:
        log_p, target, w = cache
        one_hot = target[:, None] == np.arange(4)
        return self.factor * w[:, None] * (np.exp(log_p) - one_hot) / w.sum()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_class_weights_take_the_dtype_of_the_run(dtype: torch.dtype) -> None:
    reference = torch.nn.CrossEntropyLoss(weight=torch.tensor(WEIGHTS, dtype=dtype))
    check(WeightedCrossEntropy(1.0), reference, output=(7, 4), target="class")
    with pytest.raises(CheckFailed, match="the sign is flipped"):
        check(WeightedCrossEntropy(-1.0), reference, output=(7, 4), target="class")


def test_draws_hold_ties_and_torchs_convention_agrees() -> None:
    """torch shares the gradient of amax, and of maximum, among those that tie."""

    def largest(x: Any) -> Any:
        return x.max(axis=-1, keepdims=True)

    def shared(dy: Any, x: Any) -> Any:
        mask = x == largest(x)
        return dy * mask / mask.sum(axis=-1, keepdims=True)

    check((largest, shared), lambda x: x.amax(-1, keepdim=True), x=(4, 6))

    class Quantile:
        def forward(self, output: Any, target: Any) -> Any:
            return np.maximum(0.3 * (target - output), -0.7 * (target - output)).mean(), (output, target)

        def gradient(self, cache: Any) -> Any:
            output, target = cache
            slope = np.where(target > output, -0.3, 0.7)
            return np.where(target == output, (0.7 - 0.3) / 2, slope) / output.size

    check(Quantile(), lambda o, t: torch.maximum(0.3 * (t - o), -0.7 * (t - o)).mean(), output=(5, 3), target=(5, 3))


class GaussianNLL:
    """One target an example beside two outputs, mean and log variance."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def forward(self, output: Any, target: Any) -> Any:
        mean, log_variance = output[:, 0], output[:, 1]
        return (0.5 * (log_variance + (target - mean) ** 2 * np.exp(-log_variance))).mean(), (output, target)

    def gradient(self, cache: Any) -> Any:
        output, target = cache
        error, weight = target - output[:, 0], np.exp(-output[:, 1])
        both = np.stack([-error * weight, 0.5 * (1 - error * error * weight)], axis=1)
        return self.factor * both / len(output)


def gaussian_nll(output: Any, target: Any) -> Any:
    return (0.5 * (output[:, 1] + (target - output[:, 0]) ** 2 * torch.exp(-output[:, 1]))).mean()


def test_a_target_of_one_number_an_example_has_the_outputs_batch() -> None:
    check(GaussianNLL(1), gaussian_nll, output=(6, 2), target=(6,))
    with pytest.raises(CheckFailed, match="a factor 2 too much"):
        check(GaussianNLL(2), gaussian_nll, output=(6, 2), target=(6,))


def group_norm(x: Any, groups: int, ddof: int = 0) -> Any:
    parts = x.reshape(len(x), groups, -1)
    centred = parts - parts.mean(axis=2, keepdims=True)
    variance = (centred * centred).sum(axis=2, keepdims=True) / (parts.shape[2] - ddof)
    return (centred / np.sqrt(variance + 1e-5)).reshape(x.shape)


def test_a_module_that_cannot_take_another_option() -> None:
    """The diagnosis tries one group fewer, and torch divides by their number."""
    reference = torch.nn.GroupNorm(1, 3, affine=False)
    with pytest.raises(CheckFailed, match=r"15 − 1, not by 15|n − 1"):
        check((lambda x: group_norm(x, 1, ddof=1), lambda dy, x: dy), reference, x=(2, 3, 5))
