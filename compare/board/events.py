"""Both runs and their comparison as TensorBoard events. The only importer of SummaryWriter.

One run is three TensorBoard runs: `manual` and `torch_ref` with the same tags, so that one chart overlays
both, and `compare`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.tensorboard import SummaryWriter

from compare.run.lockstep import Lockstep
from compare.run.progress import SIDES

# Small enough that zero, which has no logarithm, gets a place of its own below every rounding error.
NO_DRIFT = 1e-20


class EventLog:
    """An observer that writes every `every`-th step, and each epoch's end, below `folder`."""

    def __init__(
        self, folder: Path, every: int, resume_state: dict[str, Any] | None = None, purge_step: int | None = None
    ) -> None:
        self.every = every
        self.writers = {
            name: SummaryWriter(str(folder / name), flush_secs=5, max_queue=1000, purge_step=purge_step)
            for name in (*SIDES, "compare")
        }

    def state(self) -> dict[str, Any]:
        """Flush every event to its file, and return what a log needs to go on from here: nothing else."""
        for writer in self.writers.values():
            writer.flush()
        return {}

    def close(self) -> None:
        """Write what is pending."""
        for writer in self.writers.values():
            writer.close()

    def on_step(self, run: Lockstep) -> None:
        """Loss, learning rate and gradient norms of both sides; drift and the fraction of each bound."""
        now = run.progress
        if now.step % self.every:
            return
        for side in SIDES:
            record = now.records[side]
            self._scalar(side, "training/loss", record.loss, now.step)
            self._scalar(side, "training/learning rate", now.learning_rate, now.step)
            for name, norm in gradient_norms(run, record.grad).items():
                self._scalar(side, f"gradient norm/{name}", norm, now.step)
        drift = max(now.drift, NO_DRIFT) if np.isfinite(now.drift) else np.nan
        self._scalar("compare", "agreement/log10 drift of the weights", np.log10(drift), now.step)
        rows = run.judge.rows.values()
        self._scalar("compare", "agreement/worst fraction of a bound", max(r.last_fraction for r in rows), now.step)
        for row in rows:
            self._scalar("compare", f"fraction of the bound/{row.name}", row.last_fraction, now.step)

    def on_epoch(self, run: Lockstep) -> None:
        """Test accuracy and test loss of both sides, and the kinks so far."""
        now = run.progress
        for side in SIDES:
            self._scalar(side, "test/accuracy", now.correct[side] / len(run.dataset.test), now.step)
            self._scalar(side, "test/loss", now.test_loss[side], now.step)
        self._scalar("compare", "agreement/kinks so far", sum(now.kinks.values()), now.step)

    def _scalar(self, run: str, tag: str, value: Any, step: int) -> None:
        self.writers[run].add_scalar(tag, float(value), step)


def gradient_norms(run: Lockstep, grad: np.ndarray) -> dict[str, float]:
    """‖∂J/∂θ‖₂ of each layer that has parameters: {"0 · Linear": …}."""
    norms: dict[str, float] = {}
    for i, (layer, params) in enumerate(zip(run.sides.network.layers, run.sides.network.views(grad), strict=True)):
        if params:
            squares = sum(float(np.vdot(g, g)) for g in params.values())
            norms[f"{i} · {type(layer).__name__}"] = float(np.sqrt(squares))
    return norms
