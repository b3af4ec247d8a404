"""A page says of small tensors, and blocks of a large one, what `judge` says of each whole."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from handgrad.compare.judge import agreement
from handgrad.compare.judge.agreement import StageRow, judge
from handgrad.compare.judge.page import LARGEST_TENSOR, ROOM, Agreed, Page
from handgrad.compare.rounding.bounded import Bounded, Precision

SHAPES = [(), (1,), (7,), (3, 5), (4, 1, 6)]


def pairs(dtype: Any, seed: int) -> list[tuple[Bounded, np.ndarray]]:
    """Results with their bounds beside torch's: equal, within, at the edge, beyond, NaN, ∞, subnormal; any layout."""
    rng, p, found = np.random.default_rng(seed), Precision.of(dtype), []
    for kind in range(60):
        shape = SHAPES[rng.integers(len(SHAPES))]
        torch = np.asarray(rng.normal(size=shape) * 10.0 ** rng.integers(-8, 8), dtype)
        error = np.abs(torch, dtype=np.float64) * 10.0 ** rng.integers(-12, 2) * rng.integers(0, 2, shape)
        ours = np.asarray(torch + error * rng.uniform(-1.1, 1.1, shape) * rng.integers(0, 2), dtype)
        if kind % 9 == 3:
            ours.flat[0] = rng.choice([np.nan, np.inf, -np.inf])
        if kind % 9 == 5:
            torch.flat[-1] = rng.choice([np.nan, np.inf])
        if kind % 9 == 7:
            error = np.asarray(error)
            error.flat[0] = np.inf
        if kind % 9 == 8:
            torch, ours, error = torch * 0, ours * 0 + p.tiny / 4, error * 0
        if kind % 3 == 0:
            ours, error, torch = ours.T, np.asarray(error).T, torch.T
        bound = None if kind % 4 == 0 else np.asarray(error)
        found.append((Bounded(np.asarray(ours, dtype), bound, p), np.asarray(torch, dtype)))
    return found


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.filterwarnings("ignore")
def test_a_page_and_a_single_tensor_have_one_verdict(dtype: Any, seed: int) -> None:
    page, tensors = Page(Precision.of(dtype)), pairs(dtype, seed)
    for i, (ours, theirs) in enumerate(tensors):
        assert page.takes(ours, theirs)
        page.add(i, ours, theirs)
    agreed = 0
    for k, (i, verdict, torch) in enumerate(page.verdicts()):
        ours, theirs = tensors[i]
        alone = judge(ours, theirs)
        assert (i, torch is theirs) == (k, True)
        if isinstance(verdict, Agreed):
            agreed += 1
            apart = abs(float(np.subtract(ours.value, theirs, dtype=np.float64).flat[alone.flat]))
            assert alone.agrees
            assert verdict[:4] == (alone.shape, alone.fraction, alone.largest_difference, alone.looseness)
            assert verdict.worst() == (alone.flat, apart, alone.allowed)
        else:  # judged again, it comes to the same
            again = judge(verdict, theirs)
            assert np.array_equal(verdict.value, ours.value, equal_nan=True)
            assert repr(again) == repr(alone)
    assert 10 < agreed < len(tensors) - 10  # both happen
    assert list(page.verdicts()) == []  # a page is empty after it has been read


def test_a_result_changed_afterwards_is_judged_by_what_it_was() -> None:
    p = Precision.of(np.float64)
    page, y, error = Page(p), np.array([1.0, 2.0]), np.array([1e-9, 1e-9])
    page.add("y", Bounded(y, error, p), np.array([1.0, 2.0]))
    y += 1
    error += 1
    ((_, verdict, _),) = page.verdicts()
    assert isinstance(verdict, Agreed)
    assert verdict.looseness < 1e-8


def test_a_page_takes_no_other_shape_dtype_or_size() -> None:
    p, x = Precision.of(np.float64), np.zeros(3)
    page = Page(p)
    assert page.takes(Bounded(x, None, p), x)
    for ours, theirs in (
        (Bounded(np.zeros(4), None, p), x),
        (Bounded(np.zeros((3, 1)), None, p), x),
        (Bounded(x.astype(np.float32), None, p), x),
        (Bounded(np.zeros(0), None, p), np.zeros(0)),
        (Bounded(np.zeros(LARGEST_TENSOR), None, p), np.zeros(LARGEST_TENSOR)),
        (Bounded(x, None, p), 3),
        (x, x),
    ):
        assert not page.takes(ours, theirs)
    filler = np.zeros(LARGEST_TENSOR - 1)
    while page.takes(Bounded(filler, None, p), filler):
        page.add("filler", Bounded(filler, None, p), filler)
    assert page.used > ROOM - LARGEST_TENSOR
    assert sum(1 for _ in page.verdicts()) == len(range(0, ROOM - LARGEST_TENSOR + 2, LARGEST_TENSOR - 1))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_large_tensor_judged_by_blocks_has_the_same_verdict(dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rng, p = np.random.default_rng(0), Precision.of(dtype)
    torch = rng.normal(size=(300, 401)).astype(dtype)
    error = np.abs(torch, dtype=np.float64) * 10.0 ** rng.uniform(-6, 2, torch.shape)
    agreeing = (torch + error * rng.uniform(-0.9, 0.9, torch.shape)).astype(dtype)
    agreeing[np.abs(agreeing - torch) > error] = torch[np.abs(agreeing - torch) > error]  # by its own rounding
    spoilt = [agreeing.copy(), agreeing.copy()]
    spoilt[0][299, 400] += 1e6
    spoilt[1][123, 7] = np.nan
    for ours, agrees in ((agreeing, True), (agreeing.T, True), *((bad, False) for bad in spoilt)):
        theirs, bound = (torch.T, error.T) if ours.shape != torch.shape else (torch, error)
        by_blocks = judge(Bounded(ours, bound, p), theirs)
        with monkeypatch.context() as m:
            m.setattr(agreement, "BLOCK", 1 << 30)
            assert repr(judge(Bounded(ours, bound, p), theirs)) == repr(by_blocks)
        assert by_blocks.agrees == agrees


def test_the_row_remembers_the_closest_of_all() -> None:
    p = Precision.of(np.float64)
    page, row, alone = Page(p), StageRow("stage"), StageRow("stage")
    rng = np.random.default_rng(0)
    for step in range(5):
        for name in "ab":
            theirs = rng.normal(size=(2, 3))
            ours = Bounded(theirs + 1e-9 * rng.uniform(-1, 1, (2, 3)), np.full((2, 3), 1e-9), p)
            page.add(name, ours, theirs)
            alone.add(step, name, judge(ours, theirs))
        for name, verdict, _ in page.verdicts():
            assert isinstance(verdict, Agreed)
            row.count(step, name, *verdict)
    assert row == alone
