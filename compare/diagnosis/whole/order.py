"""Which hypotheses about a whole result are asked, before the reference is taken apart and after."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from handgrad.compare.diagnosis.whole.additions import of_additions
from handgrad.compare.diagnosis.whole.hypothesis import Hypothesis
from handgrad.compare.diagnosis.whole.of_complex import of_complex
from handgrad.compare.diagnosis.whole.of_losses import of_losses
from handgrad.compare.diagnosis.whole.other_inputs import (
    as_in_the_forward_pass,
    of_another_output,
    of_other_inputs,
    of_reductions,
    of_some_examples,
    of_the_same_shape,
)
from handgrad.compare.diagnosis.whole.own_numbers import in_other_places, of_its_values, own_numbers
from handgrad.compare.judge.case import Case
from handgrad.compare.judge.sides import Sides

Source = Callable[[Sides, Case], Iterator[Hypothesis]]

PLAIN: tuple[Source, ...] = (own_numbers,)  # all that a part of a tensor can tell
FIRST: tuple[Source, ...] = (*PLAIN, in_other_places, as_in_the_forward_pass, of_losses, of_complex)
THEN: tuple[Source, ...] = (
    of_other_inputs, of_the_same_shape, of_another_output, of_some_examples, of_reductions, of_additions, of_its_values,
)  # fmt: skip


def hypotheses(sources: tuple[Source, ...], sides: Sides, case: Case) -> Iterator[Hypothesis]:
    """Those of all the sources."""
    for source in sources:
        yield from source(sides, case)
