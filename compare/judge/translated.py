"""The manual side run on bounded arrays, with buffers and functions of NumPy that can hold and take these.

`y = np.zeros(shape)` inside a derivation makes a plain array, into which no bounded number can be written. So the
person's code is rebuilt for one run over NumPy functions that know bounded arrays.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np

from handgrad.compare.foundation.debug import swallowed
from handgrad.compare.judge.calls import CallSides
from handgrad.compare.judge.carried import Carried
from handgrad.compare.judge.rebuilt_code import Translator
from handgrad.compare.judge.sides import Arrays, LayerSides, LossSides, OptimizerSides, Sides, bounded
from handgrad.compare.judge.trajectories import TrajectorySides
from handgrad.compare.rounding.bounded import Bounded
from handgrad.compare.rounding.model import NoRoundingRule, Precision
from handgrad.compare.rounding.stand_ins import stand_ins

SIDES = (CallSides, LayerSides, LossSides, OptimizerSides, TrajectorySides)
OURS = __name__.rpartition(".judge.")[0]  # this package
THEIRS = ("derivation", "layer", "loss", "rule")  # what of the two sides is the person's NumPy code


def on_bounds(sides: Sides, inputs: Arrays, precision: Precision, plain: Arrays | None = None) -> Arrays:
    """The manual outputs with their bounds: of the rebuilt code, and where that does not run, of the code as it is.

    The rebuilt code must give what the code gives on `plain` arrays, where these are known. Raises NoRoundingRule, or
    whatever else the code raises.
    """
    over_again, given = with_stand_ins(sides, precision), bounded(inputs, precision)
    with np.errstate(all="ignore"):
        if over_again is sides:
            return dict(sides.manual(given))
        try:
            found = dict(over_again.manual(given))
            if plain is None or all(_same(found.get(name), y) for name, y in plain.items()):
                return found
        except Exception as problem:
            swallowed(problem, "the rebuilt derivation")
            try:
                return dict(sides.manual(given))
            except NoRoundingRule:
                if isinstance(problem, NoRoundingRule):
                    raise problem from None  # the rebuilt code has come further
                raise
        return dict(sides.manual(given))


def bound_of(sides: Sides, inputs: Arrays, precision: Precision, output: str, plain: Any) -> Bounded | None:
    """A result of the code as it ran, with the bound of the rebuilt code; None where that has none."""
    try:
        ours = on_bounds(sides, inputs, precision)[output]
    except Exception as problem:
        swallowed(problem, "the rounding bound")
        return None
    value = np.asarray(plain)
    if not isinstance(ours, Bounded) or not _same(ours, value):
        return None
    return Bounded(value, ours.error, precision)


def _same(ours: Any, plain: Any) -> bool:
    """Whether a bounded result is that of the plain run, but for the order of sums, which memory layout decides."""
    value, error = (ours.value, ours.error) if isinstance(ours, Bounded) else (ours, None)
    if np.shape(value) != np.shape(plain):
        return False
    try:
        apart = np.abs(np.subtract(value, plain, dtype=np.float64))
    except TypeError:  # no numbers
        return False
    alike = (value == plain) | ((value != value) & (plain != plain))
    return bool(np.all(alike if error is None else alike | (apart <= error) | (error == np.inf)))


def with_stand_ins(sides: Sides, precision: Precision) -> Sides:
    """The same two sides, the manual one rebuilt so that its buffers can hold bounded numbers.

    It is the same object where there is nothing to rebuild. To be used once: what the code keeps, it keeps in copies.
    """
    return rebuilt(sides, Translator(stand_ins(precision)))


def rebuilt(sides: Sides, translate: Translator) -> Sides:
    """The same two sides, the manual one rebuilt; the same object where there is nothing to rebuild."""
    if isinstance(sides, Carried):
        inner = rebuilt(sides.sides, translate)
        return replace(sides, sides=inner) if inner is not sides.sides and isinstance(inner, CallSides) else sides
    if type(sides) not in SIDES:
        return sides
    code = {name: x for name, x in vars(sides).items() if name in THEIRS}
    new = {name: _translated(x, translate) for name, x in code.items()}
    if all(new[name] is x for name, x in code.items()):
        return sides
    return replace(sides, **new)  # type: ignore[type-var]


def _translated(code: Any, translate: Translator) -> Any:
    """The person's code rebuilt; within one of our own forms of a derivation, which holds it in its fields."""
    if not is_dataclass(code) or isinstance(code, type) or not type(code).__module__.startswith(OURS):
        return translate(code)
    held = {f.name: getattr(code, f.name) for f in fields(code)}
    new = {name: translate(x) for name, x in held.items() if callable(x) or name in THEIRS}
    if all(new[name] is held[name] for name in new):
        return code
    return replace(code, **new)
