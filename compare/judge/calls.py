"""Two sides of any signature: a derivation in one of its forms, and a function or module of torch, called alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from handgrad.compare.judge import names
from handgrad.compare.judge.derivations import Derivation, Given, Upstream
from handgrad.compare.judge.sides import Arrays, as_array, as_tensor, in_dtype, is_float, own_copies, require_unchanged
from handgrad.compare.judge.stateful import Stateful
from handgrad.compare.judge.structure import ONE_ARRAY, Structure, structure_of
from handgrad.compare.rounding.bounded import Bounded
from handgrad.compare.rounding.model import NoRoundingRule


@dataclass(frozen=True)
class CallSides:
    """A derivation and its torch reference, called with the same arguments.

    A complex array stands among the inputs and outputs as its real and imaginary parts, in a last axis of two: so every
    number is judged as a real one, and the gradient of a complex argument z is ∂J/∂Re z + i ∂J/∂Im z, as torch has it.
    """

    derivation: Derivation
    reference: Callable[..., Any]
    arguments: tuple[str, ...]  # what is given by position, in order; the other inputs are parameters, given by name
    structure: Structure = ONE_ARRAY  # of what the reference returns
    complex_names: frozenset[str] = frozenset()  # inputs and outputs
    whole: frozenset[str] = frozenset()  # outputs of integers or booleans, which are compared as numbers
    copies: bool = False  # whether the derivation, which writes into what it is given, gets copies

    def manual(self, inputs: Arrays) -> Arrays:
        inputs = own_copies(inputs) if self.copies else inputs
        given = self._given(inputs, self._to_manual)
        upstream = self._upstream(inputs)
        outputs, gradients = self.derivation.run(self.structure, given, upstream)
        by_output = {names.output(part): y for part, y in self.structure.flatten(outputs).items()}
        found = {name: self._from_manual(name, y) for name, y in by_output.items()}
        if upstream is None:
            return found
        gradients = {k: g for k, g in gradients.items() if k not in given.constants or np.any(g)}
        return found | {
            names.argument_gradient(k): self._from_manual(names.argument(k), g) for k, g in gradients.items()
        }

    def torch(self, inputs: Arrays) -> Arrays:
        given = self.given_tensors(inputs)
        tensors = given.arguments | given.parameters
        outputs = torch_outputs(self.reference, given, self.state)
        require_unchanged({k: _as_real(v) for k, v in tensors.items()}, self._by_name(inputs))
        found = {name: as_array(_as_real(y.detach())) for name, y in outputs.items()}
        found |= {name: found[name].astype(np.float64) for name in self.whole if name in found}
        upstream = self.upstream_tensors(inputs, outputs)
        if not upstream:
            return found
        wanted = {k: v for k, v in tensors.items() if k not in given.constants}
        differentiable = {name: y for name, y in outputs.items() if name in upstream and y.requires_grad}
        gradients: tuple[Tensor | None, ...] = (None,) * len(wanted)
        if differentiable and wanted:
            dy = [upstream[name] for name in differentiable]
            gradients = torch.autograd.grad(list(differentiable.values()), list(wanted.values()), dy, allow_unused=True)
        for (name, source), g in zip(wanted.items(), gradients, strict=True):
            g = torch.zeros_like(source) if g is None else g
            found[names.argument_gradient(name)] = as_array(_as_real(g.detach()))
        return found

    @property
    def state(self) -> tuple[str, ...]:
        """What the forward pass changes, and is compared as an output."""
        return self.derivation.state if isinstance(self.derivation, Stateful) else ()

    def given_tensors(self, inputs: Arrays) -> Given:
        """The arguments as torch has them, leaves of autograd where something is differentiated by them."""
        return self._given(inputs, self._to_torch)

    def upstream_tensors(self, inputs: Arrays, outputs: Iterable[str]) -> dict[str, Tensor]:
        """∂J/∂output of every output that has one."""
        upstream = {name: names.upstream_of(name) for name in outputs if names.upstream_of(name) in inputs}
        return {name: self._to_torch(dy, inputs[dy]).detach() for name, dy in upstream.items()}

    # --- what goes in and comes out -------------------------------------------------------------------------

    def _given(self, inputs: Arrays, convert: Callable[[str, Any], Any]) -> Given:
        constants = names.constants_among(inputs)
        every = {k: convert(names.constant(k), v) for k, v in constants.items()}
        every |= {k: convert(names.parameter(k), v) for k, v in names.parameters_among(inputs).items()}
        if names.X in inputs:
            every[names.X] = convert(names.X, inputs[names.X])
        arguments = {k: every.pop(k) for k in self.arguments}
        return Given(arguments, every, frozenset(constants))

    def _by_name(self, inputs: Arrays) -> Arrays:
        own = names.constants_among(inputs) | names.parameters_among(inputs)
        return own | ({names.X: inputs[names.X]} if names.X in inputs else {})

    def _upstream(self, inputs: Arrays) -> Upstream | None:
        arrays = {}
        for part in self.structure.names():
            name = names.upstream_of(names.output(part))
            if name in inputs:
                arrays[part] = self._to_manual(name, inputs[name])
        return Upstream(self.structure.filled(arrays), tuple(arrays.values())) if arrays else None

    def _to_manual(self, name: str, value: Any) -> Any:
        if name not in self.complex_names:
            return value
        if isinstance(value, Bounded):
            raise NoRoundingRule("complex numbers")
        return np.ascontiguousarray(value).view(COMPLEX[value.dtype])[..., 0]

    def _from_manual(self, name: str, value: Any) -> Any:
        if name in self.whole and getattr(getattr(value, "dtype", None), "kind", "") in "biu":
            return np.asarray(value).astype(np.float64)
        if name not in self.complex_names or getattr(getattr(value, "dtype", None), "kind", "") not in "fc":
            return value
        value = np.asarray(value)
        return np.stack([value.real, value.imag], -1)

    def _to_torch(self, name: str, value: Any) -> Any:
        tensor = as_tensor(value)
        if name in self.complex_names:
            tensor = torch.view_as_complex(tensor)
        return tensor.requires_grad_() if is_float(value) and not names.is_constant(name) else tensor


COMPLEX = {
    np.dtype(np.float32): np.complex64,
    np.dtype(np.float64): np.complex128,
    np.dtype(np.longdouble): np.clongdouble,
}


def torch_outputs(reference: Callable[..., Any], given: Given, state: tuple[str, ...] = ()) -> dict[str, Tensor]:
    """What the reference returns, by the names of outputs; of a module with `state` its buffers of these names too.

    A module is a copy of its own, in the dtype of the arguments, and has the parameters that are given by name.
    """
    y = call_reference(reference, given, state)
    structure = structure_of(y, lambda v: isinstance(v, Tensor))
    return {names.output(part): tensor for part, tensor in structure.flatten(y).items()}


def call_reference(reference: Callable[..., Any], given: Given, state: tuple[str, ...] = ()) -> Any:
    """What the reference returns."""
    positional = given.positional
    if not isinstance(reference, nn.Module):
        return reference(*positional, **given.parameters)
    numbers = (t for t in (*positional, *given.parameters.values()) if t.is_floating_point() or t.is_complex())
    dtype = next((t.dtype.to_real() for t in numbers), torch.float64)
    module, tensors = in_dtype(reference, dtype, given.parameters)
    y = torch.func.functional_call(module, tensors, positional)
    if state and not isinstance(y, Mapping):
        return {"output": y, **{name: tensors[name] for name in state if name in tensors}}
    return y


def _as_real(tensor: Tensor) -> Tensor:
    """The tensor, a complex one as its real and imaginary parts."""
    return torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor
