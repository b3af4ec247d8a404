"""Which sides of torch's own comparisons, cuts and branches a reference has taken, over all of its runs."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from handgrad.compare.foundation.torch_internals import DispatchMode, arguments, operation_name
from handgrad.compare.judge import steps
from handgrad.compare.judge.seen import ABOVE, BELOW, FALSE, FIRST, INSIDE, NEGATIVE, POSITIVE, SECOND, TRUE, Seen

COMPARISONS = {"gt", "ge", "lt", "le", "eq", "ne"}
TORCH = str(Path(torch.__file__).parent)
DISPATCHING = str(Path(TORCH) / "utils")
Sides = dict[str, Callable[[], Any]]  # every side of an operation, and where it was taken


class ReferenceSeen(DispatchMode):  # type: ignore[no-untyped-call]
    """While it is entered, takes note of the sides that torch's operations take, the backward pass left out.

    Operations of one name and the same constants are one site.
    """

    def __init__(self, seen: Seen) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen = seen

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = operation_name(op).rstrip("_")
        make = SIDES.get(name) or (_no_sides if name in STEPS or name in PLACES else None)
        if (
            make is not None
            and torch._C._current_graph_task_id() < 0
            and not (name in COMPARISONS and _by_torch_itself())
        ):
            values = [*args, *(f.default_value for f in arguments(op)[len(args) :] if f.has_default_value())]
            values = [(kwargs or {}).get(f.name, v) for f, v in zip(arguments(op), values, strict=False)]
            with suppress(TypeError, RuntimeError):  # not of numbers, or of shapes that torch itself will refuse
                self._note(name, make, values)
        return op(*args, **(kwargs or {}))

    def _note(self, name: str, make: Callable[..., Sides], values: list[Any]) -> None:
        constants = tuple(v for v in values if isinstance(v, (int, float)) and not isinstance(v, bool))
        if not all(map(math.isfinite, constants)):
            return  # no draw passes infinity
        if not any(v.is_floating_point() for v in values if isinstance(v, Tensor)):
            return  # classes, places and complex numbers
        operands = [v.detach().numpy() for v in values if isinstance(v, Tensor)]
        if name in STEPS or name in PLACES:
            self._note_step(name, values, operands, constants)
            return
        sides = make(*values)
        self.seen.note(
            (name, constants),
            tuple(sides),
            lambda: {side: bool(torch.as_tensor(f()).any()) for side, f in sides.items()},
            (*operands, *constants),
            equality=name in ("eq", "ne"),
            each=(lambda: {side: torch.as_tensor(f()).numpy() for side, f in sides.items()})
            if len(operands) > 1 and not constants and name not in ("eq", "ne")
            else None,
        )

    def _note_step(self, name: str, values: list[Any], operands: list[Any], constants: tuple[float, ...]) -> None:
        with torch.no_grad():
            numbers = [v.detach().numpy() if isinstance(v, Tensor) else v for v in values]
            if name in PLACES:
                edges, x = (numbers[i] for i in PLACES[name])
                edges = np.asarray(edges)
                if edges.ndim != 1:
                    return
                found = steps.steps(np.searchsorted, np.searchsorted(edges, x), (edges, x))
            elif name == "div":
                if not isinstance(values[-1], str):
                    return
                share = numbers[0] / numbers[1]
                found = steps.stepped(np.floor(share) if values[-1] == "floor" else np.trunc(share), share)
            else:
                towards, count = STEPS[name]
                share = numbers[0] if count == 1 else np.true_divide(*numbers[:2])
                found = steps.stepped(towards(share), share)
        if found is not None:
            self.seen.note(
                (name, constants), found.all_sides, lambda: found.taken, (*operands, *constants), lambda: found.touched
            )


def _by_torch_itself() -> bool:
    """Whether a comparison stands in torch's own Python: it looks at what it is given, and refuses it."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and frame.f_code.co_filename.startswith(DISPATCHING):
        frame = frame.f_back
    return frame is not None and frame.f_code.co_filename.startswith(TORCH)


def name_of(site: tuple[str, tuple[float, ...]]) -> str:
    """An operation of torch as reports name it."""
    name, constants = site
    return f"{name} ({', '.join(f'{c:g}' for c in constants)})" if constants else name


def _no_sides(*_: Any) -> Sides:
    return {}


def _sign(x: Tensor, *_: Any) -> Sides:
    return {NEGATIVE: lambda: x < 0, POSITIVE: lambda: x > 0}


def _between(x: Tensor, low: Any, high: Any) -> Sides:
    found: Sides = {}
    if low is not None:
        found[BELOW] = lambda: x < low
    if high is not None:
        found[ABOVE] = lambda: x > high
    return found | {
        INSIDE: lambda: (True if low is None else x > low) & torch.as_tensor(True if high is None else x < high)
    }


def _holds(compare: Callable[[Any, Any], Any]) -> Callable[..., Sides]:
    return lambda a, b, *_: {TRUE: lambda: compare(a, b), FALSE: lambda: ~compare(a, b)}


SIDES: dict[str, Callable[..., Sides]] = {
    **dict.fromkeys(("relu", "leaky_relu", "elu", "celu", "abs", "sign", "sgn", "_prelu_kernel"), _sign),
    "clamp": lambda x, low=None, high=None, *_: _between(x, low, high),
    "clamp_min": lambda x, low: _between(x, low, None),
    "clamp_max": lambda x, high: _between(x, None, high),
    "hardtanh": lambda x, low=-1, high=1: _between(x, low, high),
    "hardsigmoid": lambda x: _between(x, -3, 3),
    "hardswish": lambda x: _between(x, -3, 3),
    "threshold": lambda x, at, *_: _between(x, at, None),
    "hardshrink": lambda x, by=0.5: _between(x, -by, by),
    "softshrink": lambda x, by=0.5: _between(x, -by, by),
    "softplus": lambda x, beta=1, at=20: _between(beta * x, None, at),
    "huber_loss": lambda x, t, reduction=1, delta=1.0: _between(x - t, -delta, delta),
    "smooth_l1_loss": lambda x, t, reduction=1, beta=1.0: _between(x - t, -beta, beta),
    **dict.fromkeys(("maximum", "fmax"), lambda a, b: {FIRST: lambda: a > b, SECOND: lambda: a < b}),
    **dict.fromkeys(("minimum", "fmin"), lambda a, b: {FIRST: lambda: a < b, SECOND: lambda: a > b}),
    "gt": _holds(torch.gt), "ge": _holds(torch.ge), "lt": _holds(torch.lt), "le": _holds(torch.le),
    "eq": _holds(torch.eq), "ne": _holds(torch.ne),
}  # fmt: skip

# How a share is made whole, and how many operands have a part in it.
STEPS: dict[str, tuple[Callable[[Any], Any], int]] = {
    "floor": (np.floor, 1), "ceil": (np.ceil, 1), "trunc": (np.trunc, 1), "round": (np.rint, 1),
    "remainder": (np.floor, 2), "fmod": (np.trunc, 2), "floor_divide": (np.floor, 2), "div": (np.floor, 2),
}  # fmt: skip
PLACES = {"searchsorted": (0, 1), "bucketize": (1, 0)}  # where the edges stand, and the numbers
