"""`handgrad check`: run the checks of a file, of one thing that is named, or all that the project ships."""

from __future__ import annotations

import argparse
import runpy
import sys
import time
from pathlib import Path
from typing import Any

from handgrad.compare.checking.check import check
from handgrad.compare.checking.findings import Report
from handgrad.compare.checking.listeners import listening
from handgrad.compare.checking.outcome import Outcome
from handgrad.compare.checking.places import raising_line, seen
from handgrad.compare.commands import named
from handgrad.compare.foundation.debug import swallowed
from handgrad.compare.foundation.errors import UsageError
from handgrad.compare.foundation.exit_codes import EXIT_AGREES, EXIT_DISAGREES, EXIT_UNDECIDED, EXIT_USAGE
from handgrad.compare.foundation.threads import limited
from handgrad.compare.foundation.whole_files import write_json
from handgrad.compare.pairs.shipped import shipped

SLOW = 10.0  # seconds; what takes longer is remarked on


@limited()
def run(args: argparse.Namespace) -> int:
    """Run the checks, print the reports, and return the exit code.

    0 where all agree, 1 where some differ, 2 where one cannot run, 5 where nothing differs and one was not decided.
    """
    file, json_file = args.file, args.json
    if (file is None) == (not args.all):
        _complain("expected a file, MODULE:NAME or --all, and only one of them; see handgrad check --help")
        return EXIT_USAGE
    if json_file is not None and (json_file.is_dir() or not json_file.parent.is_dir()):
        raise UsageError(f"--json must name a file in a folder that exists, got {json_file}: name another file")
    if file is None or not (one := named.is_named(str(file))):
        named.require_no_options(args)
    session = _Session()
    with listening(session.heard, raises=False):
        if file is None:
            for name, ours, reference, arguments in shipped():
                check(ours, reference, name=name, **arguments)
        elif one:
            check(**named.arguments(args))
        else:
            session.run_file(file)
    if json_file is not None:
        try:
            write_json(json_file, [r.as_json() for r in session.reports])
        except OSError as problem:
            raise UsageError(f"--json must name a file that can be written, but {problem}: name another file") from None
    return session.end(file)


class _Session:
    """The checks of one call of the command, told as they come."""

    def __init__(self) -> None:
        self.reports: list[Report] = []
        self.failed = 0  # functions that could not run, as has been said
        self.file = ""  # the one that runs, and the function in it
        self.function = ""
        self.last = time.perf_counter()

    def heard(self, report: Report) -> None:
        """Show each report as soon as it is there: the next check may take long, or fail."""
        self.reports.append(report)
        head, *rest = str(report).split("\n")
        file, _, line = report.where.rpartition(":")
        where = f"line {line}" if file and file == self.file else report.where
        place = ", ".join(part for part in (self.function, where) if part)
        print("\n".join([f"{head}  ({place})" if place else head, *rest]), end="\n" * (1 + (not report)), flush=True)
        now = time.perf_counter()
        if now - self.last > SLOW:
            _complain(
                f"{report.name} took {now - self.last:.0f} s, every draw running both sides many times: a smaller "
                "shape checks as much"
            )
        self.last = now

    def run_file(self, file: Path) -> None:
        """Run a file as a script, then its functions check_… and test_…, each although another may raise."""
        if not file.is_file():
            raise UsageError(f"the file to check must exist, but there is no {file}: give the path of a Python file")
        sys.path.insert(0, str(file.resolve().parent))
        self.file = seen(str(file))
        try:
            namespace = runpy.run_path(str(file), run_name="__main__")
        except SystemExit:
            return
        except BrokenPipeError:  # of whoever reads the output
            raise
        except UsageError as problem:
            self._cannot(f"{raising_line(problem.__traceback__)}: {problem}")
            return
        except Exception as problem:
            raise UsageError(f"{file} must run, but it raises {_last_line(problem)}") from problem
        for name, thing in namespace.items():
            if name.startswith(("check_", "test_")) and callable(thing) and thing.__module__ == "__main__":
                self._run_function(file, name, thing)

    def _run_function(self, file: Path, name: str, function: Any) -> None:
        self.function = name
        try:
            function()
        except BrokenPipeError:
            raise
        except UsageError as problem:
            self._cannot(f"{name}, {raising_line(problem.__traceback__)}: {problem}")
        except Exception as problem:
            swallowed(problem, name)
            self._cannot(f"{file}, {name} raises {_last_line(problem)}")

    def _cannot(self, words: str) -> None:
        self.failed += 1
        _complain(" ".join(words.split()))

    def end(self, file: Path | None) -> int:
        """The last line, and the exit code."""
        reports = self.reports
        if not reports:
            if not self.failed:
                _complain(
                    f"{file} must call handgrad.check, at its top level or in functions named check_… or test_…, but "
                    "no check ran"
                )
            return EXIT_USAGE
        if len(reports) == 1 and reports[0]:
            print()
        wrong, undecided = (sum(r.outcome is o for r in reports) for o in (Outcome.DIFFERS, Outcome.UNDECIDED))
        said = [f"{len(reports)} check{'s' if len(reports) != 1 else ''}"]
        said += [f"{count} {word}" for count, word in ((wrong, "differ"), (undecided, "not decided")) if count]
        if not wrong and not undecided:
            said.append("all agree")
        if self.failed:
            said.append(f"{self.failed} could not run")
        closest = max((r.closest_call for r in reports if r), default=None)
        if closest is not None:
            said.append(f"closest call {closest:.3f} of its bound")
        print(" · ".join(said))
        if wrong:
            return EXIT_DISAGREES
        return EXIT_USAGE if self.failed else EXIT_UNDECIDED if undecided else EXIT_AGREES


def _complain(words: str) -> None:
    print(f"handgrad check: {words}", file=sys.stderr)


def _last_line(problem: BaseException) -> str:
    return " ".join(f"{type(problem).__name__}: {problem}".split())
