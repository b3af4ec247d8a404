"""How a script names the things that were checked: by an import, by their own text, or by saying what belongs there."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn


class Named(NamedTuple):
    """A thing in a script."""

    expression: str
    imports: Sequence[str] = ()
    written: Sequence[str] = ()  # lines that must stand before it is used


def named(thing: Any, role: str) -> Named:
    """How a script names the thing; under the name `role` where it cannot be imported."""
    found = _reference(thing)
    if found is not None:
        return Named(*found)
    text = _own_text(thing)
    if text:
        return Named(thing.__name__, written=[*text, ""])
    return Named(role, written=[f"# {role}: {_what_it_is(thing)}", f"{role} = ...", ""])


def _own_text(thing: Any) -> list[str]:
    """The text of a function that was written inside another one and uses nothing of it; nothing of any other."""
    if not inspect.isfunction(thing) or thing.__name__ == "<lambda>" or thing.__closure__:
        return []
    try:
        text = textwrap.dedent(inspect.getsource(thing)).splitlines()
    except (OSError, TypeError):
        return []
    used = inspect.getclosurevars(thing).globals
    return [*(_import(thing, name, value) for name, value in used.items() if name not in ("np", "torch")), *text]


def _import(function: Any, name: str, value: Any) -> str:
    """The line that gives a function's global its name."""
    if inspect.ismodule(value):
        return f"import {value.__name__} as {name}"
    return f"from {_module(function)} import {name}"


def _what_it_is(thing: Any) -> str:
    """The words for what belongs there, and where it was written."""
    if inspect.isfunction(thing):
        code = thing.__code__
        place = f"{Path(code.co_filename).name}, line {code.co_firstlineno}"
        uses = f", which uses {', '.join(code.co_freevars)} of its own" if code.co_freevars else ""
        what = "the lambda" if thing.__name__ == "<lambda>" else f"the function {thing.__name__}"
        return f"{what} of {place}{uses}: write it here"
    if inspect.ismethod(thing):
        what = f"the method {thing.__name__} of a {type(thing.__self__).__qualname__}"
    else:
        what = f"the class {thing.__qualname__}" if isinstance(thing, type) else f"a {type(thing).__qualname__}"
    return f"{what}, which cannot be imported, or was made with arguments that it does not tell: make it here"


def _reference(thing: Any) -> tuple[str, list[str]] | None:
    """How a script names a thing, and the imports for it; None for what cannot be named (a lambda, a closure)."""
    if inspect.ismethod(thing):
        owner = _reference(thing.__self__)
        return None if owner is None else (f"{owner[0]}.{thing.__name__}", owner[1])
    name = str(getattr(thing, "__name__", ""))
    for prefix, library in (("torch", torch), ("torch.nn.functional", nn.functional), ("np", np)):
        if thing is not None and getattr(library, name, None) is thing:
            return f"{prefix}.{name}", []
    if isinstance(thing, nn.Module):
        kind = type(thing)
        if kind is nn.Sequential:
            inside = [_reference(module) for module in thing.children()]
            known = [reference for reference in inside if reference is not None]
            shown = f"torch.nn.Sequential({', '.join(expression for expression, _ in known)})"
            return (shown, [line for _, lines in known for line in lines]) if len(known) == len(inside) else None
        if kind.__module__.startswith("torch.nn"):
            shown = f"torch.nn.{_one_line(repr(thing))}"
            return (shown, []) if _is_python(shown) else None
        # with which arguments a class of one's own was made, its instance does not tell
        return None if inspect.signature(kind).parameters else _imported(kind, f"{kind.__name__}()")
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
    module = _module(kind)
    return None if module is None else (shown, [f"from {module} import {kind.__name__}"])


def _module(thing: Any) -> str | None:
    """The module that a script imports it from: a script that was run is a file; None where it is none."""
    if thing.__module__ != "__main__":
        return str(thing.__module__)
    file = _source_file(thing)
    return None if file is None else Path(file).stem


def _source_file(thing: Any) -> str | None:
    """The file a function, or the first method of a class, was written in; a script's own name is __main__."""
    functions = [thing, *vars(thing).values()] if isinstance(thing, type) else [thing]
    code = next((f.__code__ for f in functions if hasattr(f, "__code__")), None)
    return None if code is None or code.co_filename.startswith("<") else code.co_filename


def _is_python(text: str) -> bool:
    """Whether it can be written in a script; the text of a module made of others cannot."""
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return True


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text)
