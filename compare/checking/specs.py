"""What an input may be given as: a shape, which may have names of sizes, values, or what else is to be drawn."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from handgrad.compare.foundation.errors import UsageError
from handgrad.compare.foundation.validation import is_whole

# What a named size is in a draw: no two alike, none 1; and in another one. Primes, or one beside a power of two.
BEYOND = 128  # what a size is moved by, so that it is beyond a hundred
LARGEST = 1 << 16  # numbers of an input of which a size is changed
SIZES, OTHER_SIZES = (3, 5, 7, 11, 13, 17, 19, 23), (4, 2, 9, 6, 15, 10, 21, 14)

Size = int | str
Shape = tuple[Size, ...]


@dataclass(frozen=True)
class Indices:
    """Whole numbers from 0 to below `below`."""

    below: Size
    shape: Shape


@dataclass(frozen=True)
class Mask:
    """True and False, both of them in every line of the last axis that has room for both."""

    shape: Shape


@dataclass(frozen=True)
class Constant:
    """Numbers that nothing is differentiated by."""

    spec: Any


def indices(below: Size, shape: Size | Shape) -> Indices:
    """An input of whole numbers, 0 … below − 1, as of classes or tokens; the smallest, the largest and repeated ones
    are among them. Sizes may be named.
    """
    return Indices(below, _as_shape(shape))


def mask(shape: Size | Shape) -> Mask:
    """An input of True and False, both in every line of the last axis."""
    return Mask(_as_shape(shape))


def constant(spec: Any) -> Constant:
    """An input that has no gradient: a shape, an array, or a function of a generator, as for any other."""
    return Constant(spec)


def _as_shape(shape: Any) -> Shape:
    return tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)


def is_shape(spec: Any) -> bool:
    """Whether it is a tuple of sizes, whole numbers or names."""
    return isinstance(spec, tuple) and all(is_whole(n) or isinstance(n, str) for n in spec)


def free_shape(spec: Any) -> Shape | None:
    """The shape of an input of which we may choose the values; None where they are given."""
    spec = spec.spec if isinstance(spec, Constant) else spec
    if isinstance(spec, (Indices, Mask)):
        return spec.shape
    if is_whole(spec):
        return (spec,)
    return spec if is_shape(spec) else None


def below(spec: Any) -> int | None:
    """What the whole numbers of a spec lie below; None where it does not say."""
    return int(spec.below) if isinstance(spec, Indices) else None


def sizes_of(spec: Any) -> Iterable[Size]:
    """Every size that is written in a spec."""
    inner = spec.spec if isinstance(spec, Constant) else spec
    return (*(free_shape(spec) or ()), *((inner.below,) if isinstance(inner, Indices) else ()))


def named_sizes(specs: Iterable[Any]) -> list[str]:
    """The names of sizes, each once, in the order in which they are written."""
    found = dict.fromkeys(n for spec in specs for n in sizes_of(spec) if isinstance(n, str))
    for name in found:
        if not name.isidentifier():
            raise UsageError(f"a size must be a whole number or a name such as 'n', got {name!r}: choose another name")
    return list(found)


def chosen(names: Sequence[str], specs: Iterable[Any], among: Sequence[int]) -> dict[str, int]:
    """A size for every name: each another one, and none that is written in a spec."""
    written = {n for spec in specs for n in sizes_of(spec) if not isinstance(n, str)}
    free = [n for n in among if n not in written]
    more = max([*among, *written], default=0)
    free += range(more + 1, more + 1 + len(names))
    return dict(zip(names, free, strict=False))


def with_sizes(spec: Any, sizes: dict[str, int]) -> Any:
    """The spec with numbers for the names of sizes."""

    def number(n: Size) -> int:
        return sizes[n] if isinstance(n, str) else int(n)

    if isinstance(spec, Constant):
        return Constant(with_sizes(spec.spec, sizes))
    if isinstance(spec, Indices):
        return Indices(number(spec.below), tuple(map(number, spec.shape)))
    if isinstance(spec, Mask):
        return Mask(tuple(map(number, spec.shape)))
    shape = free_shape(spec)
    return spec if shape is None else tuple(map(number, shape))


def with_first_axis(spec: Any, size: int, other: int) -> Any:
    """The spec with another length of the first axis, where it has this one."""
    if isinstance(spec, Constant):
        return Constant(with_first_axis(spec.spec, size, other))
    shape = free_shape(spec)
    if not shape or shape[0] != size:
        return spec
    resized = (other, *shape[1:])
    if isinstance(spec, Indices):
        return Indices(spec.below, resized)
    return Mask(resized) if isinstance(spec, Mask) else resized


def other_sizes(specs: Mapping[str, Any], arguments: Sequence[str]) -> list[dict[str, Any]]:
    """The specs, which have numbers for sizes, with one size changed at a time: by one, beyond a hundred, to one, and
    to each of the other sizes.

    A size is changed wherever it stands in the arguments, and in the parameters too where it is no batch.
    """
    sizes = list(dict.fromkeys(int(n) for v in specs.values() if arguments for n in free_shape(v) or ()))
    alike = [{k: _with_size(v, a, b) for k, v in specs.items()} for a in sizes for b in sizes if a != b]
    return [*_moved(specs, arguments, (1, BEYOND, None)), *filter(_is_small, alike)]


def larger_sizes(specs: Mapping[str, Any], arguments: Sequence[str]) -> list[dict[str, Any]]:
    """The specs, which have numbers for sizes, with one size at a time that is beyond a hundred."""
    return _moved(specs, arguments, (BEYOND,))


def _moved(specs: Mapping[str, Any], arguments: Sequence[str], by: Sequence[int | None]) -> list[dict[str, Any]]:
    """The specs with one size of the first input moved at a time; to 1, where it says None."""
    first = next((shape for k in arguments if (shape := free_shape(specs[k]))), ())
    found = []
    for axis, size in enumerate(map(int, first)):
        moved = arguments if axis == 0 else list(specs)
        for other in (1 if n is None else size + n for n in by):
            found.append({k: _resized(v, size, other, axis) if k in moved else v for k, v in specs.items()})
    return list(filter(_is_small, found))


def _is_small(specs: Mapping[str, Any]) -> bool:
    return all(math.prod(map(int, free_shape(v) or ())) <= LARGEST for v in specs.values())


def _with_size(spec: Any, size: int, other: int) -> Any:
    """The spec with one size for another, wherever it stands."""
    if isinstance(spec, Constant):
        return Constant(_with_size(spec.spec, size, other))
    if (shape := free_shape(spec)) is None:
        return spec
    new = tuple(other if n == size else n for n in shape)
    if isinstance(spec, Indices):
        return Indices(spec.below, new)
    return Mask(new) if isinstance(spec, Mask) else new


def _resized(spec: Any, size: int, other: int, axis: int) -> Any:
    if isinstance(spec, Constant):
        return Constant(_resized(spec.spec, size, other, axis))
    shape = free_shape(spec)
    if not shape:
        return spec
    if axis == 0:
        return with_first_axis(spec, size, other)
    shape = tuple(other if n == size and i else n for i, n in enumerate(shape))
    if isinstance(spec, Indices):
        return Indices(spec.below, shape)
    return Mask(shape) if isinstance(spec, Mask) else shape


def drawn(spec: Indices | Mask, rng: np.random.Generator) -> np.ndarray:
    """An array for a spec with numbers for sizes."""
    shape = tuple(int(n) for n in spec.shape)
    if isinstance(spec, Mask):
        keep = rng.random(shape) < 0.5
        if shape and shape[-1] > 1:
            keep[..., 0], keep[..., -1] = True, False
            keep = rng.permuted(keep, axis=-1)
        return keep
    if not is_whole(spec.below) or int(spec.below) < 1:
        raise UsageError(f"indices must lie below a whole number of at least 1, got {spec.below!r}: choose another")
    values = rng.integers(0, int(spec.below), shape)
    some = rng.permutation(values.size)[:3]
    values.flat[some] = (0, int(spec.below) - 1, 0)[: len(some)]  # the ends, and one of them twice
    return values


def as_given(value: Any) -> Any:
    """A tensor or a parameter of torch as an array; anything else as it is."""
    if isinstance(value, torch.Tensor):
        if value.dtype == torch.bfloat16:
            value = value.float()
        return value.detach().cpu().resolve_conj().numpy().copy()
    return value
