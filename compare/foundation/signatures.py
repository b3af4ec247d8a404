"""What a function must be given."""

from __future__ import annotations

import inspect
from typing import Any


def required(function: Any) -> int | None:
    """How many arguments by position it cannot be called without; None where it does not tell, as code in C."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    return sum(p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)
