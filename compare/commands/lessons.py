"""`handgrad lessons`: list the scripts in examples/lessons with a line each, or run one."""

from __future__ import annotations

import ast
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType

from handgrad.compare.foundation.errors import UsageError

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "lessons"


def lessons() -> dict[str, Path]:
    """Every lesson's script by its name, in the order in which they are numbered: {"one_neuron": …, …}."""
    scripts = {script: summary(script)[0] for script in FOLDER.glob("*.py")}
    if not scripts:
        raise UsageError(
            f"the lessons must be in examples/lessons beside the packages, but there are none in {FOLDER}: "
            "install from a checkout of the project, with pip install --editable '.[lessons]'"
        )
    return {script.stem: script for script in sorted(scripts, key=lambda script: scripts[script])}


def summary(script: Path) -> tuple[int, str]:
    """The lesson's number and what it shows, from the first line of its docstring: "1. One neuron: …"."""
    text = ast.get_docstring(ast.parse(script.read_text("utf-8"))) or ""
    number, _, words = text.partition("\n")[0].partition(".")
    return int(number), words.strip()


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
    """List the lessons, or run one, by its name or number; return 0, or 1 where something that it asserts is not so.

    Raises UsageError for a name that no lesson has, and where Python's -O has switched its assertions off.
    """
    known = lessons()
    if name is None:
        width = max(map(len, known))
        for lesson, script in known.items():
            number, words = summary(script)
            print(f"{number:>2}  {lesson:<{width}}  {words}")
        return 0
    # These import torch and NumPy, which a list need not wait for.
    from handgrad.compare.foundation.threads import limited
    from handgrad.compare.foundation.validation import choose

    if not __debug__:
        raise UsageError("a lesson must be able to assert what it shows, but Python runs with -O: run it without")
    numbered = {str(summary(script)[0]): script for script in known.values()}
    script = numbered[name] if name in numbered else choose("a lesson", name, known)
    try:
        with limited():
            load(script).main(out / script.stem)
    except AssertionError as problem:
        place = traceback.extract_tb(problem.__traceback__)[-1]
        said = str(problem).strip().partition("\n")[0] or f"{place.line} does not hold"
        print(f"handgrad lessons: {script.name}, line {place.lineno}: {said}", file=sys.stderr)
        return 1
    return 0
