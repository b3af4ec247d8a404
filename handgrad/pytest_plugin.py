"""What pytest loads wherever handgrad is installed: the plugin, or one line of warning if it cannot be imported.

The plugin itself is `handgrad.compare.commands.pytest_plugin`. Every session in the environment loads this file, also
those that never use handgrad, so it must neither fail nor take time.

One case is out of reach: a project that has a `handgrad.py` or `handgrad/__init__.py` of its own. Pytest imports a
plugin by its name. Under `python -m pytest` it finds the project's file first and ends the session before any line of
ours has run; under `pytest` it finds ours, and so do the project's tests. `-p no:handgrad` leaves our plugin out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


class Absent:
    """Stands in for a plugin that cannot be imported."""

    def __init__(self, problem: Exception) -> None:
        self.problem = " ".join(f"{type(problem).__name__}: {problem}".split())

    def pytest_report_header(self) -> str:
        """The one line of warning."""
        return f"handgrad: the plugin is off because it cannot be imported ({self.problem}); install handgrad again"


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Register the plugin; this is the first hook that pytest calls."""
    try:
        from handgrad.compare.commands import pytest_plugin
    except Exception as problem:  # whatever is broken, a session that does not use handgrad must run
        pluginmanager.register(Absent(problem), "handgrad-absent")
    else:
        pluginmanager.register(pytest_plugin, "handgrad-checks")
