"""Many updates by a rule of one's own and by an optimizer of torch, over one flat vector or over tensors by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer

from handgrad import manual
from handgrad.compare.foundation.torch_internals import announced
from handgrad.compare.judge.names import GRADS, LEARNING_RATE, THETA, theta_after
from handgrad.compare.judge.sides import Arrays, as_array, as_tensor, own_copy
from handgrad.compare.rounding.bounded import Bounded
from handgrad.compare.rounding.model import NoRoundingRule
from handgrad.torch_ref import parameters as torch_parameters


@dataclass(frozen=True)
class Layout:
    """The tensors that θ is made of, in order: their shapes, and whether the rule takes them in a dictionary."""

    shapes: dict[str, tuple[int, ...]]
    mapping: bool = True

    def parts(self, flat: Any) -> dict[str, Any]:
        """A flat vector cut into its tensors."""
        found, start = {}, 0
        for name, shape in self.shapes.items():
            found[name] = flat[start : start + prod(shape)].reshape(shape)
            start += prod(shape)
        return found

    def given(self, flat: Any) -> Any:
        """The tensors as the rule takes them, a dictionary or a list, over memory of their own."""
        copies = {name: own_copy(part) for name, part in self.parts(flat).items()}
        return copies if self.mapping else list(copies.values())

    def flat(self, tensors: Any) -> Any:
        """One vector of the tensors."""
        found: Iterable[Any] = [tensors[name] for name in self.shapes] if self.mapping else tensors
        return np.concatenate([part.reshape(-1) for part in found])


FEW = 10  # steps, after each of which θ is compared


def rates(inputs: Arrays) -> tuple[float, ...]:
    """The learning rate of every step: the inputs have one for all, or a tuple of one for each."""
    rate = inputs[LEARNING_RATE]
    return rate if isinstance(rate, tuple) else (rate,) * len(inputs[GRADS])


def first_steps(inputs: Arrays, steps: int) -> Arrays:
    """The same with the first so many steps alone."""
    rate = inputs[LEARNING_RATE]
    cut = rate[:steps] if isinstance(rate, tuple) else rate
    return {**inputs, GRADS: inputs[GRADS][:steps], LEARNING_RATE: cut}


@dataclass(frozen=True)
class TorchRule:
    """An optimizer of torch on the manual side: `make(parameters, learning rate)`."""

    make: Callable[..., Optimizer]


@dataclass(frozen=True)
class TrajectorySides:
    """Many updates, each side keeping its own state. Inputs: theta, grads (steps, size), learning rate or rates.

    θ is compared after each of the `FEW` first steps, after every `every`th one beyond these, and after the last.
    The state's arrays are compared where both sides have one of the same name. A rule may change θ in place.
    """

    rule: manual.Optimizer | TorchRule
    optimizer: Callable[..., Optimizer]
    layout: Layout | None = None
    copies: bool = True  # of θ and of every gradient: a rule may write into them
    every: int = 1

    def manual(self, inputs: Arrays) -> Arrays:
        if isinstance(self.rule, TorchRule):
            if any(isinstance(v, Bounded) for v in inputs.values()):
                raise NoRoundingRule("torch code")
            return self._by_torch(self.rule.make, inputs)
        layout, out, eta, last = self.layout, Arrays(), rates(inputs), len(inputs[GRADS])
        theta = own_copy(inputs[THETA]) if layout is None else layout.given(inputs[THETA])
        state = self.rule.init(theta)
        for k in range(last):
            grad = own_copy(inputs[GRADS][k]) if layout is None else layout.given(inputs[GRADS][k])
            result = self.rule.update(theta, grad, state, eta[k])
            if result is not None and not (isinstance(result, tuple) and len(result) == 2):
                raise TypeError(
                    "update must return the pair (theta, state), or nothing where it changes both in place, got "
                    f"{type(result).__name__}"
                )
            theta, state = (theta, state) if result is None else result
            if self._compared(k + 1, last):
                out |= self._after(k + 1, own_copy(theta if layout is None else layout.flat(theta)))
        if not isinstance(state, dict) or layout is not None:
            return out
        return out | {k: v for k, v in state.items() if getattr(v, "shape", isinstance(v, (list, tuple)))}

    def _by_torch(self, make: Callable[..., Optimizer], inputs: Arrays) -> Arrays:
        theta, out = as_tensor(inputs[THETA]), Arrays()
        parts = [theta] if self.layout is None else list(self.layout.parts(theta).values())
        parameters = [nn.Parameter(part.clone()) for part in parts]
        eta, last = rates(inputs), len(inputs[GRADS])
        optimizer = announced(make(parameters, eta[0]))
        for k, grad in enumerate(inputs[GRADS]):
            if k and eta[k] != eta[k - 1]:
                _set_rate(optimizer, make(parameters, eta[k]))
            flat = as_tensor(grad)
            gradients = [flat] if self.layout is None else self.layout.parts(flat).values()
            for parameter, g in zip(parameters, gradients, strict=True):
                parameter.grad = g.clone()
            optimizer.step()
            if self._compared(k + 1, last):
                out |= self._after(k + 1, torch.cat([p.detach().reshape(-1) for p in parameters]).numpy())
        if self.layout is not None:
            return out
        state = torch_parameters.flat_state(optimizer)
        return out | {name: as_array(v) for name, v in state.items() if np.shape(v)}

    def torch(self, inputs: Arrays) -> Arrays:
        return self._by_torch(self.optimizer, inputs)

    def _compared(self, steps: int, last: int) -> bool:
        return steps <= FEW or steps % self.every == 0 or steps == last

    def _after(self, steps: int, flat: Any) -> Arrays:
        if self.layout is None:
            return {theta_after(steps): flat}
        return {theta_after(steps, name): part for name, part in self.layout.parts(flat).items()}


def _set_rate(optimizer: Optimizer, other: Optimizer) -> None:
    """Give an optimizer the learning rates of another one, group by group, as a scheduler does."""
    for group, like in zip(optimizer.param_groups, other.param_groups, strict=True):
        if "lr" in like:
            group["lr"] = like["lr"]
