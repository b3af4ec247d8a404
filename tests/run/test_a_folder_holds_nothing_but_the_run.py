"""What is in a run's folder and is not the run's: it is neither followed nor cut, neither removed nor passed over."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from handgrad.compare.foundation.whole_files import write_json
from handgrad.compare.run.checkpoint import event_files, keeper
from handgrad.compare.run.contents import foreign

TEXT = "a thesis\n" * 1000


@pytest.fixture
def started(handgrad, tmp_path: Path, few_digits: Path) -> Callable[..., Any]:
    """A short run with a log in tmp_path/run, interrupted after step 3."""
    setting = ("--sizes", "784-4-10", "--max-steps", 6, "--checkpoint-every", 2, "--log-every", 2)
    place = ("--data-dir", few_digits, "--logdir", tmp_path, "--name", "run")
    return lambda *more: handgrad("mnist", *place, *setting, *more)


@pytest.fixture
def stopped(started, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a run that could not save its second checkpoint."""
    real = keeper.write_archive

    def full(path: Path, arrays: Any) -> None:
        if path.name != "step-0000000001.npz":
            raise OSError(errno.ENOSPC, "No space left on device")
        real(path, arrays)

    with monkeypatch.context() as patch:
        patch.setattr(keeper, "write_archive", full)
        outcome = started()
    assert (outcome.code, outcome.err.count("\n")) == (4, 1)
    assert "make room, and continue from the one before it with handgrad mnist --resume" in outcome.err
    return tmp_path / "run"


def test_no_room_for_the_first_checkpoint_is_no_other_before_it(started, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, arrays: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(keeper, "write_archive", full)
    outcome = started()
    assert outcome.code == 4
    assert "make room, and begin again, as nothing is saved yet, with handgrad mnist --resume" in outcome.err


EVENTS = "manual/events.out.tfevents.1000000000.host"


@pytest.mark.parametrize(
    ("name", "how"),
    [(EVENTS, os.symlink), (EVENTS, os.link), ("report.json", os.symlink), ("compare", os.symlink)],
)
def test_resume_writes_through_no_link(handgrad, stopped: Path, tmp_path: Path, name: str, how: Any) -> None:
    outside, inside = tmp_path / "thesis.tex", stopped / name
    if name == "compare":
        (stopped / name).rename(tmp_path / "elsewhere")
        how(tmp_path / "elsewhere", inside)
    else:
        outside.write_text(TEXT)
        inside.unlink(missing_ok=True)
        how(outside, inside)
    refused = handgrad("mnist", "--resume", stopped)
    assert (refused.code, refused.err.count("\n")) == (3, 1)
    assert f"a run must go on in files of its own, but {inside} is a link" in refused.err
    if name != "compare":
        assert outside.read_text() == TEXT


def test_a_half_written_file_is_no_way_out(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text(TEXT)
    (tmp_path / "report.json.tmp").symlink_to(tmp_path / "thesis.tex")
    write_json(tmp_path / "report.json", {})
    assert (tmp_path / "thesis.tex").read_text() == TEXT
    assert json.loads((tmp_path / "report.json").read_text()) == {}


@pytest.mark.parametrize("name", ["notes.txt", "manual/notes.txt", "checkpoints/mine/step-0000000001.npz", "link"])
def test_overwrite_removes_nothing_else(started, stopped: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "thesis.tex").write_text(TEXT)
    other = stopped / name
    other.parent.mkdir(exist_ok=True)
    other.symlink_to(tmp_path / "thesis.tex") if name == "link" else other.write_text(TEXT)
    before = set(stopped.rglob("*"))
    refused = started("--overwrite")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "--overwrite removes what a run has written and nothing else, but" in refused.err
    assert set(stopped.rglob("*")) == before
    assert (tmp_path / "thesis.tex").read_text() == TEXT


def test_nor_a_folder_that_only_has_an_experiment(started, tmp_path: Path) -> None:
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "run" / "experiment.json").write_text('{"mine": 1}')
    refused = started("--overwrite")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "holds no settings of one" in refused.err
    assert (tmp_path / "run" / "experiment.json").read_text() == '{"mine": 1}'


def test_nor_what_a_link_leads_to(started, stopped: Path, tmp_path: Path) -> None:
    stopped.rename(tmp_path / "precious")
    stopped.symlink_to(tmp_path / "precious")
    before = set((tmp_path / "precious").rglob("*"))
    refused = started("--overwrite")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "is a link to" in refused.err
    assert set((tmp_path / "precious").rglob("*")) == before


def test_what_a_run_writes_is_its_own_to_the_last_file(started, stopped: Path, handgrad) -> None:
    assert foreign(stopped) is None
    assert started("--overwrite").code == 0
    assert foreign(stopped) is None, "a finished run has files besides"


def test_an_event_file_that_no_log_has_named_is_left_alone(handgrad, stopped: Path) -> None:
    other = stopped / "manual" / "events.out.tfevents.abc"
    other.write_text(TEXT)
    assert handgrad("mnist", "--resume", stopped).code == 0
    assert other.read_text() == TEXT


@pytest.mark.parametrize("damage", ["shorter", "another byte", "gone"])
def test_a_damaged_event_file_is_said(handgrad, stopped: Path, damage: str) -> None:
    (events,) = (stopped / "manual").glob(f"{event_files.NAME}*")
    content = events.read_bytes()
    if damage == "gone":
        events.unlink()
    else:
        events.write_bytes(content[:20] if damage == "shorter" else bytes([content[0] ^ 1]) + content[1:])
    outcome = handgrad("mnist", "--resume", stopped)
    note = f"the event file manual/{events.name} is not as the run left it"
    assert outcome.code == 0
    assert note in outcome.out
    assert any(note in said for said in json.loads((stopped / "report.json").read_text())["notes"])
    assert outcome.out.count("the event file ") == 1, "the other two are whole"
