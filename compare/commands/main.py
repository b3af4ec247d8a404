"""The command `handgrad`. Nothing heavy is imported before it is known what is asked for."""

from __future__ import annotations

import argparse
import io
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from handgrad.compare.commands.parser import parser
from handgrad.compare.foundation import process
from handgrad.compare.foundation.debug import debugging, is_debugging
from handgrad.compare.foundation.errors import UsageError
from handgrad.compare.foundation.exit_codes import (
    EXIT_AGREES,
    EXIT_DATA,
    EXIT_DISAGREES,
    EXIT_INTERRUPTED,
    EXIT_STOPPED,
    EXIT_USAGE,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    args = parser().parse_args(arguments)
    process.keep_freed_memory()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal without Unicode gets \u03b7 for η, and no traceback
            stream.reconfigure(errors="backslashreplace")
    with debugging(args.debug):
        try:
            return _run(args)
        except BrokenPipeError:  # whoever read the output has seen enough, but no verdict
            sys.stdout = None
            return EXIT_DISAGREES
        except (Exception, KeyboardInterrupt) as problem:
            if is_debugging():
                traceback.print_exc()
            message, code = _answer(problem, args)
            print(f"handgrad {args.command}: {message}", file=sys.stderr)
            return code


def _answer(problem: BaseException, args: argparse.Namespace) -> tuple[str, int]:
    """The one line for what went wrong, and the exit code."""
    text = " ".join(str(problem).split())
    frames = traceback.extract_tb(problem.__traceback__)
    if isinstance(problem, KeyboardInterrupt):  # first: it may have left torch half imported
        own = [f for f in frames if getattr(args, "file", None) and Path(f.filename).name == args.file.name]
        where = f" in {own[-1].name}, line {own[-1].lineno} of {args.file}" if own else ""
        return f"interrupted{where}", EXIT_INTERRUPTED
    if isinstance(problem, UsageError):
        return text, EXIT_USAGE
    from handgrad.compare.run.checkpoint.files import Damaged
    from handgrad.data import DataError

    if isinstance(problem, (DataError, Damaged)):
        return text, EXIT_DATA
    if isinstance(problem, OSError):
        message = f"every file must be readable or writable, but {text}: free some space, or name another place"
    elif isinstance(problem, MemoryError):
        message = f"everything must fit into memory, but {text or 'it does not'}: use smaller sizes, batches or shapes"
    else:
        place = f"{Path(frames[-1].filename).name}, line {frames[-1].lineno}"
        kind = type(problem).__name__
        message = f"nothing may fail unforeseen, but {kind} came: {text} ({place}): report what handgrad --debug shows"
    return message, EXIT_STOPPED


def _run(args: argparse.Namespace) -> int:
    if args.command == "check":
        from handgrad.compare.commands import check

        return check.run(args)
    if args.command == "board":
        return _board(args)
    if args.command == "lessons":
        from handgrad.compare.commands import lessons

        return lessons.run(args.name, args.out)
    return _mnist(args)


def _board(args: argparse.Namespace) -> int:
    from handgrad.compare.board import server

    folder = args.logdir if args.all else args.run or server.newest_run(args.logdir)
    server.serve(server.require_events(folder), args.port, lambda text: print(text, flush=True))
    return EXIT_AGREES


def _mnist(args: argparse.Namespace) -> int:
    from rich.console import Console

    from handgrad import data
    from handgrad.compare.commands import mnist
    from handgrad.compare.pairs.table import optimizer_options
    from handgrad.compare.run import recipes
    from handgrad.compare.run.checkpoint.keeper import EVERY
    from handgrad.compare.run.experiment import Experiment

    for name, remedy in (("log_every", "--no-log for no log"), ("checkpoint_every", "a larger number")):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise UsageError(f"{name.replace('_', ' ')} must be at least 1, got {value}: use {remedy}")
    given = {k: v for k, v in vars(args).items() if v is not None and k in Experiment.__dataclass_fields__}
    options = {name: getattr(args, name) for name in optimizer_options() if getattr(args, name) is not None}
    if given.get("batch_size") == "full":
        given["batch_size"] = len(data.load(given.get("dataset", "mnist"), args.data_dir).train)
        given["batch_size"] -= given.get("validation", 0)
    console = Console()
    if not console.is_terminal:
        console.width = 120  # a log file has no 80 columns to keep to
    if args.resume is not None:
        for name in ("recipe", "name", "logdir", "overwrite", "log_every", "no_log"):
            if getattr(args, name):
                raise UsageError(f"--resume goes on as the run was begun: leave --{name.replace('_', '-')} out")
        given["optimizer_options"] = options
        return mnist.resume(args.resume, given, args.data_dir, args.checkpoint_every, console)
    experiment = recipes.experiment(args.recipe, **given, optimizer_options=options)
    log_every = 0 if args.no_log else args.log_every or 10
    return mnist.run(
        experiment, args.data_dir, args.logdir or Path("runs"), args.name, log_every, console,
        args.checkpoint_every or EVERY, args.overwrite,
    )  # fmt: skip
