"""A lesson's picture. The only importer of matplotlib, and only when a picture is drawn."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from handgrad.compare.board.lesson import log_png

STYLE: Any = {
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.25,
    "axes.titlesize": "medium", "legend.framealpha": 0.9, "legend.edgecolor": "none", "legend.fontsize": "small",
}  # fmt: skip


def draw(file: Path, plot: Callable[[Any], None], width: float = 7.0, height: float = 4.0) -> None:
    """Let `plot` fill an empty figure of so many inches; write it to the PNG `file`, and beside it for TensorBoard.

    Without matplotlib nothing is drawn, and one line says how to get it.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError:
        print(f"no picture {file.name}: matplotlib is not installed (pip install 'handgrad[lessons]')")
        return
    with matplotlib.rc_context(STYLE):
        figure = Figure((width, height), dpi=120, layout="constrained")
        plot(figure)
        file.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(file)
    log_png(file, *(int(n) for n in figure.get_size_inches() * figure.dpi))
    print(f"picture: {file}")


def classes(axes: Any, x: np.ndarray, y: np.ndarray, z: Callable[[np.ndarray], np.ndarray] | None = None) -> None:
    """Points x (N, 2), red in class y = 1 and blue in class 0; behind them red where z((M, 2)) > 0, if there is a z."""
    axes.scatter(*x.T, c=np.where(y.ravel() > 0, "tab:red", "tab:blue"), s=9, zorder=2)
    if z is not None:
        (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
        across, up = np.linspace(left, right, 80), np.linspace(low, high, 80)
        points = np.stack(np.meshgrid(across, up), axis=-1)  # (80, 80, 2)
        heights = z(points.reshape(-1, 2)).reshape(80, 80)
        axes.contourf(across, up, heights, [-1e9, 0, 1e9], colors=["tab:blue", "tab:red"], alpha=0.3)
