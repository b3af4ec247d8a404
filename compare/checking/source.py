"""The text of a function or a class, with all that it uses, so that it can be written into a script.

It is taken from wherever Python still has it: a file, a notebook's cell, a line of an interactive session.
"""

from __future__ import annotations

import ast
import inspect
import linecache
import textwrap
from collections.abc import Iterator, Mapping
from types import CodeType, FunctionType
from typing import Any

import numpy as np
import torch

SMALL = 16  # numbers of an array that is written out
Named = dict[str, list[str]]  # the lines that give a name its value


def text_of(thing: Any, name: str) -> list[str]:
    """The lines that define the thing, and before them all that it uses; none where a part of that has no text.

    A lambda gets the name.
    """
    known: Named = {}
    made = _define(thing, thing.__name__ if _is_named(thing) else name, known)
    return [line for lines in known.values() for line in lines] if made else []


def _is_named(thing: Any) -> bool:
    return isinstance(thing, (type, FunctionType)) and thing.__name__ != "<lambda>"


def _define(thing: Any, name: str, known: Named) -> bool:
    """Put the definition of a name among the known ones, after those of all that it uses; False where there is none."""
    lines: list[str] = []
    if (thing is np and name == "np") or (thing is torch and name == "torch"):  # which every script has
        known[name] = []
        return True
    if inspect.ismodule(thing):
        lines = [f"import {thing.__name__}" + (f" as {name}" if name != thing.__name__ else "")]
    elif isinstance(thing, (bool, int, float, str, type(None))) or _is_plain_tuple(thing):
        lines = [f"{name} = {thing!r}"]
    elif isinstance(thing, np.ndarray) and thing.size <= SMALL and thing.dtype.kind in "bif":
        lines = [f"{name} = np.array({thing.tolist()!r}, dtype={str(thing.dtype)!r})"]
    elif isinstance(thing, (type, FunctionType)):
        if thing.__module__.split(".")[0] in ("numpy", "torch", "math", "scipy", "builtins", "dataclasses", "typing"):
            lines = [f"from {thing.__module__} import {thing.__name__}" + (f" as {name}" * (name != thing.__name__))]
        else:
            lines = _own_lines(thing, name)
            if not lines or (_is_named(thing) and name != thing.__name__):
                return False
            known.setdefault(name, [])  # what uses itself is on its way
            for other, value in _used(thing):
                if value is not thing and (other == name or (other not in known and not _define(value, other, known))):
                    return False  # of another thing by the same name, too
            known.pop(name)
    if lines and known.get(name, lines) == lines:
        known[name] = lines
        return True
    return False


def _is_plain_tuple(thing: Any) -> bool:
    return isinstance(thing, (tuple, list)) and all(isinstance(v, (bool, int, float, str)) for v in thing)


def _functions(thing: Any) -> list[FunctionType]:
    """The function itself, or the methods of a class."""
    members = list(vars(thing).values()) if isinstance(thing, type) else [thing]
    plain = [getattr(m, "__func__", getattr(m, "fget", m)) for m in members]
    return [f for f in plain if isinstance(f, FunctionType) and f.__code__.co_filename != "<string>"]


def _used(thing: Any) -> Iterator[tuple[str, Any]]:
    """The names that its text uses and does not make itself, but for builtins, with their values."""
    if isinstance(thing, type):
        yield from ((base.__name__, base) for base in thing.__bases__ if base is not object)
    functions = _functions(thing)
    closed: dict[str, Any] = {}
    for f in functions:
        for name, cell in zip(f.__code__.co_freevars, f.__closure__ or (), strict=True):
            if name != "__class__":
                closed[name] = cell.cell_contents
    world: Mapping[str, Any] = functions[0].__globals__ if functions else {}
    tree = ast.parse("\n".join(_own_lines(thing, "_")))
    names = dict.fromkeys(n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load))
    for name in names:
        if name in closed or (name in world and not name.startswith("__")):
            yield name, closed.get(name, world.get(name))


def _own_lines(thing: Any, name: str) -> list[str]:
    """Its own text; a lambda's with the name before it; none where there is none."""
    functions = _functions(thing)
    if not functions:
        return []
    code = functions[0].__code__
    text = "".join(linecache.getlines(code.co_filename, functions[0].__globals__))
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return []
    if thing.__name__ == "<lambda>":
        found = [n for n in ast.walk(tree) if isinstance(n, ast.Lambda) and n.lineno <= code.co_firstlineno <= _end(n)]
        segments = {ast.get_source_segment(text, n) for n in found if _same_code(n, code)}
        if len(segments) != 1 or None in segments:
            return []
        return f"{name} = {' '.join(str(segments.pop()).split())}".splitlines()
    kinds = ast.ClassDef if isinstance(thing, type) else (ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(tree):
        if not isinstance(node, kinds) or node.name != thing.__name__:
            continue
        first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
        if first <= code.co_firstlineno <= _end(node):
            return textwrap.dedent("\n".join(text.splitlines()[first - 1 : _end(node)])).splitlines()
    return []


def _end(node: Any) -> int:
    return int(node.end_lineno)


def _same_code(node: ast.Lambda, code: CodeType) -> bool:
    """Whether this text is that of the lambda: of several on one line, only its own compiles to the same."""
    try:
        made = compile(ast.Expression(node), "", "eval")
    except (SyntaxError, ValueError):
        return False
    inner = next(c for c in made.co_consts if isinstance(c, CodeType))
    names = (*inner.co_names, *inner.co_freevars), (*code.co_names, *code.co_freevars)
    return inner.co_varnames == code.co_varnames and set(names[0]) == set(names[1]) and _plain(inner) == _plain(code)


def _plain(code: CodeType) -> list[Any]:
    return [c for c in code.co_consts if not isinstance(c, CodeType)]
