"""Dataclasses and named tuples as JSON, and back: what comes back is of the declared types, or refused."""

from __future__ import annotations

import dataclasses
import types
from typing import Any, Union, get_args, get_origin, get_type_hints

import numpy as np


def as_plain(x: Any) -> Any:
    """The same of dictionaries, lists, strings, numbers and None alone. NaN and ±∞ stay what they are."""
    if dataclasses.is_dataclass(x) and not isinstance(x, type):
        return {f.name: as_plain(getattr(x, f.name)) for f in dataclasses.fields(x)}
    if isinstance(x, tuple) and hasattr(x, "_asdict"):
        return {name: as_plain(value) for name, value in x._asdict().items()}
    if isinstance(x, dict):
        return {key: as_plain(value) for key, value in x.items()}
    if isinstance(x, (set, frozenset)):
        return [as_plain(value) for value in sorted(x)]
    if isinstance(x, (list, tuple)):
        return [as_plain(value) for value in x]
    return x.item() if isinstance(x, np.generic) else x


def revive(kind: Any, x: Any) -> Any:
    """What `as_plain` made of a value of this type. ValueError where it is something else."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return x
    if origin in (Union, types.UnionType):
        return _first_that_fits(arguments, x)
    if kind in (None, types.NoneType):
        return _require(x is None, kind, x)
    if kind is float:  # a whole number stays one, because report.json tells 0 from 0.0
        return _require(isinstance(x, (int, float)) and not isinstance(x, bool), kind, x)
    if kind in (int, str, bool):
        return _require(type(x) is kind, kind, x)
    if isinstance(kind, type) and (dataclasses.is_dataclass(kind) or hasattr(kind, "_fields")):
        hints = get_type_hints(kind)
        _require(isinstance(x, dict) and x.keys() == hints.keys(), kind, x)
        return kind(**{name: revive(hint, x[name]) for name, hint in hints.items()})
    if origin is dict:
        _require(isinstance(x, dict), kind, x)
        return {revive(arguments[0], key): revive(arguments[1], value) for key, value in x.items()}
    _require(isinstance(x, list), kind, x)
    if origin is tuple and arguments[-1:] != (...,):
        _require(len(x) == len(arguments), kind, x)
        return tuple(revive(a, value) for a, value in zip(arguments, x, strict=True))
    if origin in (tuple, list, set):
        return origin(revive(arguments[0], value) for value in x)
    raise TypeError(f"no rule revives a {kind}: declare it of dataclasses, containers and plain values")


def _first_that_fits(kinds: tuple[Any, ...], x: Any) -> Any:
    for kind in kinds:
        try:
            return revive(kind, x)
        except ValueError:
            continue
    raise ValueError(f"expected one of {kinds}, got {x!r:.50}")


def _require(condition: bool, kind: Any, x: Any) -> Any:
    if not condition:
        raise ValueError(f"expected {getattr(kind, '__name__', kind)}, got {x!r:.50}")
    return x
