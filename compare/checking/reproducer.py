"""A short script that shows a difference again, on the smallest inputs that still do."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from handgrad.compare.checking.causes import FULL, OFF, QUICK
from handgrad.compare.checking.script import Named, named
from handgrad.compare.checking.shown import shown
from handgrad.compare.checking.smallest import Shown, drawing, smallest, too_long
from handgrad.compare.foundation.apart import apart
from handgrad.compare.foundation.debug import swallowed
from handgrad.compare.foundation.jobs import Job
from handgrad.compare.judge.names import DY, GRADS, LEARNING_RATE, OUTPUT, TARGET, THETA, X, parameters_among
from handgrad.compare.judge.sides import Arrays, Sides, TrajectorySides, is_float, is_large

LINES, CHARACTERS = 40, 4000  # of a script, at most
SECONDS = {QUICK: 0.5, FULL: 2.0}  # of CPU for the search for smaller inputs
OF_LARGE = 0.4  # and where an evaluation takes long
SMALLER = "the smallest inputs that differ"


def reproduce(sides: Sides, ours: Any, reference: Any, inputs: Arrays, tensor: str, explain: str = FULL) -> str:
    """The script that shows the difference of a tensor which these inputs show; none where nothing is to be explained.

    What it cannot import, write out or draw it says in a comment, under the name that it uses for it.
    """
    if explain == OFF:
        return ""

    def work(found: dict[str, Any], so_far: Any) -> Shown:
        return smallest(sides, inputs, tensor, reference, so_far)

    seconds = min(SECONDS[explain], OF_LARGE) if is_large(inputs) else SECONDS[explain]
    with shown(seconds) as show:
        found: Shown = apart([Job(SMALLER, work)], seconds, show).best(SMALLER, Shown(inputs))
    try:
        return _short(sides, found, ours, reference)
    except Exception as error:  # of code that is looked at in odd ways; the verdict is worth more than its script
        swallowed(error, "the reproducer")
        return ""


def _short(sides: Sides, found: Shown, ours: Any, reference: Any) -> str:
    """The script with the text of what cannot be imported, or without where that is long."""
    if isinstance(ours, tuple):
        pieces = {"forward": ours[0], "backward": ours[1], "reference": reference}
    else:
        pieces = {"ours": ours, "reference": reference}
    write = partial(_script, sides, found, is_pair=isinstance(ours, tuple))
    script = write([named(thing, role) for role, thing in pieces.items()])
    if len(script) > CHARACTERS or script.count("\n") >= LINES:
        script = write([named(thing, role, brief=True) for role, thing in pieces.items()])
    return script


def _script(sides: Sides, found: Shown, names: Sequence[Named], is_pair: bool) -> str:
    arrays = found.arrays
    lines = _head([line for name in names for line in name.imports])
    lines += _written(names)
    left = f"({', '.join(name.expression for name in names[:-1])})" if is_pair else names[0].expression
    call = [left, names[-1].expression]
    if found.seed is not None:
        lines.append(f"rng = np.random.default_rng({found.seed})")
    long = set() if found.seed is not None else set(too_long(arrays))
    values = {k: _value(k, v, long) for k, v in arrays.items() if isinstance(v, np.ndarray) and k not in found.drawn}
    values |= {k: drawing(arrays[k]) for k in found.drawn}
    if isinstance(sides, TrajectorySides):
        call += [
            f"theta=({len(arrays[THETA])},)",
            f"learning_rate={arrays[LEARNING_RATE]!r}",
            f"steps={len(arrays[GRADS])}",
        ]
    else:
        drawn_first = [*found.drawn, *(k for k in arrays if k not in found.drawn)]
        variables = {k: k if k in (X, DY, OUTPUT, TARGET) else _variable(k) for k in drawn_first if k in values}
        for key, variable in variables.items():
            if variable == key or key in found.drawn or key in long:
                lines.append(f"{variable} = {values[key]}")
        call += [f"{k}={k}" for k in (X, DY, OUTPUT, TARGET) if k in arrays]
        if parameters_among(arrays):
            body = ", ".join(
                f"{_name(k)!r}: {variables[k] if k in found.drawn or k in long else values[k]}"
                for k in values
                if k not in (X, DY)
            )
            lines.append(f"params = {{{body}}}")
            call.append("params=params")
    if any(is_float(v) and v.dtype == np.float32 for v in arrays.values()):
        call.append('dtype="float32"')
    lines.append(f"check({', '.join(call)})")
    return "\n".join(lines)


def _head(imports: Sequence[str]) -> list[str]:
    """The imports, in an order in which they work."""
    once = list(dict.fromkeys(imports))
    plain = sorted(line for line in once if line.startswith("import "))
    paths = [line for line in once if line.startswith("sys.path")]
    froms = sorted(line for line in once if line.startswith("from "))
    others = [line for line in once if line not in (*plain, *paths, *froms)]
    own = [*paths, *froms, *others]
    return [*plain, "import numpy as np", "import torch", "", *own, "from handgrad import check", ""]


def _written(names: Sequence[Named]) -> list[str]:
    """The definitions, one that two things share once."""
    lines: list[str] = []
    for name in names:
        if tuple(name.written) not in {tuple(other.written) for other in names[: names.index(name)]}:
            lines += name.written
    return lines


def _name(key: str) -> str:
    return next(iter(parameters_among({key: None})))


def _variable(key: str) -> str:
    """A parameter's name as one of Python's."""
    return re.sub(r"\W", "_", _name(key))


def _value(key: str, value: np.ndarray, long: set[str]) -> str:
    if key in long:
        return f"...  # a placeholder: the array of shape {value.shape} that the check drew"
    return _literal(value)


def _literal(value: np.ndarray) -> str:
    text = np.array2string(
        value,
        separator=", ",
        threshold=10**6,
        max_line_width=10**6,
        floatmode="unique" if value.dtype.kind == "f" else "fixed",
    )
    text = re.sub(r"\s+", " ", text)
    dtype = f", dtype=np.{value.dtype}" if value.dtype.kind != "f" or value.dtype == np.float32 else ""
    if value.dtype == np.float64:
        dtype = ", dtype=float"
    return f"np.array({text}{dtype})"
