"""`handgrad mnist`: what it prints, what it leaves behind, and what it returns."""

from __future__ import annotations

import io
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from handgrad import manual
from handgrad.compare.commands import mnist
from handgrad.compare.run import lockstep
from handgrad.compare.run.experiment import Experiment
from tests import ROOT

REPORT_KEYS = {
    "verdict", "steps", "numbers_compared", "disagreements", "branch_flips", "vacuous", "closest_call",
    "loosest_tolerance", "drift", "accuracy", "loss", "seconds",
}  # fmt: skip
STAGES = [
    "0 · Linear · forward", "1 · ReLU · forward", "2 · Linear · forward", "3 · ReLU · forward", "4 · Linear · forward",
    "loss · SoftmaxCrossEntropy", "loss gradient",
    "4 · Linear · parameter gradients", "4 · Linear · input gradient", "3 · ReLU · input gradient",
    "2 · Linear · parameter gradients", "2 · Linear · input gradient", "1 · ReLU · input gradient",
    "0 · Linear · parameter gradients", "update · SGD",
]  # fmt: skip


class Run:
    """One run of the command on a few digits, and the folder that it left."""

    def __init__(self, handgrad: Callable[..., Any], folder: Path, few_digits: Path, *arguments: object) -> None:
        options = ("--data-dir", few_digits, "--logdir", folder.parent, "--name", folder.name)
        outcome = handgrad("mnist", *options, *arguments)
        self.code, self.out, self.err, self.folder = outcome.code, outcome.out, outcome.err, folder

    @property
    def report(self) -> dict[str, Any]:
        return json.loads((self.folder / "report.json").read_text(encoding="utf-8"))

    @property
    def experiment(self) -> dict[str, Any]:
        return json.loads((self.folder / "experiment.json").read_text(encoding="utf-8"))

    def numbers(self, stage: str) -> int:
        return next(row["numbers"] for row in self.report["stages"] if row["stage"] == stage)


@pytest.fixture
def mnist_run(handgrad, tmp_path: Path, few_digits: Path) -> Callable[..., Run]:
    return lambda *arguments, name="run": Run(handgrad, tmp_path / "runs" / name, few_digits, *arguments)


# --- a run in which all is well -------------------------------------------------------------------------------------


def test_what_it_prints(mnist_run) -> None:
    run = mnist_run("--epochs", 2)
    assert (run.code, run.err) == (0, "")
    first, second, *rest = run.out.splitlines()
    assert first.startswith("784-16-16-10, 13,002 parameters · relu · cross-entropy · sgd η=0.1 constant · batch 32 ")
    assert second.startswith("start certificate: θ₀ ")
    assert second.endswith(": the same on both sides")
    assert [line for line in rest if line.startswith("epoch 2: loss ")]
    positions = [next(i for i, line in enumerate(rest) if line.startswith(stage)) for stage in STAGES]
    assert positions == sorted(positions)
    assert all(rest[i].endswith("agrees") for i in positions)
    sentence = rest[-1]
    assert sentence.startswith("14 steps · ")
    assert " numbers compared · all agree · closest call 0." in sentence
    assert sentence.split(" · ")[-1].startswith("weights ")


def test_the_live_bar(tmp_path: Path, few_digits: Path) -> None:
    terminal = io.StringIO()
    console = Console(file=terminal, force_terminal=True, width=160)
    assert mnist.run(Experiment(epochs=8), few_digits, tmp_path, "run", 0, console) == 0
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue())
    bars = [line for line in re.split(r"[\r\n]+", shown) if line.startswith("epoch ") and "/56" in line]
    assert bars
    for part in (" loss ", " · test accuracy ", "% / ", " · worst 0.", " of its bound · drift "):
        assert part in bars[-1]


def test_what_it_leaves(mnist_run) -> None:
    run = mnist_run("--epochs", 2)
    assert {path.name for path in run.folder.iterdir()} == {
        "manual", "torch_ref", "compare", "checkpoints", "experiment.json", "report.json",
    }  # fmt: skip
    for side in ("manual", "torch_ref", "compare"):
        (events,) = (run.folder / side).glob("events.out.tfevents.*")
        others = {path.name for path in (run.folder / side).iterdir()} - {events.name}
        assert others == (set() if side == "compare" else {"projector", "projector_config.pbtxt"})


def test_the_experiment_file(mnist_run) -> None:
    run = mnist_run("--max-steps", 2, "--optimizer", "sgd", "--momentum", 0.9, "--nesterov", "--seed", 7)
    assert set(run.experiment) == {"format", "settings", "versions", "data_dir", "log_every", "checkpoint_every"}
    assert run.experiment["settings"] == {
        "sizes": [784, 16, 16, 10], "activation": "relu", "loss": "cross-entropy", "optimizer": "sgd",
        "optimizer_options": {"momentum": 0.9, "nesterov": True}, "learning_rate": 0.1, "schedule": "constant",
        "initialization": "torch", "batch_size": 32, "epochs": 5, "max_steps": 2, "seed": 7, "dtype": "float64",
        "resync": False, "judge_every": 1, "device": "cpu", "dataset": "mnist", "augmentation": "none", "validation": 0,
    }  # fmt: skip
    versions = run.experiment["versions"]
    assert {"python", "numpy", "torch", "torchvision", "machine", "threads"} <= set(versions)
    assert versions["numpy"] == np.__version__


def test_the_report(mnist_run) -> None:
    run = mnist_run("--epochs", 2)
    report = run.report
    assert set(report) >= REPORT_KEYS
    assert report["verdict"] == "agrees"
    assert report["disagreements"] == []
    assert report["steps"] == 14  # 6 batches of 32 and one of 8, twice
    assert report["parameters"] == 13002
    assert [row["stage"] for row in report["stages"]] == STAGES
    assert report["numbers_compared"] == sum(row["numbers"] for row in report["stages"])
    assert report["whole_step"]["disagreements"] == 0
    assert report["whole_step"]["numbers"] > 0
    forward = 2 * (16 + 16 + 16 + 16 + 10) * 200
    backward = 2 * (10 + 4 * 16) * 200
    assert report["numbers_compared"] == forward + backward + 14 * (1 + 2 * 13002)
    assert report["vacuous"] == 0
    assert report["branch_flips"] == 0
    assert 0 < report["closest_call"] <= 1
    assert report["closest_call"] == max(row["closest_call"] for row in report["stages"])
    assert 0 < report["loosest_tolerance"] < 1e-11
    assert 0 <= report["drift"] < 1e-13
    assert set(report["accuracy"]) == set(report["loss"]) == {"manual", "torch_ref"}
    assert report["accuracy"]["manual"] == report["correct"]["manual"] / 50
    assert report["loss"]["manual"] == pytest.approx(report["loss"]["torch_ref"], rel=1e-12)
    assert set(report["seconds"]) == {"manual", "torch_ref", "compare", "test", "log", "checkpoint", "total"}
    assert sum(report["seconds"].values()) < 2 * report["seconds"]["total"]
    assert report["stopped"] == ""
    for pair in report["certificate"].values():
        assert pair["manual"] == pair["torch_ref"]
        assert len(pair["manual"]) == 64


def test_without_a_log(mnist_run) -> None:
    run = mnist_run("--max-steps", 2, "--no-log")
    assert run.code == 0
    assert {path.name for path in run.folder.iterdir()} == {"checkpoints", "experiment.json", "report.json"}


def test_the_name_tells_the_time_and_the_settings(handgrad, tmp_path: Path, few_digits: Path) -> None:
    options = ("--data-dir", few_digits, "--logdir", tmp_path, "--max-steps", 1, "--no-log", "--dtype", "float32")
    assert handgrad("mnist", *options).code == 0
    (folder,) = tmp_path.iterdir()
    assert folder.name.startswith(time.strftime("%Y"))
    assert folder.name.endswith("_784-16-16-10_relu_cross-entropy_sgd_lr0.1_b32_float32_seed0")


# --- the settings -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "steps"),
    [
        (("--epochs", 3), 21),
        (("--epochs", 3, "--batch-size", 50), 12),
        (("--epochs", 3, "--batch-size", 64), 12),  # the last batch has 8
        (("--epochs", 3, "--batch-size", "full"), 3),
        (("--epochs", 3, "--batch-size", 200), 3),
        (("--epochs", 1, "--batch-size", 1), 200),
        (("--epochs", 3, "--max-steps", 5), 5),
        (("--epochs", 1, "--max-steps", 500), 7),
        (("--max-steps", 1), 1),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_the_number_of_steps(mnist_run, arguments: tuple[object, ...], steps: int) -> None:
    run = mnist_run(*arguments, "--no-log")
    assert (run.code, run.report["steps"], run.report["verdict"]) == (0, steps, "agrees")
    assert run.numbers("update · SGD") == steps * 13002


def test_every_example_of_a_short_last_batch_is_judged(mnist_run) -> None:
    run = mnist_run("--epochs", 1, "--batch-size", 64, "--no-log")
    assert run.numbers("0 · Linear · forward") == 200 * 16
    assert run.numbers("loss gradient") == 200 * 10


def test_full_batch_is_written_down_as_a_number(mnist_run) -> None:
    run = mnist_run("--batch-size", "full", "--max-steps", 1, "--no-log")
    assert run.experiment["settings"]["batch_size"] == 200


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_resync_and_dtype(mnist_run, dtype: str) -> None:
    free = mnist_run("--epochs", 2, "--dtype", dtype, "--no-log", name="free")
    resync = mnist_run("--epochs", 2, "--dtype", dtype, "--no-log", "--resync", name="resync")
    assert free.code == resync.code == 0
    assert "two independent runs" in " ".join(free.out.split())
    assert "torch reloaded before each step" in " ".join(resync.out.split())
    assert resync.experiment["settings"]["resync"] is True
    unit = np.finfo(dtype).eps
    assert 0 < resync.report["drift"] < 8 * unit  # that of a single step
    assert 1e-4 * unit < resync.report["loosest_tolerance"] < 1e5 * unit
    assert free.report["certificate"]["theta"] == resync.report["certificate"]["theta"]


def test_a_run_repeats_itself(mnist_run) -> None:
    reports = [mnist_run("--epochs", 1, "--no-log", "--seed", seed, name=name).report
               for seed, name in ((3, "a"), (3, "b"), (4, "c"))]  # fmt: skip
    for report in reports:
        del report["seconds"], report["log_fraction"]
    assert reports[0] == reports[1]
    for what in ("theta", "batches"):
        assert reports[0]["certificate"][what] != reports[2]["certificate"][what]
    assert reports[0]["certificate"]["data"] == reports[2]["certificate"]["data"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("--sizes", "784-10"),
        ("--sizes", "784-5-7-6-10", "--activation", "tanh", "--loss", "mse", "--schedule", "one-cycle"),
        ("--loss", "bce", "--optimizer", "adamw", "--weight-decay", 0.1, "--lr", 0.001, "--schedule", "cosine"),
        ("--loss", "bce-logits", "--optimizer", "adam", "--beta1", 0.5, "--initialization", "he-normal"),
        ("--loss", "half-squared", "--optimizer", "rmsprop", "--centered", "--lr", 0.001, "--schedule", "step"),
        ("--activation", "leaky-relu", "--momentum", 0.5, "--dampening", 0.5, "--schedule", "exponential"),
        ("--activation", "sigmoid", "--initialization", "xavier-normal", "--loss", "mse"),
        ("--activation", "identity", "--initialization", "xavier-uniform"),
    ],
    ids=lambda value: " ".join(map(str, value)),
)
def test_other_experiments(mnist_run, arguments: tuple[object, ...]) -> None:
    run = mnist_run("--epochs", 1, "--no-log", *arguments)
    assert (run.code, run.err, run.report["verdict"]) == (0, "", "agrees")


# --- when something is wrong ------------------------------------------------------------------------------------------


def test_a_fault_gives_1_and_is_named(mnist_run, monkeypatch: pytest.MonkeyPatch) -> None:
    right = manual.Linear.input_gradient
    monkeypatch.setattr(manual.Linear, "input_gradient", lambda *args: -right(*args))
    run = mnist_run("--epochs", 1, "--no-log")
    assert run.code == 1
    report = run.report
    assert report["verdict"] == "disagrees"
    assert [(d["stage"], d["tensor"], d["step"]) for d in report["disagreements"]] == [
        ("4 · Linear · input gradient", "∂J/∂4.input", 0),
        ("2 · Linear · input gradient", "∂J/∂2.input", 0),
    ]
    for d in report["disagreements"]:
        assert d["manual"] == -d["torch"]
        assert d["difference"] > d["allowed"] > 0
        assert d["fraction"] > 1
        assert len(d["index"]) == 2
    assert "disagrees: step 0, 4 · Linear · input gradient, ∂J/∂4.input: [" in run.out
    line = next(line for line in run.out.splitlines() if line.startswith("disagrees: "))
    assert all(word in line for word in ("manual ", "torch ", "|Δ| ", "allowed "))
    rows = {stage: next(line for line in run.out.splitlines() if line.startswith(stage)) for stage in STAGES}
    assert [stage for stage, line in rows.items() if line.endswith("7 disagree")] == [
        "4 · Linear · input gradient", "2 · Linear · input gradient",
    ]  # fmt: skip
    assert run.out.splitlines()[-1].count("2 tensors disagree") == 1


def test_a_fault_that_stops_the_run_gives_1_too(mnist_run, monkeypatch: pytest.MonkeyPatch) -> None:
    def weight_only(self, params, cache, dy):
        return {"weight": dy.T @ cache}

    monkeypatch.setattr(manual.Linear, "parameter_gradients", weight_only)
    run = mnist_run("--epochs", 1, "--no-log")
    assert run.code == 1
    assert [d["tensor"] for d in run.report["disagreements"]] == ["4.bias", "2.bias", "0.bias"]
    assert "4.bias: shape (0,) beside torch's (10,)" in run.out
    assert run.err.startswith("handgrad mnist: the manual side cannot go on: ValueError: ")
    assert run.err.count("\n") == 1


def test_a_loss_that_is_no_number_stops_at_that_step(mnist_run) -> None:
    run = mnist_run("--loss", "mse", "--learning-rate", 1000, "--epochs", 50, "--no-log")
    assert run.code == 2
    assert run.err.count("\n") == 1
    assert run.err.startswith("handgrad mnist: every number must stay finite, but step ")
    stopped = run.report["stopped"]
    assert run.err == f"handgrad mnist: {stopped}\n"
    assert f"step {run.report['steps'] - 1} has an infinite or undefined one" in stopped
    assert "first at manual: loss and torch: loss: use a learning rate below 1000" in stopped
    assert run.report["verdict"] == "agrees"  # both sides blew up alike
    assert run.report["loss"] == {"manual": None, "torch_ref": None}  # JSON has no word for ∞


@pytest.mark.parametrize("rate", ["1e30", "1e200", "1e300"])
@pytest.mark.parametrize("activation", ["relu", "identity", "tanh", "sigmoid", "leaky-relu"])
def test_an_overflow_is_no_disagreement(mnist_run, rate: str, activation: str) -> None:
    run = mnist_run("--learning-rate", rate, "--activation", activation, "--loss", "mse", "--epochs", 5, "--no-log")
    assert run.report["verdict"] == "agrees"
    assert run.code in (0, 2)
    assert run.err.count("\n") == (run.code == 2)
    if run.code == 2:
        assert run.err.count("first at manual: ") == run.err.count(" and torch: ") == 1


def test_an_interruption_gives_130_and_a_report(mnist_run, monkeypatch: pytest.MonkeyPatch) -> None:
    right = lockstep.Lockstep._step

    def interrupted(self, *args):
        if self.progress.step == 4:
            signal.raise_signal(signal.SIGINT)
        right(self, *args)

    monkeypatch.setattr(lockstep.Lockstep, "_step", interrupted)
    run = mnist_run("--epochs", 5)
    assert run.code == 130
    assert (run.report["steps"], run.report["stopped"], run.report["verdict"]) == (6, "interrupted", "agrees")
    assert run.err == f"handgrad mnist: interrupted; to go on: handgrad mnist --resume {run.folder}\n"


def test_a_signal_gives_130_and_a_report(tmp_path: Path, few_digits: Path) -> None:
    command = [sys.executable, "-m", "handgrad", "mnist", "--epochs", "100000", "--batch-size", "1", "--no-log",
               "--logdir", str(tmp_path), "--name", "run", "--data-dir", str(few_digits)]  # fmt: skip
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ}
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("epoch 1: "):
                break
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == f"handgrad mnist: interrupted; to go on: handgrad mnist --resume {tmp_path / 'run'}\n"
    report = json.loads((tmp_path / "run" / "report.json").read_text(encoding="utf-8"))
    assert set(report) >= REPORT_KEYS
    assert report["stopped"] == "interrupted"
    assert report["steps"] >= 200


def test_a_name_that_is_taken(mnist_run) -> None:
    first = mnist_run("--max-steps", 1, "--no-log")
    before = {path: path.read_bytes() for path in first.folder.rglob("*.*") if path.is_file()}
    second = mnist_run("--max-steps", 1, "--no-log")
    assert (first.code, second.code) == (0, 2)
    assert second.err == (
        f"handgrad mnist: the run's folder must be new, but {first.folder} holds a finished run: "
        "choose another --name, or --overwrite it\n"
    )
    assert {path: path.read_bytes() for path in first.folder.rglob("*.*") if path.is_file()} == before


def test_a_log_folder_that_cannot_be_made(handgrad, tmp_path: Path, few_digits: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    outcome = handgrad("mnist", "--data-dir", few_digits, "--logdir", file, "--name", "run", "--max-steps", 1)
    assert outcome.code == 2
    assert outcome.err == (
        f"handgrad mnist: the log folder must be writable, but {file / 'run'} cannot be made (Not a directory): "
        "choose another --logdir or --name\n"
    )


def test_missing_data_gives_3(handgrad, tmp_path: Path) -> None:
    outcome = handgrad("mnist", "--data-dir", tmp_path, "--logdir", tmp_path / "runs")
    assert outcome.code == 3
    assert outcome.err.startswith(f"handgrad mnist: {tmp_path}: expected train-images-idx3-ubyte.gz")
    assert not (tmp_path / "runs").exists()


# --- the promise ----------------------------------------------------------------------------------------------------


def test_the_defaults_keep_their_promise(handgrad, tmp_path: Path) -> None:
    # every 25th step is judged, in a part of the time; `make mnist` judges them all
    outcome = handgrad("mnist", "--logdir", tmp_path, "--name", "run", "--log-every", 100, "--judge-every", 25)
    report = json.loads((tmp_path / "run" / "report.json").read_text(encoding="utf-8"))
    assert (outcome.code, outcome.err, report["verdict"]) == (0, "", "agrees")
    assert report["steps"] == 9375
    assert report["drift"] < 1e-13
    assert report["correct"]["manual"] == report["correct"]["torch_ref"] >= 9450
    assert report["numbers_compared"] * 25 == 5 * 2 * (4 * 16 + 10) * 60000 + 9375 * (1 + 2 * 13002)
    assert report["vacuous"] == report["within_reference"] == report["judged_by_two_precision"] == 0
    assert report["loosest_tolerance"] < 1e-11
    assert math.isclose(report["loss"]["manual"], report["loss"]["torch_ref"], rel_tol=1e-12)
    assert "13,002 parameters" in outcome.out
    assert outcome.out.splitlines()[-1].startswith("9,375 steps · 11.5 million numbers compared · all agree · ")


def test_judging_every_kth_step_compares_fewer_numbers(mnist_run) -> None:
    every = mnist_run("--max-steps", 9, "--batch-size", 40, name="every").report
    third = mnist_run("--max-steps", 9, "--batch-size", 40, "--judge-every", 3, name="third").report
    assert third["numbers_compared"] * 3 == every["numbers_compared"]
    assert third["steps"] == every["steps"]
    assert third["loss"] == every["loss"]
