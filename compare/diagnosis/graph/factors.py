"""The factors that a term of a derivation loses or gains: general ones, sizes, and the formula's own numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from handgrad.compare.diagnosis.graph.details import Details
from handgrad.compare.diagnosis.graph.factor_kinds import FACTORS
from handgrad.compare.diagnosis.graph.record.node import Node, Tensor
from handgrad.compare.diagnosis.graph.record.operations import AVERAGE_POOLS, MOVES, PRODUCTS, UPSAMPLED
from handgrad.compare.diagnosis.graph.record.trace import Trace
from handgrad.compare.diagnosis.likelihood import AND_SIGN
from handgrad.compare.diagnosis.whole.factors import constants
from handgrad.compare.judge.case import Case


class Name(NamedTuple):
    """What a factor is, the same on every draw: its kind and details, and whether it has the wrong sign too."""

    kind: str
    details: Details = ()
    signed: bool = False


NONE, MISSING, FITTED, SIGN = Name("none"), Name("missing"), Name("fitted"), Name("sign")
# Round numbers, with what is missing where they are too small; the 2 and the ½ are among the general ones.
ROUND = {
    ("3", ""): 3.0, ("⅓", "3"): 1 / 3, ("4", ""): 4.0, ("¼", "4"): 0.25, ("√2", ""): 2**0.5, ("1/√2", "√2"): 0.5**0.5,
}  # fmt: skip


class Factor(NamedTuple):
    """A factor that a term may have too much, and where: `at` are the operations of the constant that it is made of.

    It is that constant left out or applied twice only on a path that one of them is on; elsewhere, with `inside`
    false, the same number is the constant where it does not belong.
    """

    complexity: int
    value: float
    at: frozenset[int] = frozenset()
    inside: bool = True

    def fits(self, way: frozenset[int]) -> bool:
        """Whether it may be said of a path over these operations."""
        return not self.at or bool(self.at & way) == self.inside


Named = tuple[Name, Factor]


def _of(kind: str, value: float, /, at: frozenset[int] = frozenset(), inside: bool = True, **details: Any) -> Named:
    return Name(kind, tuple(details.items())), Factor(FACTORS[kind].tier, value, at, inside)


def factors(case: Case, trace: Trace) -> dict[Name, Factor]:
    """The factors by their names, the likelier first; of two names for one value here both are kept."""
    general = [c for c in constants(case) if len(c.names) == 1]
    found = [
        (SIGN if c.value == -1 else Name("general", (("text", c.names[0]),)), Factor(c.complexity, c.value))
        for c in general
    ]
    found += [*_of_a_constant(trace), *_instead_of_a_constant(trace), *of_windows(trace)]
    for n in _sizes(trace):
        if not any(abs(n - c.value) < 1e-9 for c in general):
            for kind, power in (("size", 1.0), ("root of a size", 0.5)):
                found.append(_of(kind, n**power, size=n, lost=True))
                found.append(_of(kind, n**-power, size=n, lost=False))
    found += [_of("round", value, text=text, lost=lost) for (text, lost), value in ROUND.items()]
    signed = [
        (name._replace(signed=True), f._replace(complexity=f.complexity + AND_SIGN, value=-f.value))
        for name, f in found
        if f.value != -1
    ]
    named: dict[Name, Factor] = {}
    for name, factor in sorted([*found, *signed], key=lambda f: f[1].complexity):
        named.setdefault(name, factor)
    return named


def _of_a_constant(trace: Trace) -> Iterator[Named]:
    """A constant of the reference left out, applied twice, or applied where it does not belong."""
    everywhere: dict[float, frozenset[int]] = {}
    for (a, divides), at in _constants(trace).items():
        everywhere[a] = everywhere.get(a, frozenset()) | at
        if at:  # otherwise it is no factor anywhere: a threshold, an exponent
            yield _of("constant left out", a if divides else 1 / a, at, number=a, divides=divides)
            yield _of("constant twice", 1 / a if divides else a, at, number=a, divides=divides)
    for a, at in everywhere.items():
        yield _of("constant misplaced", a, at, False, number=a, divides=False)
        yield _of("constant misplaced", 1 / a, at, False, number=a, divides=True)


def _instead_of_a_constant(trace: Trace) -> Iterator[Named]:
    """Another constant of the reference, or one minus it, in the place of one; or of the size of another axis."""
    own = {key: at for key, at in _constants(trace).items() if at}
    for (a, divides), at in own.items():
        others = [("another constant", abs(b)) for b, _ in own]
        for kind, b in dict.fromkeys([*others, ("one minus a constant", 1 - abs(a))]):
            if b not in (0.0, 1.0, a, -a):
                yield _of(kind, abs(a) / b if divides else b / abs(a), at, number=abs(a), other=b)
        for other, value in _other_sizes(trace, a, 1 / a if divides else a):
            yield _of("constant of another size", value, at, number=a, divides=divides, other=other)


def own_factors(trace: Trace, target: str) -> Iterator[Named]:
    """What a whole gradient is multiplied with where a constant factor of the reference is left out of it or applied
    twice.

    A factor of 2 has many stories; that the reference has a 2 where the gradient passes is the first. A constant that
    the gradient does not pass may have been put where it does not belong.
    """
    leading = scaling(trace, trace.leading_to(trace.inputs[target])) if target in trace.inputs else frozenset()
    for node in trace.nodes:
        divides = node.operation == "div"
        for a in _plain_numbers(trace, node, node.args) if divides or node.operation == "mul" else ():
            if not np.isfinite(a) or a in (0.0, 1.0, -1.0):
                continue
            factor = 1 / a if divides else a
            what: dict[str, Any] = {"number": a, "divides": divides, "node": node.index}
            if node.index in leading:
                yield _of("own left out", 1 / factor, **what)
                yield _of("own twice", factor, **what)
            else:
                yield _of("own misplaced", factor, **what)
            for other, value in _other_sizes(trace, a, factor):
                yield _of("own of another size", value, **what, other=other)


def _other_sizes(trace: Trace, a: float, factor: float) -> Iterator[tuple[float, float]]:
    """(the number, what the gradient is then multiplied with) for a number that is a power of another axis's size."""
    for other in other_sizes(trace, a):
        yield other, other / a if abs(factor - a) < 1e-12 * a else a / other


def other_sizes(trace: Trace, a: float) -> Iterator[float]:
    """What a number that is a power of a whole number, √3 or 1/3, is with the size of another axis."""
    for power in (0.5, -0.5, 1.0, -1.0) if a > 0 else ():
        if abs(a ** (1 / power) - round(a ** (1 / power))) < 1e-9:
            yield from (n**power for n in _sizes(trace) if abs(n**power - a) > 1e-9)
            return


def scaling(trace: Trace, leading: frozenset[int]) -> frozenset[int]:
    """The operations that the gradient passes, and those that are a factor of what it passes."""
    found = set(leading)
    for node in reversed(trace.nodes):
        if node.index in found and node.operation in PRODUCTS | MOVES:
            found.update(node.sources())
    return frozenset(found)


def _plain_numbers(trace: Trace, node: Node, given: Iterable[Any]) -> list[float]:
    """The numbers among an operation's arguments, as they stand or as constants without a shape."""
    numbers = [float(a) for a in given if isinstance(a, (int, float)) and not isinstance(a, bool)]
    sources = [trace.nodes[s] for s in node.sources()]
    scalars = [n.value for n in sources if n.op is None and not n.args and isinstance(n.value, Tensor)]
    return numbers + [float(v) for v in scalars if v.dim() == 0]


def _constants(trace: Trace) -> dict[tuple[float, bool], frozenset[int]]:
    """The numbers that stand in the reference, and whether they are divided by → the operations that they are
    factors of.
    """

    def work() -> dict[tuple[float, bool], frozenset[int]]:
        own: dict[tuple[float, bool], set[int]] = {}
        for node in trace.nodes:
            scales, divides = node.operation in ("mul", "div"), node.operation == "div"
            for a in _plain_numbers(trace, node, (*node.args, *node.kwargs.values())) if node.op is not None else ():
                if a in (2.0, 0.5) and not scales:  # the 2 of a square is named as such
                    continue
                if a not in (0.0, 1.0, -1.0) and np.isfinite(a) and 1e-6 < abs(a) < 1e6:
                    own.setdefault((a, divides), set()).update({node.index} if scales else ())
        known = {a for (a, _), at in own.items() if at}
        return {(a, d): frozenset(at) for (a, d), at in own.items() if at or a not in known}

    return trace.once("constants", work)


def of_windows(trace: Trace) -> Iterator[Named]:
    """The size of what a mean is taken over: a pool's window, or several axes, or one of them."""
    for node in trace.nodes:
        if node.operation in UPSAMPLED:
            times = math.prod(node.value.shape) // math.prod(trace.source(node).value.shape)
            yield _of("enlargement averaged", 1 / times, node=node.index, whole=times)
            continue
        if node.operation in AVERAGE_POOLS:
            sizes = [int(k) for k in node.args[1]]
        elif node.operation == "mean" and len(node.args) > 1 and isinstance(node.args[1], (list, tuple)):
            sizes = [int(trace.source(node).value.shape[a]) for a in node.args[1]]
        else:
            continue
        whole = math.prod(sizes)
        if node.operation in AVERAGE_POOLS or sum(k > 1 for k in sizes) > 1:
            yield _of("window not divided", float(whole), node=node.index, whole=whole)
            yield _of("window divided twice", 1 / whole, node=node.index, whole=whole)
        for k in dict.fromkeys(sizes):
            if 1 < k < whole:
                yield _of("window divided in part", float(whole // k), node=node.index, whole=whole, part=k)


def _sizes(trace: Trace) -> list[float]:
    """The sizes of axes, but for 1 and 2."""

    def work() -> list[float]:
        shapes = [node.value.shape for node in trace.nodes if isinstance(node.value, Tensor)]
        return list(dict.fromkeys(float(n) for shape in shapes for n in shape if n > 2))

    return trace.once("sizes", work)
