"""The factors that a term of a derivation loses or gains: general ones, sizes, and the formula's own numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from compare.diagnosis.causes import Case, Labelled, constants
from compare.diagnosis.graph.trace import Node, Trace
from compare.diagnosis.graph.words import formula, number, operation, silent

PRODUCTS = {"mul", "div", "mm", "bmm", "matmul", "convolution", "dot", "mv"}
SIGN = "the sign is flipped"


def constants_of(case: Case, trace: Trace) -> dict[str, tuple[int, float]]:
    """name → (how unlikely, value), the likelier first; of two names for one value here both are kept."""
    found = [(c.complexity, c.value, c.names[0]) for c in constants(case) if len(c.names) == 1]
    known = [v for _, v, _ in found]
    for a, divides in _own(trace):
        what = "division by" if divides else "constant"
        for other, value in _other_sizes(trace, a, 1 / a if divides else a):
            found.append((12, value, f"the {what} {number(a)} is {number(other)}"))
        if divides:
            found.append((9, a, f"the division by {number(a)} is left out"))
            found.append((10, 1 / a, f"the division by {number(a)} is applied twice"))
        else:
            found.append((9, 1 / a, f"the constant {number(a)} is left out"))
            found.append((10, a, f"the constant {number(a)} is applied twice"))
    found += [(9, n, words) for words, n in _windows(trace)]
    for n in _sizes(trace):
        if not any(abs(n - v) < 1e-9 for v in known):
            found.append((12, n, f"{n:g} times too large: not divided by {n:g}, the size of an axis"))
            found.append((12, 1 / n, f"{n:g} times too small: divided by {n:g}, the size of an axis"))
            found.append((14, n**0.5, f"√{n:g} times too large: not divided by the root of {n:g}, the size of an axis"))
            found.append((14, n**-0.5, f"√{n:g} times too small: divided by the root of {n:g}, the size of an axis"))
    found += [(13, 3.0, "a factor 3 too much"), (13, 1 / 3, "a factor ⅓ too much (a 3 is missing)")]
    found += [(13, 4.0, "a factor 4 too much"), (13, 0.25, "a factor ¼ too much (a 4 is missing)")]
    found += [(13, 2**0.5, "a factor √2 too much"), (13, 0.5**0.5, "a factor 1/√2 too much (a √2 is missing)")]
    signed = [(c + 9, -v, f"{words}, and {SIGN}") for c, v, words in found if v != -1]
    named: dict[str, tuple[int, float]] = {}
    for complexity, value, words in sorted([*found, *signed], key=lambda f: f[0]):
        named.setdefault(words, (complexity, value))
    return named


def own_constants(traces: Sequence[Trace], target: str) -> list[Labelled]:
    """What a whole gradient is multiplied with where a constant factor of the twin is left out of it or applied twice.

    A factor of 2 has many stories; that the twin has a 2 where the gradient passes is the first. A constant that the
    gradient does not pass may have been put where it does not belong.
    """
    found: dict[str, Labelled] = {}
    for trace in traces:
        leading = _scaling(trace, trace.leading_to(trace.inputs[target])) if target in trace.inputs else frozenset()
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
    for power in (0.5, -0.5, 1.0, -1.0):
        if abs(a ** (1 / power) - round(a ** (1 / power))) < 1e-9 and a > 0:
            for n in _sizes(trace):
                other = n**power
                if abs(other - a) > 1e-9:
                    yield other, other / a if abs(factor - a) < 1e-12 * a else a / other
            return


def _scaling(trace: Trace, leading: frozenset[int]) -> frozenset[int]:
    """The operations that the gradient passes, and those that are a factor of what it passes."""
    found = set(leading)
    for node in reversed(trace.nodes):
        if node.index in found and (operation(node) in PRODUCTS or silent(node)):
            found.update(node.sources())
    return frozenset(found)


def _is_number(node: Node) -> bool:
    v = node.value
    return node.op is None and not node.args and isinstance(v, torch.Tensor) and v.numel() == 1 and v.dim() == 0


def _own(trace: Trace) -> list[tuple[float, bool]]:
    """Numbers that stand in the twin, and whether they are divided by."""
    own: dict[tuple[float, bool], None] = {}
    for node in trace.nodes:
        divides = operation(node) == "div"
        for a in (*(node.args if isinstance(node.args, (tuple, list)) else ()), *node.kwargs.values()):
            halves = a not in (2.0, 0.5) or operation(node) in ("mul", "div")  # the 2 of a square is named as such
            if isinstance(a, (int, float)) and not isinstance(a, bool) and node.op is not None and halves:
                own.setdefault((float(a), divides))
        if _is_number(node) and float(node.value) not in (2.0, 0.5):
            own.setdefault((float(node.value), False))
    return [(a, d) for a, d in own if a not in (0.0, 1.0, -1.0) and np.isfinite(a) and 1e-6 < abs(a) < 1e6]


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
