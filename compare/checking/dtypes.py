"""Results of another dtype than torch's: judged by their values all the same, with a note that says so."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from handgrad.compare.judge.agreement import Verdict, judge
from handgrad.compare.rounding.bounded import Bounded
from handgrad.compare.rounding.model import PRECISIONS, Precision


class Cast(NamedTuple):
    """A result in torch's dtype."""

    value: np.ndarray
    lost: Any = None  # what it loses by that, element by element; None for nothing
    note: str = ""  # nothing where it is of torch's dtype already
    narrow: Precision | None = None  # of floats that hold fewer digits than torch's


def cast(result: Any, torch: np.ndarray) -> Cast:
    """A result, an array or a number of Python, in torch's dtype."""
    value = np.asarray(result)
    value = value.astype(value.dtype.newbyteorder("="), copy=False)  # another order of bytes is no other number
    number = not isinstance(result, (np.ndarray, np.generic))
    if value.dtype == torch.dtype and not number:
        return Cast(value)
    with np.errstate(all="ignore"):
        moved = value.astype(torch.dtype)
        lost = np.abs(np.subtract(value, moved, dtype=np.float64))
    said = type(result).__name__ if number else value.dtype
    note = f"the manual side returns {said}; its values are judged as {torch.dtype}"
    narrow = PRECISIONS.get(value.dtype) if value.dtype.itemsize < torch.dtype.itemsize else None
    return Cast(moved, lost if np.any(lost > 0) else None, note, narrow)


def of_fewer_digits(
    narrow: Precision, value: np.ndarray, torch: np.ndarray, verdict: Verdict, error: Any, ratio: float
) -> tuple[Verdict, Any, bool]:
    """(verdict, error, whether the narrower dtype is all that is wrong) of a narrower result that differs.

    What rounding does in that dtype is `ratio` times the error allowed, and the rounding of the result: what is within
    it is the narrower dtype, and what is beyond is another fault, of which it must not hide the cause.
    """
    with np.errstate(all="ignore"):
        room = (0.0 if error is None else error) * ratio + 2 * narrow.unit * np.abs(value, dtype=np.float64)
    wide = judge(Bounded(value, np.broadcast_to(room, value.shape)), torch)
    if wide.agrees:
        return judge(value.astype(narrow.dtype), torch), error, True
    return wide._replace(rule=verdict.rule), room, False
