"""The sets by name: each is a folder of files with a list CASES."""

from __future__ import annotations

import functools
import importlib
import pkgutil

from tests.derivations.hidden.case import Case

SETS = ("first", "second", "third")


@functools.cache
def cases(which: str) -> tuple[Case, ...]:
    """The derivations of a set, file by file."""
    package = importlib.import_module(f"{__package__}.{which}")
    files = sorted(module.name for module in pkgutil.iter_modules(package.__path__))
    return tuple(case for file in files for case in importlib.import_module(f"{package.__name__}.{file}").CASES)
