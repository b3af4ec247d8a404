"""A run killed at any moment and resumed ends with the same bytes as one that was never interrupted."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.robustness.kill_and_resume import RULES, SETTINGS, Forks, differences, kill_and_resume, report, scalars
from handgrad import manual
from handgrad.compare.commands import main as cli
from handgrad.compare.commands import mnist
from handgrad.compare.foundation import whole_files
from handgrad.compare.judge.agreement import Verdict
from handgrad.compare.judge.ledger import Disagreement, StageRow
from handgrad.compare.run import lockstep
from handgrad.compare.run.checkpoint import content, event_files, files, keeper
from handgrad.compare.run.checkpoint.files import Damaged, read_archive, write_archive
from handgrad.compare.run.checkpoint.keeper import checkpoints
from handgrad.compare.run.checkpoint.log_state import LogState
from handgrad.compare.run.experiment import Experiment
from handgrad.compare.run.folder import FORMAT, held
from handgrad.compare.run.progress import Progress

STEPS = 16  # of 200 digits in batches of 32: two epochs of 7 steps, and 2 more
SETTING = ("--sizes", "784-8-10", "--max-steps", STEPS, "--checkpoint-every", 3)
NO_LOG, LOG = ("--no-log",), ("--log-every", 2)  # a log waits for the next second when it is resumed
MOMENTUM = RULES["sgd with momentum"]


class Lost(BaseException):
    """Stands for the end of the process: nobody catches it."""


@pytest.fixture(scope="module")
def forks() -> Forks:
    return Forks()


@pytest.fixture
def run(handgrad, tmp_path: Path, few_digits: Path) -> Callable[..., Any]:
    """Start a run: run("name", "--optimizer", "adam")."""
    place = ("--data-dir", few_digits, "--logdir", tmp_path)
    return lambda name, *arguments, log=NO_LOG: handgrad("mnist", *place, "--name", name, *SETTING, *log, *arguments)


@pytest.fixture
def lost_at(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """lost_at(5, run, ...): what is called is lost in the middle of step 5."""

    def call(
        step: int,
        function: Callable[..., Any],
        *arguments: object,
        how: Callable[[], None] | None = None,
        **options: Any,
    ) -> Any:
        right = lockstep.Lockstep._step

        def until_then(self, batch):
            if self.progress.step == step - 1:
                if how is None:
                    raise Lost
                how()
            right(self, batch)

        with monkeypatch.context() as patch:
            patch.setattr(lockstep.Lockstep, "_step", until_then)
            if how is not None:
                return function(*arguments, **options)
            with pytest.raises(Lost):
                function(*arguments, **options)
            return None

    return call


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, few_digits: Path) -> Callable[..., Path]:
    """The folder of a run that was never interrupted; each is made once."""
    logdir = tmp_path_factory.mktemp("whole")

    def make(*arguments: str, log: tuple[object, ...] = NO_LOG) -> Path:
        folder = logdir / ("run" + "_".join(map(str, (*log, *arguments))))
        if not folder.exists():
            options = ("--data-dir", few_digits, "--logdir", logdir, "--name", folder.name, *SETTING, *log, *arguments)
            assert cli.main(["mnist", *map(str, options)]) == 0
        return folder

    return make


# --- killed by the system ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("setting", SETTINGS)
def test_killed_five_times_at_random_moments(forks, tmp_path: Path, few_digits: Path, setting: str) -> None:
    arguments = (*SETTINGS[setting], "--max-steps", "30", "--data-dir", str(few_digits))
    begin = ("--sizes", "784-16-16-10", "--dtype", "float32", "--log-every", 1, "--checkpoint-every", 1)
    assert forks.run(*begin, *arguments, "--logdir", tmp_path, "--name", "whole") == 0
    killed = kill_and_resume(forks, tmp_path, "killed", arguments, kills=5, seed=list(SETTINGS).index(setting))
    assert (killed.kills, killed.code) == (5, 0)
    assert differences(tmp_path / "whole", tmp_path / "killed") == []


# --- lost at a chosen moment ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("step", [0, 4, 7, 15])
def test_lost_in_a_step(run, handgrad, lost_at, whole, tmp_path: Path, setting: str, step: int) -> None:
    arguments = SETTINGS[setting]
    lost_at(step, run, "lost", *arguments)
    assert not (tmp_path / "lost" / "report.json").exists()
    assert handgrad("mnist", "--resume", tmp_path / "lost").code == 0
    assert differences(whole(*arguments), tmp_path / "lost") == []


@pytest.mark.parametrize("step", [1, 5, 11])
def test_every_scalar_is_logged_once(run, handgrad, lost_at, whole, tmp_path: Path, step: int) -> None:
    lost_at(step, run, "lost", *MOMENTUM, log=LOG)
    assert handgrad("mnist", "--resume", tmp_path / "lost").code == 0
    assert len(scalars(tmp_path / "lost")["manual: learning/training loss"]) == STEPS // 2
    assert differences(whole(*MOMENTUM, log=LOG), tmp_path / "lost") == []


def test_lost_again_and_again(run, handgrad, lost_at, whole, tmp_path: Path) -> None:
    lost_at(4, run, "lost", *MOMENTUM)
    for step in (4, 5, 8, 13, 14):
        lost_at(step, handgrad, "mnist", "--resume", tmp_path / "lost")
    assert handgrad("mnist", "--resume", tmp_path / "lost").code == 0
    assert differences(whole(*MOMENTUM), tmp_path / "lost") == []


def test_a_disagreement_is_remembered_and_not_told_again(run, handgrad, lost_at, monkeypatch, tmp_path: Path) -> None:
    right = manual.Linear.input_gradient
    monkeypatch.setattr(manual.Linear, "input_gradient", lambda *args: -right(*args))
    assert run("whole", *MOMENTUM).code == 1
    lost_at(5, run, "lost", *MOMENTUM)
    resumed = handgrad("mnist", "--resume", tmp_path / "lost")
    assert resumed.code == 1
    assert "disagrees: step" not in resumed.out
    assert differences(tmp_path / "whole", tmp_path / "lost") == []


def test_a_checkpoint_taken_of_what_was_restored_is_the_same(run, lost_at, few_digits, tmp_path: Path) -> None:
    from handgrad.compare.commands import mnist
    from handgrad.compare.run import folder

    lost_at(5, run, "lost", *MOMENTUM)
    path = checkpoints(tmp_path / "lost")[0]
    before = read_archive(path)
    fresh = mnist._build(folder.read_experiment(tmp_path / "lost")[0], few_digits)
    document = content.restore(fresh, before)
    after = content.capture(fresh, document.log, document.elapsed)
    assert document.previous == 2
    assert before.keys() == after.keys()
    for name, array in before.items():
        assert array.tobytes() == after[name].tobytes(), name


FORGOTTEN: dict[str, Callable[[dict[str, np.ndarray], dict[str, Any]], Any]] = {
    "the manual weights": lambda a, d: a.__setitem__("manual/theta", a["manual/theta"] * 0),
    "torch's weights": lambda a, d: a.__setitem__("torch_ref/theta", a["torch_ref/theta"] * 0),
    "the manual momentum": lambda a, d: a["manual/state/momentum_buffer"].fill(0),
    "torch's momentum": lambda a, d: a["torch_ref/state/momentum_buffer"].fill(0),
    "the judge's rows": lambda a, d: d["rows"].clear(),
    "one number of one row": lambda a, d: d["rows"][0].__setitem__("numbers", 0),
    "the rounding of the rate": lambda a, d: d.__setitem__("rate", None),
    "torch's learning rate": lambda a, d: d.__setitem__("torch_rate", 0.05),
    "the step": lambda a, d: d["progress"].__setitem__("step", d["progress"]["step"] - 1),
    "the branch flips": lambda a, d: d["progress"].__setitem__("branch_flips", {"1 · ReLU": 7}),
}


@pytest.mark.parametrize("what", FORGOTTEN)
def test_a_checkpoint_that_forgets_is_found_out(run, handgrad, lost_at, whole, monkeypatch, tmp_path, what) -> None:
    right = content.capture

    def forgetful(*args):
        arrays = {name: array.copy() for name, array in right(*args).items()}
        document = json.loads(arrays["document"].tobytes())
        FORGOTTEN[what](arrays, document)
        return {**arrays, "document": np.frombuffer(json.dumps(document).encode(), np.uint8)}

    with monkeypatch.context() as patch:
        patch.setattr(keeper, "capture", forgetful)
        lost_at(4, run, "lost", "--schedule", "exponential", "--momentum", 0.9)
    code = handgrad("mnist", "--resume", tmp_path / "lost").code
    assert code != 0 or differences(whole("--schedule", "exponential", "--momentum", "0.9"), tmp_path / "lost")


def test_a_log_that_is_not_cut_back_is_found_out(run, handgrad, lost_at, whole, monkeypatch, tmp_path: Path) -> None:
    lost_at(11, run, "lost", *MOMENTUM, log=LOG)  # step 10 is in the log, and 8 in the last checkpoint
    monkeypatch.setattr("handgrad.compare.commands.mnist.cut_back", lambda folder, kept: [])
    monkeypatch.setattr("handgrad.compare.board.events.EventFile", _without_purging())
    assert handgrad("mnist", "--resume", tmp_path / "lost").code == 0
    assert "scalars: manual: learning/training loss" in differences(whole(*MOMENTUM, log=LOG), tmp_path / "lost")


def test_a_log_that_forgets_is_found_out(run, handgrad, lost_at, whole, monkeypatch, tmp_path: Path) -> None:
    from handgrad.compare.board.events import EventLog

    with monkeypatch.context() as patch:
        patch.setattr(EventLog, "state", lambda self: self._flush() or LogState({}, {}, {}, None, None, 0))
        lost_at(5, run, "lost", *MOMENTUM, log=LOG)
    assert handgrad("mnist", "--resume", tmp_path / "lost").code == 0
    assert "pages: manual: pictures/first-layer weights" in differences(whole(*MOMENTUM, log=LOG), tmp_path / "lost")


def test_lost_when_the_end_is_logged(run, handgrad, whole, monkeypatch, tmp_path: Path) -> None:
    from handgrad.compare.board.events import EventLog

    right = EventLog.finish

    def lost(self, *args):
        right(self, *args)
        raise Lost

    with monkeypatch.context() as patch:
        patch.setattr(EventLog, "finish", lost)
        with pytest.raises(Lost):
            run("lost", *MOMENTUM, log=LOG)
    assert handgrad("mnist", "--resume", tmp_path / "lost").code == 0
    assert differences(whole(*MOMENTUM, log=LOG), tmp_path / "lost") == []


def test_a_tensorboard_that_was_reading_sees_no_step_twice(run, handgrad, lost_at, monkeypatch, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    lost_at(11, run, "lost", *MOMENTUM, log=LOG)
    readers = {side: EventAccumulator(str(tmp_path / "lost" / side)) for side in ("manual", "compare")}
    tags = {"manual": "learning/training loss", "compare": "agreement/log10 of the drift"}
    for side, events in readers.items():
        assert [e.step for e in events.Reload().Scalars(tags[side])] == list(range(0, 11, 2))
    assert handgrad("mnist", "--resume", tmp_path / "lost").code == 0
    for side, events in readers.items():
        assert [e.step for e in events.Reload().Scalars(tags[side])] == list(range(0, STEPS, 2))


def _without_purging() -> Any:
    from handgrad.compare.board.event_file import EventFile

    return lambda folder, purge_step=None: EventFile(folder)


# --- lost while a checkpoint is written -------------------------------------------------------------------------------


def _lost_at_sync(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """The process is lost when it syncs a file the so manieth time."""
    right, calls = os.fsync, []

    def sync(handle):
        calls.append(handle)
        if len(calls) == number:
            raise Lost
        right(handle)

    monkeypatch.setattr(os, "fsync", sync)


@pytest.mark.parametrize("sync", range(1, 9))  # two for experiment.json, and two for each checkpoint
def test_lost_in_a_write(run, handgrad, whole, monkeypatch, tmp_path: Path, sync: int) -> None:
    with monkeypatch.context() as patch:
        _lost_at_sync(patch, sync)
        with pytest.raises(Lost):
            run("lost", *MOMENTUM)
    again = run("lost", *MOMENTUM) if sync == 1 else handgrad("mnist", "--resume", tmp_path / "lost")
    assert (again.code, again.err) == (0, "")
    assert differences(whole(*MOMENTUM), tmp_path / "lost") == []


def test_a_write_in_place_is_found_out(run, handgrad, whole, monkeypatch, tmp_path: Path) -> None:
    def in_place(path, write):
        with path.open("w+b") as file:
            write(file)
            if path.name.startswith("step-") and path.name > "step-0000000003":
                file.truncate(file.tell() // 2)
                raise Lost

    with monkeypatch.context() as patch:
        patch.setattr(files, "replace", in_place)
        with pytest.raises(Lost):
            run("lost", *MOMENTUM)
    assert handgrad("mnist", "--resume", tmp_path / "lost").code == 0
    assert "report: notes" in differences(whole(*MOMENTUM), tmp_path / "lost")


def test_a_full_disk_stops_the_run_and_what_was_saved_is_valid(run, handgrad, whole, monkeypatch, tmp_path) -> None:
    right = files.write_archive

    def full(path, arrays):
        if path.name > "step-0000000004":
            raise OSError(errno.ENOSPC, "No space left on device")
        right(path, arrays)

    with monkeypatch.context() as patch:
        patch.setattr(keeper, "write_archive", full)
        stopped = run("full", *MOMENTUM)
    assert stopped.code == 4
    assert stopped.err.startswith("handgrad mnist: a checkpoint must be written, but ")
    assert stopped.err.endswith(f"handgrad mnist --resume {tmp_path / 'full'}\n")
    assert stopped.err.count("\n") == 1
    assert "No space left on device" in stopped.err
    assert handgrad("mnist", "--resume", tmp_path / "full").code == 0
    assert differences(whole(*MOMENTUM), tmp_path / "full") == []


def test_a_write_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "file"
    whole_files.replace(path, lambda file: file.write(b"before"))

    def fails(file):
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        whole_files.replace(path, fails)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert path.read_bytes() == b"before"


# --- damaged checkpoints ----------------------------------------------------------------------------------------------


def _flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 3] ^= 1
    path.write_bytes(raw)


DAMAGE: dict[str, Callable[[Path], Any]] = {
    "truncated": lambda path: os.truncate(path, path.stat().st_size - 1),
    "cut in half": lambda path: os.truncate(path, path.stat().st_size // 2),
    "a byte flipped": _flip,
    "empty": lambda path: path.write_bytes(b""),
    "of something else": lambda path: path.write_bytes(b"PK" * 1000),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_the_checkpoint_before_the_damaged_one_is_used(run, handgrad, lost_at, whole, tmp_path: Path, how: str) -> None:
    lost_at(8, run, "lost", *MOMENTUM)
    newest, before = checkpoints(tmp_path / "lost")
    DAMAGE[how](newest)
    resumed = handgrad("mnist", "--resume", tmp_path / "lost")
    assert (resumed.code, resumed.err) == (0, "")
    (note,) = report(tmp_path / "lost")["notes"]
    assert note.startswith(f"checkpoint {newest.name} could not be used (it")
    assert note.endswith(f"; the run went on from {before.name}, the one before it")
    assert note in resumed.out
    assert newest.with_name(f"{newest.name}.damaged").exists()
    assert differences(whole(*MOMENTUM), tmp_path / "lost") == ["final_arrays: document", "report: notes"]


def test_the_note_survives_another_loss(run, handgrad, lost_at, tmp_path: Path) -> None:
    lost_at(8, run, "lost", *MOMENTUM)
    _flip(checkpoints(tmp_path / "lost")[0])
    lost_at(6, handgrad, "mnist", "--resume", tmp_path / "lost")
    assert handgrad("mnist", "--resume", tmp_path / "lost").code == 0
    assert len(report(tmp_path / "lost")["notes"]) == 1


def test_no_whole_checkpoint_gives_3(run, handgrad, lost_at, tmp_path: Path) -> None:
    lost_at(8, run, "lost", *MOMENTUM)
    for path in checkpoints(tmp_path / "lost"):
        _flip(path)
    resumed = handgrad("mnist", "--resume", tmp_path / "lost")
    assert resumed.code == 3
    assert resumed.err.count("\n") == 1
    assert resumed.err.startswith("handgrad mnist: expected a whole checkpoint in ")
    assert resumed.err.endswith(": begin the run again\n")
    assert len(checkpoints(tmp_path / "lost")) == 2


def test_no_byte_of_an_archive_changes_unnoticed(tmp_path: Path) -> None:
    path = tmp_path / "archive.npz"
    arrays = {"x": np.arange(12.0).reshape(3, 4), "nothing": np.empty(0, np.float32), "text": np.zeros(3, np.uint8)}
    write_archive(path, arrays)
    found = read_archive(path)
    assert found.keys() == arrays.keys()
    assert all(found[k].dtype == a.dtype and np.array_equal(found[k], a) for k, a in arrays.items())
    with np.load(path) as plain:
        assert np.array_equal(plain["x"], arrays["x"])
    right = path.read_bytes()
    for position in range(len(right)):
        path.write_bytes(right[:position] + bytes([right[position] ^ 0x20]) + right[position + 1 :])
        with pytest.raises(Damaged):
            read_archive(path)
    for size in range(0, len(right), 7):
        path.write_bytes(right[:size])
        with pytest.raises(Damaged):
            read_archive(path)
    path.write_bytes(right)
    assert read_archive(path).keys() == arrays.keys()


def test_nothing_is_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        write_archive(tmp_path / "a.npz", {"x": np.array([{}], dtype=object)})
    right = np.lib.format.write_array
    monkeypatch.setattr(np.lib.format, "write_array", lambda file, x, **_: right(file, x, allow_pickle=True))
    write_archive(tmp_path / "b.npz", {"x": np.array([{}], dtype=object)})
    with pytest.raises(Damaged, match="allow_pickle=False"):
        read_archive(tmp_path / "b.npz")


NO_STATE = {"worst": {}, "clock": {}, "epoch": {}, "drawn": None, "summed": None, "told": 0}
STRANGE: dict[str, Callable[[dict[str, Any]], Any]] = {
    "other settings": lambda d: d.__setitem__("settings", "0" * 64),
    "other data": lambda d: d["certificate"]["dataset"].__setitem__("manual", "0"),
    "a step beyond the end": lambda d: d["progress"].__setitem__("step", STEPS),
    "a step that is none": lambda d: d["progress"].__setitem__("step", "4"),
    "a row without a name": lambda d: d["rows"][0].pop("name"),
    "a row with one thing more": lambda d: d["rows"][0].__setitem__("more", 1),
    "rows that are none": lambda d: d.__setitem__("rows", 3),
    "another scheduler": lambda d: d["scheduler"].__setitem__("get_lr", 1),
    "no log": lambda d: d.pop("log"),
    "a log that is none": lambda d: d.__setitem__("log", {"state": 3, "files": {}}),
    "a log of other files": lambda d: d.__setitem__("log", {"state": NO_STATE, "files": {"a": "b"}}),
}


@pytest.mark.parametrize("what", STRANGE)
def test_what_no_run_wrote_is_refused(run, handgrad, lost_at, tmp_path: Path, what: str) -> None:
    lost_at(4, run, "lost", *MOMENTUM)
    for path in checkpoints(tmp_path / "lost"):
        arrays = read_archive(path)
        document = json.loads(arrays["document"].tobytes())
        STRANGE[what](document)
        write_archive(path, {**arrays, "document": np.frombuffer(json.dumps(document).encode(), np.uint8)})
    resumed = handgrad("mnist", "--resume", tmp_path / "lost")
    assert (resumed.code, resumed.err.count("\n")) == (3, 1)


@pytest.mark.parametrize("name", ["manual/theta", "torch_ref/theta", "manual/state/momentum_buffer", "document"])
@pytest.mark.parametrize("other", [None, np.zeros(3), np.zeros(13002, np.float16)], ids=["none", "short", "float16"])
def test_other_arrays_are_refused(run, handgrad, lost_at, tmp_path: Path, name: str, other: Any) -> None:
    lost_at(4, run, "lost", *MOMENTUM)
    (path,) = checkpoints(tmp_path / "lost")
    arrays = read_archive(path)
    del arrays[name]
    write_archive(path, arrays if other is None else {**arrays, name: other})
    resumed = handgrad("mnist", "--resume", tmp_path / "lost")
    assert (resumed.code, resumed.err.count("\n")) == (3, 1)


# --- Ctrl-C and SIGTERM -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_first_signal_saves_and_says_how_to_go_on(run, handgrad, lost_at, whole, tmp_path, number, code) -> None:
    stopped = lost_at(4, run, "stopped", *MOMENTUM, how=lambda: signal.raise_signal(number))
    folder = tmp_path / "stopped"
    assert stopped.code == code
    assert stopped.err == f"handgrad mnist: interrupted; to go on: handgrad mnist --resume {folder}\n"
    assert checkpoints(folder)[0].name == "step-0000000004.npz"  # the step it was in, though none was due
    assert report(folder)["stopped"] == "interrupted"
    resumed = handgrad("mnist", "--resume", folder)
    assert (resumed.code, resumed.err) == (0, "")
    assert f"{folder} goes on after step 4" in resumed.out
    assert differences(whole(*MOMENTUM), folder) == []


def test_the_second_signal_stops_at_once(run, handgrad, lost_at, whole, tmp_path: Path) -> None:
    def twice():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    stopped = lost_at(4, run, "stopped", *MOMENTUM, how=twice)
    folder = tmp_path / "stopped"
    assert stopped.code == 130
    assert stopped.err == f"handgrad mnist: interrupted; to go on: handgrad mnist --resume {folder}\n"
    assert checkpoints(folder)[0].name == "step-0000000002.npz"
    assert not (folder / "report.json").exists()
    assert handgrad("mnist", "--resume", folder).code == 0
    assert differences(whole(*MOMENTUM), folder) == []


@pytest.mark.parametrize("log", [LOG, NO_LOG], ids=["in the log", "after it"])
def test_a_second_signal_while_the_first_is_answered_says_how_to_go_on(
    run, handgrad, lost_at, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log
) -> None:
    def again(*ignored):
        signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(mnist.reports, "report", again)
        stopped = lost_at(4, run, "stopped", *MOMENTUM, log=log, how=again)
    folder = tmp_path / "stopped"
    assert stopped.code == 130
    assert stopped.err == f"handgrad mnist: interrupted; to go on: handgrad mnist --resume {folder}\n"
    assert handgrad("mnist", "--resume", folder).code == 0


def test_the_handlers_of_before_come_back(run) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    run("run", "--no-log")
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


# --- what --resume and --overwrite take -------------------------------------------------------------------------------


def test_other_settings_are_refused_with_the_difference(run, handgrad, lost_at, tmp_path: Path) -> None:
    lost_at(4, run, "lost", *MOMENTUM)
    refused = handgrad("mnist", "--resume", tmp_path / "lost", "--seed", 1, "--lr", 0.05, "--momentum", 0.8)
    assert refused.code == 2
    assert refused.err == (
        "handgrad mnist: a run goes on with its own settings, but optimizer options is {'momentum': 0.9} there, not "
        "{'momentum': 0.8}, seed is 0 there, not 1: leave that out\n"
    )
    assert handgrad("mnist", "--resume", tmp_path / "lost", "--seed", 0, "--lr", 0.05, "--momentum", 0.9).code == 0


@pytest.mark.parametrize("option", [("--name", "x"), ("--overwrite",), ("--no-log",), ("--log-every", 3)])
def test_resume_takes_no_other_place(run, handgrad, lost_at, tmp_path: Path, option: tuple[object, ...]) -> None:
    lost_at(4, run, "lost")
    refused = handgrad("mnist", "--resume", tmp_path / "lost", *option)
    assert (refused.code, refused.err) == (
        2, f"handgrad mnist: --resume goes on as the run was begun: leave {option[0]} out\n",
    )  # fmt: skip


def test_a_folder_without_a_run(handgrad, tmp_path: Path) -> None:
    refused = handgrad("mnist", "--resume", tmp_path / "none")
    assert (refused.code, refused.err) == (
        2,
        f"handgrad mnist: --resume needs the folder of a run, but {tmp_path / 'none'} has no experiment.json: "
        "give another\n",
    )
    wrong = {"format": FORMAT, "settings": {"sizes": [1, 2], "sead": 3}}
    (tmp_path / "experiment.json").write_text(json.dumps(wrong))
    refused = handgrad("mnist", "--resume", tmp_path)
    assert (refused.code, refused.err.count("\n")) == (3, 1)


def test_a_finished_run_says_so_and_keeps_its_code(run, handgrad, tmp_path: Path, monkeypatch) -> None:
    run("right", *MOMENTUM)
    before = {p: p.read_bytes() for p in (tmp_path / "right").rglob("*.*") if p.is_file()}
    again = handgrad("mnist", "--resume", tmp_path / "right")
    assert (again.code, again.err) == (0, "")
    assert again.out.startswith(f"finished already: {tmp_path / 'right' / 'report.json'}\n16 steps · ")
    assert {p: p.read_bytes() for p in (tmp_path / "right").rglob("*.*") if p.is_file()} == before
    right = manual.Linear.input_gradient
    monkeypatch.setattr(manual.Linear, "input_gradient", lambda *args: -right(*args))
    run("wrong", *MOMENTUM)
    assert handgrad("mnist", "--resume", tmp_path / "wrong").code == 1


@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize("written", [None, 1, FORMAT + 1])
def test_a_run_in_another_format_is_refused_and_left_alone(
    run, handgrad, lost_at, tmp_path: Path, finished: bool, written: int | None
) -> None:
    """Formats 1 and 2 have other names in report.json and in the checkpoints, and format 1 does not say which it is."""
    if finished:
        run("old")
    else:
        lost_at(4, run, "old")
    path = tmp_path / "old" / "experiment.json"
    begun = json.loads(path.read_text(encoding="utf-8"))
    assert begun.pop("format") == FORMAT
    path.write_text(json.dumps(begun if written is None else {"format": written, **begun}), encoding="utf-8")
    before = {p: p.read_bytes() for p in (tmp_path / "old").rglob("*.*") if p.is_file()}
    refused = handgrad("mnist", "--resume", tmp_path / "old")
    assert (refused.code, refused.out) == (2, "")
    assert refused.err == (
        "handgrad mnist: a run must be resumed by a version of handgrad that writes the same format, but "
        f"{tmp_path / 'old'} is in format {written or 1} and this version writes {FORMAT}: begin the run again, or use "
        "the version that began it\n"
    )
    assert {p: p.read_bytes() for p in (tmp_path / "old").rglob("*.*") if p.is_file()} == before


def test_the_format_has_a_new_number_when_what_a_run_writes_changes(whole) -> None:
    parts = (content.Document, StageRow, Disagreement, Verdict, Progress)
    names = [list(report(whole())), *(list(part.__annotations__) for part in parts)]
    digest = hashlib.sha256(json.dumps(names).encode()).hexdigest()[:16]
    assert (FORMAT, digest) == (4, "8a0d44bae42216b8"), (
        "raise FORMAT in compare/run/folder.py, and put the new digest here"
    )


def test_only_overwrite_replaces_a_run(run, handgrad, lost_at, whole, tmp_path: Path) -> None:
    lost_at(4, run, "run", "--seed", 3)
    refused = run("run", *MOMENTUM)
    assert refused.code == 2
    assert "holds an unfinished run: --resume it, choose another --name, or --overwrite it" in refused.err
    assert run("run", *MOMENTUM, "--overwrite").code == 0
    assert differences(whole(*MOMENTUM), tmp_path / "run") == []
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("")
    refused = run("mine", "--overwrite")
    assert refused.code == 2
    assert "holds no run: choose another --name" in refused.err
    assert (tmp_path / "mine" / "thesis.tex").exists()


def test_other_versions_are_noted(run, handgrad, lost_at, monkeypatch, tmp_path: Path) -> None:
    lost_at(4, run, "lost", *MOMENTUM)
    monkeypatch.setattr(np, "__version__", "9.9.9")
    resumed = handgrad("mnist", "--resume", tmp_path / "lost")
    (note,) = report(tmp_path / "lost")["notes"]
    assert note.startswith("the run went on with numpy 9.9.9 instead of ")
    assert note.endswith(": the last digits may differ")
    assert note in resumed.out


def test_the_event_files_end_where_they_did(tmp_path: Path) -> None:
    (tmp_path / "manual").mkdir()
    first, later = (tmp_path / "manual" / f"events.out.tfevents.{n}.host" for n in (1000000000, 1000000001))
    first.write_bytes(b"12345678")
    kept = event_files.sums(tmp_path)
    first.write_bytes(b"12345678and more")
    later.write_bytes(b"all of it")
    assert event_files.cut_back(tmp_path, kept) == []
    assert first.read_bytes() == b"12345678"
    assert not later.exists()


# --- one process for one run ----------------------------------------------------------------------------------------


def test_a_run_that_is_being_trained_is_left_alone(run, handgrad, lost_at, tmp_path: Path) -> None:
    lost_at(4, run, "lost")
    with held(tmp_path / "lost"):
        for arguments in (("--resume", tmp_path / "lost"), ("--logdir", tmp_path, "--name", "lost", "--overwrite")):
            outcome = handgrad("mnist", *arguments)
            assert outcome.code == 2
            assert f"another is training {tmp_path / 'lost'}: wait for it, or stop it" in outcome.err
    assert handgrad("mnist", "--resume", tmp_path / "lost").code == 0


def test_two_that_start_in_the_same_second_have_two_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mnist, "default_name", lambda experiment: "now")
    experiment = Experiment()
    for expected in ("now", "now-2", "now-3"):
        assert mnist.new_name(tmp_path, experiment) == expected
        (tmp_path / expected).mkdir()


def test_digits_that_have_moved_are_asked_for(run, handgrad, lost_at, whole, tmp_path: Path, few_digits: Path) -> None:
    lost_at(4, run, "lost")
    path = tmp_path / "lost" / "experiment.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**content, "data_dir": str(tmp_path / "gone")}), encoding="utf-8")
    outcome = handgrad("mnist", "--resume", tmp_path / "lost")
    assert outcome.code == 3
    assert f"but {tmp_path / 'gone'} is no folder: give their new one with --data-dir" in outcome.err
    assert handgrad("mnist", "--resume", tmp_path / "lost", "--data-dir", few_digits).code == 0
    assert differences(whole(), tmp_path / "lost") == []
