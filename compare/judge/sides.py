"""One piece of mathematics as two functions of the same arrays: the manual one and torch's.

Everything that judges, measures or diagnoses a stage works on these. Inputs and outputs are dictionaries of
arrays by name; the manual function also takes `Bounded` arrays and then returns such.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from handgrad import manual
from handgrad.compare.foundation.torch_internals import announced
from handgrad.compare.judge.names import (
    DY,
    GRAD,
    INPUT_GRADIENT,
    LEARNING_RATE,
    LOSS,
    LOSS_GRADIENT,
    OUTPUT,
    TARGET,
    THETA,
    X,
    gradient_of,
    parameters_among,
)
from handgrad.compare.rounding.bounded import Bounded
from handgrad.torch_ref import parameters as torch_parameters

Arrays = dict[str, Any]
LARGE = 1 << 14  # numbers in all inputs: with more, one more evaluation costs more than a look at a cut of them


class Sides(Protocol):
    """Two functions of the same inputs, with the same output names."""

    def manual(self, inputs: Arrays) -> Arrays: ...

    def torch(self, inputs: Arrays) -> Arrays: ...


@dataclass(frozen=True)
class LayerSides:
    """A manual layer and its torch reference. Inputs: x, dy and the parameters; dy is ∂J/∂output.

    The reference is a module, which is given the parameters under its own names, or any function `reference(x,
    **params)`.
    """

    layer: manual.Layer
    reference: Callable[..., torch.Tensor]
    copies: bool = False  # whether the layer, which writes into what it is given, gets copies

    def manual(self, inputs: Arrays) -> Arrays:
        inputs = own_copies(inputs) if self.copies else inputs
        params = parameters_among(inputs)
        y, cache = self.layer.forward(params, inputs[X])
        out = {OUTPUT: y}
        if DY in inputs:
            out[INPUT_GRADIENT] = self.layer.input_gradient(params, cache, inputs[DY])
            gradients = self.layer.parameter_gradients(params, cache, inputs[DY])
            if not isinstance(gradients, dict):
                raise TypeError(
                    f"parameter_gradients must return a dictionary of gradients by name, got {type(gradients).__name__}"
                )
            out |= {gradient_of(name): g for name, g in gradients.items()}
        return out

    def torch(self, inputs: Arrays) -> Arrays:
        return torch_layer(self.reference, inputs)


def torch_layer(reference: Callable[..., torch.Tensor], inputs: Arrays) -> Arrays:
    """The reference's output and, by autograd, its gradients, in the dtype of x."""
    params = {k: as_tensor(v).requires_grad_() for k, v in parameters_among(inputs).items()}
    x = as_tensor(inputs[X]).requires_grad_()
    given = {X: x} | params
    if isinstance(reference, nn.Module):
        y = torch.func.functional_call(*in_dtype(reference, x.dtype, params), (x,))
    else:
        y = reference(x, **params)
    if not isinstance(y, torch.Tensor):
        raise TypeError(f"it must return one tensor, not {type(y).__name__}")
    require_unchanged(given, {X: inputs[X], **parameters_among(inputs)})
    out = {OUTPUT: as_array(y)}
    if DY in inputs:
        wanted = {INPUT_GRADIENT: x} | {gradient_of(k): v for k, v in params.items()}
        if not y.requires_grad:
            return out | {name: np.zeros(source.shape, inputs[X].dtype) for name, source in wanted.items()}
        gradients = torch.autograd.grad(y, list(wanted.values()), as_tensor(inputs[DY]), allow_unused=True)
        for (name, source), g in zip(wanted.items(), gradients, strict=True):
            out[name] = as_array(torch.zeros_like(source) if g is None else g)
    return out


def in_dtype(
    module: nn.Module, dtype: torch.dtype, params: dict[str, torch.Tensor]
) -> tuple[nn.Module, dict[str, torch.Tensor]]:
    """A copy of the module and the tensors to call it with; its own parameters, which may be large, are not copied."""
    own = copy.deepcopy(module, {id(p): p for name, p in module.named_parameters() if name in params})
    others = {name: p for name, p in own.named_parameters() if name not in params}
    fixed = {k: t.to(dtype) if t.is_floating_point() else t for k, t in (*own.named_buffers(), *others.items())}
    return own, {**fixed, **params}


@dataclass(frozen=True)
class LossSides:
    """A manual loss and torch's. Inputs: output and target."""

    loss: manual.Loss
    module: Callable[..., torch.Tensor]
    copies: bool = False  # whether the loss, which writes into what it is given, gets copies

    def manual(self, inputs: Arrays) -> Arrays:
        inputs = own_copies(inputs) if self.copies else inputs
        J, cache = self.loss.forward(inputs[OUTPUT], inputs[TARGET])
        return {LOSS: J, LOSS_GRADIENT: self.loss.gradient(cache)}

    def torch(self, inputs: Arrays) -> Arrays:
        output = as_tensor(inputs[OUTPUT]).requires_grad_()
        module = self.module
        if isinstance(module, nn.Module):  # class weights and the like take the dtype of the run
            module = copy.deepcopy(module).to(output.dtype)
        target = as_tensor(inputs[TARGET])
        J = module(output, target)
        require_unchanged({OUTPUT: output, TARGET: target}, inputs)
        (gradient,) = torch.autograd.grad(
            J, output, torch.ones_like(J)
        )  # of the sum, where J has one number an element
        return {LOSS: J.detach().numpy(), LOSS_GRADIENT: gradient.numpy()}


@dataclass(frozen=True)
class OptimizerSides:
    """One update by a manual rule and by torch's. Inputs: theta, grad, learning rate, and the state's entries.

    `optimizer(parameters, learning_rate)` makes the torch optimizer.
    """

    rule: manual.Optimizer
    optimizer: Callable[..., torch.optim.Optimizer]

    def manual(self, inputs: Arrays) -> Arrays:
        theta, state = self.rule.update(inputs[THETA], inputs[GRAD], self._state(inputs), inputs[LEARNING_RATE])
        return {THETA: theta, **state}

    def torch(self, inputs: Arrays) -> Arrays:
        theta = nn.Parameter(as_tensor(inputs[THETA]))
        optimizer = announced(self.optimizer([theta], inputs[LEARNING_RATE]))
        state = {k: v if k == "step" else as_tensor(v) for k, v in self._state(inputs).items()}
        torch_parameters.load_state(optimizer, state)
        theta.grad = as_tensor(inputs[GRAD])
        optimizer.step()
        after = torch_parameters.flat_state(optimizer)
        return {THETA: theta.detach().numpy()} | {k: as_array(v) for k, v in after.items()}

    def _state(self, inputs: Arrays) -> Arrays:
        return {k: v for k, v in inputs.items() if k not in (THETA, GRAD, LEARNING_RATE)}


def require_unchanged(tensors: dict[str, torch.Tensor], inputs: Arrays) -> None:
    """ValueError for a tensor that a reference has written into: autograd does not see it where `.data` is used."""
    for name, tensor in tensors.items():
        if not np.array_equal(tensor.detach().numpy(), inputs[name], equal_nan=is_float(inputs[name])):
            raise ValueError(
                f"a reference must not change its inputs, but it writes into {name} in place: clone it first"
            )


def as_tensor(x: Any) -> torch.Tensor:
    """A tensor of the array's own dtype, over memory of its own."""
    return torch.from_numpy(np.array(x, copy=True))


def as_array(x: Any) -> Any:
    """A NumPy array over a tensor's memory, or its copy where it lives on a GPU; anything else as it is."""
    return x.detach().cpu().numpy() if isinstance(x, torch.Tensor) else x


def bounded(inputs: Arrays, precision: Any) -> Arrays:
    """The inputs as exact Bounded arrays: float arrays only, and made read-only."""
    return {name: exact(value, precision) for name, value in inputs.items()}


def exact(value: Any, precision: Any) -> Any:
    """A float array as an exact, read-only Bounded; anything else as it is."""
    if not is_float(value):
        return value
    view = value.view()
    view.flags.writeable = False
    return Bounded(view, None, precision)


def is_float(x: Any) -> bool:
    """Whether x is an array of floating-point numbers."""
    return isinstance(x, np.ndarray) and x.dtype.kind == "f"


def own_copies(inputs: Arrays) -> Arrays:
    """Every input over memory of its own."""
    return {name: own_copy(value) for name, value in inputs.items()}


def own_copy(value: Any) -> Any:
    """A copy that may be written into; of what is no array, the thing itself."""
    if isinstance(value, Bounded):
        return Bounded(value.value.copy(), None if value.error is None else value.error.copy(), value.precision)
    return value.copy(order="K") if isinstance(value, np.ndarray) else value  # as it lies in memory


def is_large(inputs: Arrays) -> bool:
    """Whether every evaluation at these inputs counts, so that none is made that another way can do without."""
    return sum(np.size(v) for v in inputs.values()) > LARGE
