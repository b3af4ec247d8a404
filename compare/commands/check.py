"""`handgrad check`: run the checks of a file, or all that the project ships, and print every report."""

from __future__ import annotations

import runpy
import sys
import time
from pathlib import Path

from handgrad.compare.checking.check import check
from handgrad.compare.checking.findings import Report
from handgrad.compare.checking.listeners import listening
from handgrad.compare.foundation.debug import swallowed
from handgrad.compare.foundation.errors import UsageError
from handgrad.compare.foundation.exit_codes import EXIT_AGREES, EXIT_DISAGREES, EXIT_USAGE
from handgrad.compare.foundation.threads import limited
from handgrad.compare.foundation.whole_files import write_json
from handgrad.compare.pairs.shipped import shipped

SLOW = 10.0  # seconds; what takes longer is remarked on


@limited()
def run(file: Path | None, everything: bool, json_file: Path | None) -> int:
    """Run the checks, print the reports, and return the exit code: 0 all agree, 1 some differ, 2 nothing to run."""
    if (file is None) == (not everything):
        print("handgrad check: expected a file or --all, and not both; see handgrad check --help", file=sys.stderr)
        return EXIT_USAGE
    if json_file is not None and (json_file.is_dir() or not json_file.parent.is_dir()):
        raise UsageError(f"--json must name a file in a folder that exists, got {json_file}: name another file")
    reports: list[Report] = []
    last = [time.perf_counter()]

    def heard(report: Report) -> None:
        """Show each report as soon as it is there: the next check may take long, or fail."""
        reports.append(report)
        print(report, end="\n\n" if not report.agrees else "\n", flush=True)
        now = time.perf_counter()
        if now - last[0] > SLOW:
            print(
                f"handgrad check: {report.name} took {now - last[0]:.0f} s, every draw running both sides many times: "
                "a smaller shape checks as much",
                file=sys.stderr,
            )
        last[0] = now

    failed = 0
    with listening(heard, raises=False):
        if everything:
            for name, ours, reference, arguments in shipped():
                check(ours, reference, name=name, **arguments)
        elif file is not None:
            failed = _run_file(file)
    if json_file is not None:
        try:
            write_json(json_file, [r.as_json() for r in reports])
        except OSError as problem:
            raise UsageError(f"--json must name a file that can be written, but {problem}: name another file") from None
    if not reports and not failed:
        print(
            f"handgrad check: {file} must call handgrad.check, at its top level or in functions named check_… or "
            "test_…, but no check ran",
            file=sys.stderr,
        )
        return EXIT_USAGE
    if not reports:
        return EXIT_USAGE  # every function that might have called it raised, as has been said
    if len(reports) == 1 and reports[0].agrees:
        print()
    wrong = sum(not r.agrees for r in reports)
    ran = f"{len(reports)} check{'s' if len(reports) != 1 else ''}"
    closest = max((r.closest_call for r in reports if r.agrees), default=None)
    headroom = "" if closest is None else f" · closest call {closest:.3f} of its bound"
    print(f"{ran} · {f'{wrong} differ' if wrong else 'all agree'}{headroom}")
    return EXIT_DISAGREES if wrong else EXIT_USAGE if failed else EXIT_AGREES


def _run_file(file: Path) -> int:
    """Run a file as a script, then its functions check_… and test_…; return the number of them that raised."""
    if not file.is_file():
        raise UsageError(f"the file to check must exist, but there is no {file}: give the path of a Python file")
    sys.path.insert(0, str(file.resolve().parent))
    try:
        namespace = runpy.run_path(str(file), run_name="__main__")
    except SystemExit:
        return 0
    except (UsageError, BrokenPipeError):  # the latter is of whoever reads the output
        raise
    except Exception as problem:
        raise UsageError(f"{file} must run, but it raises {_last_line(problem)}") from problem
    failed = 0
    for name, thing in namespace.items():
        if name.startswith(("check_", "test_")) and callable(thing) and thing.__module__ == "__main__":
            try:
                thing()
            except (UsageError, BrokenPipeError):
                raise
            except Exception as problem:
                swallowed(problem, name)
                failed += 1
                print(f"handgrad check: {file}, {name} raises {_last_line(problem)}", file=sys.stderr)
    return failed


def _last_line(problem: BaseException) -> str:
    return " ".join(f"{type(problem).__name__}: {problem}".split())
