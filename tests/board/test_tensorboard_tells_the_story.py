"""What TensorBoard shows of a run is what was trained, on both sides, under the same names."""

from __future__ import annotations

import errno
import io
import json
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray

from handgrad import data, manual
from handgrad.compare.board import accumulators, drawing, markdown, pictures, predictions, projector, scalars
from handgrad.compare.board.event_file import EventFile
from handgrad.compare.board.events import EventLog
from handgrad.compare.commands import main as cli
from handgrad.compare.judge import names
from handgrad.compare.run import report as reports
from handgrad.compare.run.experiment import Experiment
from handgrad.compare.run.health import Stopped
from handgrad.compare.run.lockstep import Lockstep
from handgrad.compare.run.progress import SIDES

RUNS = (*SIDES, "compare")
EVERY = 3


@dataclass
class Witness:
    """An observer that remembers what a run was, in double precision, as it went."""

    seen: dict[str, dict[int, dict[str, float]]] = field(default_factory=dict)
    weights: dict[int, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    fractions: list[dict[str, float]] = field(default_factory=list)
    correct: dict[int, dict[str, int]] = field(default_factory=dict)
    before: tuple[np.ndarray, np.ndarray] | None = None

    def on_step(self, run: Lockstep) -> None:
        now = run.progress
        before = self.before or (run.sides.theta, run.sides.theta)
        after = run.theta, run.torch_theta
        self.fractions.append({name: row.last_fraction for name, row in run.judge.rows.items()})
        for side, theta, theta_after in zip(SIDES, before, after, strict=True):
            record, (where, _) = now.records[side], run.sides.network.layout["2.weight"]
            second = slice(where.start, where.start + 16 * 16 + 16)  # its weight and bias
            self.seen.setdefault(side, {})[now.step] = {
                "learning/training loss": float(record.loss),
                "learning/learning rate": now.learning_rate,
                "per layer: gradient norm/2 · Linear": np.linalg.norm(record.grad[second]),
                "per layer: update norm/2 · Linear": np.linalg.norm((theta_after - theta)[second]),
                "per layer: log10 of update ÷ weight/2 · Linear": np.log10(
                    np.linalg.norm((theta_after - theta)[second]) / np.linalg.norm(theta[second])
                ),
                "per layer: dead or saturated units/1 · ReLU": np.mean(np.max(record.outputs[1], axis=0) == 0),
            }
        self.weights[now.step] = self.before = after

    def on_epoch(self, run: Lockstep) -> None:
        self.correct[run.progress.step] = dict(run.progress.correct)


@dataclass
class Logged:
    """A run that was logged and watched."""

    folder: Path
    run: Lockstep
    witness: Witness
    report: dict[str, Any]
    events: dict[str, EventAccumulator]

    def series(self, name: str, tag: str) -> dict[int, float]:
        points = [(e.step, e.value) for e in self.events[name].Scalars(tag)]
        assert len(points) == len(dict(points)), f"{tag} has a step twice"
        return dict(points)

    def text(self, tag: str) -> dict[int, str]:
        return {e.step: make_ndarray(e.tensor_proto).item().decode() for e in self.events["compare"].Tensors(tag)}

    def picture(self, name: str, tag: str, which: int = -1) -> np.ndarray:
        image = Image.open(io.BytesIO(self.events[name].Images(tag)[which].encoded_image_string))
        return np.asarray(image.convert("RGB"))


def read(folder: Path) -> dict[str, EventAccumulator]:
    events = {}
    for name in RUNS:
        events[name] = EventAccumulator(str(folder / name), size_guidance={"scalars": 0, "images": 0, "tensors": 0})
        events[name].Reload()
    return events


def logged(folder: Path, dataset: data.Dataset, experiment: Experiment, watched: bool = False) -> Logged:
    run, witness, stopped = Lockstep(experiment, dataset), Witness(), ""
    log = EventLog(run, folder, EVERY)
    try:
        run.run([log, witness] if watched else [log])
    except Stopped as problem:
        stopped = str(problem)
    report = reports.report(run, 1.0, stopped)
    log.finish(run, report)
    log.close()
    return Logged(folder, run, witness, report, read(folder))


@pytest.fixture(scope="module")
def story(digits: data.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Logged:
    """Two epochs of 32 steps, so that the first one's pictures come at its end."""
    return logged(tmp_path_factory.mktemp("story"), digits, Experiment(epochs=2), watched=True)


# --- the curves -------------------------------------------------------------------------------------------------------


def wrong_curves(story: Logged, series: Callable[[str, str], dict[int, float]]) -> list[str]:
    """Every point that is not the float32 of what was trained, and every one that is missing or too much."""
    wrong = []
    steps = range(0, story.run.steps, EVERY)
    for side in SIDES:
        for tag in story.witness.seen[side][0]:
            expected = {step: float(np.float32(story.witness.seen[side][step][tag])) for step in steps}
            found = series(side, tag)
            tolerance = 0.0 if tag.startswith("learning/") else 1e-6  # a norm may be summed in another order
            if found.keys() != expected.keys() or any(
                abs(found[step] - expected[step]) > tolerance * abs(expected[step]) for step in steps
            ):
                wrong.append(f"{side}: {tag}")
    return wrong


def test_every_point_is_what_was_trained(story) -> None:
    assert wrong_curves(story, story.series) == []


def test_the_two_sides_are_not_the_same_numbers(story) -> None:
    """Else the swap below could not be seen."""
    assert story.witness.seen["manual"] != story.witness.seen["torch_ref"]


@pytest.mark.parametrize("fault", ["a step dropped", "a step late", "a number off", "a tag missing", "no fault"])
def test_a_wrong_log_is_found_out(story, fault: str) -> None:
    tag = "learning/training loss"

    def wrong(side: str, name: str) -> dict[int, float]:
        points = story.series(side, name)
        if (side, name) != ("manual", tag):
            return points
        if fault == "a step dropped":
            del points[3]
        if fault == "a step late":
            return {step + 1: value for step, value in points.items()}
        if fault == "a number off":
            points[6] = float(np.nextafter(np.float32(points[6]), np.float32(9)))
        return {} if fault == "a tag missing" else points

    assert wrong_curves(story, wrong) == ([] if fault == "no fault" else [f"manual: {tag}"])


def test_sides_that_are_swapped_are_found_out(digits, tmp_path: Path, monkeypatch) -> None:
    right = scalars.of_side
    other = dict(zip(SIDES, SIDES[::-1], strict=True))
    monkeypatch.setattr(scalars, "of_side", lambda run, side: right(run, other[side]))
    # In float32 the two sides' numbers part within a few steps, so that float32 tags can tell them apart.
    parting = Experiment(max_steps=31, dtype="float32", learning_rate=0.5)
    swapped = logged(tmp_path, digits, parting, watched=True)
    assert {"manual: learning/training loss", "torch_ref: learning/training loss"} <= set(
        wrong_curves(swapped, swapped.series)
    )
    monkeypatch.undo()
    again = logged(tmp_path / "right", digits, parting, watched=True)
    assert wrong_curves(again, again.series) == []


def test_the_drift_keeps_what_a_double_can_tell(story) -> None:
    drift, worst, median = (story.series("compare", tag) for tag in (scalars.DRIFT, scalars.ULPS, scalars.ULPS_OF_MOST))
    for step, (ours, theirs) in story.witness.weights.items():
        if step % EVERY:
            continue
        apart = np.abs(ours - theirs)
        assert drift[step] == pytest.approx(np.log10(max(apart.max(), 1e-20)), rel=1e-6)
        ulps = apart / np.spacing(np.maximum(np.abs(ours), np.abs(theirs)))
        assert worst[step] == pytest.approx(np.log10(max(ulps.max(), 0.1)), rel=1e-6)
        assert median[step] == pytest.approx(np.log10(max(np.median(ulps), 0.1)), rel=1e-6)
    assert -17 < min(drift[step] for step in list(drift)[3:]) < max(drift.values()) < -14


@pytest.mark.parametrize(("drift", "shown"), [(0.0, -20), (1e-15, -15), (3e-16, np.log10(3e-16)), (np.nan, np.nan)])
def test_small_numbers_are_not_lost(drift: float, shown: float) -> None:
    assert float(np.float32(scalars.log10(drift, scalars.EQUAL))) == pytest.approx(shown, rel=1e-6, nan_ok=True)


def test_no_fraction_between_two_points_is_lost(story) -> None:
    fractions = story.witness.fractions
    over_all = story.series("compare", scalars.FRACTION)
    for stage in story.run.judge.expected:
        found = story.series("compare", f"{scalars.STAGES}/{stage}")
        for step in range(EVERY, story.run.steps, EVERY):
            expected = max(fractions[s][stage] for s in range(step - EVERY + 1, step + 1))
            assert found[step] == np.float32(expected)
            assert over_all[step] >= found[step]
    row = story.run.judge.rows["update · SGD"]
    assert row.at_step % EVERY == 0 or max(over_all.values()) >= np.float32(row.closest) or row.at_step > max(over_all)


def test_the_margins_hold_the_difference(story) -> None:
    for phase in names.PHASES:
        lower, difference, bound = (story.series("compare", tag) for tag in scalars.margin(phase))
        assert lower.keys() == difference.keys() == bound.keys() == set(range(0, story.run.steps, EVERY))
        assert all(lower[s] == -20 <= difference[s] <= bound[s] < -8 for s in lower)
        assert max(difference.values()) > -19
    over_all = story.series("compare", scalars.FRACTION)
    _, difference, bound = (story.series("compare", tag) for tag in scalars.margin("update"))
    for step in list(difference)[1:]:  # the worst stage is the update
        assert 10 ** (difference[step] - bound[step]) == pytest.approx(over_all[step], rel=1e-4)


def test_every_stage_of_a_step_has_its_phase(story) -> None:
    phases = {name: names.phase_of(name) for name in story.run.judge.expected}
    assert set(phases.values()) == set(names.PHASES)
    assert phases["loss · SoftmaxCrossEntropy"] == "forward"
    assert phases["loss gradient"] == "backward"


def test_epochs(story) -> None:
    for side in SIDES:
        accuracy = story.series(side, scalars.ACCURACY)
        assert accuracy == {s: np.float32(n[side] / 100) for s, n in story.witness.correct.items()}
        assert list(accuracy) == [31, 63]
        assert story.series(side, scalars.TEST_LOSS)[63] == np.float32(story.report["test_loss"][side])
    assert story.series("compare", scalars.FLIPS) == {31: 0, 63: 0}


def test_branch_flips_are_counted_by_epoch(digits) -> None:
    run = Lockstep(Experiment(max_steps=1), digits)
    counts = accumulators.EpochCounts({})
    taken = []
    for so_far in (3, 3, 10):
        run.progress.branch_flips = {"1 · ReLU": so_far}
        taken.append(counts.take(run)[scalars.FLIPS])
    assert taken == [3, 0, 7]
    assert accumulators.EpochCounts(counts.before).take(run)[scalars.FLIPS] == 0


def test_the_time_of_a_step_is_that_since_the_last_point(digits) -> None:
    now = Lockstep(Experiment(max_steps=1), digits).progress
    clock = accumulators.Clock({})
    now.step, now.seconds["manual"], now.seconds["torch_ref"] = 9, 1.0, 2.0
    assert clock.read(now)["manual"][scalars.SECONDS] == pytest.approx(100)
    now.step, now.seconds["manual"], now.seconds["torch_ref"] = 19, 1.5, 4.0
    found = accumulators.Clock(json.loads(json.dumps(clock.before))).read(now)
    assert found["manual"][scalars.SECONDS] == pytest.approx(50)
    assert found["compare"][scalars.FASTER] == pytest.approx(4)


@pytest.mark.parametrize(
    ("kind", "last", "part"), [("ReLU", 0.0, 0.5), ("Sigmoid", 0.995, 0.25), ("Tanh", -0.99, 0.25)]
)
def test_dead_and_saturated_units(kind: str, last: float, part: float) -> None:
    outputs = np.array([[0.5, 0.0 if kind == "ReLU" else 0.4], [0.3, last]])
    assert np.mean(scalars.ASLEEP_UNITS[kind](outputs)) == part


# --- names ------------------------------------------------------------------------------------------------------------

GROUPS = {
    "manual": {
        "learning", "per layer: gradient norm", "per layer: update norm", "per layer: log10 of update ÷ weight",
        "per layer: dead or saturated units", "time", "pictures", "precision and recall", "values of weights",
        "values of gradients", "values of activations", "values of deltas",
    },
    "compare": {"agreement", "agreement by stage", "agreement margins", "result", "time", "pictures",
                "verdict", "start certificate", "custom_scalars__config__"},
}  # fmt: skip


def tags(events: EventAccumulator) -> set[str]:
    found = events.Tags()
    return {tag for kind in ("scalars", "images", "tensors") for tag in found[kind]}


def test_both_sides_have_the_same_tags(story) -> None:
    assert tags(story.events["manual"]) == tags(story.events["torch_ref"])


@pytest.mark.parametrize("sizes", [(784, 16, 16, 10), (784, *[8] * 9, 10)], ids=["two hidden layers", "ten layers"])
def test_a_person_can_name_every_group(digits, tmp_path: Path, sizes: tuple[int, ...]) -> None:
    deep = logged(tmp_path, digits, Experiment(sizes=sizes, max_steps=2))
    for name, groups in GROUPS.items():
        assert {tag.split("/")[0] for tag in tags(deep.events[name])} == groups
    assert all(scalars.description(tag) for tag in deep.events["manual"].Tags()["scalars"])


# --- histograms, pictures, curves -------------------------------------------------------------------------------------


def test_histograms_hold_every_number(story) -> None:
    record, run = story.run.progress.records, story.run
    for side, theta in zip(SIDES, (run.theta, run.torch_theta), strict=True):
        expected = {"values of weights/2.bias": theta[run.sides.network.layout["2.bias"][0]],
                    "values of activations/3 · ReLU": record[side].outputs[3],
                    "values of deltas/4 · Linear": record[side].deltas[4]}  # fmt: skip
        for tag, values in expected.items():
            found = story.events[side].Tensors(tag)
            assert [e.step for e in found] == [0, 63]  # 31 is within 500 steps of the first ones
            buckets = make_ndarray(found[-1].tensor_proto)  # (30, 3): left, right, count
            counts, _ = np.histogram(values, 30)
            assert buckets[0, 0] == values.min()
            assert buckets[-1, 1] == values.max()
            assert (buckets[:, 2] == counts).all()


def test_the_weights_of_both_sides_are_drawn(story, monkeypatch) -> None:
    ours = story.picture("manual", pictures.WEIGHTS)
    assert (ours == story.picture("torch_ref", pictures.WEIGHTS)).all()
    assert not (ours == story.picture("manual", pictures.WEIGHTS, 0)).all()  # they have learnt
    weights = pictures.first_layer(story.run, story.run.theta)
    assert weights.shape == (16, 28, 28)
    assert (weights == story.run.theta[: 16 * 784].reshape(16, 28, 28)).all()
    strongest = np.unravel_index(np.abs(weights).argmax(), weights.shape)
    unit, row, column = (int(i) for i in strongest)
    across = 84 + drawing.GAP  # 28 pixels, three times as large
    left, top = (drawing.GAP + place * across + pixel * 3 for place, pixel in ((unit % 4, column), (unit // 4, row)))
    red, _, blue = (int(c) for c in ours[top + 1, left + 1])
    assert (red > blue + 50) == (weights[strongest] > 0)
    assert (blue > red + 50) == (weights[strongest] < 0)
    # a side whose weights differ does not look the same
    monkeypatch.setattr(story.run, "torch_theta", -story.run.torch_theta)
    drawn = {side: dict(pictures.of_side(story.run, side, None))[pictures.WEIGHTS] for side in SIDES}
    assert not (np.asarray(drawn["manual"]) == np.asarray(drawn["torch_ref"])).all()


def test_the_difference_is_drawn_in_its_bound(digits, monkeypatch) -> None:
    run = Lockstep(Experiment(max_steps=3), digits)
    run.run()
    fraction = pictures.difference_in_bounds(run)
    assert fraction.shape == (16, 28, 28)
    assert 0 < np.abs(fraction).max() <= 1
    right = manual.Linear.parameter_gradients

    def wrong(self, params, cache, dy):
        found = dict(right(self, params, cache, dy))
        weight = found["weight"]
        mask = np.zeros(weight.shape)
        mask[5, 300] = 1e-6
        return {**found, "weight": weight + mask}

    monkeypatch.setattr(manual.Linear, "parameter_gradients", wrong)
    fraction = pictures.difference_in_bounds(run)
    assert np.argwhere(np.abs(fraction) > 1).tolist() == [[5, *divmod(300, 28)]]


@pytest.mark.parametrize("fault", ["raises", "wrong shape"])
def test_a_layer_that_cannot_be_drawn_is_left_out(digits, monkeypatch, fault: str) -> None:
    run = Lockstep(Experiment(max_steps=1), digits)
    run.run()

    def wrong(self, params, cache, dy):
        if fault == "raises":
            raise ZeroDivisionError
        return {"weight": dy, "bias": dy}

    monkeypatch.setattr(manual.Linear, "parameter_gradients", wrong)
    assert pictures.difference_in_bounds(run) is None
    assert pictures.DIGITS in dict(pictures.of_both(run, None))


def test_blue_white_and_red() -> None:
    shown = drawing.blue_white_red(np.array([-2.0, -1.0, 0.0, 1.0, np.nan]), 1.0)
    assert shown.tolist() == [list(drawing.BLUE), list(drawing.BLUE), [255] * 3, list(drawing.RED), [0] * 3]
    assert (drawing.blue_white_red(np.zeros((2, 2)), 0.0) == 255).all()


@pytest.mark.parametrize(
    ("loss", "expected"),
    [("cross-entropy", [[0.25, 0.75]]), ("bce-logits", [[0.5, 0.75]]), ("mse", [[0.0, 1.0]]), ("bce", [[0.0, 1.0]])],
)
def test_probabilities(digits, loss: str, expected: list[list[float]]) -> None:
    run = Lockstep(Experiment(max_steps=1, loss=loss), digits)
    p = predictions.probabilities(run, np.array([[0.0, np.log(3)]]))
    assert p == pytest.approx(np.array(expected))
    assert (predictions.probabilities(run, np.array([[np.nan, np.nan]])) == 0).all()


def test_the_confusion_matrix_counts_and_the_worst_mistakes_come_first() -> None:
    labels = np.array([0, 0, 1, 2, 2])
    p = np.array([[0.9, 0.1, 0], [0.2, 0.8, 0], [0.3, 0.7, 0], [0.5, 0.1, 0.4], [0, 0.9, 0.1]])
    assert predictions.confusion(labels, p, 3).tolist() == [[1, 1, 0], [0, 1, 0], [1, 1, 0]]
    assert predictions.worst_mistakes(labels, p, 2).tolist() == [4, 1]
    assert predictions.worst_mistakes(labels, p, 9).tolist() == [4, 1, 3]
    assert predictions.same_digits(labels, 3, 2).tolist() == [0, 1, 2, 3, 4]


def test_the_bars_stand_where_the_probabilities_are() -> None:
    image = np.zeros((1, 28, 28), np.uint8)
    p = {"manual": np.eye(10)[[3]], "torch_ref": np.eye(10)[[7]]}
    page = np.asarray(drawing.digits(image, [3], p, 1, ""))[:62]  # without the names of the sides
    for colour, k in ((drawing.BLUE, 3), (drawing.ORANGE, 7)):
        columns = np.flatnonzero((page == colour).all(axis=2).any(axis=0))
        start = drawing.GAP + 56 + drawing.SPACE + 9 * k + (0 if colour == drawing.BLUE else 4)
        assert (columns.min(), columns.max()) == (start, start + 2)
    assert (page == drawing.RED).all(axis=2).any()  # torch took it for a 7
    agreed = np.asarray(drawing.digits(image, [3], {"manual": np.eye(10)[[3]]}, 1, ""))
    assert not (agreed == drawing.RED).all(axis=2).any()
    assert drawing.digits(image[:0], [], {"manual": np.zeros((0, 10))}, 2, "none").size[1] > 30  # no mistakes at all


def test_precision_and_recall(story) -> None:
    labels = story.run.dataset.test.labels
    p = predictions.probabilities(story.run, story.run.test_outputs["torch_ref"])
    for k in (0, 7):
        (event,) = story.events["torch_ref"].Tensors(f"precision and recall/{k}")  # not at the first step
        true_positives, false_positives, *_ = make_ndarray(event.tensor_proto)  # (6, thresholds)
        assert true_positives[0] == np.count_nonzero(labels == k)
        half = 63  # of 127 thresholds from 0 to 1
        said = np.floor(p[:, k] * 126) >= half
        assert true_positives[half] == np.count_nonzero(said & (labels == k))
        assert false_positives[half] == np.count_nonzero(said & (labels != k))


def test_the_projector_has_what_the_layer_made(story) -> None:
    assert not list(story.folder.rglob("*.tmp"))
    for side in SIDES:
        config = (story.folder / side / "projector_config.pbtxt").read_text()
        place = story.folder / side / "projector"
        points = np.loadtxt(place / "activations.tsv")
        x = data.scale(story.run.dataset.test.images, np.dtype(np.float64))
        hidden, _ = projector.activations(story.run, side, x)
        assert points == pytest.approx(hidden, rel=1e-5)
        assert (hidden == story.run.sides.network.forward(story.run.theta, x)[0][3]).all() or side != "manual"
        header, *rows = (place / "labels.tsv").read_text().splitlines()
        assert header == "is\ttaken for"
        assert [int(row.split("\t")[0]) for row in rows] == story.run.dataset.test.labels.tolist()
        right = sum(row.split("\t")[0] == row.split("\t")[1] for row in rows)
        assert right == story.report["correct"][side]
        sheet = np.asarray(Image.open(place / "sprites.png"))
        assert sheet.shape == (280, 280)
        assert (sheet[28:56, 56:84] == 255 - story.run.dataset.test.images[12].reshape(28, 28)).all()
        assert "single_image_dim: 28" in config


# --- text and HParams -------------------------------------------------------------------------------------------------


def test_the_texts(story) -> None:
    certificate = story.text("start certificate")[0]
    for hashes in story.report["certificate"].values():
        assert hashes["manual"][:16] in certificate
    assert certificate.count("| the same |") == len(story.report["certificate"])
    verdicts = story.text("verdict")
    assert list(verdicts) == [31, 63]
    assert verdicts[63].startswith(f"agrees: {reports.sentence(story.report)}\n\n| stage | numbers | max \\|Δ\\| |")
    assert (
        verdicts[63].count("\n| ") == len(story.report["stages"]) + 3
    )  # the header, the rule below it, and the whole step
    assert "disagreements" not in story.events["compare"].Tags()["tensors"]


def test_an_unequal_start_is_said(story, monkeypatch) -> None:
    monkeypatch.setitem(story.run.certificate, "theta", {"manual": "a" * 64, "torch_ref": "b" * 64})
    assert markdown.certificate(story.run).count("**NOT THE SAME**") == 1


def test_a_disagreement_is_pinned_at_its_step(digits, tmp_path: Path, monkeypatch) -> None:
    right = manual.Linear.parameter_gradients
    calls = []

    def wrong(self, params, cache, dy):
        calls.append(1)
        double = len(calls) > 20 and dy.shape[1] == 10  # in the last layer, after the first few steps
        return {name: (1 + double) * g for name, g in right(self, params, cache, dy).items()}

    monkeypatch.setattr(manual.Linear, "parameter_gradients", wrong)
    faulty = logged(tmp_path, digits, Experiment(max_steps=9))
    found = faulty.run.judge.disagreements
    steps = sorted({d.step for d in found})
    texts = faulty.text("disagreements")
    assert steps
    assert steps[0] > 0
    assert list(texts) == steps
    for d in found:
        report = " ".join(texts[d.step].split())
        assert " ".join(str(d).split()) in report
        assert f"### {d.stage} · {d.tensor}" in texts[d.step]
    assert any("cause: " in text for text in texts.values())
    assert faulty.text("verdict")[8].startswith("**disagrees**: 9 steps · ")
    assert faulty.series("compare", "result/tensors that disagree")[8] == len(found)
    assert max(faulty.series("compare", scalars.FRACTION).values()) > 1


def test_a_run_that_diverges_says_so(digits, tmp_path: Path) -> None:
    lost = logged(tmp_path, digits, Experiment(learning_rate=1e150, epochs=1))
    last = lost.run.progress.step
    assert last < 31
    assert f"**stopped: every number must stay finite, but step {last}" in lost.text("verdict")[last]
    assert lost.series("compare", "result/steps") == {last: last + 1}
    assert len(lost.events["manual"].Images(pictures.WEIGHTS)) == 1  # of the first step
    assert not (tmp_path / "manual" / "projector").exists()


def test_a_run_that_is_stopped_at_an_epochs_end_has_no_step_twice(digits, tmp_path: Path) -> None:
    run = Lockstep(Experiment(epochs=2), digits)
    log = EventLog(run, tmp_path, EVERY)

    class Stop:
        def after_step(self, run: Lockstep) -> None:
            if run.progress.step == 31:
                raise Stopped("enough")

    with pytest.raises(Stopped):
        run.run([log], Stop())
    log.finish(run, reports.report(run, 1.0, "enough"))
    log.close()
    assert [e.step for e in read(tmp_path)["compare"].Scalars("result/steps")] == [31]


def test_a_run_of_one_step_shows_everything(digits, tmp_path: Path) -> None:
    short = logged(tmp_path, digits, Experiment(max_steps=1))
    for name, groups in GROUPS.items():
        assert {tag.split("/")[0] for tag in tags(short.events[name])} == groups
    assert [e.step for e in short.events["compare"].Images(pictures.MISTAKES)] == [0]


@pytest.mark.parametrize(
    "setting",
    [{"sizes": (784, 10)}, {"loss": "bce", "activation": "sigmoid"}, {"loss": "half-squared", "resync": True},
     {"dtype": "float32", "optimizer": "adam", "learning_rate": 0.01, "schedule": "cosine", "judge_every": 4}],
    ids=lambda s: "-".join(map(str, s)),
)  # fmt: skip
def test_every_kind_of_run_can_be_shown(digits, tmp_path: Path, setting: dict[str, Any]) -> None:
    found = logged(tmp_path, digits, Experiment(max_steps=7, **setting))
    assert tags(found.events["manual"]) == tags(found.events["torch_ref"])
    assert set(found.series("compare", scalars.FRACTION)) == {0, 3, 6}
    assert (tmp_path / "manual" / "projector" / "sprites.png").exists()


def test_digits_that_are_no_squares_have_no_pictures(tmp_path: Path, digits: data.Dataset) -> None:
    parts = [data.Digits(d.images[:, :12].copy(), d.labels) for d in (digits.train, digits.test)]
    oblong = data.Dataset("oblong", *parts, 10)
    found = logged(tmp_path, oblong, Experiment(sizes=(12, 8, 10), max_steps=2))
    assert found.events["compare"].Tags()["images"] == []
    assert found.events["manual"].Tags()["images"] == [pictures.CONFUSION]
    assert "sprite" not in (tmp_path / "manual" / "projector_config.pbtxt").read_text()


# --- what it costs, and what is lost ----------------------------------------------------------------------------------


def test_everything_logged_is_in_the_files_at_once(digits, tmp_path: Path) -> None:
    """A process that is killed flushes nothing; so nothing may wait to be flushed."""
    run = Lockstep(Experiment(max_steps=5), digits)
    log = EventLog(run, tmp_path, 1)
    seen = []

    class Reader:
        def on_step(self, run: Lockstep) -> None:
            seen.append([e.step for e in read(tmp_path)["manual"].Scalars("learning/training loss")])

        def on_epoch(self, run: Lockstep) -> None:
            pass

    run.run([log, Reader()])
    assert seen == [list(range(n + 1)) for n in range(5)]
    log.close()


@pytest.mark.parametrize("method", ["add", "flush", "close"])
def test_a_full_disk_is_answered_in_one_line(handgrad, few_digits, tmp_path: Path, monkeypatch, method: str) -> None:
    calls, right = [], getattr(EventFile, method)

    def full(self, *args):
        calls.append(1)
        if method == "close":
            right(self)
        if len(calls) > {"add": 30, "flush": 9, "close": 0}[method]:
            raise OSError(errno.ENOSPC, "No space left on device")
        right(self, *args)

    monkeypatch.setattr(EventFile, method, full)
    place = ("--data-dir", few_digits, "--logdir", tmp_path, "--name", "run", "--max-steps", 20)
    found = handgrad("mnist", *place, "--log-every", 1)
    assert found.code == 4
    assert found.err.count("\n") == 1
    assert f"but {tmp_path / 'run'} takes no more (No space left on device): free some space" in found.err
    assert json.loads((tmp_path / "run" / "report.json").read_text())["stopped"] in found.err


def test_the_numbers_of_a_step_are_one_event(digits, tmp_path: Path) -> None:
    run = Lockstep(Experiment(max_steps=31), digits)
    log = EventLog(run, tmp_path, 1)
    run.run([log])
    log.close()
    (path,) = (tmp_path / "compare").glob("events.*")
    raw, position, records = path.read_bytes(), 0, 0
    while position < len(raw):  # a record is its length (8), a checksum (4), the event, and a checksum (4)
        (length,) = struct.unpack_from("<Q", raw, position)
        position, records = position + length + 16, records + 1
    assert records < 3 * 31  # about forty numbers a step


def test_the_report_says_what_the_log_took(digits, tmp_path: Path, few_digits: Path) -> None:
    options = ("--data-dir", few_digits, "--logdir", tmp_path, "--max-steps", 20)
    for name, more in (("with", ()), ("without", ("--no-log",))):
        assert cli.main(["mnist", *map(str, (*options, "--name", name, *more))]) == 0
    found = {n: json.loads((tmp_path / n / "report.json").read_text()) for n in ("with", "without")}
    for report in found.values():
        assert report["log_fraction"] == pytest.approx(report["seconds"]["log"] / report["seconds"]["total"])
    assert found["with"]["log_fraction"] > 10 * found["without"]["log_fraction"]
