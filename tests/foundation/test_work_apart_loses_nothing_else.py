"""Work in a process of its own: what it has found is kept, however it ends."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import warnings
from typing import Any

import numpy as np
import pytest
import torch

from handgrad.compare.foundation import apart as room
from handgrad.compare.foundation.apart import apart
from handgrad.compare.foundation.jobs import Ending, Job

pytestmark = pytest.mark.skipif(not room.can_fork(), reason="nothing runs apart here")


def seven(found: Any, so_far: Any) -> int:
    return 7


def eight(found: Any, so_far: Any) -> int:
    return int(found["seven"]) + 1


def aborts(found: Any, so_far: Any) -> None:
    so_far("half")
    os.abort()


def raises(found: Any, so_far: Any) -> None:
    raise ValueError("no such thing")


def spins(found: Any, so_far: Any) -> None:
    so_far("half")
    while True:
        pass


def sleeps(found: Any, so_far: Any) -> None:
    time.sleep(1000)


def exits(found: Any, so_far: Any) -> None:
    os._exit(3)


def test_jobs_know_what_was_found_before() -> None:
    outcome = apart([Job("seven", seven), Job("eight", eight)], 5)
    assert outcome.found == {"seven": 7, "eight": 8}
    assert not outcome.ended


@pytest.mark.parametrize(
    ("work", "ending", "words"),
    [
        (aborts, Ending.DIED, "SIGABRT"),
        (exits, Ending.DIED, "exit code 3"),
        (raises, Ending.RAISED, "ValueError: no such"),
    ],
)
def test_what_goes_wrong_costs_one_job(work: Any, ending: Ending, words: str) -> None:
    outcome = apart([Job("seven", seven), Job("bad", work), Job("eight", eight)], 5)
    assert outcome.found == {"seven": 7, "eight": 8}
    assert outcome.ended["bad"][0] is ending
    assert words in outcome.ended["bad"][1]
    assert outcome.best("bad", None) == ("half" if work is aborts else None)


def test_the_budget_ends_what_does_not_return() -> None:
    outcome = apart([Job("spins", spins), Job("seven", seven), Job("again", spins)], 1.0)
    assert outcome.found == {"seven": 7}  # a job has a share of the budget only
    assert {name: ending for name, (ending, _) in outcome.ended.items()} == {
        "spins": Ending.SPENT,
        "again": Ending.SPENT,
    }
    assert outcome.so_far == {"spins": "half", "again": "half"}
    assert 0.9 < outcome.spent < 1.5


def test_native_code_that_does_not_return_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "IDLE", 0.5)
    assert apart([Job("sleeps", sleeps), Job("seven", seven)], 5).ended["sleeps"][0] is Ending.SPENT
    outcome = apart([Job("product", lambda found, so_far: np.ones((5000, 5000)) @ np.ones((5000, 5000)))], 0.3)
    assert outcome.ended["product"][0] is Ending.SPENT


def test_ctrl_c_ends_the_work_and_nothing_else() -> None:
    timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    try:
        outcome = apart([Job("seven", seven), Job("spins", spins), Job("eight", eight)], 60)
    finally:
        timer.join()
    assert outcome.found == {"seven": 7}
    assert outcome.ended["spins"][0] is outcome.ended["eight"][0] is Ending.INTERRUPTED
    assert outcome.best("spins", None) == "half"


def test_nothing_leaks_from_it(capfd: pytest.CaptureFixture[str]) -> None:
    def leaks(found: Any, so_far: Any) -> None:
        torch.set_default_dtype(torch.float64)
        torch.manual_seed(3)
        print("said by the child")
        sys.stdout.flush()

    before, seed = torch.get_default_dtype(), torch.initial_seed()
    print("said by the parent", end="")
    apart([Job("leaks", leaks)], 5)
    assert torch.get_default_dtype() == before
    assert torch.initial_seed() == seed
    assert capfd.readouterr().out == "said by the parent"


def test_it_works_in_a_thread_and_after_torch_has_used_several() -> None:
    def product(found: Any, so_far: Any) -> float:
        return float((torch.ones(300, 300, requires_grad=True) @ torch.ones(300, 300)).sum().backward() is None)

    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    torch.ones(600, 600) @ torch.ones(600, 600)
    done: list[Any] = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Python 3.12 warns of a fork beside threads
        thread = threading.Thread(target=lambda: done.append(apart([Job("product", product)], 20).found))
        thread.start()
        thread.join()
    torch.set_num_threads(threads)
    assert done == [{"product": 1.0}]


def test_without_a_fork_it_runs_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "can_fork", lambda: False)
    outcome = apart([Job("seven", seven), Job("bad", raises), Job("eight", eight)], 5)
    assert outcome.found == {"seven": 7, "eight": 8}
    assert outcome.ended["bad"][0] is Ending.RAISED
    assert apart([Job("seven", seven)], 0).ended["seven"][0] is Ending.SPENT
