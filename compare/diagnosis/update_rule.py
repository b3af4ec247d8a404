"""What went wrong with an update rule: which line, setting or gradient of the reference's rule is another one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from handgrad.compare.diagnosis.cause import Cause, Diagnosis
from handgrad.compare.diagnosis.noise import lower_precision
from handgrad.compare.diagnosis.regions import ratio_facts, region_name, single_element
from handgrad.compare.diagnosis.rules.search import wrong_lines
from handgrad.compare.judge.case import Case, Output, differing
from handgrad.compare.judge.names import GRADS, LEARNING_RATE, THETA, steps_of, theta_after
from handgrad.compare.judge.sides import OptimizerSides
from handgrad.compare.judge.trajectories import TrajectorySides


def diagnose_update(sides: TrajectorySides | OptimizerSides, cases: Sequence[Case]) -> Diagnosis:
    """Name the causes that explain an output of an update rule in every case.

    They must also give every other output of the same trajectory, those that agree included, where these are at hand.
    """
    cases = [case for case in cases if case.differs()]
    if not cases:
        return Diagnosis()
    cases = [c for c in cases if c.inputs[LEARNING_RATE] == cases[0].inputs[LEARNING_RATE]]  # as a recipe has one
    if isinstance(sides, TrajectorySides) and sides.layout is not None:
        return _over_tensors(sides, cases)
    if found := _wrong_lines(sides, [_as_trajectory(c) for c in cases if c.manual.shape == c.torch.shape]):
        return Diagnosis(found)
    single = single_element(list(cases))
    beside = [out for case in cases for out in case.beside.values() if out.manual.shape == out.torch.shape]
    one = all(np.count_nonzero(out.where()) <= 1 for out in beside)
    if single is not None and one:
        return Diagnosis((single,), single.where)
    if (lower := lower_precision(sides, list(cases))) is not None:
        return Diagnosis((lower,))
    return Diagnosis((), region_name(cases[0]), (ratio_facts(cases[0]),))


def _over_tensors(sides: TrajectorySides, cases: Sequence[Case]) -> Diagnosis:
    """A rule over tensors by name is explained as one over their numbers in a row, where torch's own is that, too."""
    flat_sides = replace(sides, layout=None)
    flat = [made for case in cases if (made := _in_a_row(sides, flat_sides, case)) is not None]
    if len(flat) == len(cases) and (found := _wrong_lines(flat_sides, flat)):
        return Diagnosis(found)
    return Diagnosis((), region_name(cases[0]), (ratio_facts(cases[0]),))


def _in_a_row(sides: TrajectorySides, flat_sides: TrajectorySides, case: Case) -> Case | None:
    """The case with all tensors of a step as one; None where torch does something else over one vector."""
    assert sides.layout is not None
    beside = {}
    for step in range(1, len(case.inputs[GRADS]) + 1):
        if any(theta_after(step, name) not in case.beside for name in sides.layout.shapes):
            continue  # not one of those that are compared
        parts = [case.beside[theta_after(step, name)] for name in sides.layout.shapes]
        if any(part.manual.shape != part.torch.shape for part in parts):
            return None
        rows = (np.concatenate([np.ravel(array) for array in arrays]) for arrays in zip(*parts, strict=True))
        beside[theta_after(step)] = Output(*rows)
    results = flat_sides.torch(case.inputs)
    if any(differing(out.torch, results[name], out.allowed).any() for name, out in beside.items()):
        return None
    output = theta_after(steps_of(case.output) or 1)
    here = beside[output]
    return replace(
        case, output=output, manual=here.manual, torch=here.torch, allowed=here.allowed, results=results, beside=beside
    )


def _wrong_lines(sides: TrajectorySides | OptimizerSides, cases: list[Case]) -> tuple[Cause, ...]:
    """One line of the rule that explains the cases, or two."""
    if not cases or (single_element(cases) is not None and len(cases[0].beside) < 2):
        return ()
    return wrong_lines(sides, cases, 1) or wrong_lines(sides, cases, 2)


def _as_trajectory(case: Case) -> Case:
    """A single update as a trajectory of one step, the gradient of the step before beside it."""
    if "grads" in case.inputs:
        return case
    inputs = {**case.inputs, "grads": case.inputs["grad"][np.newaxis], "previous": case.previous}
    output = theta_after(1) if case.output == THETA else case.output
    beside = {output: Output(case.manual, case.torch, case.allowed)}
    return replace(case, output=output, inputs=inputs, beside=beside)
