"""The forms in which people have a derivation, each made into one forward and one backward pass."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from handgrad.compare.foundation.errors import UsageError
from handgrad.compare.judge.structure import NO_CACHE, Structure, split


class Given(NamedTuple):
    """The arguments of one call: some by position, the parameters by name; by `constants` nothing is differentiated."""

    arguments: dict[str, Any]
    parameters: dict[str, Any]
    constants: frozenset[str] = frozenset()

    @property
    def positional(self) -> tuple[Any, ...]:
        """The arguments, in order."""
        return tuple(self.arguments.values())


class Upstream(NamedTuple):
    """∂J/∂outputs: as the outputs are, and those that there are in order."""

    structured: Any
    each: tuple[Any, ...]


class Derivation(Protocol):
    """A forward and a backward pass. `run` returns the outputs, and the gradients by name where δ is given."""

    def run(self, structure: Structure, given: Given, upstream: Upstream | None) -> tuple[Any, dict[str, Any]]: ...


@dataclass(frozen=True)
class Functions:
    """A forward and a backward function.

    `forward(*inputs, **params)` returns its outputs, and then `backward(dy, *inputs, **params)` is called; or it
    returns (outputs, cache), and then `backward(dy, cache)` is. Where there are several outputs, `backward` takes one
    upstream gradient for each, or all of them in one argument, as its signature says.
    """

    forward: Callable[..., Any]
    backward: Callable[..., Any]

    def run(self, structure: Structure, given: Given, upstream: Upstream | None) -> tuple[Any, dict[str, Any]]:
        outputs, cache = split(structure, self.forward(*given.positional, **given.parameters))
        if upstream is None:
            return outputs, {}
        rest, named = (given.positional, given.parameters) if cache is NO_CACHE else ((cache,), {})
        first = upstream_arguments(self.backward, structure, upstream, len(rest), named)
        return outputs, by_name(self.backward(*first, *rest, **named), given)


@dataclass(frozen=True)
class Combined:
    """One function that returns its output, a single number, and the gradients."""

    function: Callable[..., Any]

    def run(self, structure: Structure, given: Given, upstream: Upstream | None) -> tuple[Any, dict[str, Any]]:
        result = self.function(*given.positional, **given.parameters)
        if not isinstance(result, tuple) or len(result) < 2:
            raise UsageError(
                "one function alone must return a number and its gradients, (J, gradients), got "
                f"{type(result).__name__}: or give a pair (forward, backward) of functions"
            )
        J, *gradients = result
        return J, {} if upstream is None else by_name(gradients[0] if len(gradients) == 1 else tuple(gradients), given)


@dataclass(frozen=True)
class Layer:
    """An object with forward(params, *inputs) → (outputs, cache), input_gradient and parameter_gradients."""

    layer: Any

    def run(self, structure: Structure, given: Given, upstream: Upstream | None) -> tuple[Any, dict[str, Any]]:
        outputs, cache = self.layer.forward(given.parameters, *given.positional)
        if upstream is None:
            return outputs, {}
        gradients = self.layer.input_gradient(given.parameters, cache, upstream.structured)
        found = by_name(gradients, given._replace(parameters={}))
        if hasattr(self.layer, "parameter_gradients"):
            found |= self.layer.parameter_gradients(given.parameters, cache, upstream.structured)
        return outputs, found


def by_name(result: Any, given: Given) -> dict[str, Any]:
    """The gradients that a backward pass returns, by the names of what they belong to.

    A dictionary has the names; a tuple the order of the inputs and after them of the parameters, with or without those
    that have no gradient; an array alone is the gradient of the first input. A dictionary of parameters may come last.
    """
    if isinstance(result, Mapping):
        return {str(k): v for k, v in result.items() if v is not None}
    inputs = [name for name in given.arguments if name not in given.constants]
    if not isinstance(result, (tuple, list)):
        return {(inputs or list(given.parameters) or [""])[0]: result}
    if isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], Mapping):
        return by_name(result[0], given._replace(parameters={})) | by_name(result[1], given)
    orders = [
        [*given.arguments, *given.parameters],
        [*inputs, *given.parameters],
        list(given.arguments),
        inputs,
    ]
    for order in orders:
        if len(order) == len(result):
            return {name: g for name, g in zip(order, result, strict=True) if g is not None}
    if len(inputs) + len(given.parameters) == 1:
        return {(inputs or list(given.parameters))[0]: result}  # a list where an array belongs
    raise UsageError(
        f"backward must return a gradient for each of {', '.join(orders[1])}, in this order or by name, got "
        f"{len(result)}: return a tuple of {len(orders[1])}, or a dictionary"
    )


def upstream_arguments(
    function: Any, structure: Structure, upstream: Upstream, rest: int, named: Mapping[str, Any]
) -> tuple[Any, ...]:
    """The upstream gradients as the function takes them: one argument each, or all in one."""
    if structure.is_array:
        return (upstream.structured,)
    together = (upstream.each[0],) if len(upstream.each) == 1 else (upstream.structured,)
    try:
        parameters = [p for p in inspect.signature(function).parameters.values() if p.name not in named]
    except (TypeError, ValueError):
        return upstream.each
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if structure.mapping and (named_so := [p.name for p in positional if p.name in upstream.structured]):
        each = {k: v for k, v in upstream.structured.items() if v is not None}
        if set(named_so) == set(each):  # it calls its arguments as the outputs are called
            return tuple(each[name] for name in named_so)
    needed = sum(p.default is p.empty for p in positional)
    open_ended = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    takes = range(needed, 10**6 if open_ended else len(positional) + 1)
    for form in (upstream.each, together):
        if len(form) + rest in takes:
            return form
    raise UsageError(
        f"backward must take {len(upstream.each)} upstream gradients, or all of them in one tuple or dictionary, and "
        f"{rest} more ({'the cache, or ' if rest == 1 else ''}the inputs), but it takes {needed}: change its arguments"
    )
