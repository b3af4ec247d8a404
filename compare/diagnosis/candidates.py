"""Every known way to get an output wrong, gathered from the rooms that know about one kind of output each.

The arrays are made from torch's own quantities: its gradients at changed inputs (the activation in place of z, an
upstream of ones, one example only), the layer's inputs, and torch's own result with its numbers in other places.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from handgrad.compare.diagnosis.causes import Candidate
from handgrad.compare.diagnosis.of_activations import elementwise, of_activation
from handgrad.compare.diagnosis.of_layers import of_any_gradient, of_forward, of_parameter_gradient
from handgrad.compare.diagnosis.of_losses import of_loss, of_loss_gradient
from handgrad.compare.diagnosis.of_mixing import missing_span, of_mixing
from handgrad.compare.diagnosis.of_modules import of_module
from handgrad.compare.diagnosis.of_sums import of_sum
from handgrad.compare.diagnosis.rearrangements import rearranged
from handgrad.compare.judge.case import Case
from handgrad.compare.judge.sides import Sides

Names = tuple[str, ...]


def candidates(sides: Sides, case: Case, wanted: Callable[[Names], bool]) -> Iterator[Candidate]:
    """Torch's own result first, then each named change of it, then each with its numbers in other places.

    Only those are made whose names are wanted.
    """
    yield Candidate(0, (), case.torch)
    what = "gradient" if "gradient" in case.output else "result"
    yield Candidate(5, (f"the {what} is zero",), np.zeros_like(case.manual))
    yield Candidate(6, (f"the {what} is 1 throughout",), np.ones_like(case.manual))
    if case.previous is not None and case.previous.shape == case.torch.shape:
        words = "torch's gradient still holds that of the previous step (zero_grad() is missing)"
        yield Candidate(6, (words,), case.torch - case.previous)  # before any fault of the manual side
    with np.errstate(all="ignore"):
        made = [c for named in _of_kind(sides, case) if wanted(named.names) and (c := named.made()) is not None]
    yield from made
    yield from rearranged(Candidate(0, (), case.torch), case.manual)
    for candidate in made:
        if any("reversed along" in name or "permuted" in name for name in candidate.names):
            continue  # numbers moved before and after are more often a symmetry of the function than a mistake
        yield from rearranged(candidate, case.manual)


def fits(sides: Sides, case: Case, wanted: Callable[[Names], bool]) -> Iterator[Candidate]:
    """What is fitted slice by slice, and tells where a term is wrong but not how: the last resort."""
    if case.output == "input gradient" and not elementwise(sides, case):
        yield from (c for named in missing_span(case) if wanted(named.names) and (c := named.made()) is not None)


def _of_kind(sides: Sides, case: Case) -> Iterator[Candidate]:
    if "x" in case.inputs and case.output == "output":
        yield from of_forward(sides, case)
    elif "x" in case.inputs:
        yield from of_any_gradient(sides, case)
        if case.output != "input gradient":
            yield from of_parameter_gradient(sides, case)
        elif elementwise(sides, case):
            yield from of_activation(sides, case)
        else:
            yield from of_mixing(sides, case)
    elif case.output == "loss gradient":
        yield from of_loss_gradient(case)
    elif case.output == "loss":
        yield from of_loss(case)
    yield from of_module(sides, case)
    yield from of_sum(sides, case)
    if case.previous is not None and case.previous.shape == case.torch.shape:
        yield Candidate(
            10, ("the gradient of the previous step is still in it (never zeroed)",), case.torch + case.previous
        )
        yield Candidate(10, ("it is the gradient of one step ago",), case.previous)
