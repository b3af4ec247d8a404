"""Numbers as JSON has them."""

import contextlib
import json
import math
import os
from pathlib import Path
from typing import Any


def finite(x: Any) -> Any:
    """The same with NaN and ±∞ as None: JSON has no word for them."""
    if isinstance(x, float):
        return x if math.isfinite(x) else None
    if isinstance(x, dict):
        return {key: finite(value) for key, value in x.items()}
    return [finite(value) for value in x] if isinstance(x, list) else x


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file that people can read: whole, or not at all. Raises OSError."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    aside = path.with_name(f".{path.name}.part")
    try:
        aside.write_text(text, encoding="utf-8")
        os.replace(aside, path)
    except OSError:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)
        raise
