"""How a script gives `check` the inputs that show a difference: by literals, by a generator, by a placeholder."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import numpy as np

from handgrad.compare.checking.smallest import Shown, drawing, too_long
from handgrad.compare.judge import names
from handgrad.compare.judge.calls import CallSides
from handgrad.compare.judge.derivations import Combined
from handgrad.compare.judge.names import DY, GRADS, LEARNING_RATE, OUTPUT, TARGET, THETA, X
from handgrad.compare.judge.sides import Arrays, Sides, is_float
from handgrad.compare.judge.trajectories import TrajectorySides


class Given(NamedTuple):
    """The lines before the call, its arguments by keyword, and what must be imported for them."""

    lines: list[str]
    call: list[str]
    imports: list[str]


def arguments_in_script(sides: Sides, found: Shown) -> Given:
    """What a script says of the inputs."""
    arrays = found.arrays
    single = any(is_float(v) and v.dtype == np.float32 for v in arrays.values())
    dtype = ['dtype="float32"'] if single else []
    if isinstance(sides, TrajectorySides):
        theta = f"({len(arrays[THETA])},)" if sides.layout is None else _shapes(sides)
        rate, steps = f"learning_rate={arrays[LEARNING_RATE]!r}", f"steps={len(arrays[GRADS])}"
        return Given([], [f"theta={theta}", rate, steps, *dtype], [])
    made = _Arguments(sides, found)
    return Given(made.lines, [*made.call(), *dtype], ["from handgrad import constant"] * made.uses_constant)


def _shapes(sides: TrajectorySides) -> str:
    assert sides.layout is not None
    shapes = sides.layout.shapes
    return repr(shapes) if sides.layout.mapping else repr(list(shapes.values()))


class _Arguments:
    """The inputs of a layer, a function or a loss."""

    def __init__(self, sides: Sides, found: Shown) -> None:
        self.sides, self.found, self.arrays = sides, found, found.arrays
        self.long = set() if found.seed is not None else set(too_long(found.arrays))
        self.uses_constant = False
        self.lines = [] if found.seed is None else [f"rng = np.random.default_rng({found.seed})"]
        self.values = {k: self._stated(k) for k in found.drawn}  # in the order in which they were drawn
        self.values |= {k: self._stated(k) for k in self._shown(self.arrays) if k not in found.drawn}

    def _shown(self, arrays: Arrays) -> list[str]:
        """The inputs that a script gives: δ of a loss is 1 all the same."""
        combined = isinstance(self.sides, CallSides) and isinstance(self.sides.derivation, Combined)
        return [k for k, v in arrays.items() if isinstance(v, np.ndarray) and not (combined and names.is_upstream(k))]

    def call(self) -> list[str]:
        """The arguments by keyword."""
        upstream = {names.part_of_upstream(k): v for k, v in self.values.items() if names.is_upstream(k)}
        alone = list(upstream) == [""]
        shown = (X, DY, OUTPUT, TARGET) if alone else (X, OUTPUT, TARGET)
        call = [f"{k}={self.values[k]}" for k in shown if k in self.values and not self._by_name(k)]
        inputs = {names.input_symbol(k): v for k, v in self._ordered() if self._by_name(k)}
        params = {
            names.input_symbol(k): v
            for k, v in self.values.items()
            if not self._by_name(k) and k not in (X, DY, OUTPUT, TARGET) and not names.is_upstream(k)
        }
        by_part = {} if alone else {part or OUTPUT: v for part, v in upstream.items()}
        for keyword, entries in (("inputs", inputs), ("params", params), ("dy", by_part)):
            if entries:
                body = ", ".join(f"{name!r}: {value}" for name, value in entries.items())
                self.lines.append(f"{keyword} = {{{body}}}")
                call.append(f"{keyword}={keyword}")
        return call

    def _ordered(self) -> list[tuple[str, str]]:
        order = self.sides.arguments if isinstance(self.sides, CallSides) else ()
        place = {name: i for i, name in enumerate(order)}
        return sorted(self.values.items(), key=lambda item: place.get(names.input_symbol(item[0]), len(place)))

    def _by_name(self, key: str) -> bool:
        """Whether it is one of several inputs, which are given by name."""
        if not isinstance(self.sides, CallSides) or names.is_upstream(key):
            return False
        return self.sides.arguments != (X,) and names.input_symbol(key) in self.sides.arguments

    def _stated(self, key: str) -> str:
        """Assign it a variable where that reads better, and return what stands for it in the call."""
        value = self.arrays[key]
        is_complex = isinstance(self.sides, CallSides) and key in self.sides.complex_names
        if key in self.found.drawn:
            text = drawing(value)
        elif key in self.long:
            text = f"...  # a placeholder: the array of shape {value.shape} that the check drew"
        else:
            text = literal(value[..., 0] + 1j * value[..., 1] if is_complex else value)
        parts = is_complex and key in self.found.drawn
        if key not in (X, DY, OUTPUT, TARGET) and key not in self.found.drawn and key not in self.long:
            return self._wrapped(key, text)
        variable = re.sub(r"\W", "_", names.input_symbol(key) if key != OUTPUT else key)
        self.lines.append(f"{variable} = {text}")
        return self._wrapped(key, f"{variable}[..., 0] + 1j * {variable}[..., 1]" if parts else variable)

    def _wrapped(self, key: str, text: str) -> str:
        if not (names.is_constant(key) and is_float(self.arrays[key])):
            return text
        self.uses_constant = True
        return f"constant({text})"


def literal(value: Any) -> str:
    """An array as Python writes it."""
    text = np.array2string(
        value,
        separator=", ",
        threshold=10**6,
        max_line_width=10**6,
        floatmode="unique" if value.dtype.kind in "fc" else "fixed",
    )
    text = re.sub(r"\s+", " ", text)
    if value.dtype in (np.float64, np.complex128):
        return f"np.array({text}, dtype={'float' if value.dtype == np.float64 else 'complex'})"
    return f"np.array({text}, dtype=np.{value.dtype})"
