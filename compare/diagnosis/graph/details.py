"""What is the same of an edit, or of a factor, on every draw: its kind and its details."""

from __future__ import annotations

from typing import Any

Details = tuple[tuple[str, Any], ...]
Key = tuple[str, Details]


def detail(key: Key, name: str) -> Any:
    """One of the details; None where there is none of this name."""
    return dict(key[1]).get(name)
