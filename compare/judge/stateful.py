"""An object that keeps what it needs between its passes, as most libraries write a layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from handgrad.compare.foundation.errors import UsageError
from handgrad.compare.judge.derivations import Given, Upstream, by_name, upstream_arguments
from handgrad.compare.judge.structure import Structure
from handgrad.compare.rounding.bounded import Bounded


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
            first = upstream_arguments(backward, main, _of_the_main_output(upstream, self.state), 0, {})
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
    before = look_up(thing, path)
    put(thing, path, value)
    if isinstance(before, (np.ndarray, Bounded)):  # one of these where it has been called before
        _exchange(thing, before, value, set())


def put(thing: Any, path: str, value: Any) -> None:
    """A value in the place of the attribute, the entry or the item at the end of a path with dots."""
    where, _, key = path.rpartition(".")
    _put(look_up(thing, where) if where else thing, key, value)


def _put(owner: Any, key: Any, value: Any) -> None:
    if isinstance(owner, list):
        owner[int(key)] = value
    elif isinstance(owner, dict):
        owner[key] = value
    else:
        setattr(owner, key, value)


def _exchange(thing: Any, before: Any, value: Any, seen: set[int]) -> None:
    """The value in the place of the array in all that the object holds."""
    if id(thing) in seen or isinstance(thing, (type, np.ndarray, Bounded, str, bytes)):
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
