"""Numbers as JSON has them."""

import math
from typing import Any


def finite(x: Any) -> Any:
    """The same with NaN and ±∞ as None: JSON has no word for them."""
    if isinstance(x, float):
        return x if math.isfinite(x) else None
    if isinstance(x, dict):
        return {key: finite(value) for key, value in x.items()}
    return [finite(value) for value in x] if isinstance(x, list) else x
