"""One derivation against its torch counterpart, in one line: is it right, and if not, what is wrong with it?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import nn

from handgrad.compare.checking.accept import Accepted, accepted
from handgrad.compare.checking.causes import EFFORTS, FULL
from handgrad.compare.checking.copies import on_copies
from handgrad.compare.checking.findings import CheckFailed, Report
from handgrad.compare.checking.gather import run, settled
from handgrad.compare.checking.layers import layer_inputs
from handgrad.compare.checking.listeners import tell
from handgrad.compare.checking.losses import loss_inputs
from handgrad.compare.checking.references import describe, describe_reference, require_reference
from handgrad.compare.checking.reproducer import reproduce
from handgrad.compare.checking.rules import require_steps, rule_inputs
from handgrad.compare.checking.schedules import check_schedule
from handgrad.compare.foundation.as_it_was import AsItWas
from handgrad.compare.foundation.errors import UsageError
from handgrad.compare.foundation.threads import torch_threads
from handgrad.compare.foundation.validation import COMPLEX, DTYPES, choose, require_learning_rate, require_seed

LEARNING_RATE = 0.01  # of an update rule


def check(
    ours: Any,
    reference: Any,
    *,
    x: Any = None,
    inputs: Mapping[str, Any] | None = None,
    params: Mapping[str, Any] | None = None,
    output: Any = None,
    target: Any = None,
    theta: Any = None,
    dy: Any = None,
    learning_rate: float | None = None,
    steps: int | None = None,
    metrics: Sequence[float] | None = None,
    accept: str | Iterable[str] = (),
    dtype: str = "float64",
    seed: int = 0,
    name: str = "",
    explain: str = FULL,
    raises: bool = True,
    keep: bool = False,
) -> Report:
    """Check a hand-derived layer, function, loss or update rule against torch; return the report, or raise it.

    Give `x`, or `inputs` by name, for a layer or a function; `output` and `target` for a loss; `theta` for an update
    rule; none of them for a schedule. Each is a shape, from which several inputs are drawn, an array or a tensor, or a
    function of a NumPy generator. An input may also be `indices(below, shape)`, `mask(shape)` or `constant(…)`, by
    which nothing is differentiated, as by any array of integers or booleans. The sizes in a shape may be named,
    ("n", 8): named sizes differ from each other, and another draw changes them all.

    ours    a layer (manual/layer.py), a loss or an optimizer, by their methods; no subclass is needed. A pair (forward,
            backward) of functions: see `handgrad.compare.judge.derivations.Functions`. `stateful(…)` for an object
            that keeps what it needs. One function of `inputs` that returns (J, gradients). For a loss also a pair
            (loss, gradient), or one function that returns (J, gradient); for a rule also an optimizer of torch
    reference    an nn.Module, which is given the manual side's parameters by name; or a function of tensors,
            reference(*inputs, **params) or reference(output, target), which returns what `ours` does: a tensor, or
            several in a tuple or a dictionary; for an update rule, an optimizer class, which is given the rule's
            hyperparameters by name, or a function (parameters, lr) that makes an optimizer; for a schedule a function
            of an optimizer that makes the scheduler
    params  the parameters' shapes or values, for functions, or a module's own (its state_dict(), say); for a layer its
            `init` says
    target  of a loss; "class" asks for integers below the number of outputs
    theta   of a rule: the size of one vector, or the shapes of tensors by name or in a list, as the rule takes them
    dy      the upstream gradient; random unless given; for several outputs a dictionary or a tuple
    learning_rate    of an update rule, 0.01, and others besides; of a schedule the optimizer's own, from which torch's
            scheduler starts
    steps   of an update rule, 10, and for one trajectory beyond all that either side compares its step count with; of a
            schedule 100, or beyond all that either side counts to, or as many as torch's scheduler takes
    metrics    what a schedule (step, metrics so far) and torch's scheduler are fed with, where they want it
    accept  differences that are a note and no fault: "subgradient at 0", "subgradient at ties", "factor 1/2" …;
            "undecided" makes a note of what was not decided
    dtype   float64, float32, complex128 or complex64
    explain    how far the cause of a difference is looked for: "full", "quick" (half of its time), or "off"
    raises  whether a report that does not agree is raised, or returned too: bool(report) is the verdict
    keep    whether the findings keep the arrays of their worst draw, for report.plot()

    Raises CheckFailed, an AssertionError whose text is the report, where the two sides differ, or where it is not
    decided: nothing differs, but something was not compared (report.outcome tells the two apart). UsageError where
    there is nothing to compare: no inputs, or a reference that does not fit.
    """
    before = AsItWas.now()
    try:
        with torch_threads(), torch.inference_mode(False), torch.enable_grad():  # whatever the caller has turned off
            asked = _Asked(x, inputs, params, output, target, theta, dy, learning_rate, steps, metrics, dtype, seed)
            report = _report(ours, reference, asked, _Options(accepted(accept), explain, keep), name)
    finally:
        before.put_back()
    if tell(report) and raises and not report.agrees:
        raise CheckFailed(report)
    return report


class _Asked(NamedTuple):
    """The arguments of a check that say what it is of."""

    x: Any
    inputs: Mapping[str, Any] | None
    params: Mapping[str, Any] | None
    output: Any
    target: Any
    theta: Any
    dy: Any
    learning_rate: float | None
    steps: int | None
    metrics: Sequence[float] | None
    dtype: str
    seed: int


KINDS = {"x": "a layer", "inputs": "a function", "output": "a loss", "theta": "an update rule"}
# Which arguments go with which kind.
BELONGS = {
    "target": ("output",), "params": ("x", "inputs"), "dy": ("x", "inputs"), "metrics": (),
    "steps": ("theta",), "learning_rate": ("theta",),
}  # fmt: skip


class _Options(NamedTuple):
    """The arguments of a check that say what becomes of its answer."""

    allow: Accepted
    explain: str
    keep: bool


def _report(ours: Any, reference: Any, asked: _Asked, options: _Options, name: str) -> Report:
    """What comes of the check."""
    choose("explain", options.explain, EFFORTS)
    real = choose("dtype", asked.dtype, DTYPES | COMPLEX)
    require_seed(asked.seed)
    given = [kind for kind in KINDS if getattr(asked, kind) is not None]
    if not given and callable(ours) and not hasattr(ours, "forward"):
        if asked.steps is not None:
            require_steps(asked.steps)
        if asked.learning_rate is not None:
            require_learning_rate(asked.learning_rate)
        for extra in ("target", "params", "dy"):
            if getattr(asked, extra) is not None:
                raise UsageError(f"{extra}= goes with {BELONGS[extra][0]}=, got it beside a schedule: leave it out")
        require_reference("a schedule", ours, reference)
        title = name or f"{describe(ours)} beside torch"
        found = check_schedule(ours, reference, title, asked.steps, asked.learning_rate, asked.metrics)
        return settled(found, options.allow)
    if len(given) != 1:
        raise UsageError(
            "check takes exactly one of x= or inputs= (a layer or a function), output= (a loss) and theta= (an update "
            f"rule), got {', '.join(given) or 'none'}"
        )
    (kind,) = given
    for extra, places in BELONGS.items():
        if getattr(asked, extra) is not None and kind not in places:
            where = " or ".join(f"{place}=" for place in places) or "a schedule"
            raise UsageError(f"{extra}= goes with {where}, got it beside {kind}=: leave it out, or give {where}")
    params = _mapping("params", asked.params)
    inputs = _mapping("inputs", asked.inputs)
    if inputs is not None and not inputs:
        raise UsageError('inputs must have at least one input, got none: write inputs={"x": (4, 8)}')
    require_reference(KINDS[kind], ours, reference)
    if asked.dtype in COMPLEX and kind not in ("x", "inputs"):
        raise UsageError(f"{KINDS[kind]} must be of real numbers, got dtype={asked.dtype!r}: choose float64")
    title = name or f"{describe(ours)} beside {describe_reference(ours, reference)}"
    try:
        if kind == "output":
            drawn = loss_inputs(ours, reference, asked.output, asked.target, real, asked.seed)
        elif kind == "theta":
            rate = LEARNING_RATE if asked.learning_rate is None else asked.learning_rate
            drawn = rule_inputs(ours, reference, asked.theta, rate, asked.steps, real, asked.seed)
        else:
            drawn = layer_inputs(ours, reference, asked.x, inputs, params, asked.dy, asked.dtype, asked.seed)
    except (TypeError, ValueError) as problem:
        raise problem if isinstance(problem, UsageError) else UsageError(str(problem)) from problem
    drawn = on_copies(drawn)
    report = run(title, drawn, options.allow, options.explain, options.keep)
    failing = next((f for f in report.findings if f.differs), None)
    shown = {draw.label: draw.arrays for draw in drawn.draws}  # an order of calls is no draw
    if failing is not None and failing.draw in shown:
        arrays = shown[failing.draw]
        script = reproduce(drawn.sides, ours, reference, arrays, failing.tensor, options.explain)
        report = replace(report, reproducer=script)
    return report


def _mapping(what: str, given: Any) -> Mapping[str, Any] | None:
    """A dictionary of specs, or the parameters of a module by name."""
    if isinstance(given, nn.Module):
        return dict(given.named_parameters())
    if given is not None and not isinstance(given, Mapping):
        raise UsageError(
            f"{what} must be a dictionary of shapes or arrays by name, got {type(given).__name__}: "
            "write {'gain': (8,)}"
        )
    return None if given is None else {str(name): value for name, value in given.items()}
