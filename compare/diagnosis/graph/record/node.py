"""One operation of the reference, the edges to its arguments, and the rule by which δ flows along an edge."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeGuard

import torch

from handgrad.compare.foundation.torch_internals import operation_name, tree_leaves

Tensor = torch.Tensor
# An operation, the place of one of its arguments, the operation that the argument is. With place JUMP: an operation and
# an earlier one that everything before it goes through.
Edge = tuple[int, int, int]
JUMP = -1
Rule = Callable[[Tensor], Tensor]  # δ of an operation → δ that flows along an edge


class Ref(NamedTuple):
    """The result of an earlier operation, as an argument."""

    index: int  # type: ignore[assignment]  # a tuple has a method of this name, which nobody calls here


class Replacement(NamedTuple):
    """A rule in the place of the right one, and a factor before it.

    `borrowed` is a later operation whose δ it takes, as it is by then (what is wrong there stays wrong), and what that
    δ is where nothing else is wrong.
    """

    rule: Rule
    factor: float = 1.0
    borrowed: tuple[int, Tensor] | None = None

    def of(self, up: Tensor, flows: Mapping[int, Any]) -> Tensor:
        """What flows along the edge, given δ of the operation and what flows so far."""
        made = self.rule(up if self.borrowed is None else flows.get(*self.borrowed))
        return made if self.factor == 1 else self.factor * made


def is_ref(x: Any) -> TypeGuard[Ref]:
    """Whether it is one."""
    return isinstance(x, Ref)


def is_float(x: Any) -> TypeGuard[Tensor]:
    """Whether it is a tensor of floating-point numbers."""
    return isinstance(x, Tensor) and x.is_floating_point()


def is_like(a: Any, b: Any) -> bool:
    """Whether the first is a tensor of floating-point numbers and has the shape of the second."""
    return is_float(a) and a.shape == b.shape


def fits_into(a: Tensor, shape: Sequence[int]) -> bool:
    """Whether a tensor can be broadcast to a shape."""
    return a.dim() <= len(shape) and all(m in (1, n) for m, n in zip(a.shape[::-1], shape[::-1], strict=False))


@dataclass(eq=False)
class Node:
    """One operation of the reference with its result; where op is None, an input, a constant, or one result of
    several.
    """

    index: int
    op: Any
    args: Any
    kwargs: Any
    value: Any
    name: str = ""
    item: int | None = None  # which of its source's results this is
    place: int = 0  # where in the code it is: the same for every turn of a loop
    instead: Callable[[list[Any]], Any] | None = None  # what an edit makes of its arguments that are results

    def __post_init__(self) -> None:
        leaves = tree_leaves((self.args, self.kwargs), is_leaf=is_ref)
        self._sources = [a.index for a in leaves if is_ref(a)]
        self.flat = len(self._sources) == sum(is_ref(a) for a in self.args)  # no list of results among the arguments
        self.operation = "" if self.op is None else operation_name(self.op)  # mul, sigmoid; empty for an input

    def sources(self) -> list[int]:
        """The operations whose results are its arguments, in order, each as often as it is used."""
        return self._sources


class Call(NamedTuple):
    """One of torch's losses as it was called: its name, the operation that is its result, and its arguments."""

    loss: str
    at: int
    given: dict[str, Any]  # Ref for what is a result of the trace
