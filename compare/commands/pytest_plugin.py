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

from handgrad.compare.checking.listeners import listening_to_threads
from handgrad.compare.checking.places import raising_line
from handgrad.compare.foundation.whole_files import write_json

PROPERTY, OPTION = "handgrad", "--handgrad-report"
HEARD = pytest.StashKey[list[Any]]()  # the reports of the checks of a test's phase: setup, call or teardown


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --handgrad-report."""
    group = parser.getgroup("handgrad")
    group.addoption(OPTION, metavar="FILE.json", help="write every report of handgrad.check to this file")


def pytest_configure(config: pytest.Config) -> None:
    """Gather what the tests say, but in the workers of pytest-xdist. UsageError for a file that cannot be."""
    if hasattr(config, "workerinput"):
        return
    given = config.getoption(OPTION)
    path = Path(given).absolute() if given else None  # a test may change the folder
    if path is not None and (path.is_dir() or not path.parent.is_dir()):
        raise pytest.UsageError(f"{OPTION} must name a file in a folder that exists, got {given}: name another file")
    config.pluginmanager.register(Summary(path), "handgrad-summary")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    """Listen to the checks of the fixtures that this test begins."""
    return (yield from _heard(item))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Listen to the checks of this test."""
    return (yield from _heard(item))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """Listen to the checks of the fixtures that end with this test."""
    return (yield from _heard(item))


def _heard(item: pytest.Item) -> Iterator[None]:
    heard = item.stash[HEARD] = []
    with listening_to_threads(heard.append):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Show the report, not the traceback through `check`, and hand on what this phase of the test checked."""
    report: Any = yield
    checks, item.stash[HEARD] = item.stash.get(HEARD, []), []
    report.user_properties.extend((PROPERTY, json.dumps(r.as_json())) for r in checks)
    if call.excinfo is not None and (said := _ours(call.excinfo.value)) is not None:
        report.longrepr = _shown(*said, call.excinfo)
    return report


def _ours(problem: BaseException) -> tuple[str, str, str] | None:
    """(headline, the rest, FILE:LINE) of an exception whose words say all there is to say; None for any other."""
    failed, misused = (
        getattr(sys.modules.get(f"handgrad.compare.{module}"), name, ())
        for module, name in (("checking.findings", "CheckFailed"), ("foundation.errors", "UsageError"))
    )
    if isinstance(problem, failed):
        return problem.report.headline, str(problem), problem.report.where
    if isinstance(problem, misused):
        where = raising_line(problem.__traceback__)
        return f"{where}: {' '.join(str(problem).split())}", "", where
    return None


def _shown(headline: str, rest: str, where: str, info: pytest.ExceptionInfo[BaseException]) -> Any:
    """A failure whose first line, also in the short summary and in JUnit's XML, is the headline."""
    words = AssertionError(f"{headline}\n\n{rest}".rstrip()).with_traceback(info.tb)
    shown = pytest.ExceptionInfo.from_exception(words).getrepr(style="value")
    if shown.reprcrash is not None:
        file, _, line = where.rpartition(":")
        shown.reprcrash.message = headline
        if file:
            shown.reprcrash.path, shown.reprcrash.lineno = file, int(line)
    return shown


class Summary:
    """Every check of the session, for the terminal and for the file of --handgrad-report."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.found: list[dict[str, Any]] = []
        self.problem = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take in what a phase of a test checked."""
        self.found += [
            {"test": report.nodeid, "phase": report.when, "passed": report.passed, **json.loads(str(value))}
            for key, value in report.user_properties
            if key == PROPERTY
        ]

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the file; where that fails, the session fails."""
        if self.path is None:
            return
        try:
            write_json(self.path, self.found)
        except OSError as problem:
            self.problem = f"handgrad: the reports cannot be written to {self.path} ({problem.strerror})"
            session.exitstatus = pytest.ExitCode.USAGE_ERROR

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Every check with its closest call. A difference that its test expects is in small letters."""
        if self.problem:
            terminalreporter.write_line(self.problem)
        if not self.found:
            return
        terminalreporter.section("handgrad: checks and the fraction of the bound they use")
        for check in sorted(self.found, key=lambda c: -(c["closest_call"] if c["closest_call"] is not None else 1e300)):
            terminalreporter.write_line(_line(check))


def _line(check: dict[str, Any]) -> str:
    closest = check["closest_call"]
    used = "∞" if closest is None else f"{closest:.3f}" if closest < 1000 else f"{closest:.1e}"
    word = f"{check['outcome']:<7}" if check["agrees"] or check["passed"] else check["outcome"].upper()
    file, _, test = check["test"].partition("::")
    if not check["where"].startswith(f"{file}:"):
        test = check["test"]  # the check stands in another file
    phase = "" if check["phase"] == "call" else f", {check['phase']}"
    place = f"{check['where']} ({test}{phase})".lstrip()
    return f"{word} {used:>9}  {check['name']}  {place}"
