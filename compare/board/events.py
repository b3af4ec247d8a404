"""Both runs and their comparison as TensorBoard events.

One run is three TensorBoard runs: `manual` and `torch_ref` with the same tags, so that one chart overlays
both, and `compare`. What is written when:

- at the start: the settings (HParams), the start certificate, the layout of the charts, the graph;
- every `every` steps: the curves of `scalars`;
- at the first step and each epoch's end: histograms, pictures, precision and recall, the verdict so far;
- at a disagreement: its full report; at the end: the verdict, the projector's points.

Everything is flushed to the files at once: a process that is killed loses nothing that was logged.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.plugins.text.summary_v2 import text_pb

from handgrad.compare.board import (
    accumulators,
    distributions,
    graph,
    hparams,
    layout,
    markdown,
    pictures,
    predictions,
    projector,
    scalars,
)
from handgrad.compare.board.event_file import EventFile
from handgrad.compare.run import report as reports
from handgrad.compare.run.checkpoint.log_state import LogState
from handgrad.compare.run.lockstep import Lockstep
from handgrad.compare.run.progress import SIDES

COMPARE = "compare"
DRAW_EVERY = 500  # steps at least between pictures: epochs may be short


class EventLog:
    """An observer that writes every `every`-th step, and each epoch's end, below `folder`.

    `resume_state` is what `state` returned at the checkpoint from which a run goes on; what a run begins with is
    then in the files already. TensorBoard forgets what it has read of the steps from `purge_step` on.
    """

    def __init__(
        self,
        run: Lockstep,
        folder: Path,
        every: int,
        resume_state: LogState | None = None,
        purge_step: int | None = None,
    ) -> None:
        self.folder, self.every = folder, every
        self.files = {name: EventFile(folder / name, purge_step) for name in (*SIDES, COMPARE)}
        self.described: set[tuple[str, str]] = set()
        state = resume_state or LogState({}, {}, {}, None, None, 0)
        self.worst, self.clock = accumulators.Worst(state.worst), accumulators.Clock(state.clock)
        self.epoch = accumulators.EpochCounts(state.epoch)
        self.drawn, self.summed, self.told = state.drawn, state.summed, state.told
        if resume_state is None:
            self._begin(run)

    def state(self) -> LogState:
        """Flush every event to its file, and return what a log needs to go on from here: nothing else."""
        self._flush()
        return LogState(self.worst.stages, self.clock.before, self.epoch.before, self.drawn, self.summed, self.told)

    def close(self) -> None:
        """Write what is pending. Raises OSError where that cannot be; all files are closed nevertheless."""
        with contextlib.ExitStack() as stack:
            for file in self.files.values():
                stack.callback(file.close)

    def on_step(self, run: Lockstep) -> None:
        """The curves, when it is time for them; a disagreement at once."""
        now = run.progress
        self.worst.add(run.judge.rows)
        self._tell_disagreements(run)
        if now.step % self.every == 0:
            for side in SIDES:
                self._scalars(side, scalars.of_side(run, side), now.step)
            self._scalars(COMPARE, {**scalars.drift(run), **self.worst.take()}, now.step)
            for name, values in self.clock.read(now).items():
                self._scalars(name, values, now.step)
            self._flush()
        if self.drawn is None:
            self._draw(run)

    def on_epoch(self, run: Lockstep) -> None:
        """What the test digits say, the counts of the epoch, and the pictures."""
        now = run.progress
        for side in SIDES:
            self._scalars(side, scalars.tests_of_side(run, side), now.step)
        so_far = reports.report(run, 0.0)
        self._scalars(COMPARE, {**self.epoch.take(run), **hparams.metrics(so_far)}, now.step)
        self.summed = now.step
        last = now.step + 1 == run.steps
        if last or self.drawn is None or now.step - self.drawn >= DRAW_EVERY:
            self._draw(run)
        if not last:  # the last one is written at the end, when it is known how the run ended
            self._write(COMPARE, text_pb("verdict", markdown.verdict(so_far)), now.step)
        self._flush()

    def finish(self, run: Lockstep, report: dict[str, Any]) -> None:
        """What there is to say when a run has ended in any way. `report` is what report.json will say of it."""
        step = max(run.progress.step, 0)
        self._tell_disagreements(run)
        if self.summed != step:
            self._scalars(COMPARE, hparams.metrics(report), step)
        self._write(COMPARE, text_pb("verdict", markdown.verdict(report)), step)
        well = report["verdict"] == reports.AGREES and not report["stopped"]
        self._write(COMPARE, hparams.end(time.time(), well), step)
        if not report["stopped"]:
            projector.write(run, self.folder)
        self._flush()

    def _begin(self, run: Lockstep) -> None:
        for summary in (*hparams.begin(run.experiment, time.time()), layout.summary()):
            self._write(COMPARE, summary, 0)
        self._write(COMPARE, text_pb("start certificate", markdown.certificate(run)), 0)
        self._write("torch_ref", Event(graph_def=graph.graph(run).SerializeToString()), 0)
        self._flush()

    def _draw(self, run: Lockstep) -> None:
        """Histograms, pictures, precision and recall of the step just made."""
        step = self.drawn = run.progress.step
        labels = run.dataset.test.labels
        p = {side: predictions.probabilities(run, output) for side, output in run.test_outputs.items()}
        for side in SIDES:
            for summary in distributions.of_side(run, side):
                self._write(side, summary, step)
            for tag, picture in pictures.of_side(run, side, p.get(side)):
                self._write(side, pictures.summary(tag, picture), step)
            for curve in predictions.curves(labels, p[side]) if side in p else ():
                self._write(side, curve, step)
        for tag, picture in pictures.of_both(run, p.get("manual")):
            self._write(COMPARE, pictures.summary(tag, picture), step)

    def _tell_disagreements(self, run: Lockstep) -> None:
        """Write those that have not been written yet, at the step at which they were found."""
        new = run.judge.disagreements[self.told :]
        for step in dict.fromkeys(d.step for d in new):
            of_step = [d for d in new if d.step == step]
            self._write(COMPARE, text_pb("disagreements", markdown.disagreements(of_step)), step)
        self.told += len(new)
        if new:
            self._flush()

    def _scalars(self, name: str, values: Mapping[str, float], step: int) -> None:
        """All numbers of a step in one event: each event has a header and two checksums."""
        found = [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        for value in found:
            if (name, value.tag) not in self.described:  # TensorBoard keeps what comes with a tag's first value
                self.described.add((name, value.tag))
                text = scalars.description(value.tag) or hparams.METRICS.get(value.tag, "")
                plugin = SummaryMetadata.PluginData(plugin_name="scalars")
                value.metadata.CopyFrom(SummaryMetadata(summary_description=text, plugin_data=plugin))
        if found:
            self._write(name, Summary(value=found), step)

    def _write(self, name: str, content: Any, step: int) -> None:
        self.files[name].add(content, step)

    def _flush(self) -> None:
        for file in self.files.values():
            file.flush()
