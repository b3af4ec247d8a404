"""`handgrad lessons`: list the scripts in examples/lessons with a line each, or run one."""

from __future__ import annotations

import ast
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType

from compare.run.report import EXIT_AGREES, EXIT_DATA, EXIT_DISAGREES, EXIT_USAGE


def folder() -> Path:
    """Where the scripts are: examples/lessons in a checkout, `lessons` beside `compare` where a wheel put them."""
    root = Path(__file__).resolve().parents[2]
    in_checkout = root / "examples" / "lessons"
    return in_checkout if in_checkout.is_dir() else root / "lessons"


def lessons() -> dict[str, Path]:
    """Every lesson's script by its name, in order: {"one-neuron": …/01_one_neuron.py, …}."""
    return {path.stem[3:].replace("_", "-"): path for path in sorted(folder().glob("[0-9][0-9]_*.py"))}


def summary(script: Path) -> str:
    """The first line of the script's docstring."""
    text = ast.get_docstring(ast.parse(script.read_text("utf-8"))) or ""
    return text.partition("\n")[0].rstrip(".")


def load(script: Path) -> ModuleType:
    """The script as a module; its `main(folder)` is the lesson."""
    spec = importlib.util.spec_from_file_location(f"lesson_{script.stem}", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where its dataclasses look for their own module
    spec.loader.exec_module(module)
    return module


def run(name: str | None, out: Path) -> int:
    """List the lessons, or run one and return 0, 1 where something it asserts is not so, 2, or 3 without the digits."""
    known = lessons()
    if name is None:
        width = max(map(len, known), default=0)
        for number, (lesson, script) in enumerate(known.items(), start=1):
            print(f"{number:>2}  {lesson:<{width}}  {summary(script)}")
        return EXIT_AGREES
    if name.isdigit() and 1 <= int(name) <= len(known):
        name = list(known)[int(name) - 1]
    if name not in known:
        print(
            f"handgrad lessons: a lesson's name must be one of {', '.join(known)}, or its number, got {name!r}: "
            "choose one of them",
            file=sys.stderr,
        )
        return EXIT_USAGE
    return _run(name, known[name], out)


def _run(name: str, script: Path, out: Path) -> int:
    from data import DataError

    try:
        load(script).main(out / name)
    except AssertionError as problem:
        where = traceback.extract_tb(problem.__traceback__)[-1]
        said = str(problem).partition("\n")[0] or f"{where.line} does not hold"
        print(f"handgrad lessons: {script.name}, line {where.lineno}: {said}", file=sys.stderr)
        return EXIT_DISAGREES
    except DataError as problem:
        print(f"handgrad lessons: {problem}", file=sys.stderr)
        return EXIT_DATA
    return EXIT_AGREES
