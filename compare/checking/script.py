"""How a script names the things that were checked: by an import, by their own text, or by saying what belongs there."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from handgrad.compare.checking.references import module_in_python
from handgrad.compare.checking.source import text_of
from handgrad.compare.foundation.signatures import required
from handgrad.compare.judge.stateful import Stateful


class Named(NamedTuple):
    """A thing in a script."""

    expression: str
    imports: Sequence[str] = ()
    written: Sequence[str] = ()  # lines that must stand before it is used


def named(thing: Any, role: str, brief: bool = False) -> Named:
    """How a script names the thing; under the name `role` where it has none. A brief one holds nobody's text."""
    if isinstance(thing, Stateful):
        return _stateful(thing, brief)
    found = _reference(thing, brief)
    if found is not None:
        return found
    text = [] if brief or not inspect.isfunction(thing) else text_of(thing, role)
    if text:
        return Named(role if thing.__name__ == "<lambda>" else thing.__name__, written=[*text, ""])
    return Named(role, written=[f"# {role}: {_what_it_is(thing)}", f"{role} = ...  # a placeholder", ""])


def _stateful(thing: Stateful, brief: bool) -> Named:
    """The call that made it, its factory named."""
    factory = named(thing.factory, "factory", brief)
    given = [factory.expression, repr(dict(thing.gradients))]
    for f in dataclasses.fields(thing):
        value = getattr(thing, f.name)
        if f.name not in ("factory", "gradients") and value != f.default:
            given.append(f"{f.name}={value!r}")
    expression = f"stateful({', '.join(given)})"
    return Named(expression, [*factory.imports, "from handgrad import stateful"], factory.written)


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


def _reference(thing: Any, brief: bool) -> Named | None:
    """How a script names a thing; None for what cannot be named (a lambda, a closure)."""
    if inspect.ismethod(thing):
        owner = _reference(thing.__self__, brief)
        return None if owner is None else owner._replace(expression=f"{owner.expression}.{thing.__name__}")
    name = str(getattr(thing, "__name__", ""))
    for prefix, library in (("torch", torch), ("torch.nn.functional", nn.functional), ("np", np)):
        if thing is not None and getattr(library, name, None) is thing:
            return Named(f"{prefix}.{name}")
    if isinstance(thing, nn.Module):
        return _module_of_torch(thing, brief)
    if isinstance(thing, type) or (callable(thing) and not dataclasses.is_dataclass(thing)):
        if (getattr(thing, "__module__", "") or "").startswith("torch.optim"):
            return Named(f"torch.optim.{thing.__name__}")
        if "<" in getattr(thing, "__qualname__", "<"):
            return None
        return _imported(thing, thing.__name__, brief)
    return _instance(thing, brief)


def _module_of_torch(thing: nn.Module, brief: bool) -> Named | None:
    kind = type(thing)
    if kind is nn.Sequential:
        inside = [_reference(module, brief) for module in thing.children()]
        known = [reference for reference in inside if reference is not None]
        shown = f"torch.nn.Sequential({', '.join(named.expression for named in known)})"
        return _with(shown, known) if len(known) == len(inside) else None
    if kind.__module__.startswith("torch.nn"):
        shown = f"torch.nn.{module_in_python(thing)}"
        return Named(shown) if _is_python(shown) else None
    # with which arguments a class of one's own was made, its instance does not tell
    return None if inspect.signature(kind).parameters else _imported(kind, f"{kind.__name__}()", brief)


def _with(expression: str, parts: Sequence[Named]) -> Named:
    """An expression that is made of these parts."""
    imports = [line for part in parts for line in part.imports]
    return Named(expression, imports, [line for part in parts for line in part.written])


def _instance(thing: Any, brief: bool) -> Named | None:
    """A dataclass by the fields that differ from their defaults; anything else by its class alone."""
    kind, parts, arguments = type(thing), list[Named](), []
    for f in dataclasses.fields(thing) if dataclasses.is_dataclass(thing) else ():
        value = getattr(thing, f.name)
        if value is f.default or value == f.default:
            continue
        known = callable(value) or dataclasses.is_dataclass(value)
        reference = _reference(value, brief) if known else Named(repr(value))
        if reference is None or "<" in reference.expression:
            return None
        arguments.append(f"{f.name}={reference.expression}")
        parts.append(reference)
    if not dataclasses.is_dataclass(thing) and required(kind) != 0:
        return None  # with which arguments it was made, nobody knows
    home = _imported(kind, f"{kind.__name__}({', '.join(arguments)})", brief)
    return None if home is None else _with(home.expression, [*parts, home])


def _imported(kind: Any, shown: str, brief: bool) -> Named | None:
    """By an import; by its own text where there is none, or where that would run what was run, once more."""
    if "<" in kind.__qualname__ or "." in kind.__qualname__:
        return None
    lines = _imports(kind)
    again = kind.__module__ == "__main__" and _checks_when_imported(_source_file(kind))
    if (not lines or again) and not brief and (text := text_of(kind, kind.__name__)):
        return Named(shown, written=[*text, ""])
    return Named(shown, lines) if lines else None


def _imports(thing: Any) -> list[str]:
    """The lines that import it wherever the script lies; none for what lies in no file."""
    name, module, file = thing.__name__, str(thing.__module__), _source_file(thing)
    if module == "__main__":
        spec = getattr(sys.modules["__main__"], "__spec__", None)
        if spec is None and file is None:
            return []
        module = spec.name if spec is not None else Path(str(file)).stem
    if not all(part.isidentifier() for part in module.split(".")):
        return ["import runpy", f"{name} = runpy.run_path({str(file)!r})[{name!r}]"] if file else []
    line = f"from {module} import {name}"
    root = Path(file).resolve().parents[module.count(".")] if file else None
    looked_in = {Path(p or ".").resolve() for p in sys.path}
    if root is None or root not in looked_in or "site-packages" in root.parts or root.is_relative_to(sys.base_prefix):
        return [line]
    return ["import sys", f"sys.path.insert(0, {str(root)!r})", line]


def _source_file(thing: Any) -> str | None:
    """The file a function, or the first method of a class, was written in; None for what was written in none."""
    functions = [thing, *vars(thing).values()] if isinstance(thing, type) else [thing]
    code = next((f.__code__ for f in functions if hasattr(f, "__code__")), None)
    return None if code is None or not Path(code.co_filename).is_file() else code.co_filename


def _checks_when_imported(file: str | None) -> bool:
    """Whether a script calls `check` as soon as it is imported."""
    try:
        tree = ast.parse(Path(file or "").read_text("utf-8"))
    except (OSError, SyntaxError, ValueError):
        return False
    at_once = [s for s in tree.body if not isinstance(s, (ast.FunctionDef, ast.ClassDef)) and not _is_guard(s)]
    calls = [n.func for s in at_once for n in ast.walk(s) if isinstance(n, ast.Call)]
    return any(getattr(f, "id", getattr(f, "attr", "")) == "check" for f in calls)


def _is_guard(statement: ast.stmt) -> bool:
    """Whether it is `if __name__ == "__main__":`."""
    names = [n.id for n in ast.walk(statement.test) if isinstance(n, ast.Name)] if isinstance(statement, ast.If) else []
    return "__name__" in names


def _is_python(text: str) -> bool:
    """Whether it can be written in a script; the text of a module made of others cannot."""
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return True


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text)
