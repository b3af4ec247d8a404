"""One derivation against its torch counterpart, in one line: is it right, and if not, what is wrong with it?"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch

from handgrad.compare.checking import schedules as rate
from handgrad.compare.checking.findings import CheckFailed, Report
from handgrad.compare.checking.gather import run
from handgrad.compare.checking.inputs import layer_inputs, loss_inputs, require_steps, rule_inputs
from handgrad.compare.checking.listeners import tell
from handgrad.compare.checking.references import describe, describe_reference, require_reference
from handgrad.compare.checking.reproducer import reproduce
from handgrad.compare.foundation.errors import UsageError
from handgrad.compare.foundation.threads import torch_threads
from handgrad.compare.foundation.validation import DTYPES, choose, require_seed


@torch_threads()
def check(
    ours: Any,
    reference: Any,
    *,
    x: Any = None,
    output: Any = None,
    target: Any = None,
    theta: Any = None,
    params: Mapping[str, Any] | None = None,
    dy: Any = None,
    learning_rate: float = 0.01,
    steps: int = 10,
    dtype: str = "float64",
    seed: int = 0,
    name: str = "",
    explain: str = "full",
) -> Report:
    """Check a hand-derived layer, loss or update rule against torch; return the report, or raise it.

    Give `x` for a layer, `output` and `target` for a loss, `theta` for an update rule, and none of them for a
    schedule. Each is a shape, from which several inputs are drawn, an array, or a function of a NumPy generator.
    A target may also be "class": integers below the number of outputs.

    ours    a layer (manual/layer.py), a loss or an optimizer (by their methods; no subclass is needed), or, for a
            layer, a pair (forward, backward) of functions: see `handgrad.compare.judge.sides.FunctionSides`
    reference    an nn.Module, which is given the manual side's parameters by name; or a function of tensors,
            reference(x, **params) or reference(output, target); for an update rule, an optimizer class, which is given
            the rule's hyperparameters by name, or a function (parameters, lr) that makes an optimizer; for a schedule
            a function of an optimizer that makes the scheduler
    params  the parameters' shapes or values, for a pair of functions; for a layer its `init` says
    dy      the upstream gradient; random unless given
    steps   of an update rule, each with a random gradient
    explain how far the cause of a difference is looked for: "full", "quick" (two seconds of CPU), or "off"

    Raises CheckFailed, an AssertionError whose text is the report, where the two sides differ, and UsageError
    where there is nothing to compare: no inputs, or a reference that does not fit.
    """
    with torch.inference_mode(False), torch.enable_grad():  # whatever the caller has turned off
        report = _report(
            ours, reference, x, output, target, theta, params, dy, learning_rate, steps, dtype, seed, name, explain
        )  # fmt: skip
    if tell(report) and not report.agrees:
        raise CheckFailed(report)
    return report


def _report(
    ours: Any, reference: Any, x: Any, output: Any, target: Any, theta: Any, params: Any, dy: Any,
    learning_rate: float, steps: int, dtype: str, seed: int, name: str, explain: str,
) -> Report:  # fmt: skip
    """What comes of the check."""
    if x is None and output is None and theta is None and callable(ours) and not hasattr(ours, "forward"):
        require_steps(steps)
        require_reference("a schedule", ours, reference)
        return rate.check_schedule(ours, reference, steps, name or f"{describe(ours)} beside torch")
    require_seed(seed)
    what = [k for k, v in {"x": x, "output": output, "theta": theta}.items() if v is not None]
    if len(what) != 1:
        raise UsageError(
            "check takes exactly one of x= (a layer), output= (a loss) and theta= (an update rule), "
            f"got {', '.join(what) or 'none'}"
        )
    for extra, value, place in (("target", target, "output"), ("params", params, "x"), ("dy", dy, "x")):
        if value is not None and what != [place]:
            raise UsageError(f"{extra}= goes with {place}=, got it beside {what[0]}=: leave it out, or give {place}=")
    if params is not None and not isinstance(params, Mapping):
        raise UsageError(
            f"params must be a dictionary of shapes or arrays by name, got {type(params).__name__}: "
            "write {'gain': (8,)}"
        )
    require_reference({"x": "a layer", "output": "a loss", "theta": "an update rule"}[what[0]], ours, reference)
    real = choose("dtype", dtype, DTYPES)
    title = name or f"{describe(ours)} beside {describe_reference(ours, reference)}"
    try:
        if x is not None:
            sides, drawn = layer_inputs(ours, reference, x, params, dy, real, seed)
        elif output is not None:
            sides, drawn = loss_inputs(ours, reference, output, target, real, seed)
        else:
            sides, drawn = rule_inputs(ours, reference, theta, learning_rate, steps, real, seed)
    except (TypeError, ValueError) as problem:
        raise problem if isinstance(problem, UsageError) else UsageError(str(problem)) from problem
    report = run(title, sides, drawn, explain=explain)
    failing = next((f for f in report.findings if not f.agrees), None)
    if failing is not None:
        arrays = next(draw.arrays for draw in drawn if draw.label == failing.draw)
        report = dataclasses.replace(
            report, reproducer=reproduce(sides, ours, reference, arrays, failing.tensor, explain=explain)
        )
    return report
