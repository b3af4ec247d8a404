"""What an object carries from call to call, compared over several calls with what the module of torch carries.

State starts at 0 or 1: so the object is called two and three times with other inputs, and begun from other numbers.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch

from handgrad.compare.checking.draws import Draw, Kind
from handgrad.compare.checking.evaluate import Evaluation, Fault, evaluate
from handgrad.compare.foundation.debug import swallowed
from handgrad.compare.judge import names
from handgrad.compare.judge.calls import CallSides
from handgrad.compare.judge.carried import Carried
from handgrad.compare.judge.sides import Arrays, Sides, is_float
from handgrad.compare.judge.stateful import Stateful, look_up

CARRIED = "it differs only after an earlier call: what is carried from one call to the next is kept or used otherwise"
OF_ONE_SIZE = (Kind.PLAIN, Kind.LARGE, Kind.DYADIC)
Compared = tuple[Draw, dict[str, Evaluation]]
EARLIER = 2  # calls before the last one
START = (0.5, 0.875)  # of a state that is set: a variance must be positive, and 0 and 1 are where it starts


class OverCalls(NamedTuple):
    """What came of several calls: what differs, notes, gaps, what the calls have moved, and what agrees."""

    differing: Compared | None = None
    notes: tuple[str, ...] = ()
    gaps: tuple[str, ...] = ()
    moved: frozenset[str] = frozenset()  # buffers that no longer stand at 0 or 1
    alike: tuple[Compared, ...] = ()  # the calls that agree, beside the first


def carries(sides: Sides, draws: list[Draw]) -> bool:
    """Whether several calls are to be compared with as many of torch: of an object with state, or of such a module."""
    if not isinstance(sides, CallSides) or not isinstance(sides.derivation, Stateful):
        return False
    if sides.state:
        return True
    one = draws[0].arrays
    try:
        first, later = sides.torch(one), Carried(sides, (one,)).torch(one)
    except Exception as problem:  # which the judge says
        swallowed(problem, "the second call of the reference")
        return False
    return any(not np.array_equal(y, later[name], equal_nan=True) for name, y in first.items())


def over_calls(sides: CallSides, draws: list[Draw]) -> OverCalls:
    """Both sides called again and again, and from a state that is set; what differs first."""
    if not isinstance(sides.reference, torch.nn.Module):
        states = ", ".join(sides.state)
        return OverCalls(gaps=(f"{states}: only the first call was compared, a function keeps nothing: give a module",))
    one = draws[0]
    earlier = _earlier(draws)
    if not earlier:
        return OverCalls(gaps=("every call would have the same inputs, so that one alone was compared: give a shape",))
    plans = [(f"call {n + 1}", tuple(earlier[:n]), True) for n in range(1, len(earlier) + 1)]
    asked_for = any(draw.kind is Kind.SIZES for draw in draws)
    plans += [("after another size", (d.arrays,), asked_for) for d in draws if d.kind is Kind.OTHER_BATCH][:1]
    notes, moved, alike = list[str](), frozenset[str](), list[Compared]()
    for label, before, must_run in plans:
        carried = Carried(sides, before)
        try:
            moved |= _moved(carried.buffers(one.arrays))
        except Exception as problem:  # of another size, say
            swallowed(problem, "the reference called again")
            continue
        found = evaluate(carried, one.arrays)
        wrong = [e for e in found.values() if not e.verdict.agrees]
        if not must_run and any(e.fault is Fault.RAISES for e in wrong):
            notes.append(f"{label}: not compared, {wrong[0].verdict.problem}")
        elif wrong:
            return OverCalls((one._replace(label=label), found))
        else:
            alike.append((one._replace(label=label), found))
    if not alike:
        return OverCalls(gaps=("only the first call was compared: torch takes no second one",))
    gaps, also = _from_another_state(sides, one.arrays)
    return OverCalls(None, tuple(notes), gaps, moved | also, tuple(alike))


def _earlier(draws: list[Draw]) -> list[Arrays]:
    """The inputs of earlier calls: of the first draw's shapes, with other arguments."""
    one, found = draws[0].arrays, []
    for draw in draws[1:]:
        a = draw.arrays
        alike = (
            draw.kind in OF_ONE_SIZE and a.keys() == one.keys() and all(np.shape(a[k]) == np.shape(one[k]) for k in a)
        )
        if alike and any(not np.array_equal(a[k], one[k]) for k in a if not names.is_upstream(k)):
            found.append(a)
    return found[:EARLIER]


def _moved(buffers: dict[str, Any]) -> frozenset[str]:
    return frozenset(name for name, t in buffers.items() if not bool((t == 0).all()) and not bool((t == 1).all()))


def _from_another_state(sides: CallSides, one: Arrays) -> tuple[tuple[str, ...], frozenset[str]]:
    """(gaps, the state that was compared) of a first call from other numbers, where the object lets them be set.

    An object may keep more beside what was set, which then no longer fits: so a difference decides nothing.
    """
    try:
        start = _start(sides)
        if not start:
            return (), frozenset()
        carried = Carried(sides, (), start)
        carried.torch(one)
        found = evaluate(carried, one)
    except Exception as problem:
        swallowed(problem, "a call from another state")
        return (), frozenset()
    wrong = {name: e for name, e in found.items() if not e.verdict.agrees}
    if any(e.fault is Fault.RAISES for e in wrong.values()):
        return (), frozenset()
    if wrong:
        return (f"with other numbers set as {', '.join(start)} the {', '.join(wrong)} differ",), frozenset()
    return (), frozenset(start)


def _start(sides: CallSides) -> Arrays:
    """Positive numbers, all different, for every state that both sides keep as an array of one shape."""
    made, module = sides.derivation, sides.reference
    assert isinstance(made, Stateful)
    assert isinstance(module, torch.nn.Module)
    thing, buffers, found = made.factory(), dict(module.named_buffers()), Arrays()
    for name in sides.state:
        ours, theirs = look_up(thing, name), buffers.get(name)
        if theirs is not None and theirs.is_floating_point() and is_float(ours) and ours.shape == tuple(theirs.shape):
            found[name] = np.linspace(*START, ours.size).reshape(ours.shape)
    return found
