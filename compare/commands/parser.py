"""The command line: what may be asked for. The choices are the names of the tables; nothing heavy is imported."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from handgrad.compare.foundation.exit_codes import EXIT_USAGE, MEANINGS
from handgrad.compare.pairs.table import (
    ACTIVATIONS,
    INITIALIZATIONS,
    LOSSES,
    OPTIMIZERS,
    SCHEDULES,
    optimizer_options,
)
from handgrad.compare.run.recipes import RECIPES
from handgrad.data.choices import CLASSES, LIMITS

EXIT_CODES = "\n".join([
    "exit codes:",
    *(f"  {code:>3} {meaning}" for code, meaning in MEANINGS.items()),
    "A run that has finished returns its own code again when it is resumed.",
])  # fmt: skip


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaint is one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_USAGE, f"{self.prog}: {message}; see {self.prog} --help\n")


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
    with_codes: dict[str, Any] = {"epilog": EXIT_CODES, "formatter_class": argparse.RawDescriptionHelpFormatter}
    top = Parser(prog="handgrad", description="Is this hand-written gradient right?", **with_codes)
    top.add_argument("--version", action=_Version, help="print the version of handgrad")
    top.add_argument("--debug", action="store_true", help="show the traceback of whatever goes wrong")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=Parser)
    mnist = commands.add_parser("mnist", help="train both sides on MNIST and judge every step", **with_codes)
    _add_network(mnist)
    _add_training(mnist)
    _add_judging(mnist)
    _add_files(mnist)
    check = commands.add_parser("check", help="check derivations against torch", **with_codes)
    _add_check(check)
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


def _add_check(check: argparse.ArgumentParser) -> None:
    check.add_argument("file", nargs="?", type=Path, metavar="FILE or MODULE:NAME",
                       help="a Python file that calls handgrad.check; or a layer, loss, rule, or a function that makes "
                            "one; or a pair of functions as MODULE:FORWARD,BACKWARD")  # fmt: skip
    check.add_argument("--all", action="store_true", help="check every pair that the project ships")
    check.add_argument("--json", type=Path, metavar="FILE", help="write the reports to a file")
    one = check.add_argument_group("of MODULE:NAME", "SIZES are numbers, or letters for sizes that are chosen: N,8")
    one.add_argument("--reference", metavar="NAME", help="what torch has for it: torch.nn.functional.gelu")
    one.add_argument("--reference-arguments", metavar="LITERALS", help="how it is called or made: '8, eps=1e-6'")
    one.add_argument("--input", type=_named_sizes, action="append", metavar="NAME:SIZES", help="of a layer: x:4,8")
    one.add_argument("--param", type=_named_sizes, action="append", metavar="NAME:SIZES", help="of a pair: gain:8")
    one.add_argument("--output", type=_shape, metavar="SIZES", help="of a loss")
    one.add_argument("--target", type=_target, metavar="SIZES", help="of a loss; or class")
    one.add_argument("--theta", type=_shape, metavar="SIZE", help="of an update rule")
    one.add_argument("--dtype", metavar="NAME", help="float64 or float32 (float64)")
    one.add_argument("--seed", type=_whole, metavar="N", help="of the draws (0)")
    one.add_argument("--explain", choices=("off", "quick", "full"), help="how long a cause is looked for (full)")


def _add_network(mnist: argparse.ArgumentParser) -> None:
    _add_choice(mnist, "--recipe", RECIPES, what="named settings, which the options below override: ")
    network = mnist.add_argument_group("the network")
    network.add_argument("--sizes", type=_sizes, metavar="A-B-C", help="widths, input first (784-16-16-10)")
    _add_choice(network, "--activation", ACTIVATIONS, "relu")
    _add_choice(network, "--loss", LOSSES, "cross-entropy")
    _add_choice(network, "--initialization", INITIALIZATIONS, "torch")


def _add_training(mnist: argparse.ArgumentParser) -> None:
    training = mnist.add_argument_group("training")
    _add_choice(training, "--optimizer", OPTIMIZERS, "sgd")
    training.add_argument("--learning-rate", "--lr", type=float, metavar="η", help="(0.1)")
    _add_choice(training, "--schedule", SCHEDULES, "constant")
    training.add_argument("--batch-size", type=_batch_size, metavar="N", help="examples in a step, or 'full' (32)")
    training.add_argument("--epochs", type=_whole, metavar="N", help="(5)")
    training.add_argument("--max-steps", type=_whole, metavar="N", help="stop after this many steps")
    _add_choice(training, "--augmentation", LIMITS, "none", what="rotate, shift and resize the training digits: ")
    training.add_argument("--seed", type=_whole, metavar="N",
                          help="of the weights, the batch order and the augmentation (0)")  # fmt: skip
    options = mnist.add_argument_group("options of the optimizers, with torch's defaults")
    for name, value in optimizer_options().items():
        is_switch = isinstance(value, bool)
        kind: dict[str, Any] = (
            {"action": "store_true", "default": None} if is_switch else {"type": float, "metavar": "X"}
        )
        takes_it = [rule for rule, row in OPTIMIZERS.items() if any(name in setting for setting in row.settings)]
        options.add_argument(f"--{name.replace('_', '-')}", help=f"of {', '.join(takes_it)}", **kind)


def _add_judging(mnist: argparse.ArgumentParser) -> None:
    how = mnist.add_argument_group("how it is judged")
    _add_choice(how, "--dtype", ("float64", "float32"), "float64")
    how.add_argument("--resync", action="store_true", default=None,
                     help="copy the manual weights into torch before each step")  # fmt: skip
    how.add_argument("--judge-every", type=_whole, metavar="K", help="judge every K-th step (1)")
    how.add_argument("--device", metavar="NAME", help="where torch computes: cpu, cuda (cpu)")


def _add_files(mnist: argparse.ArgumentParser) -> None:
    files = mnist.add_argument_group("data and results")
    _add_choice(files, "--dataset", CLASSES, "mnist")
    files.add_argument("--data-dir", type=Path, metavar="DIR", help="an existing copy of the data")
    files.add_argument("--validation", type=_whole, metavar="N",
                       help="test on the last N training digits instead of the test digits (0)")  # fmt: skip
    files.add_argument("--logdir", type=Path, metavar="DIR", help="where the runs are kept (runs)")
    files.add_argument("--name", help="the run's folder in DIR (a time stamp and the main settings)")
    files.add_argument("--overwrite", action="store_true", help="replace the run in that folder")
    files.add_argument("--resume", type=Path, metavar="RUN", help="continue the run in this folder with its settings")
    files.add_argument("--checkpoint-every", type=_whole, metavar="N",
                       help="steps between checkpoints; there is always one at an epoch's end (500)")  # fmt: skip
    files.add_argument("--log-every", type=_whole, metavar="N", help="steps between TensorBoard points (10)")
    files.add_argument("--no-log", action="store_true", help="write no TensorBoard events")


def _add_choice(
    group: argparse._ActionsContainer, option: str, names: Iterable[str], default: str | None = None, what: str = ""
) -> None:
    """An option that takes one of these names. Which of them is right is checked later, where a run is built."""
    text = f"{what}{', '.join(names)}" + (f" ({default})" if default else "")
    group.add_argument(option, metavar="NAME", help=text)


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


def _shape(text: str) -> tuple[int | str, ...]:
    """Sizes of a tensor, whole numbers or letters."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() or part.isidentifier() for part in parts):
        raise argparse.ArgumentTypeError(f"expected sizes like 4,8 or N,8, got {text!r}")
    return tuple(int(part) if part.isdecimal() else part for part in parts)


def _named_sizes(text: str) -> tuple[str, tuple[int | str, ...]]:
    name, colon, sizes = text.partition(":")
    if not colon or not name.isidentifier():
        raise argparse.ArgumentTypeError(f"expected a name and sizes like x:4,8, got {text!r}")
    return name, _shape(sizes)


def _target(text: str) -> tuple[int | str, ...] | str:
    return text if text == "class" else _shape(text)


def _batch_size(text: str) -> int | str:
    if text == "full":
        return text
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a whole number or 'full', got {text!r}") from None
