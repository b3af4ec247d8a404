"""The forms in which people have a derivation, each made into one forward and one backward pass."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np

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
        first = _upstream_arguments(self.backward, structure, upstream, len(rest), named)
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


@dataclass(frozen=True)
class Stateful:
    """An object that keeps what it needs: `y = o.forward(*inputs)`, `dx = o.backward(dy)`, gradients as attributes.

    factory     makes it anew for every evaluation
    gradients   {attribute of a parameter: attribute of its gradient after backward}
    state       attributes that the forward pass changes, such as running statistics, compared as outputs

    An attribute may lie deeper: "cell.W" is o.cell.W, and "params.W" is o.params["W"] where params is a dictionary.
    """

    factory: Callable[[], Any]
    gradients: Mapping[str, str] = field(default_factory=dict)
    state: tuple[str, ...] = ()
    forward: str = "forward"
    backward: str = "backward"

    @property
    def paths(self) -> dict[str, str]:
        """The path of every parameter by its name: the last part of the path, or all of it where two end alike."""
        last = [path.rpartition(".")[2] for path in self.gradients]
        names = last if len(set(last)) == len(last) else [path.replace(".", "_") for path in self.gradients]
        return dict(zip(names, self.gradients, strict=True))

    @property
    def kind(self) -> str:
        """What the factory makes, as reports name it."""
        try:
            return type(self.factory()).__name__
        except Exception as problem:
            raise UsageError(
                f"the layer must be made by its function, but that raises {type(problem).__name__}: {problem}: mend it"
            ) from problem

    def run(self, structure: Structure, given: Given, upstream: Upstream | None) -> tuple[Any, dict[str, Any]]:
        thing = self.factory()
        paths = self.paths
        for name, value in given.parameters.items():
            _assign(thing, paths.get(name, name), value)
        outputs = _method(thing, self.forward)(*given.positional)
        found: dict[str, Any] = {}
        if upstream is not None:
            main = dict(structure.parts).get("output", structure) if self.state else structure
            backward = _method(thing, self.backward)
            first = _upstream_arguments(backward, main, _of_the_main_output(upstream, self.state), 0, {})
            found = by_name(backward(*first), given._replace(parameters={}))
            found |= {name: look_up(thing, self.gradients[path]) for name, path in paths.items()}
        state = {name: look_up(thing, name) for name in self.state}  # which backward must leave as it is
        return ({"output": outputs, **state} if self.state else outputs), found


def _of_the_main_output(upstream: Upstream, state: tuple[str, ...]) -> Upstream:
    """Without what belongs to the state, which is differentiated by nothing."""
    return Upstream(upstream.structured["output"], upstream.each) if state else upstream


def stateful(
    factory: Callable[[], Any],
    gradients: Mapping[str, str] | None = None,
    *,
    state: Sequence[str] = (),
    forward: str = "forward",
    backward: str = "backward",
) -> Stateful:
    """A layer that keeps its parameters, what backward needs, and its gradients, as most libraries write it.

        check(stateful(lambda: Linear(4, 3), gradients={"W": "dW", "b": "db"}), reference, inputs={"x": ("n", 4)})

    `factory` makes it anew for each evaluation; its parameters are set to the drawn ones before `forward`, and its
    gradients read after `backward`. `state` names what `forward` changes, such as running statistics: it is compared
    with the buffers of the same names of a module, or with what the reference returns besides: {"output": y,
    "running_mean": m}. An attribute may lie deeper: "cell.W", or "params.W" for an entry of a dictionary; the reference
    and the report call it W, or params_W where another parameter ends alike.
    """
    if not callable(factory) or (hasattr(factory, backward) and not isinstance(factory, type)):
        kind = type(factory).__name__
        raise UsageError(f"stateful takes a function that makes the layer anew, got a {kind}: write lambda: {kind}(…)")
    return Stateful(factory, dict(gradients or {}), tuple(state), forward, backward)


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


def _upstream_arguments(
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


def _method(thing: Any, name: str) -> Any:
    method = getattr(thing, name, None)
    if not callable(method):
        raise UsageError(
            f"a layer with state must have a method {name}, but {type(thing).__name__} has none: "
            f"name its own, stateful(…, {'forward' if name == 'forward' else 'backward'}=…)"
        )
    return method


def look_up(thing: Any, path: str) -> Any:
    """An attribute, an entry of a dictionary or an item, at the end of a path with dots; UsageError where it is not."""
    for key in path.split("."):
        try:
            thing = _step(thing, key)
        except (AttributeError, KeyError, IndexError, ValueError):
            raise UsageError(
                f"{path} must be an attribute of the layer, but {type(thing).__name__} has no {key}: name another"
            ) from None
    return thing


def _step(thing: Any, key: str) -> Any:
    if isinstance(thing, Mapping):
        return thing[key]
    return thing[int(key)] if isinstance(thing, (list, tuple)) else getattr(thing, key)


def _assign(thing: Any, path: str, value: Any) -> None:
    """Put a value where the path leads, and wherever else the object holds the same array.

    A layer may have a name of its own for a parameter that stands in a dictionary of the network.
    """
    where, _, key = path.rpartition(".")
    before = look_up(thing, path)
    _put(look_up(thing, where) if where else thing, key, value)
    if isinstance(before, np.ndarray):
        _exchange(thing, before, value, set())


def _put(owner: Any, key: Any, value: Any) -> None:
    if isinstance(owner, list):
        owner[int(key)] = value
    elif isinstance(owner, dict):
        owner[key] = value
    else:
        setattr(owner, key, value)


def _exchange(thing: Any, before: np.ndarray, value: Any, seen: set[int]) -> None:
    """The value in the place of the array in all that the object holds."""
    if id(thing) in seen or isinstance(thing, (type, np.ndarray, str, bytes)):
        return
    seen.add(id(thing))
    if isinstance(thing, (list, tuple)):
        held: Any = dict(enumerate(thing))
    else:
        held = thing if isinstance(thing, dict) else getattr(thing, "__dict__", {})
    for key, item in list(held.items()):
        if item is before and not isinstance(thing, tuple):
            _put(thing, key, value)
        else:
            _exchange(item, before, value, seen)
