"""What agrees on plain draws meets other sizes, special numbers, classes and rows before it is called right."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from handgrad import check, mask
from handgrad.compare.checking.outcome import Outcome

X = np.random.default_rng(0).normal(size=(4, 5))
T = np.array([0, 1, 2, 4])


def put(ours: Any, reference: Any, **given: Any) -> Any:
    return check(ours, reference, explain="off", raises=False, **given)


def mean(n: int = 0) -> Any:
    """The mean over rows, and its gradient with a number for N."""
    return lambda x: x.mean(0), lambda dy, x: np.ones_like(x) * dy / (n or len(x))


def rows_mean(x: Any) -> Any:
    return x.mean(0)


GIVEN: dict[str, dict[str, Any]] = {
    "an array": {"x": X},
    "a generator": {"x": lambda rng: rng.normal(size=(4, 5))},
    "one row of numbers": {"x": X[0, :4]},
    "δ beside a shape": {"x": (4, 5), "dy": np.arange(5.0) + 1},
}


@pytest.mark.parametrize("given", GIVEN.values(), ids=GIVEN)
def test_a_number_for_n_differs_whatever_was_given(given: dict[str, Any]) -> None:
    assert put(mean(4), rows_mean, **given).outcome is Outcome.DIFFERS
    assert put(mean(), rows_mean, **given).outcome is Outcome.AGREES


def test_a_number_for_n_in_the_forward_pass_is_not_decided() -> None:
    pair = lambda x: x.sum(0) / 4, lambda dy, x: np.ones_like(x) * dy / 4
    report = put(pair, rows_mean, x=X)
    assert report.outcome is Outcome.UNDECIDED
    assert any("rows that were given" in gap for gap in report.gaps)


def test_rows_that_torch_does_not_take_are_said() -> None:
    weights = torch.ones(4, dtype=torch.float64)
    report = put((lambda x: np.ones(4) @ x, lambda dy, x: np.ones((4, 1)) * dy), lambda x: weights @ x, x=X)
    assert report.outcome is Outcome.AGREES
    assert any("no other batch size" in note for note in report.notes)


def sized(most: int) -> Any:
    """Over two axes, of which the second is taken for no longer than `most`."""
    return (
        lambda x: x.mean((0, 1)),
        lambda dy, x: np.ones_like(x) * dy / (len(x) * min(x.shape[1], most)),
    )


def test_each_named_size_is_changed_alone_too() -> None:
    assert put(sized(15), lambda x: x.mean((0, 1)), x=("b", "t", 2)).outcome is Outcome.DIFFERS
    assert not put(sized(10**6), lambda x: x.mean((0, 1)), x=("b", "t", 2)).differing


def test_one_function_has_other_sizes_too() -> None:
    def of(n: int) -> Any:
        return lambda a: ((a * a).mean(), 2 * a / (n or a.size))

    assert put(of(9), lambda a: (a * a).mean(), inputs={"a": ("n", 3)}).outcome is Outcome.DIFFERS
    assert put(of(0), lambda a: (a * a).mean(), inputs={"a": ("n", 3)}).outcome is Outcome.AGREES


def test_a_batch_of_one() -> None:
    def back(wrong: bool) -> Any:
        return lambda dy, x: np.ones_like(x) * dy / (len(x) if len(x) > 1 or not wrong else 2)

    assert put((rows_mean, back(True)), rows_mean, x=(4, 3)).outcome is Outcome.DIFFERS


def test_a_size_that_is_refused_is_left_out() -> None:
    def norm(x: Any) -> Any:
        return functional.batch_norm(x, None, None, training=True)

    def forward(x: Any) -> Any:
        r = 1 / np.sqrt(x.var(0) + 1e-5)
        return (x - x.mean(0)) * r, ((x - x.mean(0)) * r, r)

    def backward(dy: Any, cache: Any) -> Any:
        xh, r = cache
        return r * (dy - dy.mean(0) - xh * (dy * xh).mean(0))

    assert put((forward, backward), norm, x=(6, 3)).outcome is Outcome.AGREES


def test_a_width_that_was_given_as_a_number_is_not_decided() -> None:
    pair = lambda x: x.mean(-1), lambda dy, x: np.ones_like(x) * dy[:, None] / 8
    report = put(pair, lambda x: x.mean(-1), x=(4, 8))
    assert report.outcome is Outcome.UNDECIDED
    assert report.gaps[0].startswith("at x (3, 105) input gradient differs: give the sizes names")
    both = put((lambda x: x.sum(-1) / 8, pair[1]), lambda x: x.mean(-1), x=(4, 8))
    assert both.outcome is Outcome.AGREES  # a function of eight numbers, which is right for them


def as_numbers(x: Any) -> Any:
    """The same numbers, with no rounding bound."""
    return np.array(x.tolist(), x.dtype).reshape(x.shape)


def test_a_large_column_hides_nothing_in_a_small_one() -> None:
    scales = np.array([1e8, 1, 1e-2, 1e-4])

    def back(lost: float) -> Any:
        return lambda dy, x: 2 * as_numbers(dy) * x * np.array([1, 1, 1, lost])

    def given(rng: np.random.Generator) -> np.ndarray:
        return rng.normal(size=(5, 4)) * scales

    for x in ((5, 4), given):
        assert put((lambda x: as_numbers(x) * x, back(0.5)), lambda x: x * x, x=x).outcome is Outcome.DIFFERS
        assert put((lambda x: as_numbers(x) * x, back(1.0)), lambda x: x * x, x=x).outcome is Outcome.AGREES


def test_a_zero_where_an_exponential_is_small() -> None:
    def back(cut: bool) -> Any:
        return lambda dy, x: np.where(cut & (x < 0), 0, 20 * dy * np.exp(20 * as_numbers(x)))

    def given(rng: np.random.Generator) -> np.ndarray:
        return rng.uniform(-1, 1, (4, 3))

    forward = lambda x: np.exp(20 * as_numbers(x))  # noqa: E731
    assert put((forward, back(True)), lambda x: torch.exp(20 * x), x=given).outcome is Outcome.DIFFERS
    assert put((forward, back(False)), lambda x: torch.exp(20 * x), x=given).outcome is Outcome.AGREES


def test_a_parameter_of_zero() -> None:
    """x̂ taken back from the output divides by a gain that may be 0."""
    wrong = lambda dy, x, g: (dy * g, ((x * g) / np.where(g == 0, 1, g) * dy).sum(0))  # noqa: E731
    right = lambda dy, x, g: (dy * g, (x * dy).sum(0))  # noqa: E731
    given = {"x": (4, 3), "params": {"g": (3,)}}
    assert put((lambda x, g: x * g, wrong), lambda x, g: x * g, **given).outcome is Outcome.DIFFERS
    assert put((lambda x, g: x * g, right), lambda x, g: x * g, **given).outcome is Outcome.AGREES


# --- losses ---


def softmax(z: Any) -> Any:
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def cross_entropy(divisor: str) -> Any:
    """Over the rows that are not left out, or not."""

    def loss(z: Any, t: Any) -> Any:
        keep = t != -100
        hot = np.eye(z.shape[1])[np.where(keep, t, 0)] * keep[:, None]
        m = {"kept": keep.sum(), "all": len(z), "four": 4}[divisor]
        return -(np.log(softmax(z)) * hot).sum() / keep.sum(), (softmax(z) * keep[:, None] - hot) / m

    return loss


def test_targets_that_are_left_out() -> None:
    given = {"output": (4, 5), "target": "class"}
    assert put(cross_entropy("all"), functional.cross_entropy, **given).outcome is Outcome.DIFFERS
    assert put(cross_entropy("kept"), functional.cross_entropy, **given).outcome is Outcome.AGREES


def test_targets_that_only_torch_knows() -> None:
    """Who raises an exception for them is right; who has other numbers may be."""

    def plain(z: Any, t: Any, hot: Any) -> Any:
        h = hot(z.shape[1], t)
        return -(np.log(softmax(z)) * h).sum() / len(z), (softmax(z) - h) / len(z)

    given = {"output": (4, 5), "target": "class"}
    raising = lambda z, t: plain(z, t, lambda k, t: np.eye(k)[t])  # noqa: E731
    zeros = lambda z, t: plain(z, t, lambda k, t: 1.0 * (np.arange(k) == t[:, None]))  # noqa: E731
    assert put(raising, functional.cross_entropy, **given).outcome is Outcome.AGREES
    report = put(zeros, functional.cross_entropy, **given)
    assert report.outcome is Outcome.UNDECIDED
    assert "-100" in report.gaps[0]
    own = put(zeros, nn.CrossEntropyLoss(ignore_index=-1), **given)
    assert own.outcome is Outcome.DIFFERS  # a module that was made with it asks for it


def test_rows_of_a_loss() -> None:
    assert put(cross_entropy("four"), functional.cross_entropy, output=X, target=T).outcome is Outcome.DIFFERS
    assert put(cross_entropy("kept"), functional.cross_entropy, output=X, target=T).outcome is Outcome.AGREES


@pytest.mark.parametrize("shape", [(500, 200), (100_000,)])
def test_a_large_sum_is_seen_on_a_small_one(shape: tuple[int, ...]) -> None:
    def squares(off: float) -> Any:
        return lambda o, t: (((o - t) ** 2).mean() * (1 + off), 2 * (o - t) / o.size)

    given = {"output": shape, "target": shape}
    assert put(squares(1e-11), functional.mse_loss, **given).outcome is Outcome.DIFFERS


def test_a_large_batch_is_seen_on_a_small_one() -> None:
    pair = lambda x, w: x @ w, lambda dy, x, w: (dy @ w.T, x.T @ dy * (1 + 1e-10))
    assert put(pair, lambda x, w: x @ w, inputs={"x": (16384, 4), "w": (4, 3)}).outcome is Outcome.DIFFERS


# --- masks ---


def test_masks_of_one_kind() -> None:
    def forward(x: Any, keep: Any) -> Any:
        return np.where(keep, x, 0.0).sum(-1) / np.maximum(keep.sum(-1), 1)

    def back(empty: int) -> Any:
        return lambda dy, x, keep: (
            (keep | (keep.sum(-1, keepdims=True) < empty)) * (dy / np.maximum(keep.sum(-1), 1))[:, None]
        )

    def reference(x: Any, keep: Any) -> Any:
        return torch.where(keep, x, 0.0).sum(-1) / keep.sum(-1).clamp(min=1)

    given = {"inputs": {"x": ("n", 5), "keep": mask(("n", 5))}}
    assert put((forward, back(1)), reference, **given).outcome is Outcome.DIFFERS
    assert not put((forward, back(0)), reference, **given).differing


# --- kinks where torch has no number elsewhere ---


@pytest.mark.parametrize("right", [True, False])
def test_a_point_without_a_number_loses_no_other_point(right: bool) -> None:
    def back(dy: Any, x: Any) -> Any:
        return dy * ((x > 3 if right else x >= 3) - 1 / x**2)

    report = put((lambda x: np.maximum(x - 3, 0) + 1 / x, back), lambda x: torch.relu(x - 3) + 1 / x, x=(4, 6))
    assert bool(report) is right
