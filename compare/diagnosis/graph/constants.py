"""The factors that a term of a derivation loses or gains: those of any derivation, sizes, and the formula's own numbers."""

from __future__ import annotations

import numpy as np
import torch

from compare.diagnosis.causes import Case, constants
from compare.diagnosis.graph.trace import Trace
from compare.diagnosis.graph.words import number, operation

SIGN = "the sign is flipped"


def constants_of(case: Case, trace: Trace) -> dict[str, tuple[int, float]]:
    """name → (how unlikely, value), the likelier first; of two names for one value here both are kept."""
    found = [(c.complexity, c.value, c.names[0]) for c in constants(case) if len(c.names) == 1]
    known = [v for _, v, _ in found]
    for a, divides in _own(trace):
        if divides:
            found.append((11, a, f"the division by {number(a)} is left out"))
            found.append((12, 1 / a, f"the division by {number(a)} is applied twice"))
        else:
            found.append((11, 1 / a, f"the constant {number(a)} is left out"))
            found.append((12, a, f"the constant {number(a)} is applied twice"))
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


def _own(trace: Trace) -> list[tuple[float, bool]]:
    """Numbers that stand in the twin, and whether they are divided by."""
    own: dict[tuple[float, bool], None] = {}
    for node in trace.nodes:
        divides = operation(node) == "div"
        for a in (*(node.args if isinstance(node.args, (tuple, list)) else ()), *node.kwargs.values()):
            if isinstance(a, (int, float)) and not isinstance(a, bool) and node.op is not None:
                own.setdefault((float(a), divides))
        if node.op is None and not node.args and isinstance(node.value, torch.Tensor) and node.value.numel() == 1:
            own.setdefault((float(node.value), False))
    return [(a, d) for a, d in own if a not in (0.0, 1.0, -1.0, 2.0, 0.5) and np.isfinite(a) and 1e-6 < abs(a) < 1e6]


def _sizes(trace: Trace) -> list[float]:
    sizes: dict[float, None] = {}
    for node in trace.nodes:
        if isinstance(node.value, torch.Tensor):
            for n in node.value.shape:
                if n > 2:
                    sizes.setdefault(float(n))
    return list(sizes)
