"""Whatever a person may get wrong is answered in one line: what was expected, what came, and what to do.

No traceback, the right exit code, and nothing half-written.
"""

from __future__ import annotations

import gzip
import re
import shutil
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from handgrad import data, manual
from handgrad.compare.run.experiment import Experiment, UsageError
from handgrad.compare.run.lockstep import Lockstep

# (arguments, what the one line says), of the command line
USAGE: list[tuple[tuple[object, ...], str]] = [
    # no such thing
    (("--colour", "red"), "handgrad: unrecognized arguments: --colour red; see handgrad --help"),
    (
        ("--activation", "gelu"),
        "activation must be one of relu, leaky-relu, sigmoid, tanh, identity, got 'gelu': choose",
    ),
    (
        ("--loss", "hinge"),
        "loss must be one of cross-entropy, mse, half-squared, bce, bce-logits, perceptron, got 'hinge': choose",
    ),
    (("--optimizer", "adagrad"), "optimizer must be one of sgd, adam, adamw, rmsprop, got 'adagrad': choose"),
    (("--schedule", "linear"), "schedule must be one of constant, step, exponential, cosine, one-cycle, got 'linear'"),
    (("--initialization", "zero"), "initialization must be one of torch, xavier-uniform, xavier-normal, he-uniform, "),
    (("--dtype", "float16"), "dtype must be one of float64, float32, got 'float16': choose"),
    (("--dataset", "cifar"), "dataset must be one of mnist, fashion-mnist, kmnist, got 'cifar': choose"),
    (("--device", "gpu"), "device must be cpu, or cuda where torch sees a GPU, got 'gpu'"),
    (("--device", "meta"), "device must be cpu, or cuda where torch sees a GPU, got 'meta'"),
    # sizes
    (
        ("--sizes", "784-0-10"),
        "sizes must be two or more whole numbers of at least 1, input first, output last, got 784-0-10",
    ),
    (("--sizes", "784"), "sizes must be two or more whole numbers of at least 1, input first, output last, got 784"),
    (("--sizes", "784-16-ten"), "argument --sizes: expected widths like 784-16-16-10, got '784-16-ten'; see "),
    (("--sizes", ""), "argument --sizes: expected widths like 784-16-16-10, got ''; see "),
    (("--sizes", "784--16-10"), "argument --sizes: expected widths like 784-16-16-10, got '784--16-10'; see "),
    (("--sizes", "784,16,10"), "argument --sizes: expected widths like 784-16-16-10, got '784,16,10'; see "),
    (("--sizes", "783-16-10"), "sizes must begin with 784 and end with 10 for mnist, got 783-16-10"),
    (("--sizes", "784-16-9"), "sizes must begin with 784 and end with 10 for mnist, got 784-16-9"),
    (("--sizes", "784-1000000000-10"), "GB of this machine, but sizes 784-1000000000-10 with batches of 32 take "),
    (("--sizes", "784-999999-999999-10"), ": use narrower layers or smaller batches"),
    # numbers
    (("--batch-size", 0), "batch size must be a whole number of at least 1, got 0"),
    (("--batch-size", -3), "batch size must be a whole number of at least 1, got -3"),
    (("--batch-size", "most"), "argument --batch-size: expected a whole number or 'full', got 'most'; see "),
    (("--batch-size", "1.5"), "argument --batch-size: expected a whole number or 'full', got '1.5'; see "),
    (("--batch-size", 201), "batch size must be at most the 200 training examples, got 201: make it smaller"),
    (("--batch-size", 10**15), "batch size must be at most the 200 training examples, got 1,000,000,000,000,000: make"),
    (("--epochs", 0), "epochs must be a whole number of at least 1, got 0"),
    (("--epochs", "two"), "argument --epochs: expected a whole number, got 'two'; see handgrad mnist --help"),
    (("--max-steps", 0), "max steps must be a whole number of at least 1, got 0"),
    (("--seed", -1), "seed must be a whole number of at least 0, got -1"),
    (("--seed", "1.5"), "argument --seed: expected a whole number, got '1.5'; see handgrad mnist --help"),
    (("--learning-rate", -0.1), "learning rate must be a finite number above 0, got -0.1"),
    (("--learning-rate", 0), "learning rate must be a finite number above 0, got 0.0"),
    (("--learning-rate", "nan"), "learning rate must be a finite number above 0, got nan"),
    (("--learning-rate", "inf"), "learning rate must be a finite number above 0, got inf"),
    (
        ("--learning-rate", "fast"),
        "argument --learning-rate/--lr: invalid float value: 'fast'; see handgrad mnist --help",
    ),
    (("--learning-rate",), "argument --learning-rate/--lr: expected one argument; see handgrad mnist --help"),
    (("--log-every", 0), "log every must be at least 1, got 0: use --no-log for no log"),
    # options of the optimizers
    (("--momentum", -0.5), "SGD: momentum must lie in [0, inf), got -0.5"),
    (("--momentum", "nan"), "SGD: momentum must lie in [0, inf), got nan"),
    (("--weight-decay", -1), "SGD: weight_decay must lie in [0, inf), got -1.0"),
    (("--nesterov",), "SGD: nesterov=True needs momentum above 0 and dampening 0, got momentum=0.0, dampening=0.0"),
    (
        ("--nesterov", "--momentum", 0.9, "--dampening", 0.1),
        "nesterov=True needs momentum above 0 and dampening 0, got ",
    ),
    (
        ("--beta1", 0.9),
        "beta1 is no option of sgd; it takes momentum, dampening, weight decay, nesterov: leave it out or ",
    ),
    (
        ("--optimizer", "adam", "--momentum", 0.9),
        "momentum is no option of adam; it takes beta1, beta2, eps, weight decay",
    ),
    (("--optimizer", "adam", "--beta1", 1), "Adam: beta1 must lie in [0, 1), got 1.0"),
    (("--optimizer", "adamw", "--beta2", -0.1), "AdamW: beta2 must lie in [0, 1), got -0.1"),
    (("--optimizer", "adam", "--eps", -1), "Adam: eps must lie in [0, inf), got -1.0"),
    (("--optimizer", "rmsprop", "--alpha", 2), "RMSprop: alpha must lie in [0, 1), got 2.0"),
    (("--optimizer", "rmsprop", "--nesterov"), "nesterov is no option of rmsprop; it takes alpha, eps, weight decay, "),
    (
        ("--centered",),
        "centered is no option of sgd; it takes momentum, dampening, weight decay, nesterov: leave it out",
    ),
    # schedules
    (
        ("--schedule", "one-cycle", "--max-steps", 3),
        "OneCycle: 3 steps leave no room for a warm-up of 0.3 of them; use more",
    ),
    # where things go
    (("--name", "a/b"), "name must be a plain folder name, got 'a/b': put the path into --logdir"),
    (("--name", ".."), "name must be a plain folder name, got '..': put the path into --logdir"),
    (("--name", ""), "name must be a plain folder name, got '': put the path into --logdir"),
]


def assert_one_line(err: str, says: str) -> None:
    """One line on stderr, from handgrad, that says it; and no traceback."""
    assert err.endswith("\n")
    assert err.count("\n") == 1
    assert re.match(r"handgrad( mnist)?: ", err)
    assert says in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "says"), USAGE, ids=lambda x: " ".join(map(str, x)) if isinstance(x, tuple) else ""
)
def test_wrong_usage(arguments, says: str, handgrad, tmp_path: Path, few_digits: Path) -> None:
    runs = tmp_path / "runs"
    started = time.perf_counter()
    outcome = handgrad("mnist", "--data-dir", few_digits, "--logdir", runs, *arguments)
    assert outcome.code == 2
    assert outcome.out == ""
    assert_one_line(outcome.err, says)
    assert not runs.exists()
    assert time.perf_counter() - started < 10


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "handgrad: the following arguments are required: COMMAND; see handgrad --help"),
        (("train",), "handgrad: argument COMMAND: invalid choice: 'train' (choose from "),
        (("mnist", "extra"), "handgrad: unrecognized arguments: extra; see handgrad --help"),
    ],
)
def test_wrong_command(arguments: tuple[str, ...], says: str, handgrad) -> None:
    outcome = handgrad(*arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert_one_line(outcome.err, says)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_no_gpu(handgrad, tmp_path: Path, few_digits: Path) -> None:
    outcome = handgrad("mnist", "--data-dir", few_digits, "--logdir", tmp_path / "runs", "--device", "cuda")
    assert outcome.code == 2
    assert_one_line(outcome.err, "device 'cuda' cannot be used (")
    assert outcome.err.endswith("): use cpu, or cuda where torch sees a GPU\n")
    assert not (tmp_path / "runs").exists()


# --- data -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A packed copy of the digits, to be damaged."""
    folder = tmp_path / "copy"
    folder.mkdir()
    for file in (Path(data.__file__).parent / "MNIST" / "raw").glob("*.gz"):
        shutil.copy(file, folder)
    return folder


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


DAMAGES = {
    "cut": (cut, "expected md5 "),
    "one bit flipped": (flip, "expected md5 "),
    "emptied": (lambda file: file.write_bytes(b""), "found md5 d41d8cd98f00b204e9800998ecf8427e in 0 bytes"),
    "another file": (lambda file: file.write_bytes(gzip.compress(b"something else")), "expected md5 "),
    "missing": (lambda file: file.unlink(), "found no such file"),
}


@pytest.mark.parametrize("file", ["train-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_data(file: str, damage: str, handgrad, copy: Path, tmp_path: Path) -> None:
    spoil, says = DAMAGES[damage]
    spoil(copy / file)
    outcome = handgrad("mnist", "--data-dir", copy, "--logdir", tmp_path / "runs")
    assert (outcome.code, outcome.out) == (3, "")
    assert_one_line(outcome.err, says)
    assert outcome.err.startswith(f"handgrad mnist: {copy / file}: expected ")
    assert outcome.err.endswith("put a good copy in its place, or name another --data-dir\n")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("where", ["nowhere", "empty", "a file"])
def test_no_data(where: str, handgrad, tmp_path: Path) -> None:
    folder = tmp_path / where
    if where == "empty":
        folder.mkdir()
    if where == "a file":
        folder.write_text("")
    outcome = handgrad("mnist", "--data-dir", folder, "--logdir", tmp_path / "runs")
    assert (outcome.code, outcome.out) == (3, "")
    assert_one_line(outcome.err, f"{folder}: expected ")
    assert not (tmp_path / "runs").exists()


def test_full_batch_of_missing_data(handgrad, tmp_path: Path) -> None:
    outcome = handgrad("mnist", "--data-dir", tmp_path / "no", "--batch-size", "full", "--logdir", tmp_path / "runs")
    assert (outcome.code, outcome.out) == (3, "")
    assert_one_line(outcome.err, "found none of them")


# --- the Python API ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (
            {"sizes": (784, "16", 10)},
            "sizes must be two or more whole numbers of at least 1, input first, output last, ",
        ),
        ({"sizes": (784, 16.0, 10)}, "got 784-16.0-10"),
        ({"sizes": (784, True, 10)}, "got 784-True-10"),
        ({"sizes": ()}, "sizes must be two or more whole numbers of at least 1"),
        ({"batch_size": 1.5}, "batch size must be a whole number of at least 1, got 1.5"),
        ({"batch_size": "full"}, "batch size must be a whole number of at least 1, got 'full'"),
        ({"batch_size": None}, "batch size must be a whole number of at least 1, got None"),
        ({"epochs": True}, "epochs must be a whole number of at least 1, got True"),
        ({"max_steps": 2.0}, "max steps must be a whole number of at least 1, got 2.0"),
        ({"seed": None}, "seed must be a whole number of at least 0, got None"),
        ({"optimizer_options": {"momentun": 0.9}}, "momentun is no option of sgd; it takes momentum, dampening, "),
        ({"optimizer": "adam", "optimizer_options": {"beta1": 1.0}}, "Adam: beta1 must lie in [0, 1), got 1.0"),
        ({"dtype": "float"}, "dtype must be one of float64, float32, got 'float'"),
    ],
)
def test_wrong_settings(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=re.escape(says)) as problem:
        Experiment(**settings)
    assert "\n" not in str(problem.value)


def test_a_batch_larger_than_the_data(digits: data.Dataset) -> None:
    with pytest.raises(
        UsageError, match="batch size must be at most the 1,000 training examples, got 1,001: make it sm"
    ):
        Lockstep(Experiment(batch_size=1001), digits)


def test_too_large_for_this_machine_takes_no_memory(digits: data.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    def draw(*args: object) -> None:
        raise AssertionError("the weights have been drawn")

    monkeypatch.setattr(manual.Linear, "init", draw)
    with pytest.raises(UsageError, match=r"a run must fit into the \d+ GB of this machine, but sizes 784-99999999-10 "):
        Lockstep(Experiment(sizes=(784, 99999999, 10)), digits)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: manual.Linear(0, 3), "Linear: inputs must be a whole number of at least 1, got 0"),
        (lambda: manual.Linear(3, -1), "Linear: outputs must be a whole number of at least 1, got -1"),
        (lambda: manual.Linear(3, 1.0), "Linear: outputs must be a whole number of at least 1, got 1.0"),  # type: ignore[arg-type]
        (lambda: manual.Network(()), "Network takes at least one layer, got none"),
        (lambda: manual.mlp((784,)), "mlp takes at least two sizes, input and output, got (784,)"),
        (lambda: manual.mlp((784, 0, 10)), "Linear: outputs must be a whole number of at least 1, got 0"),
        (lambda: manual.SGD(momentum=-1), "SGD: momentum must lie in [0, inf), got -1"),
        (
            lambda: manual.SGD(nesterov=True),
            "SGD: nesterov=True needs momentum above 0 and dampening 0, got momentum=0.0",
        ),
        (lambda: manual.Adam(beta2=1), "Adam: beta2 must lie in [0, 1), got 1"),
        (lambda: manual.RMSprop(alpha=-1), "RMSprop: alpha must lie in [0, 1), got -1"),
        (
            lambda: manual.Constant(float("nan")),
            "Constant: learning_rate must be a finite number of at least 0, got nan",
        ),
        (lambda: manual.StepDecay(0.1, every=0), "StepDecay: every must be a whole number of at least 1, got 0"),
        (lambda: manual.Cosine(0.1, steps=0), "Cosine: steps must be a whole number of at least 1, got 0"),
        (
            lambda: manual.OneCycle(0.1, steps=2),
            "OneCycle: 2 steps leave no room for a warm-up of 0.3 of them; use more",
        ),
        (
            lambda: manual.mlp((3, 2)).predict(np.zeros(8), np.zeros((5, 4))),
            "Linear(3, 2) takes an input of shape (N, 3), got (5, 4): reshape the input, or change the layer's size",
        ),
        (
            lambda: manual.mlp((3, 2)).predict(np.zeros(7), np.zeros((5, 3))),
            "θ must have shape (8,), one number per parameter, got (7,)",
        ),
        (
            lambda: manual.MeanSquaredError().forward(np.zeros((5, 1)), np.zeros(5)),
            "MeanSquaredError takes output and target of one shape, got (5, 1) and (5,): reshape the target",
        ),
        (
            lambda: manual.SoftmaxCrossEntropy().forward(np.zeros((5, 3)), np.zeros((5, 3))),
            "SoftmaxCrossEntropy takes one integer class per row, so a target of shape (5,), got float64 (5, 3): ",
        ),
    ],
)
def test_wrong_use_of_the_manual_side(make, says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        make()


def test_an_interruption_while_torch_is_imported_imports_nothing_more() -> None:
    """What is half imported cannot be imported again, so the answer to Ctrl-C must not try."""
    code = """
import sys
from handgrad.compare.commands import main as cli

def interrupted(args):
    raise KeyboardInterrupt

cli._run = interrupted
code = cli.main(["mnist"])
heavy = {"torch", "numpy", "handgrad.data.mnist"} & sys.modules.keys()
print(code, sorted(heavy))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("130 []\n", "handgrad mnist: interrupted\n")


def test_an_eps_of_0_is_what_must_change(handgrad, tmp_path: Path, few_digits: Path) -> None:
    """Pixels that are always dark have the gradient 0, and Adam without ε divides it by its root."""
    outcome = handgrad(
        "mnist", "--optimizer", "adam", "--eps", 0, "--max-steps", 3, "--no-log", "--data-dir", few_digits,
        "--logdir", tmp_path,
    )  # fmt: skip
    assert outcome.code == 2
    assert "use an eps above 0, by which a gradient of 0 is divided" in outcome.err


def test_the_version(handgrad) -> None:
    outcome = handgrad("--version")
    assert (outcome.code, outcome.out) == (0, f"handgrad {version('handgrad')}\n")
