"""The words for a tensor that differs: its causes, and the referee's opinion at the worst element."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from compare.checking import referee
from compare.diagnosis.causes import Case, Cause
from compare.diagnosis.diagnose import Diagnosis, diagnose, ratio_facts
from compare.diagnosis.graph.search import Clues
from compare.diagnosis.noise import lower_precision
from compare.diagnosis.of_update_rules import explain_update
from compare.diagnosis.regions import region_name, single_element
from compare.judge.ladder import DRAWS
from compare.judge.sides import Arrays, OptimizerSides, Sides, TrajectorySides, parameter
from compare.judge.threads import one_thread
from compare.judge.torch_rounding import TorchRounding


@one_thread()
def explain(
    sides: Sides,
    cases: Sequence[Case],
    forward_differs: bool = False,
    agreeing: Sequence[Case] = (),
    clues: Clues | None = None,
) -> tuple[Diagnosis, list[str]]:
    """The diagnosis of one output over several cases, and the lines for the report; `agreeing` ones must stay so."""
    by_rounding = next((text for case in cases if (text := _no_number_by_rounding(sides, case))), "")
    if by_rounding:
        return Diagnosis((Cause(by_rounding, 0.0),)), [f"cause: {by_rounding}"]
    if isinstance(sides, (TrajectorySides, OptimizerSides)):
        diagnosis = _of_update(sides, cases)
        return diagnosis, diagnosis.lines()
    narrower = next((c.manual.dtype for c in cases if c.manual.dtype.itemsize < c.torch.dtype.itemsize), None)
    if narrower is not None:
        diagnosis = Diagnosis((Cause(f"the result is {narrower}, where torch's is {cases[0].torch.dtype}", 0.0),))
        return diagnosis, diagnosis.lines()
    if any(case.manual.size == 0 < case.torch.size for case in cases):
        diagnosis = Diagnosis((Cause(f"the {cases[0].output} is missing", 0.0),))
        return diagnosis, diagnosis.lines()
    diagnosis = diagnose(sides, cases, agreeing, clues)
    lines = diagnosis.lines()
    worst = next((c for c in cases if c.differs()), None)
    if worst is not None:
        opinion = second_opinion(sides, worst)
        if opinion is not None:
            lines.append(str(opinion))
            if forward_differs and opinion.side() == "it agrees with manual":
                lines.append("the forward passes already differ: this gradient is right, for another function")
        elif forward_differs and "gradient" in worst.output:
            lines.append("the forward passes already differ: this gradient may be right for another function")
    return diagnosis, lines


def _no_number_by_rounding(sides: Sides, case: Case) -> str:
    """The words for torch's ∞ or NaN beside a number, where rounding alone makes it; nothing where it does not."""
    if case.manual.shape != case.torch.shape or case.torch.dtype != np.float64:
        return ""
    lost = np.flatnonzero(np.isfinite(case.manual) & ~np.isfinite(case.torch))
    if not lost.size:
        return ""
    seen = TorchRounding(sides, case.inputs)
    seen.draw(DRAWS)
    if case.output not in seen.finite:
        return ""
    numbers = int(seen.finite[case.output].flat[lost[0]])
    if not numbers:
        return ""
    value = float(case.torch.flat[lost[0]])
    return (
        f"torch's own formula gives {value} here by rounding alone: of {DRAWS} runs with every operation rounded up "
        f"or down at random, {numbers} give a number"
    )


def _of_update(sides: TrajectorySides | OptimizerSides, cases: Sequence[Case]) -> Diagnosis:
    """The diagnosis of an update rule's output."""
    cases = [case for case in cases if case.differs()]
    found = explain_update(sides, cases)
    if found or not cases:
        return Diagnosis(found)
    single = single_element(list(cases))
    if single is not None:
        return Diagnosis((Cause(single[0], 0.0),), pattern=single[1])
    lower = lower_precision(sides, cases)
    if lower:
        return Diagnosis((Cause(lower, 0.0),))
    return Diagnosis((), pattern=region_name(cases[0]), facts=(ratio_facts(cases[0]),))


def second_opinion(sides: Sides, case: Case) -> referee.Opinion | None:
    """The referee's opinion at the worst element; None where the output is no gradient of a forward pass."""
    if case.manual.shape != case.torch.shape:
        return None
    wrt, output = differentiated(case.output, case.inputs)
    if wrt is None:
        return None
    k = np.unravel_index(int(_gap(case).argmax()), case.torch.shape)
    index = tuple(int(i) for i in k)
    try:
        return referee.opinion(
            sides, case.inputs, wrt, output, index,
            float(case.manual[index]), float(case.torch[index]), float(case.allowed[index]),
        )  # fmt: skip
    except Exception:
        return None


def differentiated(output: str, inputs: Arrays) -> tuple[str | None, str]:
    """Which input a gradient is with respect to, and of which output."""
    if output == "input gradient":
        return "x", "output"
    if output.startswith("gradient of "):
        return parameter(output.removeprefix("gradient of ")), "output"
    if output == "loss gradient":
        return "output", "loss"
    return None, ""


def _gap(case: Case) -> np.ndarray:
    with np.errstate(all="ignore"):
        ratio = np.abs(case.manual - case.torch) / case.allowed
    return np.where(case.manual == case.torch, 0, np.where(np.isnan(ratio), np.inf, ratio))
