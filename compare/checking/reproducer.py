"""A short script that shows a difference again: the smallest batch, and the fewest elements of δ, that still differ."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from compare.checking.evaluate import evaluate
from compare.checking.findings import Report
from compare.judge.sides import Arrays, Sides, TrajectorySides, parameters_among


def reproduce(sides: Sides, ours: Any, twin: Any, report: Report, inputs: Mapping[str, Arrays]) -> str:
    """The script; empty where no smaller case differs or the pieces cannot be named from outside."""
    failing = next(f for f in report.findings if not f.agrees)
    arrays = smallest(sides, inputs[failing.draw], failing.tensor)
    names = [_reference(thing) for thing in ((*ours, twin) if isinstance(ours, tuple) else (ours, twin))]
    if any(name is None for name in names):
        return ""
    imports = sorted({line for name in names if name for line in name[1]})
    written = [name[0] for name in names if name]
    left = f"({', '.join(written[:-1])})" if isinstance(ours, tuple) else written[0]
    lines = ["import numpy as np", "import torch", "", *imports, "from compare import check", ""]
    call = [left, written[-1]]
    for key in ("x", "dy", "output", "target"):
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
            f"theta=({len(arrays['theta'])},)",
            f"learning_rate={arrays['learning rate']!r}",
            f"steps={len(arrays['grads'])}",
        ]
    if next(iter(inputs.values()))[next(iter(arrays))].dtype == np.float32:
        call.append('dtype="float32"')
    lines.append(f"check({', '.join(call)})")
    return "\n".join(lines)


def smallest(sides: Sides, inputs: Arrays, tensor: str) -> Arrays:
    """The inputs cut down as far as `tensor` still differs: rows, then columns, then elements of δ, then digits."""

    def differs(arrays: Arrays) -> bool:
        try:
            found = evaluate(sides, arrays).get(tensor)
        except Exception:
            return False
        return found is not None and not found.verdict.agrees and not (found.verdict.problem and tensor == "derivation")

    if isinstance(sides, TrajectorySides):
        return _smallest_trajectory(inputs, differs)
    batched: list[str] = [k for k in ("x", "dy", "output", "target") if k in inputs and np.ndim(inputs[k]) > 0]
    inputs = _cut_rows(inputs, batched, differs)
    if not parameters_among(inputs):
        inputs = _cut_columns(inputs, batched, differs)
    if "dy" in inputs:
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
    dy = inputs["dy"]
    for k in range(min(dy.size, 64)):
        unit = np.zeros_like(dy)
        unit.flat[k] = 1
        cut = {**inputs, "dy": unit}
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
    for steps in range(1, len(inputs["grads"]) + 1):
        cut = {**inputs, "theta": inputs["theta"][:1], "grads": inputs["grads"][:steps, :1]}
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


def _reference(thing: Any) -> tuple[str, list[str]] | None:
    """How a script names a thing, and the imports for it; None for what cannot be named (a lambda, a closure)."""
    if isinstance(thing, nn.Module):
        kind = type(thing)
        if kind.__module__.startswith("torch.nn"):
            return f"torch.nn.{_one_line(repr(thing))}", []
        return _imported(kind, _one_line(repr(thing)))
    if isinstance(thing, type) or (callable(thing) and not dataclasses.is_dataclass(thing)):
        if (getattr(thing, "__module__", "") or "").startswith("torch.optim"):
            return f"torch.optim.{thing.__name__}", []
        if "<" in getattr(thing, "__qualname__", "<"):
            return None
        return _imported(thing, thing.__name__)
    return _instance(thing)


def _instance(thing: Any) -> tuple[str, list[str]] | None:
    """A dataclass by the fields that differ from their defaults; anything else by its class alone."""
    kind, lines, arguments = type(thing), [], []
    for f in dataclasses.fields(thing) if dataclasses.is_dataclass(thing) else ():
        value = getattr(thing, f.name)
        if value is f.default or value == f.default:
            continue
        reference = _reference(value) if callable(value) or dataclasses.is_dataclass(value) else (repr(value), [])
        if reference is None or "<" in reference[0]:
            return None
        arguments.append(f"{f.name}={reference[0]}")
        lines += reference[1]
    if not dataclasses.is_dataclass(thing) and _needs_arguments(kind):
        return None  # with which arguments it was made, nobody knows
    home = _imported(kind, f"{kind.__name__}({', '.join(arguments)})")
    return None if home is None else (home[0], lines + home[1])


def _needs_arguments(kind: type) -> bool:
    """Whether the class cannot be made with no arguments."""
    try:
        parameters = inspect.signature(kind).parameters.values()
    except (TypeError, ValueError):
        return True
    return any(p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)


def _imported(kind: Any, shown: str) -> tuple[str, list[str]] | None:
    if "<" in kind.__qualname__ or "." in kind.__qualname__:
        return None
    module = kind.__module__
    if module == "__main__":
        file = _source_file(kind)
        if file is None:
            return None
        module = Path(file).stem
    return shown, [f"from {module} import {kind.__name__}"]


def _source_file(thing: Any) -> str | None:
    """The file a function, or the first method of a class, was written in; a script's own name is __main__."""
    functions = [thing, *vars(thing).values()] if isinstance(thing, type) else [thing]
    code = next((f.__code__ for f in functions if hasattr(f, "__code__")), None)
    return None if code is None or code.co_filename.startswith("<") else code.co_filename


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text)
