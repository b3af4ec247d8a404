"""What is said where two sides differ behind a guard: which input reaches it, and what each side gives there."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from handgrad.compare.checking.draws import Draw, Kind
from handgrad.compare.checking.evaluate import Evaluation, evaluate
from handgrad.compare.checking.less_exact import with_the_less_exact_side
from handgrad.compare.judge.names import input_symbol
from handgrad.compare.judge.sides import Arrays, Sides


def behind_guards(sides: Sides, draws: list[Draw]) -> tuple[str, ...]:
    """The guards against a division by zero where the two sides differ: one may have it and not the other, as people
    write it, and then nothing says which is meant.
    """
    found = []
    for draw in draws:
        if draw.kind is Kind.GUARD:
            evaluated = with_the_less_exact_side(sides, evaluate(sides, draw.arrays))
            differing = {name: e for name, e in evaluated.items() if not e.verdict.agrees}
            if differing:
                verb = "differs" if len(differing) == 1 else "differ"
                found.append(
                    f"{draw.label}, with {_input(draw.arrays, draws[0].arrays)}: there {' and '.join(differing)} {verb}"
                    f"{_given(differing)}: mend it if such inputs can come, or accept it"
                )
    return tuple(found)


def _input(arrays: Arrays, plain: Arrays) -> str:
    """What is particular about the inputs that reach a guard, beside those of a plain draw."""
    said = []
    for name, x in arrays.items():
        if name in plain and x.shape == plain[name].shape and np.array_equal(x, plain[name]):
            continue
        rows = x.reshape(len(x), -1) if x.ndim else x.reshape(1, 1)
        if not x.any():
            what = "nothing but zeros"
        elif x.ndim > 1 and not rows.any(1).all():
            what = "a row of zeros"
        elif x.ndim > 1 and (rows == rows[:, :1]).all(1).any() and rows.shape[1] > 1:
            what = "a row of one number"
        else:
            what = f"numbers of {_size(x)}"
        said.append(f"{what} in {input_symbol(name)}")
    return " and ".join(said) or "these inputs"


def _size(x: np.ndarray) -> str:
    least, most = np.abs(x).min(), np.abs(x).max()
    return f"size {most:.0e}" if least >= most / 100 else f"sizes {least:.0e} to {most:.0e}"


def _given(differing: Mapping[str, Evaluation]) -> str:
    """What each side gives at the first element that differs; nothing where no element was compared."""
    for name, e in differing.items():
        if e.case is None or e.verdict.problem:
            continue
        wrong = e.case.where()
        if wrong.any():
            at = np.unravel_index(int(np.argmax(wrong)), wrong.shape)
            of = "" if len(differing) == 1 else f" in {name}"
            return f" ({e.case.manual[at]:.3g} beside torch's {e.case.torch[at]:.3g}{of})"
    return ""
