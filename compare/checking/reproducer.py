"""A short script that shows a difference again: the smallest batch, and the fewest elements of δ, that still differ."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from handgrad.compare.checking.evaluate import Fault, evaluate
from handgrad.compare.checking.script import named
from handgrad.compare.foundation.debug import swallowed
from handgrad.compare.judge.names import DY, GRADS, LEARNING_RATE, OUTPUT, TARGET, THETA, X, parameters_among
from handgrad.compare.judge.sides import Arrays, Sides, TrajectorySides


def reproduce(sides: Sides, ours: Any, reference: Any, inputs: Arrays, tensor: str, explain: str = "full") -> str:
    """The script that shows the difference of a tensor which these inputs show.

    What it cannot import or make it says in a comment, under the name that it uses for it.
    """
    arrays = smallest(sides, inputs, tensor)
    if isinstance(ours, tuple):
        pieces = {"forward": ours[0], "backward": ours[1], "reference": reference}
    else:
        pieces = {"ours": ours, "reference": reference}
    names = [named(thing, role) for role, thing in pieces.items()]
    imports = sorted({line for name in names for line in name.imports})
    written = [name.expression for name in names]
    left = f"({', '.join(written[:-1])})" if isinstance(ours, tuple) else written[0]
    lines = ["import numpy as np", "import torch", "", *imports, "from handgrad import check", ""]
    for name in names:
        lines += name.written
    call = [left, written[-1]]
    for key in (X, DY, OUTPUT, TARGET):
        if key in arrays:
            lines.append(f"{key} = {_literal(arrays[key])}")
            call.append(f"{key}={key}")
    params = parameters_among(arrays)
    if params:
        body = ", ".join(f"{name!r}: {_literal(value)}" for name, value in params.items())
        lines.append(f"params = {{{body}}}")
        call.append("params=params")
    if isinstance(sides, TrajectorySides):
        call += [
            f"theta=({len(arrays[THETA])},)",
            f"learning_rate={arrays[LEARNING_RATE]!r}",
            f"steps={len(arrays[GRADS])}",
        ]
    if inputs[next(iter(arrays))].dtype == np.float32:
        call.append('dtype="float32"')
    lines.append(f"check({', '.join(call)})")
    return "\n".join(lines)


def smallest(sides: Sides, inputs: Arrays, tensor: str) -> Arrays:
    """The inputs cut down as far as `tensor` still differs: rows, then columns, then elements of δ, then digits."""

    def differs(arrays: Arrays) -> bool:
        try:
            found = evaluate(sides, arrays).get(tensor)
        except Exception as problem:
            swallowed(problem, "a smaller case")
            return False
        return found is not None and not found.verdict.agrees and found.fault is not Fault.RAISES

    if isinstance(sides, TrajectorySides):
        return _smallest_trajectory(inputs, differs)
    batched: list[str] = [k for k in (X, DY, OUTPUT, TARGET) if k in inputs and np.ndim(inputs[k]) > 0]
    inputs = _cut_rows(inputs, batched, differs)
    if not parameters_among(inputs):
        inputs = _cut_columns(inputs, batched, differs)
    if DY in inputs:
        inputs = _one_upstream(inputs, differs)
    return _round(inputs, differs)


def _cut_rows(inputs: Arrays, batched: list[str], differs: Any) -> Arrays:
    rows = {len(inputs[k]) for k in batched}
    if len(rows) != 1:
        return inputs
    for size in range(1, rows.pop()):
        for start in range(len(inputs[batched[0]]) - size + 1):
            cut = {**inputs, **{k: inputs[k][start : start + size] for k in batched}}
            if differs(cut):
                return cut
        if size >= 3:  # larger batches are no longer small
            break
    return inputs


def _cut_columns(inputs: Arrays, batched: list[str], differs: Any) -> Arrays:
    wide = [k for k in batched if np.ndim(inputs[k]) > 1]
    columns = {inputs[k].shape[-1] for k in wide}
    if len(columns) != 1:
        return inputs
    width = columns.pop()
    for size in (1, 2, 3):
        for start in range(width - size + 1):
            cut = {**inputs, **{k: inputs[k][..., start : start + size] for k in wide}}
            if size < width and differs(cut):
                return cut
    return inputs


def _one_upstream(inputs: Arrays, differs: Any) -> Arrays:
    dy = inputs[DY]
    for k in range(min(dy.size, 64)):
        unit = np.zeros_like(dy)
        unit.flat[k] = 1
        cut = {**inputs, DY: unit}
        if differs(cut):
            return cut
    return inputs


def _round(inputs: Arrays, differs: Any) -> Arrays:
    for digits in (1, 2, 3):
        cut = {
            k: np.round(v, digits) if isinstance(v, np.ndarray) and v.dtype.kind == "f" else v
            for k, v in inputs.items()
        }
        if differs(cut):
            return cut
    return inputs


def _smallest_trajectory(inputs: Arrays, differs: Any) -> Arrays:
    for steps in range(1, len(inputs[GRADS]) + 1):
        cut = {**inputs, THETA: inputs[THETA][:1], GRADS: inputs[GRADS][:steps, :1]}
        if differs(cut):
            return cut
    return inputs


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
