"""The command `handgrad`. Nothing heavy is imported before it is known what is asked for."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from compare.run import process

EXIT_CODES = """exit codes:
  0 all agree   1 a stage disagrees   2 wrong usage   3 data missing or damaged   130 interrupted"""

# The names in the tables of compare/pairs.py, which is too slow to import for --help; a test keeps them equal.
ACTIVATIONS = ("relu", "leaky-relu", "sigmoid", "tanh", "identity")
LOSSES = ("cross-entropy", "mse", "half-squared", "bce", "bce-logits", "perceptron")
OPTIMIZERS = ("sgd", "adam", "adamw", "rmsprop")
SCHEDULES = ("constant", "step", "exponential", "cosine", "one-cycle")
INITIALIZATIONS = ("torch", "xavier-uniform", "xavier-normal", "he-uniform", "he-normal")
DATASETS = ("mnist", "fashion-mnist", "kmnist")

OPTIMIZER_NUMBERS = ("momentum", "dampening", "weight_decay", "beta1", "beta2", "eps", "alpha")
OPTIMIZER_SWITCHES = ("nesterov", "centered")


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaint is one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def parser() -> Parser:
    """The command line."""
    top = Parser(prog="handgrad", epilog=EXIT_CODES, description="Hand-written backprop beside torch, judged.",
                 formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=Parser)
    mnist = commands.add_parser(
        "mnist", help="train both sides on the digits and judge every step", epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    _add_run_options(mnist)
    check = commands.add_parser("check", help="check derivations against torch")
    check.add_argument("file", nargs="?", type=Path, help="a Python file that calls compare.check")
    check.add_argument("--all", action="store_true", help="check every pair that the project ships")
    check.add_argument("--json", type=Path, metavar="FILE", help="write the reports to a file")
    lessons = commands.add_parser("lessons", help="list the lessons, or run one of them")
    lessons.add_argument("name", nargs="?", help="a lesson's name or number; without one, the list")
    lessons.add_argument("--out", type=Path, default=Path("runs/lessons"), metavar="DIR",
                         help="where the pictures and TensorBoard events go (runs/lessons)")  # fmt: skip
    return top


def _add_run_options(p: argparse.ArgumentParser) -> None:
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
    training.add_argument("--epochs", type=int, metavar="N", help="(5)")
    training.add_argument("--max-steps", type=int, metavar="N", help="stop after so many steps")
    training.add_argument("--seed", type=int, metavar="N", help="of the weights and the batch order (0)")
    options = p.add_argument_group("options of the optimizers, with torch's names and defaults")
    for name in OPTIMIZER_NUMBERS:
        options.add_argument(f"--{name.replace('_', '-')}", type=float, metavar="X")
    for name in OPTIMIZER_SWITCHES:
        options.add_argument(f"--{name}", action="store_true", default=None)
    how = p.add_argument_group("how it is judged")
    how.add_argument("--dtype", metavar="NAME", help="float64, float32 (float64)")
    how.add_argument("--resync", action="store_true", default=None,
                     help="reload torch from the manual weights before each step")  # fmt: skip
    how.add_argument("--judge-every", type=int, metavar="K", help="judge every K-th step (1)")
    how.add_argument("--device", metavar="NAME", help="where torch computes: cpu, cuda (cpu)")
    files = p.add_argument_group("data and results")
    files.add_argument("--dataset", metavar="NAME", help=f"{', '.join(DATASETS)} (mnist)")
    files.add_argument("--data-dir", type=Path, metavar="DIR", help="an existing copy of the data")
    files.add_argument("--logdir", type=Path, default=Path("runs"), metavar="DIR", help="(runs)")
    files.add_argument("--name", help="the run's folder in DIR (a time stamp and the main settings)")
    files.add_argument("--log-every", type=int, default=10, metavar="N",
                       help="steps between TensorBoard points (10)")  # fmt: skip
    files.add_argument("--no-log", action="store_true", help="no TensorBoard events")


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
    process.settle()
    try:
        return _run(args)
    except BrokenPipeError:  # whoever read the output has seen enough
        sys.stdout = None
        return 1


def _run(args: argparse.Namespace) -> int:
    if args.command == "check":
        from compare.checking import command as check_command

        return check_command.run(args.file, args.all, args.json)
    if args.command == "lessons":
        from compare.lessons import command as lessons_command

        return lessons_command.run(args.name, args.out)
    return _mnist(args)


def _mnist(args: argparse.Namespace) -> int:
    from rich.console import Console

    import data
    from compare.run import mnist
    from compare.run.experiment import Experiment, UsageError

    if args.log_every < 1:
        return _complain(f"log every must be at least 1, got {args.log_every}: use --no-log for no log")
    try:
        given = {k: v for k, v in vars(args).items() if v is not None and k in Experiment.__dataclass_fields__}
        options = {
            name: getattr(args, name)
            for name in (*OPTIMIZER_NUMBERS, *OPTIMIZER_SWITCHES)
            if getattr(args, name) is not None
        }
        if given.get("batch_size") == "full":
            given["batch_size"] = len(data.load(given.get("dataset", "mnist"), args.data_dir).train)
        experiment = Experiment(**given, optimizer_options=options)
        console = Console()
        if not console.is_terminal:
            console.width = 120  # a log file has no 80 columns to keep to
        log_every = 0 if args.no_log else args.log_every
        return mnist.run(experiment, args.data_dir, args.logdir, args.name, log_every, console)
    except data.DataError as problem:
        return _complain(str(problem), 3)
    except UsageError as problem:
        return _complain(str(problem))
    except KeyboardInterrupt:
        return 130


def _complain(message: str, code: int = 2) -> int:
    print(f"handgrad mnist: {message}", file=sys.stderr)
    return code
