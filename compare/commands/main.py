"""The command `handgrad`. Nothing heavy is imported before it is known what is asked for."""

from __future__ import annotations

import argparse
import io
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from handgrad.compare.foundation import process
from handgrad.compare.foundation.debug import debugging, is_debugging
from handgrad.compare.foundation.errors import UsageError

EXIT_CODES = """exit codes:
  0 all agree   1 a stage disagrees   2 wrong usage, or a run that diverges
  3 data or checkpoints missing or damaged
  4 stopped: no room to write, no memory, or a fault of handgrad itself
  130 interrupted by Ctrl-C   143 by SIGTERM; a run that is finished already has its own code when resumed"""

# The names in the tables of compare/pairs.py, which is too slow to import for --help; a test keeps them equal.
ACTIVATIONS = ("relu", "leaky-relu", "sigmoid", "tanh", "identity")
LOSSES = ("cross-entropy", "mse", "half-squared", "bce", "bce-logits", "perceptron")
OPTIMIZERS = ("sgd", "adam", "adamw", "rmsprop")
SCHEDULES = ("constant", "step", "exponential", "cosine", "one-cycle")
INITIALIZATIONS = ("torch", "xavier-uniform", "xavier-normal", "he-uniform", "he-normal")
DATASETS = ("mnist", "fashion-mnist", "kmnist")
AUGMENTATIONS = ("none", "weak", "medium", "strong")
RECIPES = ("best",)

OPTIMIZER_NUMBERS = ("momentum", "dampening", "weight_decay", "beta1", "beta2", "eps", "alpha")
OPTIMIZER_SWITCHES = ("nesterov", "centered")


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaint is one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


class _Version(argparse.Action):
    """--version, whose number is looked up only when it is asked for."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *ignored: object) -> NoReturn:
        from importlib.metadata import version

        print(f"handgrad {version('handgrad')}")
        parser.exit()


def parser() -> Parser:
    """The command line."""
    top = Parser(prog="handgrad", epilog=EXIT_CODES, description="Hand-written backprop beside torch, judged.",
                 formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    top.add_argument("--version", action=_Version, help="say which handgrad this is")
    top.add_argument("--debug", action="store_true", help="show the traceback of whatever goes wrong")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=Parser)
    mnist = commands.add_parser(
        "mnist", help="train both sides on the digits and judge every step", epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    _add_run_options(mnist)
    check = commands.add_parser("check", help="check derivations against torch")
    check.add_argument("file", nargs="?", type=Path, help="a Python file that calls handgrad.check")
    check.add_argument("--all", action="store_true", help="check every pair that the project ships")
    check.add_argument("--json", type=Path, metavar="FILE", help="write the reports to a file")
    board = commands.add_parser("board", help="show a run in TensorBoard, the newest one by default")
    which = board.add_mutually_exclusive_group()
    which.add_argument("run", nargs="?", type=Path, metavar="RUN", help="the folder of a run (the newest in DIR)")
    which.add_argument("--all", action="store_true", help="every run in DIR, side by side")
    board.add_argument("--logdir", type=Path, default=Path("runs"), metavar="DIR", help="where the runs are (runs)")
    board.add_argument("--port", type=_whole, metavar="N", help="(6006, or the first free one after it)")
    lessons = commands.add_parser("lessons", help="list the lessons, or run one of them")
    lessons.add_argument("name", nargs="?", help="a lesson's name or number; without one, the list")
    lessons.add_argument("--out", type=Path, default=Path("runs/lessons"), metavar="DIR",
                         help="where the pictures go, in a folder for each lesson (runs/lessons)")  # fmt: skip
    return top


def _add_run_options(p: argparse.ArgumentParser) -> None:
    p.add_argument("--recipe", metavar="NAME",
                   help=f"{', '.join(RECIPES)}: named settings, which the options below override")  # fmt: skip
    network = p.add_argument_group("the network")
    network.add_argument("--sizes", type=_sizes, metavar="A-B-C", help="widths, input first (784-16-16-10)")
    network.add_argument("--activation", metavar="NAME", help=f"{', '.join(ACTIVATIONS)} (relu)")
    network.add_argument("--loss", metavar="NAME", help=f"{', '.join(LOSSES)} (cross-entropy)")
    network.add_argument("--initialization", metavar="NAME", help=f"{', '.join(INITIALIZATIONS)} (torch)")
    training = p.add_argument_group("training")
    training.add_argument("--optimizer", metavar="NAME", help=f"{', '.join(OPTIMIZERS)} (sgd)")
    training.add_argument("--learning-rate", "--lr", type=float, metavar="η", help="(0.1)")
    training.add_argument("--schedule", metavar="NAME", help=f"{', '.join(SCHEDULES)} (constant)")
    training.add_argument("--batch-size", type=_batch_size, metavar="N", help="examples a step, or 'full' (32)")
    training.add_argument("--epochs", type=_whole, metavar="N", help="(5)")
    training.add_argument("--max-steps", type=_whole, metavar="N", help="stop after so many steps")
    training.add_argument("--augmentation", metavar="NAME",
                          help=f"turn, shift and resize the digits: {', '.join(AUGMENTATIONS)} (none)")  # fmt: skip
    training.add_argument("--seed", type=_whole, metavar="N",
                          help="of the weights, the batch order and the augmentation (0)")  # fmt: skip
    options = p.add_argument_group("options of the optimizers, with torch's names and defaults")
    for name in OPTIMIZER_NUMBERS:
        options.add_argument(f"--{name.replace('_', '-')}", type=float, metavar="X")
    for name in OPTIMIZER_SWITCHES:
        options.add_argument(f"--{name}", action="store_true", default=None)
    how = p.add_argument_group("how it is judged")
    how.add_argument("--dtype", metavar="NAME", help="float64, float32 (float64)")
    how.add_argument("--resync", action="store_true", default=None,
                     help="reload torch from the manual weights before each step")  # fmt: skip
    how.add_argument("--judge-every", type=_whole, metavar="K", help="judge every K-th step (1)")
    how.add_argument("--device", metavar="NAME", help="where torch computes: cpu, cuda (cpu)")
    files = p.add_argument_group("data and results")
    files.add_argument("--dataset", metavar="NAME", help=f"{', '.join(DATASETS)} (mnist)")
    files.add_argument("--data-dir", type=Path, metavar="DIR", help="an existing copy of the data")
    files.add_argument("--validation", type=_whole, metavar="N",
                       help="test the last N training digits instead of the test digits (0)")  # fmt: skip
    files.add_argument("--logdir", type=Path, metavar="DIR", help="(runs)")
    files.add_argument("--name", help="the run's folder in DIR (a time stamp and the main settings)")
    files.add_argument("--overwrite", action="store_true", help="replace the run in that folder")
    files.add_argument("--resume", type=Path, metavar="RUN", help="go on with the run in this folder, as it was begun")
    files.add_argument("--checkpoint-every", type=_whole, metavar="N",
                       help="steps between checkpoints, besides one at each epoch's end (500)")  # fmt: skip
    files.add_argument("--log-every", type=_whole, metavar="N",
                       help="steps between TensorBoard points (10)")  # fmt: skip
    files.add_argument("--no-log", action="store_true", help="no TensorBoard events")


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a whole number, got {text!r}") from None


def _sizes(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split("-"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected widths like 784-16-16-10, got {text!r}") from None


def _batch_size(text: str) -> int | str:
    if text == "full":
        return text
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a whole number or 'full', got {text!r}") from None


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
        except BrokenPipeError:  # whoever read the output has seen enough
            sys.stdout = None
            return 1
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
        return f"interrupted{f' in {own[-1].name}, line {own[-1].lineno} of {args.file}' if own else ''}", 130
    if isinstance(problem, UsageError):
        return text, 2
    from handgrad.compare.run.checkpoint.files import Damaged
    from handgrad.data import DataError

    if isinstance(problem, (DataError, Damaged)):
        return text, 3
    if isinstance(problem, OSError):
        return f"every file must be readable or writable, but {text}: free some space, or name another place", 4
    if isinstance(problem, MemoryError):
        return f"everything must fit into memory, but {text or 'it does not'}: use smaller sizes, batches or shapes", 4
    place = f"{Path(frames[-1].filename).name}, line {frames[-1].lineno}"
    kind = type(problem).__name__
    return f"nothing may fail unforeseen, but {kind} came: {text} ({place}): report what handgrad --debug shows", 4


def _run(args: argparse.Namespace) -> int:
    if args.command == "check":
        from handgrad.compare.commands import check as check_command

        return check_command.run(args.file, args.all, args.json)
    if args.command == "board":
        return _board(args)
    if args.command == "lessons":
        from handgrad.compare.commands import lessons as lessons_command

        return lessons_command.run(args.name, args.out)
    return _mnist(args)


def _board(args: argparse.Namespace) -> int:
    from handgrad.compare.board import server

    folder = args.logdir if args.all else args.run or server.newest_run(args.logdir)
    server.serve(server.require_events(folder), args.port, lambda text: print(text, flush=True))
    return 0


def _mnist(args: argparse.Namespace) -> int:
    from rich.console import Console

    from handgrad import data
    from handgrad.compare.commands import mnist
    from handgrad.compare.run import recipes
    from handgrad.compare.run.checkpoint.keeper import EVERY
    from handgrad.compare.run.experiment import Experiment

    for name in ("log_every", "checkpoint_every"):
        value, remedy = getattr(args, name), "--no-log for no log" if name == "log_every" else "a larger number"
        if value is not None and value < 1:
            raise UsageError(f"{name.replace('_', ' ')} must be at least 1, got {value}: use {remedy}")
    given = {k: v for k, v in vars(args).items() if v is not None and k in Experiment.__dataclass_fields__}
    options = {
        name: getattr(args, name)
        for name in (*OPTIMIZER_NUMBERS, *OPTIMIZER_SWITCHES)
        if getattr(args, name) is not None
    }
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
