"""The elements that differ are said so that one finds the line: all, one, whole rows, a block, or a count."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch

from handgrad import CheckFailed, check
from handgrad.compare.checking.elements import describe_where


def mask(shape: tuple[int, ...], *places: Any) -> np.ndarray:
    found = np.zeros(shape, bool)
    for place in places:
        found[place] = True
    return found


@pytest.mark.parametrize(
    ("where", "words"),
    [
        (mask((7, 8), ...), "all 56 elements"),
        (mask((), ...), "its one element"),
        (mask((1, 1), ...), "its one element"),
        (mask((2, 2)), "no element"),
        (mask((0,)), "no element"),
        (mask((4, 8), (0, 3)), "element [0, 3]"),
        (mask((10,), slice(6, 10)), "elements 6–9 of 10"),
        (mask((10,), slice(0, 10, 3)), "elements 0, 3, 6 and 9 of 10"),
        (mask((4, 3), 0, 3), "rows 0 and 3 of 4"),
        (mask((4, 8), (slice(None), 2)), "column 2 of 8"),
        (mask((9, 8), 0, slice(4, 8)), "rows 0 and 4–7 of 9"),
        (mask((4, 8), (2, slice(4, 8))), "row 2 of 4, columns 4–7 of 8"),
        (mask((2, 3, 4), (slice(None), slice(None), slice(1, 3))), "indices 1–2 of 4 on axis 2"),
        (mask((2, 3, 4), (1, slice(None), 2)), "index 1 of 2 on axis 0, index 2 of 4 on axis 2"),
        (mask((12, 10), (0, 3), (1, slice(1, 5)), (5, 2)), "6 of 120 elements, first [0, 3]"),
        (mask((100, 100), slice(0, 100, 2)), "5,000 of 10,000 elements, first [0, 0]"),
    ],
)
def test_in_few_words(where: np.ndarray, words: str) -> None:
    assert describe_where(where) == words


def read(words: str, shape: tuple[int, int]) -> np.ndarray:
    """The mask of a matrix that whole rows and columns describe."""
    found = np.ones(shape, bool)
    for name, ranges in re.findall(r"(row|column)s? (.*?) of", words):
        inside = np.zeros(shape[name == "column"], bool)
        for low, high in re.findall(r"(\d+)(?:–(\d+))?", ranges):
            inside[int(low) : int(high or low) + 1] = True
        found &= inside[:, None] if name == "row" else inside
    return found


def test_a_block_is_said_in_full_and_nothing_else_is_called_one() -> None:
    rng = np.random.default_rng(0)
    blocks = 0
    for _ in range(300):
        where = np.outer(rng.random(5) < 0.5, rng.random(3) < 0.6)
        if rng.random() < 0.5:
            where ^= rng.random(where.shape) < 0.1
        words = describe_where(where)
        if "element" in words:
            assert where.sum() in (0, 1, 15) or f"{where.sum()} of 15 elements" in words
        else:
            blocks += 1
            np.testing.assert_array_equal(read(words, (5, 3)), where)
    assert blocks > 100


def off(*places: Any) -> Any:
    def backward(dy: Any, x: Any) -> Any:
        found = dy * np.cos(x)
        for place in places:
            found[place] *= 1.5
        return found

    return backward


@pytest.mark.parametrize(
    ("places", "words"), [([1], "row 1 of 4"), ([(..., slice(2, 5))], "columns 2–4 of 6"), ([...], "all 24 elements")]
)
def test_the_report_says_it(places: list[Any], words: str) -> None:
    x = np.random.default_rng(0).normal(size=(4, 6))
    with pytest.raises(CheckFailed, match=f"; differs in {words}") as failure:
        check((np.sin, off(*places)), torch.sin, x=x, dy=np.ones((4, 6)))
    finding = failure.value.report["input gradient"]
    assert finding.elements == finding.as_json()["where"] == words


def test_a_wrong_shape_has_no_elements() -> None:
    with pytest.raises(CheckFailed) as failure:
        check((np.sin, lambda dy, x: (dy * np.cos(x)).T), torch.sin, x=(4, 6))
    assert failure.value.report["input gradient"].elements == ""
