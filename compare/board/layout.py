"""The page of custom scalars: which charts stand together. It names groups of tags, so every run has the same one."""

from __future__ import annotations

import re

from torch.utils.tensorboard.summary import custom_scalars

from handgrad.compare.board import scalars
from handgrad.compare.judge.names import PHASES

LEARNING, AGREEMENT, LAYERS, TIME = "Learning", "Agreement", "Layer by layer", "Time"


def _of(tag: str) -> tuple[str, list[str]]:
    """A chart with one line for each run that has this tag."""
    return "Multiline", [f"{re.escape(tag)}$"]


def _both(one: str, other: str) -> tuple[str, list[str]]:
    """A chart with a line for each of two tags."""
    return "Multiline", [*_of(one)[1], *_of(other)[1]]


def _group(name: str) -> tuple[str, list[str]]:
    """A chart with a line for each tag of a group."""
    return "Multiline", [f"{re.escape(name)}/"]


def _margin(phase: str) -> tuple[str, list[str]]:
    lower, difference, upper = scalars.margin(phase)
    return "Margin", [difference, lower, upper]


LAYOUT = {
    LEARNING: {
        "training loss": _of(scalars.LOSS),
        "test accuracy": _of(scalars.ACCURACY),
        "test loss": _of(scalars.TEST_LOSS),
        "learning rate": _of(scalars.RATE),
    },
    AGREEMENT: {
        "log10 of the drift of the weights, −20: none": _of(scalars.DRIFT),
        "the same in units in the last place (ulps), −1: none": _both(scalars.ULPS, scalars.ULPS_OF_MOST),
        "part of the bound that is used, above 1 they disagree": _of(scalars.FRACTION),
        "part of the bound, by stage": _group(scalars.STAGES),
        "branch flips and vacuous bounds in each epoch": _both(scalars.FLIPS, scalars.VACUOUS),
        **{f"{phase}: log10 |Δ| below its bound": _margin(phase) for phase in PHASES},
    },
    LAYERS: {
        "gradient norm": _group(scalars.GRADIENT_NORM),
        "update norm": _group(scalars.UPDATE_NORM),
        "log10 of update ÷ weight": _group(scalars.RATIO),
        "dead or saturated units": _group(scalars.ASLEEP),
    },
    TIME: {
        "milliseconds per step": _of(scalars.SECONDS),
        "torch_ref ÷ manual, above 1 manual is faster": _of(scalars.FASTER),
    },
}


def summary() -> object:
    """The layout as a Summary."""
    return custom_scalars(LAYOUT)  # type: ignore[no-untyped-call]  # torch has no types there
