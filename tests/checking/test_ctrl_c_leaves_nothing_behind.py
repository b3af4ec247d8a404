"""Ctrl-C at any moment of a check: all that it changes on its way is as it was. `make soak` does it 2,000 times."""

from __future__ import annotations

import os
import random
import signal
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.robustness.interrupts import CASES, LATEST, changed, interrupted, seconds, state
from handgrad import check
from handgrad.compare.foundation import apart as room
from handgrad.compare.foundation import as_it_was
from handgrad.compare.foundation.apart import apart
from handgrad.compare.foundation.as_it_was import AsItWas
from handgrad.compare.foundation.jobs import Job
from handgrad.compare.foundation.threads import set_own_threads
from handgrad.compare.judge.torch_rounding import RandomRounding

QUICK = ("a right layer", "torch that rounds", "no rounding bound", "a wrong layer")
EACH = 4


@pytest.mark.parametrize("name", QUICK)
def test_at_random_moments(name: str) -> None:
    rng, case = random.Random(name), CASES[name]
    lasts, before = seconds(case), state()
    ended = sum(interrupted(case, rng.uniform(0, LATEST * lasts)) for _ in range(EACH))
    assert changed(before, state()) == []
    assert ended


def leaves_everything(problem: BaseException) -> Any:
    """A derivation that ends as if Ctrl-C came where no `with` can put anything back."""

    def forward(x: Any) -> Any:
        RandomRounding(0).__enter__()
        torch.set_grad_enabled(False)
        np.seterr(all="raise")
        set_own_threads([3 for _ in AsItWas.now().threads])
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        raise problem

    return forward, lambda dy, x: dy


def test_what_no_with_puts_back_is_put_back() -> None:
    before = state()
    with pytest.raises(KeyboardInterrupt):
        check(leaves_everything(KeyboardInterrupt()), torch.tanh, x=(2, 3))
    assert changed(before, state()) == []


def test_without_that_it_would_be_left(monkeypatch: pytest.MonkeyPatch) -> None:
    before, kept = state(), AsItWas.now()
    monkeypatch.setattr(AsItWas, "put_back", lambda self: None)
    with pytest.raises(KeyboardInterrupt):
        check(leaves_everything(KeyboardInterrupt()), torch.tanh, x=(2, 3))
    left = {line.partition(":")[0] for line in changed(before, state())}
    monkeypatch.undo()
    kept.put_back()
    assert left >= {"torch's modes", "blocked signals"}
    assert changed(before, state()) == []


def test_another_ctrl_c_meanwhile_is_raised_when_all_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    before, late = state(), [KeyboardInterrupt()]
    real = as_it_was.modes_left

    def impatient(modes: Any) -> None:
        if late:
            raise late.pop()
        real(modes)

    monkeypatch.setattr(as_it_was, "modes_left", impatient)
    kept = AsItWas.now()
    RandomRounding(0).__enter__()
    with pytest.raises(KeyboardInterrupt):
        kept.put_back()
    assert changed(before, state()) == []


@pytest.mark.skipif(not room.can_fork(), reason="nothing runs apart here")
@pytest.mark.parametrize("where", ["just after the fork", "while it is ended"])
def test_no_process_and_no_file_is_left(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupts(*given: Any, **named: Any) -> Any:
        if calls.pop():
            raise KeyboardInterrupt
        return real(*given, **named)

    if where == "just after the fork":
        real, calls = room._Watched.listen, [True]
        monkeypatch.setattr(room._Watched, "listen", interrupts)
    else:
        real, calls = room._Watched.stop, [False, True]
        monkeypatch.setattr(room._Watched, "stop", interrupts)
    before = state()
    outcome = None
    try:
        outcome = apart([Job("naps", lambda found, so_far: os.getpid())], 5)
    except KeyboardInterrupt:
        assert where == "while it is ended"
    assert outcome is None or outcome.ended["naps"][0].name == "INTERRUPTED"
    assert changed(before, state()) == []
