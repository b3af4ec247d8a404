"""What a function returns: one array, or several in a tuple or a dictionary, nested or not, each with a name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from handgrad.compare.foundation.errors import UsageError

NO_CACHE: Any = object()  # a forward pass that returns its outputs alone


@dataclass(frozen=True)
class Structure:
    """Whether a result is one array, a sequence or a dictionary, and of which parts; an array has none."""

    parts: tuple[tuple[str, Structure], ...] = ()
    mapping: bool = False

    @property
    def is_array(self) -> bool:
        """Whether it is one array."""
        return not self.parts

    def names(self, prefix: str = "") -> Iterator[str]:
        """The name of every array, in order: the empty one, or keys and positions with dots between."""
        if self.is_array:
            yield prefix
        for key, part in self.parts:
            yield from part.names(f"{prefix}.{key}" if prefix else key)

    def flatten(self, value: Any) -> dict[str, Any]:
        """The arrays of a value of this structure by name."""
        if self.is_array:
            return {"": value}
        found: dict[str, Any] = {}
        for item, (key, part) in zip(self._items(value), self.parts, strict=True):
            found |= {f"{key}.{name}" if name else key: leaf for name, leaf in part.flatten(item).items()}
        return found

    def filled(self, arrays: Mapping[str, Any], prefix: str = "") -> Any:
        """A tuple or dictionary of this structure from arrays by name; None where there is none."""
        if self.is_array:
            return arrays.get(prefix)
        items = {key: part.filled(arrays, f"{prefix}.{key}" if prefix else key) for key, part in self.parts}
        return items if self.mapping else tuple(items.values())

    def fits(self, value: Any) -> bool:
        """Whether a value has this structure: as many parts, or the same keys."""
        if self.is_array:
            return not isinstance(value, (tuple, list, Mapping))
        if self.mapping:
            same = isinstance(value, Mapping) and value.keys() == dict(self.parts).keys()
        else:
            same = isinstance(value, (tuple, list)) and len(value) == len(self.parts)
        return same and all(part.fits(v) for v, (_, part) in zip(self._items(value), self.parts, strict=True))

    def _items(self, value: Any) -> Sequence[Any]:
        return [value[key] for key, _ in self.parts] if self.mapping else list(value)

    def __str__(self) -> str:
        if self.is_array:
            return "one array"
        return f"{'a dictionary' if self.mapping else 'a tuple'} of {', '.join(self.names())}"


ONE_ARRAY = Structure()


def structure_of(value: Any, is_leaf: Callable[[Any], bool]) -> Structure:
    """The structure of what a reference returns; TypeError where something in it is no leaf."""
    if is_leaf(value):
        return Structure()
    if isinstance(value, Mapping) and value:
        return Structure(tuple((str(k), structure_of(v, is_leaf)) for k, v in value.items()), mapping=True)
    if isinstance(value, (tuple, list)) and value:
        keys = getattr(value, "_fields", map(str, range(len(value))))
        return Structure(tuple((k, structure_of(v, is_leaf)) for k, v in zip(keys, value, strict=True)))
    raise TypeError(f"it must return tensors, alone or in a tuple or a dictionary, got {_what(value)}")


def split(structure: Structure, result: Any) -> tuple[Any, Any]:
    """(outputs, cache) of what a forward pass returns, the cache NO_CACHE where there is none.

    Raises UsageError where it is not clear which is which, or where there are not as many outputs as torch has.
    """
    if structure.is_array:
        if not isinstance(result, tuple):
            return result, NO_CACHE
        if len(result) == 2:
            return result
        raise UsageError(
            "forward must return what the reference does, one array, or that and a cache, got a tuple of "
            f"{len(result)}: return (y, cache), with all that backward needs in the cache, or give a reference with as "
            "many outputs"
        )
    if isinstance(result, tuple) and len(result) == 2 and structure.fits(result[0]):
        return result
    if structure.fits(result):
        return result, NO_CACHE
    if not structure.mapping and isinstance(result, (tuple, list)) and structure.fits(result[:-1]):
        return result[:-1], result[-1]
    raise UsageError(
        f"forward must return what the reference does, {structure}, and after it a cache, if there is one; "
        f"got {_what(result)}: return the same outputs in the same order"
    )


def _what(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, Mapping):
        return f"a dictionary of {', '.join(map(str, value)) or 'nothing'}"
    return type(value).__name__
