"""NumPy's products and torch share their work between as many threads as OMP_NUM_THREADS says, and one by default."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_limits

from handgrad import check, manual
from handgrad.compare.foundation.errors import UsageError
from handgrad.compare.foundation.threads import asked_for, counts, limited, torch_threads


@pytest.fixture(autouse=True)
def two_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Two threads everywhere, and nothing in the environment."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    with torch_threads(2), threadpool_limits(2):
        yield


def test_one_by_default_and_all_back_afterwards() -> None:
    before = counts()
    assert before["torch"] == 2
    assert len(before) > 1, "a library behind NumPy's products must be found"
    with limited():
        assert set(counts().values()) == {1}
    assert counts() == before


def test_the_environment_may_ask_for_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert asked_for() == 2
    with limited():
        assert counts()["torch"] == 2


@pytest.mark.parametrize("text", ["0", "-1", "many", "1.5"])
def test_a_number_that_is_none_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", text)
    with pytest.raises(
        UsageError, match=r"OMP_NUM_THREADS must be a whole number of at least 1, got '.*': set another"
    ):
        asked_for()


@pytest.mark.parametrize(("asked", "count"), [(None, 1), ("2", 2)])
def test_check_runs_the_reference_on_so_many(asked: str | None, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if asked is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
    seen = set()

    def reference(x: torch.Tensor) -> torch.Tensor:
        seen.add(torch.get_num_threads())
        return torch.tanh(x)

    assert check(manual.Tanh(), reference, x=np.ones((2, 3))).agrees
    assert seen == {count}
    assert torch.get_num_threads() == 2
