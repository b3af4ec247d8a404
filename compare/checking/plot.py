"""Where a tensor differs, as a picture. Importing this needs matplotlib, the extra `plot`."""

from __future__ import annotations

import io
from textwrap import shorten
from typing import Any

import numpy as np
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from handgrad.compare.checking.finding import Finding
from handgrad.compare.foundation.errors import UsageError

DECADES = 3.0  # on either side of the bound; what is further off has the colour of the end
POINTS = 5_000  # of the scatter


class Picture(Figure):
    """A figure that a notebook shows by itself, and once: no pyplot keeps it."""

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.savefig(file, format="png")
        return file.getvalue()


def figure(name: str, f: Finding) -> Figure:
    """log10(|Δ| ÷ allowed) over the last two axes, at the worst index of the others, beside manual against torch.

    UsageError where the finding holds no arrays, or arrays of two shapes.
    """
    if f.manual is None or f.torch is None or f.allowed is None:
        raise UsageError(
            f"plot needs the arrays of {f.tensor}, but this report holds none: make it with check(…, keep=True)"
        )
    if f.manual.shape != f.torch.shape or not f.torch.size:
        raise UsageError(
            f"plot needs two arrays of one shape, but the manual side's {f.tensor} has {f.manual.shape} and torch's "
            f"{f.torch.shape}: mend the shape first"
        )
    manual, torch = (np.asarray(a, np.float64) for a in (f.manual, f.torch))
    share = _share(manual, torch, np.broadcast_to(f.allowed, torch.shape))
    picture = Picture((10, 4.2), dpi=110, layout="constrained")
    picture.suptitle(f"{shorten(name, 80, placeholder='…')}: {f.tensor}, {f.draw}", fontsize="medium")
    left, right = picture.subplots(1, 2)
    _image(picture, left, share)
    _scatter(right, manual.ravel(), torch.ravel(), share.ravel() > 0)
    return picture


def _share(manual: np.ndarray, torch: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """log10(|Δ| ÷ allowed): above 0 the elements differ; −∞ where they are equal, ∞ where only one is a number."""
    with np.errstate(all="ignore"):
        share = np.log10(np.abs(manual - torch) / allowed)
    same = (manual == torch) | (np.isnan(manual) & np.isnan(torch))
    return np.where(same, -np.inf, np.where(np.isnan(share), np.inf, share))


def _image(picture: Figure, axes: Any, share: np.ndarray) -> None:
    worst = np.unravel_index(int(share.argmax()), share.shape)
    before = worst[:-2]  # the indices that are not shown
    flat = np.atleast_2d(share[before])
    norm = TwoSlopeNorm(0.0, -DECADES, DECADES)
    shown = axes.imshow(np.clip(flat, -DECADES, DECADES), cmap="RdBu_r", norm=norm, aspect="auto", interpolation="none")
    picture.colorbar(shown, ax=axes, label="log10(|Δ| ÷ allowed)", extend="both")
    axes.set_title("above 0 it differs" + (f", at [{', '.join(str(int(i)) for i in before)}]" if before else ""))
    axes.set_xlabel(f"axis {share.ndim - 1}" if share.ndim else "")
    axes.set_ylabel(f"axis {share.ndim - 2}" if share.ndim > 1 else "")
    for axis, size in ((axes.xaxis, flat.shape[1]), (axes.yaxis, flat.shape[0] if share.ndim > 1 else 0)):
        axis.set_major_locator(MaxNLocator(integer=True) if size else NullLocator())


def _scatter(axes: Any, manual: np.ndarray, torch: np.ndarray, differs: np.ndarray) -> None:
    order = np.argsort(~differs, kind="stable")[:POINTS]  # those that differ first, where not all have room
    order = order[np.isfinite(manual[order]) & np.isfinite(torch[order])]
    for chosen, colour, label in (
        (order[~differs[order]], "tab:blue", "agrees"),
        (order[differs[order]], "tab:red", "differs"),
    ):
        if chosen.size:
            axes.scatter(torch[chosen], manual[chosen], s=14, color=colour, alpha=0.7, linewidths=0, label=label)
    if order.size:
        low, high = float(torch[order].min()), float(torch[order].max())
        axes.plot([low, high], [low, high], color="grey", linewidth=1, zorder=0, label="manual = torch")
        axes.legend()
    axes.set_xlabel("torch")
    axes.set_ylabel("manual")
