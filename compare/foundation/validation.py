"""What is asked of settings and arguments. Each raises UsageError: what was expected, what came, what to do."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from handgrad.compare.foundation.errors import UsageError

DTYPES = {"float64": np.float64, "float32": np.float32}
COMPLEX = {"complex128": np.float64, "complex64": np.float32}  # of which real numbers
DIMENSIONS = 32  # NumPy's arrays may have 64, its iterators may not
LARGEST = 10**18  # of whole numbers: more steps than the age of the universe has seconds


def choose(what: str, name: str, table: Mapping[str, Any]) -> Any:
    """The table's entry; UsageError naming the choices where there is none."""
    if not isinstance(name, str) or name not in table:
        raise UsageError(f"{what} must be one of {', '.join(table)}, got {name!r}: choose one of them")
    return table[name]


def is_whole(x: Any) -> bool:
    """Whether x is an integer, and not True or False."""
    return isinstance(x, (int, np.integer)) and not isinstance(x, bool)


def require_seed(seed: Any) -> None:
    """UsageError unless a generator can start from it."""
    if not is_whole(seed) or seed < 0:
        raise UsageError(f"seed must be a whole number of at least 0, got {seed!r}: choose another")


def require_learning_rate(rate: Any) -> None:
    """UsageError unless it is a number above 0 that is finite."""
    number = rate.item() if isinstance(rate, np.generic) else rate
    if not isinstance(number, (int, float)) or isinstance(number, bool) or not 0 < number <= sys.float_info.max:
        raise UsageError(f"learning rate must be a finite number above 0, got {rate}: choose another")


def require_dimensions(what: str, count: int) -> None:
    """UsageError for more axes than NumPy counts an array's elements along."""
    if count > DIMENSIONS:
        raise UsageError(f"{what} must have at most {DIMENSIONS} dimensions, got {count}: leave out axes of size one")


def require_memory(what: str, needed: int, why: str, remedy: str) -> None:
    """UsageError, before any of it is taken, where so many bytes cannot fit into this machine."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else needed
    if needed > memory:
        raise UsageError(
            f"{what} must fit into the {memory / 1e9:,.0f} GB of this machine, but {why} take {needed // 10**9:,} GB: "
            f"{remedy}"
        )
