"""The other ways to check a derivation, each with its defaults, on the same two sides and the same inputs.

Each takes the sides and the inputs, and returns whether it complains and which tensors it names; None for a tool
that names none, or "n/a" where it cannot be applied.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch

from handgrad.compare.judge.names import gradient_of, parameters_among
from handgrad.compare.judge.sides import Arrays, LossSides, Sides
from handgrad.compare.judge.trajectories import TrajectorySides


class Said(NamedTuple):
    """What a tool says: does it complain, of which tensors, and can it be applied at all."""

    complains: bool
    tensors: frozenset[str] | None = None
    applies: bool = True


NOT_APPLICABLE = Said(False, None, False)
STEP, HAPPY, WRONG = 1e-5, 1e-7, 1e-2


def gradcheck(sides: Sides, inputs: Arrays) -> Said:
    """torch.autograd.gradcheck of the manual forward and backward, as one torch.autograd.Function."""
    if isinstance(sides, TrajectorySides):
        return NOT_APPLICABLE
    function, names = as_function(sides, inputs)
    arguments = [torch.from_numpy(inputs[k].copy()).requires_grad_() for k in names]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # float32 inputs
            torch.autograd.gradcheck(function, tuple(arguments))
    except Exception as problem:
        found = re.search(r"with respect to input (\d+)", str(problem))
        return Said(True, frozenset({_tensor(names[int(found[1])])}) if found else frozenset())
    return Said(False, frozenset())


def as_function(sides: Sides, inputs: Arrays) -> tuple[Callable[..., Any], list[str]]:
    """The manual side as a differentiable torch function, and the names of its arguments among the inputs."""
    loss = isinstance(sides, LossSides)
    names = ["output"] if loss else ["x", *(f"parameter {k}" for k in parameters_among(inputs))]

    class Manual(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *values: Any) -> Any:
            ctx.arrays = {k: v.detach().numpy().copy() for k, v in zip(names, values, strict=True)}
            result = sides.manual({**_rest(inputs), **ctx.arrays})
            return torch.from_numpy(np.array(result["loss" if loss else "output"]))

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx: Any, dy: Any) -> Any:
            upstream = dy.numpy().copy()
            result = sides.manual({**_rest(inputs), **ctx.arrays, **({} if loss else {"dy": upstream})})
            found = [result.get(_tensor(k)) for k in names]
            if loss:
                found = [found[0] * upstream]
            given = tuple(None if g is None else torch.from_numpy(np.array(g)) for g in found)
            return given if len(given) > 1 else given[0]

    return Manual.apply, names


def _rest(inputs: Arrays) -> Arrays:
    return {k: v for k, v in inputs.items() if k == "target"}


def _tensor(name: str) -> str:
    """The gradient by an input, as a check names it."""
    if name.startswith("parameter "):
        return gradient_of(name.removeprefix("parameter "))
    return {"x": "input gradient", "output": "loss gradient"}[name]


def assert_close(sides: Sides, inputs: Arrays) -> Said:
    """torch.testing.assert_close of every result of the two sides."""

    def differs(ours: Any, theirs: Any) -> bool:
        try:
            torch.testing.assert_close(torch.from_numpy(np.array(ours)), torch.from_numpy(np.array(theirs)))
        except AssertionError:
            return True
        return False

    return _each(sides, inputs, differs)


def allclose(sides: Sides, inputs: Arrays) -> Said:
    """np.allclose of every result of the two sides; it broadcasts."""

    def differs(ours: Any, theirs: Any) -> bool:
        try:
            return not np.allclose(ours, theirs)
        except ValueError:
            return True

    return _each(sides, inputs, differs)


def _each(sides: Sides, inputs: Arrays, differs: Callable[[Any, Any], bool]) -> Said:
    ours, theirs = sides.manual(inputs), sides.torch(inputs)
    return Said(any(k not in ours or differs(ours[k], y) for k, y in theirs.items()))


def central_difference(sides: Sides, inputs: Arrays, threshold: float) -> Said:
    """Every number of every gradient beside (f(x + h) − f(x − h)) / 2h, h = 1e-5, of the manual forward.

    As in CS231n's `eval_numerical_gradient_array` and `rel_error`: it complains where the largest
    |a − n| / max(1e-8, |a| + |n|) is above the threshold. The course's notes call 1e-7 and less what one should
    be happy with, and more than 1e-2 probably wrong.
    """
    if isinstance(sides, TrajectorySides):
        return NOT_APPLICABLE
    loss = isinstance(sides, LossSides)
    ours = sides.manual(inputs)
    names = ["output"] if loss else ["x", *(f"parameter {k}" for k in parameters_among(inputs))]
    forward = {k: v for k, v in inputs.items() if k != "dy"}

    def value(name: str, moved: np.ndarray) -> Any:
        result = sides.manual({**forward, name: moved})
        return result["loss"] if loss else (result["output"] * inputs["dy"]).sum()

    for name in names:
        analytic = ours.get(_tensor(name))
        if analytic is None or np.shape(analytic) != inputs[name].shape:
            return Said(True)
        numeric = np.empty_like(inputs[name])
        moved = inputs[name].copy()
        for k in range(moved.size):
            old = moved.flat[k]
            moved.flat[k] = old + STEP
            up = value(name, moved)
            moved.flat[k] = old - STEP
            numeric.flat[k] = (up - value(name, moved)) / (2 * STEP)
            moved.flat[k] = old
        error = np.abs(analytic - numeric) / np.maximum(1e-8, np.abs(analytic) + np.abs(numeric))
        if not error.max() <= threshold:
            return Said(True)
    return Said(False)


OURS = "this project"
OTHERS: dict[str, Callable[[Sides, Arrays], Said]] = {
    "torch.autograd.gradcheck": gradcheck,
    "torch.testing.assert_close": assert_close,
    "np.allclose": allclose,
    "central difference, 1e-7": lambda sides, inputs: central_difference(sides, inputs, HAPPY),
    "central difference, 1e-2": lambda sides, inputs: central_difference(sides, inputs, WRONG),
}
