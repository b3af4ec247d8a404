"""What a cause is, what it is looked for in, and the constants that a derivation loses or gains.

A candidate is what torch's derivation would give if it had a fault: its complexity, the words, the numbers.
Complexity is the number of things that went wrong, in tens, and a little more for what is less likely.
The candidates themselves are in `candidates` and in the rooms that it gathers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from handgrad.compare.foundation.debug import swallowed
from handgrad.compare.judge.case import Case
from handgrad.compare.judge.sides import Arrays, Sides


class Labelled(NamedTuple):
    """A constant with the words for it."""

    complexity: int
    names: tuple[str, ...]
    value: float


class Candidate(NamedTuple):
    """What torch would give if it had the named faults; a function makes the numbers only if they are asked for."""

    complexity: int
    names: tuple[str, ...]
    source: np.ndarray | Callable[[], np.ndarray | None]

    def made(self) -> Candidate | None:
        """With its numbers; None where there are none, or where some are not finite."""
        array = self.source() if callable(self.source) else self.source
        if array is None or not np.isfinite(array).all():
            return None
        return self._replace(source=np.asarray(array))

    @property
    def array(self) -> np.ndarray:
        """The numbers of a candidate that has been made."""
        assert isinstance(self.source, np.ndarray)
        return self.source


def constants(case: Case) -> list[Labelled]:
    """The factors a derivation loses or gains, each also with the sign flipped; the likelier first."""
    named = [
        (10, "a factor 2 too much (the 2 of a square, or counted twice)", 2.0),
        (10, "a factor ½ too much (a 2 is missing)", 0.5),
    ]
    sizes = case.sizes()
    for k, (symbol, words, size) in enumerate(sizes):
        rank, n = 10 + min(k, 1), float(size)
        if symbol == "N":
            named.append((rank, "N times too large: summed over the batch where the mean belongs", n))
            named.append((rank, "N times too small: averaged over the batch where the sum belongs", 1 / n))
        elif symbol == words:
            named.append((rank, f"not divided by {words}", n))
            named.append((rank, f"divided by {words}, which does not belong", 1 / n))
        else:
            named.append((rank, f"{symbol} times too large: {symbol}, {words}, is not divided by", n))
            named.append((rank, f"{symbol} times too small: divided by {symbol}, {words}", 1 / n))
        if symbol == words:
            named.append((rank + 3, f"not divided by the root of {words}", n**0.5))
            named.append((rank + 3, f"divided by the root of {words}, which does not belong", n**-0.5))
            if size > 1:
                named.append((rank + 3, f"divided by {words} − 1, not by itself", n / (n - 1)))
                named.append((rank + 3, f"divided by {words}, not by it − 1", (n - 1) / n))
            continue
        named.append((rank + 3, f"√{symbol} times too large: the root of {symbol}, {words}, is not divided by", n**0.5))
        named.append((rank + 3, f"√{symbol} times too small: divided by the root of {symbol}, {words}", n**-0.5))
        if size > 1:
            named.append((rank + 3, f"divided by {symbol} − 1 where {symbol}, {words}, belongs", n / (n - 1)))
            named.append((rank + 3, f"divided by {symbol}, {words}, where {symbol} − 1 belongs", (n - 1) / n))
    N, K = float(case.batch), float(np.prod([n for s, _, n in sizes if s[0] not in "ND"]))
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
    places = [n for s, _, n in sizes if s.startswith("K")][1:]
    if len(places) > 1 and "output" in case.results and case.results["output"].ndim > 3:
        which = "all the places of the output (its axes from the third on)"
        named.append(
            (
                11,
                f"divided by the number of {which}: the mean over them where the sum belongs",
                1 / float(np.prod(places)),
            )
        )
        named.append((11, f"the number of {which} is not divided by", float(np.prod(places))))
    if case.learning_rate:
        named.append((11, "the learning rate is multiplied in", case.learning_rate))
        named.append((11, "divided by the learning rate", 1 / case.learning_rate))
    found = [Labelled(8, ("the sign is flipped",), -1.0)]
    for complexity, label, value in named:
        if value != 1:
            found.append(Labelled(complexity, (label,), value))
            found.append(Labelled(complexity + 8, ("the sign is flipped", label), -value))
    return found


def _summed(case: Case) -> float:
    """How many numbers of the upstream gradient are added up for one of a parameter's, where that is a whole number."""
    dy = case.inputs.get("dy")
    if not case.output.startswith("gradient of ") or dy is None or not case.torch.size:
        return 0.0
    return dy.size / case.torch.size if dy.size % case.torch.size == 0 else 0.0


def again(sides: Sides, case: Case, **changes: Any) -> np.ndarray | None:
    """Torch's result for this output at changed inputs; None where these do not fit."""
    return again_with(sides, case, changes)


def again_with(sides: Sides, case: Case, changes: Arrays) -> np.ndarray | None:
    """The same for inputs whose names are no identifiers."""
    try:
        with np.errstate(all="ignore"):
            result = sides.torch({**case.inputs, **changes}).get(case.output)
    except Exception as error:  # a reference of other options or inputs may refuse them in any way
        swallowed(error, "the reference on other inputs")
        return None
    return result if isinstance(result, np.ndarray) and np.isfinite(result).all() else None
