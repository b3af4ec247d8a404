"""Wraps, limits for each column, whole numbers, generators, long axes: a fault behind each is reached."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from handgrad import check, indices
from handgrad.compare.checking.findings import Report
from handgrad.compare.checking.outcome import Outcome

DAY = 1440.0
LIMITS = (0.5, 20.0, 300.0)


def checked(ours: Any, reference: Any, **options: Any) -> Report:
    with np.errstate(all="ignore"):
        return check(ours, reference, **{"explain": "off", "raises": False, **options})


def put(rest: Any, reference: Any) -> Report:
    """The square of what is left of x, where the reference says what that is."""
    ours = (lambda x: rest(x) ** 2, lambda dy, x: 2 * rest(x) * dy)
    return checked(ours, lambda x: reference(x) ** 2, x=(4, 5))


WRAPS = {
    "floor": lambda x: x - DAY * np.floor(x / DAY),
    "remainder": lambda x: x % DAY,
    "floordiv": lambda x: x - DAY * (x // DAY),
    "once": lambda x: x + DAY * (x < 0) - DAY * (x >= DAY),
    "never": lambda x: np.where(x < 0, x + DAY, x),
}


@pytest.mark.parametrize("name", WRAPS)
def test_a_wrap(name: str) -> None:
    report = put(WRAPS[name], lambda x: torch.remainder(x, DAY))
    assert report.outcome is (Outcome.DIFFERS if name in ("once", "never") else Outcome.AGREES), str(report)


def test_a_step_that_given_numbers_do_not_reach_is_said() -> None:
    def forward(x: Any) -> Any:
        return x - DAY * np.rint(x / DAY)

    x = np.linspace(-3, 3, 12).reshape(3, 4)
    report = checked((forward, lambda dy, x: 1.0 * dy), lambda x: 1.0 * x, inputs={"x": x})
    assert report.outcome is Outcome.UNDECIDED
    assert any("`np.rint(x / DAY)` never gave a step beyond" in gap for gap in report.gaps), report.gaps


def test_what_is_never_negative_has_no_step_below_zero() -> None:
    def forward(x: Any) -> Any:
        return x * np.floor(3 * np.abs(x))

    ours = (forward, lambda dy, x: dy * np.floor(3 * np.abs(x)))
    assert checked(ours, lambda x: x * torch.floor(3 * x.abs()), x=(4, 5)).outcome is Outcome.AGREES


def columns(slope: Any) -> Any:
    limits = np.array(LIMITS)
    return (
        lambda x: np.where(x > limits, limits + 2 * (x - limits), x),
        lambda dy, x: dy * np.where(x > limits, slope, 1.0),
    )


def in_a_loop(last: float) -> Any:
    def backward(dy: Any, x: Any) -> Any:
        dx = np.array(dy)
        for j, limit in enumerate(LIMITS):
            dx[:, j] *= np.where(x[:, j] > limit, last if j == 2 else 2.0, 1.0)
        return dx

    return columns(2.0)[0], backward


def limited(x: Any) -> Any:
    limits = torch.tensor(LIMITS, dtype=x.dtype)
    return torch.where(x > limits, limits + 2 * (x - limits), x)


@pytest.mark.parametrize("last", [2.0, 3.0])
def test_a_limit_for_each_column(last: float) -> None:
    for ours in (columns(np.array([2.0, 2.0, last])), in_a_loop(last)):
        report = checked(ours, limited, x=(4, 3))
        assert report.outcome is (Outcome.AGREES if last == 2 else Outcome.DIFFERS), str(report)


def test_a_limit_that_given_numbers_do_not_reach_is_said_with_its_column() -> None:
    x = np.linspace(-30, 30, 12).reshape(4, 3)
    for ours in (columns(2.0), in_a_loop(2.0)):
        gaps = checked(ours, limited, inputs={"x": x}).gaps
        assert any("was never true beside 300" in gap for gap in gaps), gaps


def test_a_token_that_is_one_of_many() -> None:
    def table(left_out: int) -> Any:
        def backward(dy: Any, ids: Any, weight: Any) -> Any:
            g = np.zeros_like(weight)
            np.add.at(g, ids, dy * (ids != left_out)[..., None])
            return {"weight": g}

        return lambda ids, weight: weight[ids], backward

    given = {"ids": indices(1000, (2, 3)), "weight": (1000, 2)}
    for left_out in (7, 8):
        report = checked(table(left_out), lambda ids, w: functional.embedding(ids, w, padding_idx=7), inputs=given)
        assert report.outcome is (Outcome.AGREES if left_out == 7 else Outcome.DIFFERS), str(report)


def test_what_a_generator_never_draws_is_a_note_and_what_an_array_lacks_a_gap() -> None:
    ours = (np.abs, lambda dy, x: dy * np.sign(x))
    drawn = checked(ours, torch.abs, inputs={"x": lambda rng: rng.uniform(1, 2, (3, 4))})
    assert drawn.outcome is Outcome.AGREES, str(drawn)
    assert any("never met a negative number, in 64 draws" in note for note in drawn.notes), drawn.notes
    given = checked(ours, torch.abs, inputs={"x": np.linspace(1, 2, 12).reshape(3, 4)})
    assert given.outcome is Outcome.UNDECIDED


def test_what_a_generator_draws_now_and_then_is_drawn() -> None:
    def rare(rng: Any) -> Any:
        return rng.uniform(1, 2, (3, 4)) * (-1 if rng.random() < 0.1 else 1)

    assert checked((np.abs, lambda dy, x: dy), torch.abs, inputs={"x": rare}).outcome is Outcome.DIFFERS


def test_beside_a_generator_numbers_that_are_ours_keep_their_gaps() -> None:
    def backward(dy: Any, x: Any, g: Any) -> Any:
        return dy * np.where(1 < abs(x.sum() - 77) < 1.0001, 2, g), (dy * x).sum(0)

    given = {"x": (3, 4), "g": lambda rng: rng.uniform(1, 2, 4)}
    report = checked((lambda x, g: x * g, backward), lambda x, g: x * g, inputs=given)
    assert report.outcome is Outcome.UNDECIDED, str(report)


@pytest.mark.parametrize("kept", [True, False])
def test_a_second_chunk_that_only_a_long_row_has(kept: bool) -> None:
    def backward(dy: Any, x: Any) -> Any:
        dx, top, at = np.zeros_like(x), np.full(len(x), -np.inf), np.zeros(len(x), int)
        for start in range(0, x.shape[1], 16):
            part = x[:, start : start + 16]
            better = part.max(1) > top
            at = np.where(better if kept else True, start + part.argmax(1), at)
            top = np.maximum(top, part.max(1))
        dx[np.arange(len(x)), at] = dy
        return dx

    report = checked((lambda x: x.max(1), backward), lambda x: x.max(1).values, inputs={"x": ("n", "d")})
    assert report.outcome is (Outcome.AGREES if kept else Outcome.DIFFERS), str(report)


@pytest.mark.parametrize("passed_on", [True, False])
def test_two_sizes_that_are_the_same(passed_on: bool) -> None:
    def forward(x: Any, w: Any) -> Any:
        return x @ w + (x if w.shape[0] == w.shape[1] else 0)

    def backward(dy: Any, x: Any, w: Any) -> Any:
        same = w.shape[0] == w.shape[1] and passed_on
        return dy @ w.T + (dy if same else 0), x.T @ dy

    report = checked(
        (forward, backward), lambda x, w: x @ w + (x if w.shape[0] == w.shape[1] else 0),
        inputs={"x": ("n", "d"), "w": ("d", "e")},
    )  # fmt: skip
    assert report.outcome is (Outcome.AGREES if passed_on else Outcome.DIFFERS), str(report)


def test_a_guard_of_the_reference_alone_is_said_with_its_input_and_both_numbers() -> None:
    def forward(x: Any) -> Any:
        return x / np.sqrt((x * x).sum(-1, keepdims=True))

    def backward(dy: Any, x: Any) -> Any:
        y = forward(x)
        return (dy - y * (dy * y).sum(-1, keepdims=True)) / np.sqrt((x * x).sum(-1, keepdims=True))

    report = checked((forward, backward), lambda x: functional.normalize(x, dim=-1), inputs={"x": ("d",)})
    assert report.outcome is Outcome.UNDECIDED
    assert "in x: there output and input gradient differ (" in report.gaps[0]
    assert "beside torch's" in report.gaps[0]
