"""Modules that are imported when something of them is first used."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from handgrad.compare.foundation.errors import UsageError


class Later:
    """Stands for a module of this name. UsageError where something is used that the module does not have."""

    def __init__(self, module: str) -> None:
        self.__module = module

    def __getattr__(self, name: str) -> Any:
        module = import_module(self.__module)
        try:
            return getattr(module, name)
        except AttributeError:
            raise UsageError(
                f"a row of compare/pairs/table.py must name what exists, but {self.__module} has no {name}: "
                "add it there, or correct the row"
            ) from None
