"""Checks in threads beside a training: the training's numbers and the verdicts are those of either alone."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from benchmarks.robustness.interrupts import CASES, changed, state
from handgrad.compare.foundation.torch_internals import DispatchMode
from handgrad.compare.judge.torch_rounding import DefaultFloat64, RandomRounding

THREADS, STEPS, ROUNDS = 8, 400, 2
WAYS = [case for name, case in CASES.items() if name != "a search for the cause"]  # which is another process's


def training(done: Callable[[int], bool]) -> list[bytes]:
    """The weights after each of STEPS steps of torch and of NumPy; goes on, over and over, until it is `done`."""
    rounds = 0
    while True:
        found = []
        p = torch.nn.Parameter(torch.linspace(-1, 1, 6))
        optimizer = torch.optim.NAdam([p], lr=0.1, betas=(0.9, 0.99))
        theta = np.linspace(-1, 1, 6)
        for _ in range(STEPS):
            optimizer.zero_grad()
            ((p**2).sum() + torch.ones(6).sum() * p.sin().sum()).backward()
            optimizer.step()
            with np.errstate(over="raise"):
                theta = theta - 0.1 * np.tanh(theta)
            found.append(p.detach().numpy().tobytes() + theta.tobytes() + str(optimizer.param_groups[0]["lr"]).encode())
        rounds += 1
        if done(rounds):
            return found


@pytest.fixture(scope="module")
def alone() -> tuple[list[bytes], list[tuple[bool, float]]]:
    return training(lambda rounds: True), [verdict(case) for case in WAYS]


def verdict(case: Callable[[], Any]) -> tuple[bool, float]:
    report = case()
    return report.agrees, report.closest_call


def test_nobody_sees_the_other(alone: tuple[list[bytes], list[tuple[bool, float]]]) -> None:
    before, end, trained = state(), threading.Event(), list[list[bytes]]()
    trainer = threading.Thread(target=lambda: trained.append(training(lambda rounds: end.is_set())))
    trainer.start()
    with ThreadPoolExecutor(THREADS) as pool:
        verdicts = list(pool.map(verdict, WAYS * ROUNDS))
    end.set()
    trainer.join()
    assert verdicts == alone[1] * ROUNDS
    assert trained == [alone[0]]
    assert not changed(before, state())


def in_another_thread(look: Callable[[], Any]) -> Any:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(look).result()


def an_optimizers_rate() -> Any:
    p = torch.nn.Parameter(torch.zeros(1))
    p.grad = torch.ones(1)
    optimizer = torch.optim.SGD([p], lr=0.3)
    optimizer.step()
    return type(optimizer.param_groups[0]["lr"]), p.detach().numpy().tobytes()


@pytest.mark.parametrize("mode", [partial(RandomRounding, 0), DefaultFloat64])
@pytest.mark.parametrize("look", [an_optimizers_rate, lambda: torch.ones(1).dtype, torch.get_default_dtype])
def test_what_is_changed_for_a_measurement_is_changed_here_alone(mode: Any, look: Callable[[], Any]) -> None:
    before = look()
    with mode():
        assert in_another_thread(look) == before
    assert look() == before


def test_a_change_to_the_process_would_be_seen(alone: tuple[list[bytes], list[tuple[bool, float]]]) -> None:
    """The faults that this file is about, planted: torch's default dtype, and a hook on every optimizer's step."""
    before = state()
    torch.set_default_dtype(torch.float64)
    try:
        said, trained = changed(before, state()), in_another_thread(lambda: training(lambda rounds: True))
    finally:
        torch.set_default_dtype(torch.float32)
    assert said[0].startswith("torch's default dtype")
    assert trained != alone[0]
    hook = register_optimizer_step_pre_hook(lambda optimizer, *given: optimizer.param_groups[0].update(lr=0.2))
    try:
        said, trained = changed(before, state()), in_another_thread(lambda: training(lambda rounds: True))
    finally:
        hook.remove()
    assert [line.partition(":")[0] for line in said] == ["torch's hooks on optimizers"]
    assert trained != alone[0]


def test_a_mode_that_is_left_behind_would_be_seen() -> None:
    before = state()
    mode = RandomRounding(0)
    mode.__enter__()
    try:
        said = changed(before, state())
    finally:
        mode.__exit__()
    assert [line.partition(":")[0] for line in said] == ["torch's modes", "torch's numbers"]
    assert isinstance(mode, DispatchMode)
