"""`handgrad board`: a real TensorBoard on loopback, and what its pages are told."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from handgrad.compare.board import layout, scalars, server
from handgrad.compare.commands import main as cli
from handgrad.compare.run.experiment import UsageError
from handgrad.compare.run.progress import SIDES
from tests import ROOT


@dataclass
class Board:
    """A TensorBoard that runs, with two runs in it."""

    address: str
    reports: dict[str, dict[str, Any]]  # report.json by run

    def ask(self, path: str, body: dict[str, Any] | None = None, **query: object) -> Any:
        """What the HTTP API answers."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.address}data/{path}?{urllib.parse.urlencode(query)}", data=data)
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=60) as answer:
            content = answer.read()
        return json.loads(content) if "json" in answer.headers["Content-Type"] else content


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory, few_digits: Path) -> Iterator[Board]:
    """`handgrad board --all` on two runs, in a process of its own; it must end quietly by Ctrl-C."""
    logdir = tmp_path_factory.mktemp("board")
    place = ("--data-dir", few_digits, "--logdir", logdir)
    for name, more in (("sgd", ()), ("adam", ("--optimizer", "adam", "--beta1", 0.8, "--lr", 0.01))):
        assert cli.main(["mnist", *map(str, (*place, "--name", name, "--max-steps", 21, *more))]) == 0
    command = [sys.executable, "-m", "handgrad", "board", "--all", "--logdir", str(logdir), "--port", "0"]
    process = subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        line = process.stdout.readline()
        found = re.fullmatch(rf"{re.escape(str(logdir))}: (http://\S+/)#custom_scalars \(Ctrl-C ends it\)\n", line)
        assert found, line + process.stderr.read()
        reports = {name: json.loads((logdir / name / "report.json").read_text()) for name in ("sgd", "adam")}
        shown = Board(found.group(1), reports)
        deadline = time.monotonic() + 60  # it reads the files while it answers
        while len(shown.ask("runs")) < 6 and time.monotonic() < deadline:
            time.sleep(0.2)
        yield shown
    finally:
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out.strip(), err) == (0, "", "")


def test_it_listens_on_loopback_alone(board: Board) -> None:
    assert urllib.parse.urlsplit(board.address).hostname in ("127.0.0.1", "localhost")


@pytest.mark.parametrize(
    ("host", "answered"),
    [("127.0.0.1:{port}", True), ("localhost:{port}", True), ("LOCALHOST", True), ("[::1]:6006", True),
     ("evil.example:{port}", False), ("127.0.0.1.evil.example", False), ("localhost@evil.example", False),
     ("[::1", False), ("", False)],
)  # fmt: skip
def test_a_page_from_elsewhere_reads_nothing(board: Board, host: str, answered: bool) -> None:
    port = urllib.parse.urlsplit(board.address).port
    request = urllib.request.Request(f"{board.address}data/runs", headers={"Host": host.format(port=port)})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            code, said = answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        code, said = refused.code, refused.read().decode()
    assert code == (200 if answered else 403)
    assert ("manual" in said) == answered
    assert answered or said.startswith("the host must be one of 127.0.0.1, localhost, ::1: open the address that")


def test_each_run_is_three(board: Board) -> None:
    assert set(board.ask("runs")) == {f"{run}/{name}" for run in board.reports for name in (*SIDES, "compare")}


def test_every_page_has_something_to_show(board: Board) -> None:
    expected = {"scalars", "custom_scalars", "images", "histograms", "distributions", "text", "hparams", "pr_curves",
                "graphs", "projector", "timeseries"}  # fmt: skip
    deadline, found = time.monotonic() + 60, set[str]()
    while not found >= expected and time.monotonic() < deadline:  # the projector looks for its files when first asked
        found = {name for name, page in board.ask("plugins_listing").items() if page["enabled"]}
        time.sleep(0.1)
    assert found >= expected


def lonely_tags(tags: dict[str, Any]) -> set[str]:
    """The tags that one side of a run has and the other one has not."""
    found: set[str] = set()
    for run in {name.split("/")[0] for name in tags}:
        one, other = (set(tags.get(f"{run}/{side}", ())) for side in SIDES)
        found |= one ^ other
    return found


@pytest.mark.parametrize("page", ["scalars", "images", "histograms", "pr_curves"])
def test_both_sides_have_the_same_tags(board: Board, page: str) -> None:
    tags = board.ask(f"plugin/{page}/tags")
    assert len(tags["sgd/manual"]) >= 2
    assert lonely_tags(tags) == set()
    missing = next(iter(tags["sgd/manual"]))
    planted = {**tags, "sgd/manual": {tag: x for tag, x in tags["sgd/manual"].items() if tag != missing}}
    assert lonely_tags(planted) == {missing}


def test_a_curve_ends_where_the_report_does(board: Board) -> None:
    for run, report in board.reports.items():
        for side in SIDES:
            points = board.ask("plugin/scalars/scalars", run=f"{run}/{side}", tag=scalars.LOSS)
            assert [step for _, step, _ in points] == [0, 10, 20]
            assert points[-1][2] == pytest.approx(report["loss"][side], rel=1e-7)  # the default log and TensorBoard
    tags = board.ask("plugin/scalars/tags")
    assert all(tag["description"] for name in tags for tag in tags[name].values())


def charts_without_lines(shown: dict[str, Any], tags: dict[str, Any], run: str) -> list[str]:
    """The charts of the layout that find no tag in a run."""
    there = {tag for name in tags if name.startswith(f"{run}/") for tag in tags[name]}
    empty = []
    for category in shown["category"]:
        for chart in category["chart"]:
            if "margin" in chart:
                lines = [set(series.values()) <= there for series in chart["margin"]["series"]]
            else:
                patterns = chart["multiline"]["tag"]
                lines = [any(re.match(pattern, tag) for tag in there) for pattern in patterns]
            if not all(lines):
                empty.append(chart["title"])
    return empty


def test_the_layout_tells_the_story_and_no_chart_is_empty(board: Board) -> None:
    shown, tags = board.ask("plugin/custom_scalars/layout"), board.ask("plugin/scalars/tags")
    assert [category["title"] for category in shown["category"]] == list(layout.LAYOUT)
    titles = [chart["title"] for category in shown["category"] for chart in category["chart"]]
    assert len(titles) == len(set(titles)) == sum(len(charts) for charts in layout.LAYOUT.values())
    for run in board.reports:
        assert charts_without_lines(shown, tags, run) == []
    del tags["sgd/compare"][scalars.margin("update")[2]], tags["sgd/compare"][scalars.FLIPS]
    assert len(charts_without_lines(shown, tags, "sgd")) == 2
    drift = board.ask("plugin/custom_scalars/scalars", run="sgd/compare", tag=f"{re.escape(scalars.DRIFT)}$")
    assert list(drift["tag_to_events"]) == [scalars.DRIFT]


def test_the_hparams_are_one_row_for_each_run(board: Board) -> None:
    experiment = board.ask("plugin/hparams/experiment", {"experimentName": "", "hparamsLimit": 0})
    settings = [info["name"] for info in experiment["hparamInfos"]]
    assert set(settings[:5]) == {"sizes", "activation", "loss", "optimizer", "learning rate"}
    assert {"beta1", "momentum", "nesterov", "seed", "dtype"} <= set(settings)
    metrics = [info["name"]["tag"] for info in experiment["metricInfos"]]
    request = {
        "experimentName": "", "startIndex": 0, "sliceSize": 100,
        "allowedStatuses": ["STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING", "STATUS_UNKNOWN"],
        "colParams": [{"metric": {"tag": tag}} for tag in metrics],
    }  # fmt: skip
    rows = board.ask("plugin/hparams/session_groups", request)["sessionGroups"]
    assert {row["name"] for row in rows} == {f"{run}/compare" for run in board.reports}
    for row in rows:
        run = row["name"].split("/")[0]
        report = board.reports[run]
        values = {value["name"]["tag"]: value["value"] for value in row["metricValues"]}
        assert values["result/accuracy of torch_ref"] == pytest.approx(report["accuracy"]["torch_ref"], rel=1e-6)
        assert values["result/closest call"] == pytest.approx(report["closest_call"], rel=1e-6)
        assert values["result/log10 of the drift"] == pytest.approx(
            scalars.log10(report["drift"], scalars.EQUAL), rel=1e-6
        )
        assert values["result/steps"] == 21
        assert row["hparams"]["optimizer"] == run
        assert row["hparams"].get("beta1") == (0.8 if run == "adam" else None)
        assert row["hparams"]["sizes"] == "784-16-16-10"
        assert row["sessions"][0]["status"] == "STATUS_SUCCESS"


def test_pictures_texts_graph_and_points(board: Board) -> None:
    pictures = board.ask("plugin/images/tags")["sgd/compare"]
    assert {tag.split("/")[0] for tag in pictures} == {"pictures"}
    (tag,) = [tag for tag in pictures if "same test digits" in tag]
    steps = board.ask("plugin/images/images", run="sgd/compare", tag=tag, sample=0)
    assert [image["step"] for image in steps] == [0, 20]
    picture = board.ask(f"plugin/images/individualImage?{steps[-1]['query']}&")
    assert picture.startswith(b"\x89PNG")

    assert set(board.ask("plugin/text/tags")["sgd/compare"]) == {"verdict", "start certificate"}
    *earlier, verdict = board.ask("plugin/text/text", run="sgd/compare", tag="verdict", markdown="true")
    assert [text["step"] for text in (*earlier, verdict)] == [6, 13, 20]
    for part in ("<p>agrees: 21 steps", "<table>", "<td>update · SGD</td>", "max |Δ|"):
        assert part in verdict["text"]

    graph = board.ask("plugin/graphs/graph", run="sgd/torch_ref", limit_attr_size=1024, large_attrs_key="_").decode()
    names = re.findall(r'name: "(.*)"', graph)
    for name in ("x", "0.Linear/weight", "0.Linear/Linear", "1.ReLU/ReLU", "4.Linear/Linear", "J", "target"):
        assert name in names
    assert 'op: "CrossEntropyLoss"' in graph

    assert set(board.ask("plugin/projector/runs")) == {f"{run}/{side}" for run in board.reports for side in SIDES}
    (points,) = board.ask("plugin/projector/info", run="sgd/manual")["embeddings"]
    assert points["tensorShape"] == [50, 16]
    name = points["tensorName"]
    assert board.ask("plugin/projector/metadata", run="sgd/manual", name=name).startswith(b"is\ttaken for\n")
    assert board.ask("plugin/projector/sprite_image", run="sgd/manual", name=name).startswith(b"\x89PNG")


# --- which run, and what can go wrong ---------------------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, int | None]]:
    """What would be shown, without showing it."""
    asked: list[tuple[Path, int | None]] = []
    monkeypatch.setattr(server, "serve", lambda folder, port, say: asked.append((folder, port)))
    return asked


@pytest.fixture
def runs(tmp_path: Path) -> Callable[[str, float], Path]:
    """Make a run that was written at a time: runs("name", 1000)."""

    def make(name: str, when: float) -> Path:
        folder = tmp_path / name
        (folder / "manual").mkdir(parents=True)
        for path in (folder / "experiment.json", folder / "manual" / "events.out.tfevents.1.host"):
            path.write_text("{}")
        for path in (*folder.rglob("*"), folder):
            os.utime(path, (when, when))
        return folder

    return make


def test_the_newest_run_is_shown(handgrad, quick, runs, tmp_path: Path) -> None:
    old, new = runs("b", 1000), runs("a", 2000)
    (tmp_path / "no run").mkdir()
    for arguments in ((), ("--all",), (old,), ("--port", 7007)):
        assert handgrad("board", "--logdir", tmp_path, *arguments).code == 0
    assert quick == [(new, None), (tmp_path, None), (old, None), (new, 7007)]
    os.utime(old / "manual" / "events.out.tfevents.1.host", (3000, 3000))  # it goes on
    assert server.newest_run(tmp_path) == old


def test_without_a_run(handgrad, quick, tmp_path: Path) -> None:
    for logdir in (tmp_path, tmp_path / "none"):
        refused = handgrad("board", "--logdir", logdir)
        assert (refused.code, refused.err) == (
            2, f"handgrad board: there must be a run to show, but {logdir} has none: handgrad mnist makes one\n",
        )  # fmt: skip
    refused = handgrad("board", tmp_path / "none")
    assert (refused.code, refused.err) == (
        2, f"handgrad board: there must be a run to show, but {tmp_path / 'none'} is no folder: name another\n",
    )  # fmt: skip
    assert quick == []


def test_a_run_without_events(handgrad, quick, runs, tmp_path: Path) -> None:
    (runs("silent", 1000) / "manual" / "events.out.tfevents.1.host").unlink()
    refused = handgrad("board", "--logdir", tmp_path)
    place = tmp_path / "silent"
    assert (refused.code, refused.err) == (
        2, f"handgrad board: there must be events to show, but {place} has none: was it run with --no-log?\n",
    )  # fmt: skip
    spoken = runs("spoken", 500)  # an older one, but there is something to show
    assert handgrad("board", "--logdir", tmp_path).code == 0
    assert quick == [(spoken, None)]


def test_a_port_that_is_taken(handgrad, runs, tmp_path: Path) -> None:
    runs("run", 1000)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = handgrad("board", "--logdir", tmp_path, "--port", port)
    assert (refused.code, refused.err) == (
        2, f"handgrad board: --port must be free, but {port} is taken: leave it out, or choose another\n",
    )  # fmt: skip


@pytest.mark.parametrize("port", [-1, 65536, 10**9])
def test_a_port_that_is_none(handgrad, runs, tmp_path: Path, port: int) -> None:
    runs("run", 1000)
    refused = handgrad("board", "--logdir", tmp_path, "--port", port)
    assert (refused.code, refused.err) == (
        2, f"handgrad board: --port must be from 0 to 65535, got {port}: choose another\n",
    )  # fmt: skip


def test_a_server_that_cannot_start(runs, monkeypatch, tmp_path: Path) -> None:
    def refuse(self):
        raise server.program.TensorBoardServerException("no\nsocket")

    monkeypatch.setattr(server.program.TensorBoard, "launch", refuse)
    with pytest.raises(UsageError, match=r"^TensorBoard cannot start: no socket$"):
        server.serve(runs("run", 1000), None, print)
