"""The factors that a derivation loses or gains as a whole, with their names: 2, ½, N, K, √N, the sign."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from handgrad.compare.judge.case import Case


class Labelled(NamedTuple):
    """A factor with the words for it."""

    complexity: int
    names: tuple[str, ...]
    value: float


# (how much less likely, the words, the power of the size) for an axis that has a symbol s, and for one that has none
OF_THE_BATCH = (
    (0, "{s} times too large: summed over {w} where the mean belongs", 1.0),
    (0, "{s} times too small: averaged over {w} where the sum belongs", -1.0),
)
OF_A_SYMBOL = (
    (0, "{s} times too large: {s}, {w}, is not divided by", 1.0),
    (0, "{s} times too small: divided by {s}, {w}", -1.0),
)
ROOTS = (
    (3, "√{s} times too large: the root of {s}, {w}, is not divided by", 0.5),
    (3, "√{s} times too small: divided by the root of {s}, {w}", -0.5),
)
OF_A_SIZE = (
    (0, "not divided by {w}", 1.0),
    (0, "divided by {w}, which does not belong", -1.0),
    (3, "not divided by the root of {w}", 0.5),
    (3, "divided by the root of {w}, which does not belong", -0.5),
)
# (the words, the power of n / (n − 1))
ONE_LESS = (("divided by {s} − 1 where {s}, {w}, belongs", 1), ("divided by {s}, {w}, where {s} − 1 belongs", -1))
SIZE_LESS_ONE = (("divided by {w} − 1, not by itself", 1), ("divided by {w}, not by it − 1", -1))


def constants(case: Case) -> list[Labelled]:
    """The factors a derivation loses or gains, each also with the sign flipped; the likelier first."""
    named = [
        (10, "a factor 2 too much (the 2 of a square, or counted twice)", 2.0),
        (10, "a factor ½ too much (a 2 is missing)", 0.5),
    ]
    sizes = case.sizes()
    for k, (s, w, size) in enumerate(sizes):
        rank, n, has_symbol = 10 + min(k, 1), float(size), s != w
        powers = (*(OF_THE_BATCH if s == "N" else OF_A_SYMBOL), *ROOTS) if has_symbol else OF_A_SIZE
        named += [(rank + more, text.format(s=s, w=w), n**power) for more, text, power in powers]
        for text, power in (ONE_LESS if has_symbol else SIZE_LESS_ONE) if size > 1 else ():
            named.append((rank + 3, text.format(s=s, w=w), (n / (n - 1)) ** power))
    N, K = float(case.batch), float(np.prod([n for s, _, n in sizes if s not in ("N", "D")]))
    named += [
        (12, "NK times too large: summed where the mean over every number belongs", N * K),
        (12, "NK times too small: averaged over every number where the sum belongs", 1 / (N * K)),
        (12, "N² times too large: summed over the batch twice", N * N),
        (12, "N² times too small: the 1/N is applied twice", 1 / (N * N)),
        (14, "K/N times what it should be: averaged over the batch where the outputs belong", K / N),
        (14, "N/K times what it should be: averaged over the outputs where the batch belongs", N / K),
    ]
    summed = _summed(case)
    if summed > 1 and summed != N:
        what = "all the numbers that are added up for it: the mean of them where the sum belongs"
        named.append((10, f"divided by {what}", 1 / summed))
    if case.learning_rate:
        named.append((11, "the learning rate is multiplied in", case.learning_rate))
        named.append((11, "divided by the learning rate", 1 / case.learning_rate))
    flipped = "the sign is flipped"
    found = [Labelled(8, (flipped,), -1.0)]
    for complexity, label, value in named:
        if value != 1:
            found.append(Labelled(complexity, (label,), value))
            found.append(Labelled(complexity + 8, (flipped, label), -value))
    return found


def _summed(case: Case) -> float:
    """How many numbers of the upstream gradient are added up for one of a parameter's, where that is a whole number."""
    dy = case.inputs.get("dy")
    if not case.parameter or dy is None or not case.torch.size:
        return 0.0
    return dy.size / case.torch.size if dy.size % case.torch.size == 0 else 0.0
