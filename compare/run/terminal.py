"""What a run shows in the terminal: a live bar, and the final table."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table

from handgrad.compare.judge.whole_step import STAGE as WHOLE_STEP
from handgrad.compare.run.lockstep import Lockstep
from handgrad.compare.run.report import rows_of, sentence, table


class LiveBar:
    """An observer: a progress bar with loss, test accuracy, worst fraction of the bound, and drift.

    Where the output is no terminal, one line an epoch instead.
    """

    def __init__(self, console: Console, steps: int) -> None:
        self.console = console
        columns = (
            TextColumn("epoch {task.fields[epoch]}"), BarColumn(bar_width=20), MofNCompleteColumn(),
            TextColumn("{task.fields[status]}"), TimeRemainingColumn(),
        )  # fmt: skip
        self.bar = Bar(*columns, console=console, transient=True, disable=not console.is_terminal)
        self.task = self.bar.add_task("", total=steps, epoch=1, status="")
        self.reported = 0

    def __enter__(self) -> LiveBar:
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()

    def on_step(self, run: Lockstep) -> None:
        """Show new disagreements at once, and refresh the bar every 20 steps."""
        self.show_disagreements(run)
        now = run.progress
        if now.step % 20 == 0 and self.console.is_terminal:
            self.bar.update(self.task, completed=now.step + 1, epoch=now.epoch + 1, status=self._status(run))

    def show_disagreements(self, run: Lockstep) -> None:
        """Show those that have not been shown yet."""
        for d in run.judge.disagreements[self.reported :]:
            self.console.print(f"disagrees: {d}", style="red", markup=False, highlight=False, soft_wrap=True)
        self.reported = len(run.judge.disagreements)

    def on_epoch(self, run: Lockstep) -> None:
        """A line for the log."""
        if not self.console.is_terminal:
            line = f"epoch {run.progress.epoch + 1}: {self._status(run)}"
            self.console.print(line, highlight=False, soft_wrap=True)

    def _status(self, run: Lockstep) -> str:
        now = run.progress
        worst = max(row.closest for name, row in run.judge.rows.items() if name != WHOLE_STEP)
        accuracy = " / ".join(f"{n / len(run.dataset.test):.2%}" for n in now.correct.values())
        parts = [f"loss {now.loss['manual']:.4f}"]
        tested = "validation" if run.experiment.validation else "test"
        parts += [f"{tested} accuracy {accuracy}"] if accuracy else []
        return " · ".join([*parts, f"worst {worst:.3f} of its bound", f"drift {now.drift:.0e}"])


def settings(run: Lockstep) -> str:
    """The main settings of a run, in a line."""
    e = run.experiment
    options = "".join(f" {name}={value}" for name, value in e.optimizer_options.items())
    augmented = "" if e.augmentation == "none" else f"{e.augmentation} augmentation · "
    return (
        f"{'-'.join(map(str, e.sizes))}, {run.sides.network.size:,} parameters · {e.activation} · {e.loss} · "
        f"{e.optimizer}{options} η={e.learning_rate:g} {e.schedule} · batch {e.batch_size} · {augmented}{e.dtype} · "
        f"seed {e.seed} · "
        f"{'torch reloaded before each step' if e.resync else 'two independent runs'}"
    )


def heading(run: Lockstep) -> str:
    """The settings and the start certificate, before a run."""
    c = run.certificate
    same = all(len(set(sides.values())) == 1 for sides in c.values())
    return (
        f"{settings(run)}\n"
        f"start certificate: θ₀ {c['theta']['manual'][:8]}, batch order {c['batches']['manual'][:8]}, "
        f"data {c['data']['manual'][:8]}: {'the same on both sides' if same else 'NOT THE SAME on both sides'}"
    )


def final_table(r: dict[str, Any]) -> Table:
    """One row per stage of the step."""
    (first, *others), rows = table(r)
    shown = Table(box=None, pad_edge=False)
    shown.add_column(first, no_wrap=True)
    for name in others:
        shown.add_column(name, justify="right", no_wrap=True)
    for row, (*cells, verdict) in zip(rows_of(r), rows, strict=True):
        shown.add_row(*cells, f"[red]{verdict}" if row["disagreements"] else verdict)
    return shown


def closing(r: dict[str, Any]) -> str:
    """The test digits, the time, and the sentence."""
    correct = r["correct"]
    digits = " and ".join(f"{n:,} ({side})" for side, n in correct.items())
    seconds = ", ".join(f"{name} {value:.1f}" for name, value in r["seconds"].items())
    lines = [f"{r['tested_on']} digits right, of {r['test_digits']:,}: {digits}"] if correct else []
    return "\n".join([*lines, f"seconds: {seconds}", sentence(r)])
