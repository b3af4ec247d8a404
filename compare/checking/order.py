"""The passes of a derivation in other orders than forward, backward: what leaks from one call into the next.

A network calls a layer twice before it goes back, or asks for the gradients of the parameters first. A layer that keeps
its cache outside of what it returns is right in a check, and wrong there.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from handgrad.compare.foundation.debug import swallowed
from handgrad.compare.judge import names
from handgrad.compare.judge.calls import CallSides
from handgrad.compare.judge.derivations import Functions, Layer
from handgrad.compare.judge.sides import Arrays, LayerSides, LossSides, Sides
from handgrad.compare.judge.stateful import Stateful

LAST = "the gradient depends on which forward pass came last: keep what backward needs in the cache that is returned"
FIRST = "the gradients depend on which is asked for first, the input's or the parameters': neither may change the cache"
AGAIN = "the second use of the object gives other numbers than the first: something of the first one is left in it"
ADDED = "gradients add up from one backward pass to the next, as in torch: set them to 0 in between"
TWICE = (
    "a second backward pass with the same cache gives other numbers: the first one writes into what forward returned"
)


class Leak(NamedTuple):
    """An order of calls in which a derivation gives other numbers."""

    label: str  # as a draw
    phrase: str
    sides: Sides  # in that order


def leak_of(sides: Sides, one: Arrays, other: Arrays) -> tuple[Leak | None, tuple[str, ...]]:
    """The order of calls in which a derivation gives other numbers for `one`, with a pass of `other` in it, and notes.

    Numbers are compared bit by bit; whether others are rounding is for the judge.
    """
    try:
        if isinstance(sides, CallSides) and isinstance(sides.derivation, Stateful):
            return _of_an_object(sides, sides.derivation, one, other)
        if not isinstance(sides, (CallSides, LayerSides, LossSides)):
            return None, ()
        first = sides.manual(one)
        for label, phrase, changed in _orders(sides, other):
            if not _gives(changed, one, first):
                if phrase == TWICE:
                    return None, (TWICE,)
                return Leak(label, phrase, changed), ()
    except Exception as problem:  # of code that is judged elsewhere
        swallowed(problem, "the order of calls")
    return None, ()


def _gives(sides: Sides, one: Arrays, first: Arrays) -> bool:
    """Whether the derivation gives these numbers; it may raise an exception instead."""
    try:
        return _same(sides.manual(one), first)
    except Exception as problem:
        swallowed(problem, "another order of calls")
        return False


def _same(these: Arrays, first: Arrays) -> bool:
    return all(np.array_equal(these[k], v, equal_nan=True) for k, v in first.items())


def _orders(sides: CallSides | LayerSides | LossSides, other: Arrays) -> Iterator[tuple[str, str, Sides]]:
    """(as a draw, what is wrong if numbers differ, the sides) of every order."""

    def forward() -> None:
        sides.manual({k: v for k, v in other.items() if not names.is_upstream(k)})

    yield "two forward passes", LAST, _with(sides, forward, times=1)
    if isinstance(sides, LayerSides) or (isinstance(sides, CallSides) and isinstance(sides.derivation, Layer)):
        yield "the parameters' gradients first", FIRST, _with(sides, None, times=1)
    yield "backward twice", TWICE, _with(sides, None, times=2)


def _with(sides: Any, before: Callable[[], None] | None, times: int) -> Sides:
    """The sides, in which backward is called so often, after what comes before."""
    if isinstance(sides, LayerSides):
        layer: Any = _LayerInOrder(sides.layer, before, times)
        return replace(sides, layer=layer)
    if isinstance(sides, LossSides):
        loss: Any = _LossInOrder(sides.loss, before, times)
        return replace(sides, loss=loss)
    derivation = sides.derivation
    if isinstance(derivation, Functions):
        return replace(sides, derivation=replace(derivation, backward=_then(derivation.backward, before, times)))
    if isinstance(derivation, Layer):
        return replace(sides, derivation=Layer(_LayerInOrder(derivation.layer, before, times)))
    return sides


def _then(function: Callable[..., Any], before: Callable[[], None] | None, times: int) -> Callable[..., Any]:
    """The function, called so often after what comes before; its last result."""

    @functools.wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        if before is not None:
            before()
        for _ in range(times - 1):
            function(*args, **kwargs)
        return function(*args, **kwargs)

    return called


class _LayerInOrder:
    """A layer of which the parameters' gradients are asked for before the input's, or after other passes."""

    def __init__(self, layer: Any, before: Callable[[], None] | None, times: int) -> None:
        self.forward = layer.forward
        self.input_gradient = _then(layer.input_gradient, before, times)
        parameters = getattr(layer, "parameter_gradients", None)
        if parameters is None:
            return
        self.parameter_gradients = _then(parameters, before, times)
        if before is None and times == 1:
            found = []

            def input_gradient(*args: Any) -> Any:
                found.append(parameters(*args))
                return layer.input_gradient(*args)

            self.input_gradient, self.parameter_gradients = input_gradient, lambda *args: found.pop()


class _LossInOrder:
    """A loss whose gradient is asked for after other passes."""

    def __init__(self, loss: Any, before: Callable[[], None] | None, times: int) -> None:
        self.forward = loss.forward
        self.gradient = _then(loss.gradient, before, times)


def _of_an_object(sides: CallSides, made: Stateful, one: Arrays, other: Arrays) -> tuple[Leak | None, tuple[str, ...]]:
    """The same of an object that keeps its state: it may assume backward after forward, but is used more than once."""

    def on(thing: Any) -> CallSides:
        return replace(sides, derivation=replace(made, factory=lambda: thing))

    def compared(found: Arrays) -> Arrays:
        return {k: np.array(v) for k, v in found.items() if names.part_of(k) not in made.state}

    def again(inputs: Arrays) -> Arrays:
        used = on(made.factory())
        used.manual(other)
        return used.manual(inputs)

    first = compared(sides.manual(one))
    try:
        second = compared(again(one))
    except Exception as problem:
        swallowed(problem, "the second use of an object")
        return Leak("used twice", AGAIN, _Again(sides, again)), ()
    if _same(second, first):
        return None, ()
    before = compared(sides.manual(other))
    changed = {k for k, v in first.items() if not np.array_equal(second[k], v, equal_nan=True)}
    if all(names.parameter_of(k) and np.array_equal(second[k], before[k] + first[k]) for k in changed):
        return None, (ADDED,)
    return Leak("used twice", AGAIN, _Again(sides, again)), ()


class _Again:
    """Two sides, of which the manual one has been used before."""

    def __init__(self, sides: CallSides, again: Callable[[Arrays], Arrays]) -> None:
        self.manual, self.torch = again, sides.torch
