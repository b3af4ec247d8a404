"""Derivations that write into what they are given: judged on copies, and told so."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from handgrad.compare.checking.draws import Drawn
from handgrad.compare.checking.evaluate import read_only
from handgrad.compare.foundation.debug import swallowed
from handgrad.compare.judge.names import input_symbol
from handgrad.compare.judge.sides import Arrays, Sides, is_float


def on_copies(drawn: Drawn) -> Drawn:
    """The same, and where the derivation writes into what it is given, on copies, which is said."""
    if getattr(drawn.sides, "copies", True):
        return drawn
    written = [names for draw in drawn.draws if (names := _written_into(drawn.sides, draw.arrays)) is not None]
    if not written:
        return drawn
    changed = dict.fromkeys(input_symbol(name) for names in written for name in names)
    said = (
        f"the derivation writes into {', '.join(changed)} in place: it was judged on copies, but whoever uses these "
        "arrays after it gets other numbers",
    )
    sides = replace(drawn.sides, copies=True)  # type: ignore[type-var]
    return drawn._replace(sides=sides, notes=(*drawn.notes, *(said if changed else ())))


def _written_into(sides: Sides, inputs: Arrays) -> list[str] | None:
    """The inputs that the derivation writes into, where that is all that keeps it from being judged; None where not.

    It may write what stands there already, and then there are none.
    """
    try:
        with np.errstate(all="ignore"):  # of numbers that nobody asked for
            sides.manual({k: read_only(v) for k, v in inputs.items()})
        return None
    except ValueError as problem:  # as NumPy raises for a read-only array
        swallowed(problem, "the derivation on arrays that it may not write into")
    except Exception as problem:
        swallowed(problem, "the derivation")
        return None
    given = {k: v.copy() if isinstance(v, np.ndarray) else v for k, v in inputs.items()}
    try:
        sides.manual(given)
    except Exception as problem:
        swallowed(problem, "the derivation on arrays that it may write into")
        return None
    return [k for k, v in given.items() if not np.array_equal(v, inputs[k], equal_nan=is_float(v))]
