"""The factors that a term of a derivation loses or gains: general ones, sizes, and the formula's own numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

from handgrad.compare.diagnosis.graph.trace import Node, Trace
from handgrad.compare.diagnosis.graph.words import formula, number, operation, silent
from handgrad.compare.diagnosis.whole.factors import Labelled, constants
from handgrad.compare.judge.case import Case

PRODUCTS = {"mul", "div", "mm", "bmm", "matmul", "convolution", "dot", "mv"}
SIGN = "the sign is flipped"


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


def constants_of(case: Case, trace: Trace) -> dict[str, Factor]:
    """name → factor, the likelier first; of two names for one value here both are kept."""
    found = [(c.names[0], Factor(c.complexity, c.value)) for c in constants(case) if len(c.names) == 1]
    known = [f.value for _, f in found]
    found += _left_out(trace)
    found += _other_constant(trace)
    found += [(words, Factor(9, n)) for words, n in _windows(trace)]
    for n in _sizes(trace):
        if not any(abs(n - v) < 1e-9 for v in known):
            for c, value, words in (
                (12, n, f"{n:g} times too large: not divided by {n:g}, the size of an axis"),
                (12, 1 / n, f"{n:g} times too small: divided by {n:g}, the size of an axis"),
                (14, n**0.5, f"√{n:g} times too large: not divided by the root of {n:g}, the size of an axis"),
                (14, n**-0.5, f"√{n:g} times too small: divided by the root of {n:g}, the size of an axis"),
            ):
                found.append((words, Factor(c, value)))
    for c, value, words in (
        (13, 3.0, "a factor 3 too much"),
        (13, 1 / 3, "a factor ⅓ too much (a 3 is missing)"),
        (13, 4.0, "a factor 4 too much"),
        (13, 0.25, "a factor ¼ too much (a 4 is missing)"),
        (13, 2**0.5, "a factor √2 too much"),
        (13, 0.5**0.5, "a factor 1/√2 too much (a √2 is missing)"),
    ):
        found.append((words, Factor(c, value)))
    signed = [
        (f"{words}, and {SIGN}", f._replace(complexity=f.complexity + 9, value=-f.value))
        for words, f in found
        if f.value != -1
    ]
    named: dict[str, Factor] = {}
    for words, factor in sorted([*found, *signed], key=lambda f: f[1].complexity):
        named.setdefault(words, factor)
    return named


def _left_out(trace: Trace) -> Iterator[tuple[str, Factor]]:
    """A constant of the reference left out, applied twice, or applied where it does not belong."""
    everywhere: dict[float, frozenset[int]] = {}
    for (a, divides), at in _own(trace).items():
        everywhere[a] = everywhere.get(a, frozenset()) | at
        if at:  # otherwise it is no factor anywhere: a threshold, an exponent
            what = f"the division by {number(a)}" if divides else f"the constant {number(a)}"
            yield f"{what} is left out", Factor(9, a if divides else 1 / a, at)
            yield f"{what} is applied twice", Factor(10, 1 / a if divides else a, at)
    for a, at in everywhere.items():
        yield f"multiplied with {number(a)}, which does not belong there", Factor(11, a, at, inside=False)
        yield f"divided by {number(a)}, which does not belong there", Factor(11, 1 / a, at, inside=False)


def _other_constant(trace: Trace) -> Iterator[tuple[str, Factor]]:
    """Another constant of the reference, or one minus it, in the place of one."""
    own = {(a, divides): at for (a, divides), at in _own(trace).items() if at}
    for (a, divides), at in own.items():
        others = {number(abs(b)): (10, abs(b)) for b, _ in own}
        others.setdefault(f"1 − {number(abs(a))}", (11, 1 - abs(a)))
        for words, (complexity, b) in others.items():
            if b not in (0.0, 1.0, a, -a):
                value = abs(a) / b if divides else b / abs(a)
                yield f"{words} stands for {number(abs(a))}", Factor(complexity, value, at)
        what = "division by" if divides else "constant"
        for other, value in _other_sizes(trace, a, 1 / a if divides else a):
            yield f"the {what} {number(a)} is {number(other)}", Factor(12, value, at)


def own_constants(traces: Sequence[Trace], target: str) -> list[Labelled]:
    """What a whole gradient is multiplied with where a constant factor of the reference is left out of it or applied
    twice.

    A factor of 2 has many stories; that the reference has a 2 where the gradient passes is the first. A constant that
    the gradient does not pass may have been put where it does not belong.
    """
    found: dict[str, Labelled] = {}
    for trace in traces:
        leading = scaling(trace, trace.leading_to(trace.inputs[target])) if target in trace.inputs else frozenset()
        for words, n in _windows(trace):
            found.setdefault(words, Labelled(9, (words,), n))
        for node in trace.nodes:
            if operation(node) not in ("mul", "div"):
                continue
            numbers = [float(a) for a in node.args if isinstance(a, (int, float)) and not isinstance(a, bool)]
            numbers += [float(n.value) for n in map(trace.nodes.__getitem__, node.sources()) if _is_number(n)]
            for a in numbers:
                if not np.isfinite(a) or a in (0.0, 1.0, -1.0):
                    continue
                factor = 1 / a if operation(node) == "div" else a
                kind = "division by" if operation(node) == "div" else "constant"
                what = f"{kind} {number(a)} of {formula(trace, node.index)}"
                changes = [(9, f"the {what} is left out", 1 / factor), (9, f"the {what} is applied twice", factor)]
                if node.index not in leading:
                    changes = [(9, f"the {what} is applied here too, where it does not belong", factor)]
                changes += [
                    (11, f"the {kind} {number(a)} of {formula(trace, node.index)} is {number(other)} here", value)
                    for other, value in _other_sizes(trace, a, factor)
                ]
                for complexity, words, value in changes:
                    if all(abs(value - f.value) > 1e-9 * abs(value) for f in found.values()):
                        found[words] = Labelled(complexity, (words,), value)
    return sorted(found.values(), key=lambda f: "too" in f.names[0])


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
        if node.index in found and (operation(node) in PRODUCTS or silent(node)):
            found.update(node.sources())
    return frozenset(found)


def _is_number(node: Node) -> bool:
    v = node.value
    return node.op is None and not node.args and isinstance(v, torch.Tensor) and v.numel() == 1 and v.dim() == 0


def _own(trace: Trace) -> dict[tuple[float, bool], frozenset[int]]:
    """The numbers that stand in the reference, and whether they are divided by → the operations that they are
    factors of.
    """
    own: dict[tuple[float, bool], set[int]] = {}
    for node in trace.nodes:
        scales, divides = operation(node) in ("mul", "div"), operation(node) == "div"
        numbers = [*(node.args if isinstance(node.args, (tuple, list)) else ()), *node.kwargs.values()]
        if node.op is None:
            continue
        numbers = [float(a) for a in numbers if isinstance(a, (int, float)) and not isinstance(a, bool)]
        numbers += [float(trace.nodes[s].value) for s in node.sources() if _is_number(trace.nodes[s])]
        for a in numbers:
            if a in (2.0, 0.5) and not scales:  # the 2 of a square is named as such
                continue
            if a not in (0.0, 1.0, -1.0) and np.isfinite(a) and 1e-6 < abs(a) < 1e6:
                own.setdefault((a, divides), set()).update({node.index} if scales else ())
    known = {a for (a, _), at in own.items() if at}
    return {(a, d): frozenset(at) for (a, d), at in own.items() if at or a not in known}


def _windows(trace: Trace) -> Iterator[tuple[str, float]]:
    """(words, factor) for the size of what a mean is taken over: a pool's window, or several axes, or one of them."""
    for node in trace.nodes:
        name, here = operation(node), formula(trace, node.index)
        if name.startswith("avg_pool"):
            sizes, what = [int(k) for k in node.args[1]], "the size of the window"
        elif name.startswith("upsample"):
            sizes, what = [math.prod(node.value.shape) // math.prod(trace.nodes[node.sources()[0]].value.shape)], ""
        elif name == "mean" and len(node.args) > 1 and isinstance(node.args[1], (list, tuple)):
            shape = trace.nodes[node.sources()[0]].value.shape
            sizes, what = [int(shape[a]) for a in node.args[1]], "the number of elements of the mean"
        else:
            continue
        whole = math.prod(sizes)
        if name.startswith("upsample"):
            yield f"averaged over the {whole} numbers that {here} makes of one, where their sum belongs", 1 / whole
            continue
        if name.startswith("avg_pool") or sum(k > 1 for k in sizes) > 1:
            yield f"not divided by {whole}, {what}, in {here}", float(whole)
            yield f"divided by {whole}, {what}, once too often, in {here}", 1 / whole
        for k in dict.fromkeys(sizes):
            if 1 < k < whole:
                yield f"divided by {k} only, not by {whole}, {what}, in {here}", float(whole // k)


def _sizes(trace: Trace) -> list[float]:
    sizes: dict[float, None] = {}
    for node in trace.nodes:
        if isinstance(node.value, torch.Tensor):
            for n in node.value.shape:
                if n > 2:
                    sizes.setdefault(float(n))
    return list(sizes)
