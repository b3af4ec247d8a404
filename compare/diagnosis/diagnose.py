"""What went wrong with one output, in words.

A cause is a statement about numbers: "if torch's derivation had this fault, it would give exactly what the manual
side gives". It is named only where applying it leaves nothing beyond the rounding bound, on every case at hand, so
nothing is ever guessed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from handgrad.compare.diagnosis.cause import Diagnosis
from handgrad.compare.diagnosis.graph.search import Clues
from handgrad.compare.diagnosis.sources import Sources
from handgrad.compare.judge.case import Case
from handgrad.compare.judge.sides import Sides


def diagnose(
    sides: Sides, cases: Iterable[Case], agreeing: Sequence[Case] = (), clues: Clues | None = None
) -> Diagnosis:
    """Name the causes that explain the difference of one output on every one of the cases.

    All cases are of the same output; each holds the manual and the torch result and the bound of that case. An edit of
    the reference's own operations must also leave the agreeing ones as they are. The clues are what was found for other
    outputs of the same check.
    """
    cases = [case for case in cases if case.differs() or case.manual.dtype != case.torch.dtype]
    if not cases:
        return Diagnosis()
    ask = Sources(sides, cases, agreeing, clues)
    for source in (
        ask.observed,  # kept between calls, written in place, of a wider type: no edit of the reference
        ask.cannot_be_told,  # numbers that are none, or that are known too loosely
        ask.one_edit,  # of the result as a whole, or of one operation of the reference: the least complex
        ask.single_element,  # that is off in every case
        ask.lower_precision,
        ask.wrong_values,  # of a wrong forward pass, in the right derivative
        ask.two_edits,  # of the reference's operations
    ):
        found = source()
        if found is not None:
            return found
    return ask.nothing()
