"""The numbers of a run that become curves: how the two sides learn, and how closely they agree.

TensorBoard keeps a scalar as a float32, whose smallest steps are a ten-millionth of it. So a small number is
safe by itself, and a small difference is taken here, in double precision, before it is logged; where it may span
many powers of ten it is logged as a log10, because an axis from 0 to 1e-12 shows 1e-15 as 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from handgrad.compare.judge.names import layer_name
from handgrad.compare.run.lockstep import Lockstep

EQUAL = 1e-20  # stands for 0, which has no logarithm: below every rounding error of a float64
SATURATED = 0.01  # a sigmoid or tanh this near an end of its range hardly lets a gradient through

LOSS, RATE = "learning/training loss", "learning/learning rate"
TEST_LOSS, ACCURACY = "learning/test loss", "learning/test accuracy"
GRADIENT_NORM, UPDATE_NORM = "per layer: gradient norm", "per layer: update norm"
RATIO, ASLEEP = "per layer: log10 of update ÷ weight", "per layer: dead or saturated units"
FRACTION, DRIFT = "agreement/fraction of the bound", "agreement/log10 of the drift"
ULPS, ULPS_OF_MOST = (
    "agreement/log10 of the drift in ulps, worst weight",
    "agreement/log10 of the drift in ulps, median",
)
FLIPS, VACUOUS = "agreement/branch flips in this epoch", "agreement/vacuous bounds in this epoch"
STAGES, MARGINS = "agreement by stage", "agreement margins"
SECONDS, FASTER = "time/milliseconds per step", "time/torch_ref ÷ manual"

# What TensorBoard says beside a chart: of one tag, or of all tags of a group.
DESCRIPTIONS = {
    LOSS: "The loss of the batch of this step.",
    RATE: "η of this step.",
    TEST_LOSS: "The loss on all digits that are tested, at the end of an epoch.",
    ACCURACY: "The part of the tested digits that this side has right, at the end of an epoch.",
    GRADIENT_NORM: "‖∂J/∂θ‖₂ over the weights and biases of this layer.",
    UPDATE_NORM: "‖θ after the step − θ before it‖₂ over the weights and biases of this layer.",
    RATIO: f"log10 of ‖update‖₂ ÷ ‖θ‖₂ of this layer; about −3 is usual. {np.log10(EQUAL):.0f} stands for no update.",
    ASLEEP: "ReLU: the part of the units that are 0 for every example of the batch. Sigmoid, tanh: the part of all "
    f"activations within {SATURATED:.0%} of an end of their range.",
    FRACTION: "|Δ| ÷ what rounding explains, of the worst element of the worst stage since the last point. Above 1 the "
    "sides disagree. An update is a single rounding, so it comes near 1 by nature.",
    DRIFT: f"log10 of max |θ_manual − θ_torch|. {np.log10(EQUAL):.0f}: equal bit for bit.",
    ULPS: "log10 of the largest |θ_manual − θ_torch| in units in the last place of that weight; the largest is of a "
    "weight near 0, whose last place is small. −1: equal bit for bit.",
    ULPS_OF_MOST: "The same of the median weight: half of the weights lie nearer. −1: equal bit for bit.",
    FLIPS: "Units whose input lies on different sides of a kink on the two sides, so that they take other branches.",
    VACUOUS: "Bounds as large as the tensor itself: agreement within them says nothing.",
    STAGES: "|Δ| ÷ what rounding explains, of the stage's worst element since the last point.",
    MARGINS: "log10 of |Δ| and of what is allowed there, at the element nearest its bound, of the stage where this |Δ| "
    f"is largest. {np.log10(EQUAL):.0f}: no Δ.",
    SECONDS: "The mean since the last point: training on either side, and judging.",
    FASTER: "Above 1 the manual side is faster.",
}


def of_side(run: Lockstep, side: str) -> dict[str, float]:
    """What a step was on one side, by tag."""
    record = run.progress.records[side]
    before, after = (run.theta_before, run.theta) if side == "manual" else (record.theta, record.theta_after)
    found = {LOSS: float(record.loss), RATE: run.progress.learning_rate}
    with np.errstate(all="ignore"):
        update = norms(run, after - before)
        for layer, norm in norms(run, record.grad).items():
            found[f"{GRADIENT_NORM}/{layer}"] = norm
        for layer, norm in update.items():
            found[f"{UPDATE_NORM}/{layer}"] = norm
        for layer, norm in norms(run, before).items():
            found[f"{RATIO}/{layer}"] = log10(update[layer] / norm if norm else 0.0, EQUAL)
    layers = zip(run.sides.network.layers[:-1], layer_names(run)[:-1], record.outputs[:-1], strict=True)
    for kind, name, output in layers:  # of the last one, an output at its end is no fault
        asleep = ASLEEP_UNITS.get(type(kind).__name__)
        if asleep:
            found[f"{ASLEEP}/{name}"] = float(np.mean(asleep(output)))
    return found


ASLEEP_UNITS: dict[str, Callable[[np.ndarray], Any]] = {
    "ReLU": lambda a: (a <= 0).all(axis=0),
    "Sigmoid": lambda a: (a < SATURATED) | (a > 1 - SATURATED),
    "Tanh": lambda a: abs(a) > 1 - 2 * SATURATED,
}


def tests_of_side(run: Lockstep, side: str) -> dict[str, float]:
    """How many digits one side has right at the end of an epoch, and its loss on them, by tag."""
    now = run.progress
    return {ACCURACY: now.correct[side] / len(run.dataset.test), TEST_LOSS: now.test_loss[side]}


def layer_names(run: Lockstep) -> list[str]:
    """0 · Linear, 1 · ReLU, …"""
    return [layer_name(i, layer) for i, layer in enumerate(run.sides.network.layers)]


def norms(run: Lockstep, flat: np.ndarray) -> dict[str, float]:
    """‖·‖₂ of each layer's part of a vector (size,), of the layers that have parameters: {"0 · Linear": …}."""
    views = zip(layer_names(run), run.sides.network.views(flat), strict=True)
    return {
        name: float(np.sqrt(sum(float(np.vdot(part, part)) for part in params.values())))
        for name, params in views
        if params
    }


def drift(run: Lockstep) -> dict[str, float]:
    """How far the two sides' weights lie apart, by tag."""
    ours, theirs = run.theta, run.torch_theta
    with np.errstate(all="ignore"):
        ulps = np.abs(ours - theirs) / np.spacing(np.maximum(np.abs(ours), np.abs(theirs)))
    worst, median = (float(ulps.max()), float(np.median(ulps))) if ulps.size else (0.0, 0.0)
    return {DRIFT: log10(run.progress.drift, EQUAL), ULPS: log10(worst, 0.1), ULPS_OF_MOST: log10(median, 0.1)}


def log10(x: float, least: float) -> float:
    """log10 of x, or of `least` where x is smaller; NaN of what is not finite."""
    return float(np.log10(max(x, least))) if np.isfinite(x) else float("nan")


def margin(phase: str) -> tuple[str, str, str]:
    """The tags of a margin: its lower end, the difference, and its upper end."""
    lower, difference, upper = "no difference", "difference", "bound"
    return f"{MARGINS}/{phase}: {lower}", f"{MARGINS}/{phase}: {difference}", f"{MARGINS}/{phase}: {upper}"


def description(tag: str) -> str:
    """What is said of a tag, or of its group."""
    return DESCRIPTIONS.get(tag) or DESCRIPTIONS.get(tag.split("/")[0], "")
