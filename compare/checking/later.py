"""What a draw adds that only a derivation meets which agrees so far."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from handgrad.compare.checking.draws import Draw, Kind
from handgrad.compare.checking.evaluate import Evaluation, Fault
from handgrad.compare.judge.names import is_forward
from handgrad.compare.judge.sides import is_float

WRITTEN = "give the sizes names, x=('n', 'd'), or write a number that stands for a size into it as a size"
MEND = "if such inputs can come, mend it; if not, give inputs= without them"


def left_out(draw: Draw, found: Mapping[str, Evaluation]) -> tuple[str, str] | None:
    """(a note, a gap) on a draw that decides nothing, of which one is empty; None where it is compared.

    Where nobody asked for such inputs, a derivation may refuse them: what raises does not go unnoticed. If it takes
    them, and has other numbers there, whether the two sides are the same where it matters was not decided.
    """
    differing = {name: e for name, e in found.items() if not e.verdict.agrees}
    if not differing:
        return None
    forward = [name for name in differing if is_forward(name)]
    problem = next((e.verdict.problem for e in differing.values() if e.verdict.problem), "")
    if draw.kind in (Kind.WIDTHS, Kind.AXES, Kind.SCALES) and problem:
        told = draw.kind is Kind.WIDTHS and not forward and all(e.fault is None for e in differing.values())
        return f"{draw.label}: not compared, {problem}" if told else "", ""
    if draw.kind is Kind.BATCHES and problem:  # an input that keeps its rows may be broadcast beside a single one
        raises = any(e.fault is Fault.RAISES for e in differing.values())
        return f"{draw.label}: not compared, {problem}" if raises else "", ""
    if draw.kind in (Kind.WIDTHS, Kind.AXES, Kind.SCALES) and forward:  # a layer has the width that it was made with
        return "", ""
    if draw.kind in (Kind.WIDTHS, Kind.AXES):
        said = " and ".join(differing)
        return "", f"{draw.label} {said} differ{'' if ' and ' in said else 's'}: {WRITTEN}"
    if draw.kind is Kind.ENDS:
        return "", "" if problem else _another(draw, list(differing))
    if draw.kind in (Kind.ROWS, Kind.UNASKED):
        if problem:  # an exception is nothing that goes unnoticed; but a batch of one size is
            return f"{draw.label}: not compared, {problem}" if draw.kind is Kind.ROWS else "", ""
        if forward:
            return "", _another(draw, forward)
    size = _overflows(differing)
    lost = f"the derivation has NaN or ∞ in {size} elements where torch has numbers"
    if draw.kind in (Kind.ALIKE, Kind.BATCHES, Kind.KINKS) and size:
        return "", f"{draw.label}: {lost}: {MEND}"
    if draw.kind is Kind.NOT_FINITE and (problem or size):
        return "", f"{draw.label}: torch takes this, the derivation does not: {MEND}"
    if draw.kind is Kind.NUMBERS and size:
        return f"{draw.label}: not compared, {lost}", ""
    return None


def _another(draw: Draw, differing: Iterable[str]) -> str:
    """The words for inputs that torch takes as the derivation does not."""
    return f"{draw.label}: torch takes this, but the {', '.join(differing)} is another one: {MEND}"


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
