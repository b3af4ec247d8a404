"""How many threads NumPy's and torch's libraries share their work between: one, unless OMP_NUM_THREADS says otherwise.

The matrices of a small network are too small to share. Threads that wait for a few numbers at a time burn more than all
the work takes, on two busy cores eight times as much. And a fixed number makes sums repeatable.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from threadpoolctl import ThreadpoolController, threadpool_info, threadpool_limits

from handgrad.compare.foundation.errors import UsageError

VARIABLE = "OMP_NUM_THREADS"


def asked_for() -> int:
    """The number of threads that the environment asks for, or one."""
    text = os.environ.get(VARIABLE) or "1"
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"{VARIABLE} must be a whole number of at least 1, got {text!r}: set another, or unset it")
    return int(text)


@contextmanager
def torch_threads(count: int | None = None) -> Iterator[None]:
    """Torch on so many threads, or on as many as are asked for, in the thread of the caller and while this lasts."""
    before = own_threads()
    set_own_threads([asked_for() if count is None else count] * len(before))
    try:
        yield
    finally:
        set_own_threads(before)


def own_threads() -> list[int]:
    """How many threads this one shares its work with, by each library of OpenMP; empty where torch has none."""
    torch.get_num_threads()  # a thread that asks for the first time is given the number of the process
    return [int(library.num_threads) for library in _openmp()]


def set_own_threads(counts: list[int]) -> None:
    """Share the work of this thread with so many.

    `torch.set_num_threads` would also give the number to each thread that uses torch for the first time meanwhile.
    """
    for library, count in zip(_openmp(), counts, strict=True):
        library.set_num_threads(count)


@cache
def _openmp() -> list[Any]:
    """The libraries through which torch shares its work. Each keeps the number of every thread apart."""
    return list(ThreadpoolController().select(user_api="openmp").lib_controllers)


@contextmanager
def limited() -> Iterator[None]:
    """Torch and the libraries behind NumPy's products on as many threads as are asked for, while this lasts."""
    with torch_threads(), threadpool_limits(asked_for()):
        yield


def limit() -> None:
    """The same for the rest of the process, of all libraries that are loaded by now."""
    torch.set_num_threads(asked_for())
    threadpool_limits(asked_for())


def counts() -> dict[str, int]:
    """The number of threads now: torch's, and that of each library behind NumPy's products."""
    blas = {pool["internal_api"]: pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}
    return {"torch": torch.get_num_threads(), **blas}
