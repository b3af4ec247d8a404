"""Both sides on the same inputs: every output judged, with the rule that gave its tolerance."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from handgrad.compare import rounding
from handgrad.compare.checking.dtypes import cast, of_fewer_digits
from handgrad.compare.foundation.debug import swallowed
from handgrad.compare.foundation.errors import UsageError
from handgrad.compare.foundation.patience import Endless, as_long_as, counted
from handgrad.compare.foundation.validation import require_dimensions
from handgrad.compare.judge import two_precision
from handgrad.compare.judge.agreement import BOUND, EXACT, Verdict, judge, mismatched
from handgrad.compare.judge.arbiter import Arbiter
from handgrad.compare.judge.carried import Carried
from handgrad.compare.judge.case import Case, Output
from handgrad.compare.judge.casts import casts_inside
from handgrad.compare.judge.names import DERIVATION, is_theta, is_upstream
from handgrad.compare.judge.sides import Arrays, Sides, is_float, own_copies
from handgrad.compare.judge.stateful import Stateful
from handgrad.compare.judge.trajectories import TrajectorySides
from handgrad.compare.judge.translated import on_bounds
from handgrad.compare.rounding.bounded import Bounded, NoRoundingRule, Precision
from handgrad.compare.rounding.rules import plus

# Where an operation without a rounding rule is noticed, which is not where it is used.
RULES, NUMPY = str(Path(rounding.__file__).parent), str(Path(np.__file__).parent)
PROJECT = str(Path(rounding.__file__).parent.parent)


class Fault(Enum):
    """Why there are no two arrays to compare."""

    RAISES = auto()  # the derivation raises an exception
    NO_ARRAY = auto()  # it returns something else than an array of floating-point numbers
    MISSING = auto()  # it does not return what torch does
    UNKNOWN = auto()  # it returns what torch does not


@dataclass(frozen=True)
class Evaluation:
    """What became of one output on one draw."""

    verdict: Verdict
    case: Case | None  # None where there is a fault
    reason: str = ""  # why the two-precision tolerance had to be used
    fault: Fault | None = None
    note: str = ""  # of another dtype than torch's, or of a torch that is less exact


def _faulty(fault: Fault, problem: str, size: int) -> Evaluation:
    return Evaluation(mismatched(problem, size), None, fault=fault)


def evaluate(sides: Sides, inputs: Arrays, exact: bool = False) -> dict[str, Evaluation]:
    """Judge every output of the two sides. `exact` asks for equality bit for bit where neither side rounds.

    Raises UsageError where the reference itself does not work. A manual side that raises, changes its arguments, or
    returns something else than arrays is an answer, not an accident: it is reported as a verdict.
    """
    dtype = next(v.dtype for v in inputs.values() if is_float(v))
    precision = Precision.of(dtype)
    theirs = run_reference(sides, inputs)
    locked = {k: read_only(v) for k, v in inputs.items()}
    try:
        # a Bounded here was kept from an earlier call, by a derivation that is not pure
        plain = {k: _kept(v) for k, v in sides.manual(locked).items()}
    except UsageError:
        raise
    except Exception as problem:
        swallowed(problem, "the derivation")
        return {DERIVATION: _faulty(Fault.RAISES, _what_it_raised(problem), 0)}
    plain = {k: v for k, v in plain.items() if k in theirs or not _is_state(sides, k)}  # a rule's own need be no array
    odd = {name: text for name, value in plain.items() if (text := _no_floats(name, value, theirs.get(name)))}
    if odd:
        sizes = {name: np.size(theirs.get(name, ())) for name in odd}
        return {name: _faulty(Fault.NO_ARRAY, text, sizes[name]) for name, text in odd.items()}
    arbiter = Arbiter(sides, inputs)
    ours, reason = _on_bounds(sides, inputs, precision, plain)
    if reason and any(map(is_upstream, inputs)):  # the forward pass may have its bounds all the same
        ours, _ = _on_bounds(sides, {k: v for k, v in inputs.items() if not is_upstream(k)}, precision, {})
    tolerances: Arrays = {}
    if reason:
        tolerances = _two_precision_tolerance(sides, inputs, reason)
    found = {}
    beside: dict[str, Output] = {}
    rounds_nowhere = exact and _rounds_nowhere(sides, inputs, plain, theirs)
    for name, torch in theirs.items():
        if name not in plain and _is_state(sides, name):
            continue
        if name not in plain:
            found[name] = _faulty(Fault.MISSING, f"the manual side returns no {name}", torch.size)
            continue
        (value, lost, note, narrow), result = cast(plain[name], torch), ours.get(name)
        why = "" if name in ours else reason
        bound = result.error if isinstance(result, Bounded) else None
        bound = plus(bound, lost)
        if rounds_nowhere:
            verdict, error = judge(value, torch)._replace(rule=EXACT), None
        elif why:
            also = partial(arbiter.widened, name, followed=False)
            tolerance = plus(tolerances.get(name, 0.0), lost)
            verdict, error = two_precision.unfollowed(value, torch, tolerance, precision, also)
        else:
            verdict, error = two_precision.arbitrated(
                Bounded(value, bound, precision), torch, partial(arbiter.widened, name)
            )
            # a bound that is loose for reasons of the manual code's own: then the next way may tell more
            # of zeros, which no way has more digits of, it is not asked
            loose = verdict.rule == BOUND and verdict.looseness > np.sqrt(precision.unit) and np.any(torch)
            if verdict.agrees and loose:
                also = partial(arbiter.widened, name, followed=False)
                tolerance = arbiter.tolerances.get(name)
                if tolerance is not None:
                    second = two_precision.unfollowed(value, torch, plus(tolerance, lost), precision, also)
                    if not second[0].agrees and _keeps_numbers(sides):
                        more = two_precision.beside_wider(sides, inputs, name, tolerance)
                        second = two_precision.unfollowed(value, torch, plus(more, lost), precision, also)
                    if second[0].looseness < verdict.looseness:
                        why = f"the rounding bound is {verdict.looseness:.0e} of the largest number"
                        verdict, error = second
        if narrow is not None and not verdict.agrees and not verdict.problem and not rounds_nowhere:
            ratio = narrow.unit / precision.unit
            verdict, error, alone = of_fewer_digits(
                narrow, value, torch, verdict, error, np.sqrt(ratio) if why else ratio
            )
            value, note = (value.astype(narrow.dtype), "") if alone else (value, note)
        allowed = np.zeros(value.shape) if rounds_nowhere else _allowed(value, error, precision)
        beside[name] = Output(value, torch, allowed)
        case = Case(name, inputs, value, torch, allowed, theirs, beside=beside)
        found[name] = Evaluation(verdict, case, why, note=note)
    for name in sorted(name for name in plain.keys() - theirs.keys() if not _is_state(sides, name)):
        found[name] = _faulty(Fault.UNKNOWN, f"the manual side returns a {name} that torch does not have", 0)
    return found


def _keeps_numbers(sides: Sides) -> bool:
    """Whether the derivation is an object, whose own numbers are of float64 beside inputs of float32, too."""
    return isinstance(sides, Carried) or isinstance(getattr(sides, "derivation", None), Stateful)


def _no_floats(name: str, value: Any, torch: Any) -> str:
    """What a result is where an array of real numbers belongs; nothing where it is one."""
    if not isinstance(value, (np.ndarray, np.generic, bool, int, float)):
        return f"the manual side returns {type(value).__name__} for the {name} where an array belongs"
    if is_float(torch) and np.asarray(value).dtype.kind not in "biuf":
        return f"the manual side returns {np.asarray(value).dtype} for the {name} where floating-point numbers belong"
    return ""


def _two_precision_tolerance(sides: Sides, inputs: Arrays, reason: str) -> Arrays:
    """The two-precision tolerances. UsageError where the code has no rounding bound and no float32 either."""
    try:
        return two_precision.tolerance(sides, inputs)
    except Exception as problem:
        raise UsageError(
            f"no tolerance can be found: the manual code has no rounding bound ({reason}), and one side does not run "
            f"in another precision ({type(problem).__name__}: {(str(problem).splitlines() or ['no words'])[0]}): "
            "let it take the dtype of its input"
        ) from problem


def _is_state(sides: Sides, name: str) -> bool:
    """Whether an output is an optimizer's state, which a rule may keep in a form of its own."""
    return isinstance(sides, TrajectorySides) and not is_theta(name)


def run_reference(sides: Sides, inputs: Arrays) -> Arrays:
    """Torch's outputs. UsageError where the reference raises or is not deterministic."""
    try:
        first, second = sides.torch(inputs), sides.torch(inputs)
    except UsageError:
        raise
    except Exception as problem:
        raise UsageError(
            f"the torch reference must accept the manual side's inputs and parameters, but it raised "
            f"{type(problem).__name__}: {str(problem).splitlines()[0] if str(problem) else '(no words)'}: "
            "change the reference, or what it is given"
        ) from problem
    for name, y in first.items():
        require_dimensions(name, np.ndim(y))
        if not np.array_equal(y, second[name], equal_nan=True):
            raise UsageError(
                f"the torch reference must be deterministic, but its {name} differs between two calls with the same "
                "inputs: call .eval() on it, or seed it"
            )
    return first


def _on_bounds(sides: Sides, inputs: Arrays, precision: Precision, plain: Arrays) -> tuple[Arrays, str]:
    """The manual outputs with their bounds, or the reason why there are none."""
    try:
        return on_bounds(sides, inputs, precision, plain), ""
    except Exception as problem:
        kind = ""
        if not isinstance(problem, NoRoundingRule):
            kind = f"{type(problem).__name__}: "
            swallowed(problem, "the rounding bound")
        return {}, f"{kind}{problem}{_where(problem)}"


def _where(problem: Exception) -> str:
    """The line of a person's own code at which it came about, as it is written there; nothing where it is not known."""
    frames = [f for f in traceback.extract_tb(problem.__traceback__) if not f.filename.startswith((RULES, NUMPY))]
    if not frames or frames[-1].filename.startswith(PROJECT):
        return ""
    return f", at {Path(frames[-1].filename).name}:{frames[-1].lineno}" + (
        f": {frames[-1].line}" * bool(frames[-1].line)
    )


def _allowed(value: np.ndarray, error: np.ndarray | None, precision: Precision) -> np.ndarray:
    return np.broadcast_to((0.0 if error is None else np.asarray(error)) + precision.tiny, value.shape)


def _rounds_nowhere(sides: Sides, inputs: Arrays, plain: Arrays, theirs: Arrays) -> bool:
    """Whether the other precision gives both sides' results exactly, so that nothing can have been rounded."""
    narrow = any(is_float(v) and v.dtype == np.float32 for v in inputs.values())
    other = np.float64 if narrow else np.float32
    again = {k: v.astype(other) if is_float(v) else v for k, v in inputs.items()}
    if any(is_float(v) and not np.array_equal(v, again[k]) for k, v in inputs.items()):
        return False
    try:
        if casts_inside(sides, inputs):
            return False  # which rounds the same in either precision
        with np.errstate(all="ignore"):
            for side, here in ((sides.manual, plain), (sides.torch, theirs)):
                _, lines = counted(partial(side, own_copies(inputs)))
                if not _equal(counted(partial(side, again), as_long_as(lines))[0], here):
                    return False
        return True
    except (Exception, Endless) as problem:
        swallowed(problem, "the test whether an exact draw rounds")
        return False


def _equal(low: Arrays, high: Arrays) -> bool:
    return low.keys() == high.keys() and all(np.array_equal(low[k], high[k]) for k in high)


def _kept(value: Any) -> Any:
    """A result as it is now: a later call may write into the same memory. Of a Bounded its value."""
    value = value.value if isinstance(value, Bounded) else value
    return value.copy() if isinstance(value, np.ndarray) else value


def _what_it_raised(problem: Exception) -> str:
    text = str(problem).splitlines()[0] if str(problem) else ""
    theirs = [f for f in traceback.extract_tb(problem.__traceback__) if not f.filename.startswith((PROJECT, NUMPY))]
    place = f" ({Path(theirs[-1].filename).name}, line {theirs[-1].lineno})" if theirs else ""
    return f"the derivation raises {type(problem).__name__}: {text}{place}"


def read_only(x: Any) -> Any:
    """A copy of an array that cannot be written into; anything else as it is."""
    if not isinstance(x, np.ndarray):
        return x
    copy = x.copy(order="K")  # as it lies in memory
    copy.flags.writeable = False
    return copy
