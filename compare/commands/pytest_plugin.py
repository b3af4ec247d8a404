"""The pytest plugin: a check's report as the failure, and a summary of every check with its headroom.

Loaded in every session by `handgrad.pytest_plugin`, so it imports nothing heavy. The reports
travel as `user_properties`, which pytest-xdist carries from its workers.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from handgrad.compare.checking.listeners import listening

PROPERTY = "handgrad"
HEARD = pytest.StashKey[list[Any]]()  # the reports of a test's checks
OUR_ERRORS = (
    ("checking.findings", "CheckFailed"),
    ("foundation.errors", "UsageError"),
)  # whose words say all there is to say


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --handgrad-report."""
    group = parser.getgroup("handgrad")
    group.addoption("--handgrad-report", metavar="FILE.json", help="write every report of handgrad.check to this file")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Show the report, not the traceback through `check`, and hand on what the test checked."""
    report: Any = yield
    if call.when == "call":
        checks = item.stash.get(HEARD, [])
        report.user_properties.extend((PROPERTY, json.dumps(r.as_json())) for r in checks)
        checks.clear()
        known = [(sys.modules.get(f"handgrad.compare.{m}"), name) for m, name in OUR_ERRORS]
        ours = tuple(getattr(module, name) for module, name in known if module is not None)
        if call.excinfo is not None and isinstance(call.excinfo.value, ours):
            report.longrepr = str(call.excinfo.value)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Listen to the checks of this test."""
    heard = item.stash[HEARD] = []
    with listening(heard.append):
        return (yield)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Every check with its closest call, and the JSON file. A difference that its test expects is in small letters."""
    found = []
    for reports in terminalreporter.stats.values():
        for report in reports:
            if getattr(report, "when", "") == "call":
                found += [
                    {"test": report.nodeid, "passed": report.passed, **json.loads(value)}
                    for key, value in report.user_properties
                    if key == PROPERTY
                ]
    path = config.getoption("--handgrad-report")
    if path:
        try:
            Path(path).write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        except OSError as problem:
            terminalreporter.write_line(f"handgrad: the reports cannot be written to {path} ({problem.strerror})")
    if not found:
        return
    terminalreporter.section("handgrad: checks and the fraction of the bound they use")
    for check in sorted(found, key=lambda c: -(c["closest_call"] if c["closest_call"] is not None else 1e300)):
        closest = check["closest_call"]
        used = "∞" if closest is None else f"{closest:.3f}" if closest < 1000 else f"{closest:.1e}"
        word = "agrees " if check["agrees"] else "differs" if check["passed"] else "DIFFERS"
        terminalreporter.write_line(f"{word} {used:>9}  {check['name']}  ({check['test']})")
