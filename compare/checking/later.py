"""What a draw adds that only a derivation meets which agrees so far."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from handgrad.compare.checking.draws import Draw, Kind
from handgrad.compare.checking.evaluate import Evaluation, Fault
from handgrad.compare.judge.names import is_forward
from handgrad.compare.judge.sides import is_float

WRITTEN = "a number that stands for a size may be written into it; name the size, x=('n', 'd'), or write it as a size"
MEND = "if such inputs can come, mend it; if not, give inputs= without them"


def left_out(draw: Draw, found: Mapping[str, Evaluation]) -> tuple[str, str] | None:
    """(a note, a gap) on a draw that decides nothing, of which one is empty; None where it is compared.

    Where nobody asked for such inputs, a derivation may refuse them. If it takes them, and its forward pass has other
    numbers there, the two sides are not the same function, and whether they are where it matters was not decided.
    Widths may stand in a derivation as numbers; not in its gradient alone.
    """
    differing = {name: e for name, e in found.items() if not e.verdict.agrees}
    if not differing:
        return None
    forward = [name for name in differing if is_forward(name)]
    problem = next((e.verdict.problem for e in differing.values() if e.verdict.problem), "")
    if draw.kind in (Kind.WIDTHS, Kind.SCALES) and (problem or forward):
        return "", ""
    if draw.kind is Kind.ONE and all(e.fault is Fault.RAISES for e in differing.values()):
        return f"{draw.label}: not compared, {problem}", ""  # an exception is nothing that goes unnoticed
    if draw.kind is Kind.WIDTHS:
        return "", f"{draw.label}: the forward pass is torch's, the {', '.join(differing)} is not: {WRITTEN}"
    if draw.kind in (Kind.ROWS, Kind.UNASKED):
        if problem:  # an exception is nothing that goes unnoticed; but a batch of one size is
            return f"{draw.label}: not compared, {problem}" if draw.kind is Kind.ROWS else "", ""
        if forward:
            return "", f"{draw.label}: torch takes this, but the {', '.join(forward)} is another one: {MEND}"
    if draw.kind is Kind.NOT_FINITE and (problem or _overflows(differing)):
        return "", f"{draw.label}: torch takes this, the derivation does not: {MEND}"
    if draw.kind is Kind.NUMBERS and (size := _overflows(differing)):
        return f"{draw.label}: not compared, the derivation has NaN or ∞ in {size} elements where torch has numbers", ""
    return None


def _overflows(differing: Mapping[str, Evaluation]) -> int:
    """The number of elements in which the manual side alone has no number, where it differs in no others."""
    total = 0
    for e in differing.values():
        if e.case is None or e.case.manual.shape != e.case.torch.shape or not is_float(np.asarray(e.case.manual)):
            return 0
        lost = ~np.isfinite(e.case.manual) & np.isfinite(e.case.torch)
        if (e.case.where() & ~lost).any():
            return 0
        total += int(np.count_nonzero(lost))
    return total
