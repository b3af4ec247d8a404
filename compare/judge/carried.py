"""The same object called several times: what it carries from one call to the next, beside a module that does so too.

State starts at 0 or 1, where much that is wrong gives the right numbers. From the second call on it does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from handgrad.compare.judge.calls import CallSides
from handgrad.compare.judge.sides import Arrays, as_tensor, exact, in_dtype, is_float, own_copies
from handgrad.compare.judge.stateful import Stateful, look_up, put
from handgrad.compare.rounding.bounded import Bounded


@dataclass(frozen=True)
class Carried:
    """Two sides, each of which has been called before: the manual object, and the module of torch or a function.

    before  the inputs of the earlier calls, in order
    start   numbers from which the state starts, by the name of a state; each side's own where there is none
    """

    sides: CallSides
    before: tuple[Arrays, ...]
    start: Arrays = field(default_factory=dict)

    def manual(self, inputs: Arrays) -> Arrays:
        made = self.sides.derivation
        assert isinstance(made, Stateful)
        thing = made.factory()
        for path, value in _like(self.start, inputs).items():
            put(thing, path, value)
        again = replace(self.sides, derivation=replace(made, factory=lambda: thing))
        for earlier in self.before:
            again.manual(_like(earlier, inputs))
            _forget_gradients(thing, made)
        return again.manual(inputs)

    def torch(self, inputs: Arrays) -> Arrays:
        return self._of_torch(inputs)[0]

    def buffers(self, inputs: Arrays) -> dict[str, Tensor]:
        """The buffers of the module as all calls leave them; none of a function."""
        return self._of_torch(inputs)[1]

    def _of_torch(self, inputs: Arrays) -> tuple[Arrays, dict[str, Tensor]]:
        if not isinstance(self.sides.reference, nn.Module):
            return self.sides.torch(inputs), {}
        kept = _Kept(self.sides.reference, self.sides.state, _like(self.start, inputs))
        again = replace(self.sides, reference=kept)
        for earlier in self.before:
            again.torch(_like(earlier, inputs))
        return again.torch(inputs), kept.buffers


class _Kept:
    """A module as a function that keeps, from call to call, the buffers and the attributes of one copy."""

    def __init__(self, module: nn.Module, state: tuple[str, ...], start: Arrays) -> None:
        self.module, self.state, self.start = module, state, start
        self.own: nn.Module | None = None
        self.buffers: dict[str, Tensor] = {}

    def __call__(self, *positional: Tensor, **parameters: Tensor) -> Any:
        if self.own is None:
            numbers = (t for t in (*positional, *parameters.values()) if t.is_floating_point() or t.is_complex())
            dtype = next((t.dtype.to_real() for t in numbers), torch.float64)
            self.own, tensors = in_dtype(self.module, dtype, parameters)
            self.buffers = {k: t for k, t in tensors.items() if k not in parameters}
            self.buffers |= {k: as_tensor(v) for k, v in self.start.items()}
        tensors = {**self.buffers, **parameters}
        y = torch.func.functional_call(self.own, tensors, positional)
        self.buffers = {k: t.detach() for k, t in tensors.items() if k not in parameters}
        if self.state and not isinstance(y, Mapping):
            return {"output": y, **{name: tensors[name] for name in self.state if name in tensors}}
        return y


def _forget_gradients(thing: Any, made: Stateful) -> None:
    """Zeros in the place of gradients, which may add up from call to call as torch's do."""
    for path in made.gradients.values():
        found = look_up(thing, path)
        value = found.value if isinstance(found, Bounded) else found
        if isinstance(value, np.ndarray):
            put(thing, path, np.zeros_like(value))


def _like(arrays: Arrays, inputs: Arrays) -> Arrays:
    """The arrays over memory of their own, in the precision of the inputs, and bounded where these are."""
    for value in inputs.values():
        if isinstance(value, Bounded):
            dtype, precision = value.value.dtype, value.precision
            return {k: exact(v.astype(dtype), precision) if is_float(v) else v for k, v in arrays.items()}
        if is_float(value):
            return {k: v.astype(value.dtype) if is_float(v) else v for k, v in own_copies(arrays).items()}
    return own_copies(arrays)
