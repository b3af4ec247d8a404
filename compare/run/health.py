"""What may happen to a run without either side being wrong: branch flips, and numbers that are no longer finite."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from handgrad import manual
from handgrad.compare.judge import names


class Stopped(Exception):
    """A run that cannot go on."""


class NoRoom(Stopped):
    """A file of the run cannot be written."""


class Diverged(Stopped):
    """A number is no longer finite."""


def branch_flips(
    network: manual.Network, x: np.ndarray, ours: list[np.ndarray], theirs: list[np.ndarray]
) -> dict[str, int]:
    """The number of units per layer that take another branch than the reference: a kink lies between their inputs."""
    found = {}
    for i, layer in enumerate(network.layers):
        z, torch_z = (ours[i - 1], theirs[i - 1]) if i else (x, x)
        flips = sum(int(np.count_nonzero((z > kink) != (torch_z > kink))) for kink in getattr(layer, "kinks", ()))
        if flips:
            found[names.layer_name(i, layer)] = flips
    return found


def require_finite(
    network: manual.Network, optimizer: manual.Optimizer, step: int, learning_rate: float, ours: Any, theirs: Any
) -> None:
    """Raise Diverged, naming the first stage that is not finite on either side, if any number is not.

    `ours` is the manual StepRecord, `theirs` torch's TorchStep.
    """
    if all(np.isfinite(x).all() for x in (ours.loss, theirs.loss, ours.theta, theirs.theta_after)):
        return
    where = []
    for side, r, after in (("manual", ours, ours.theta), ("torch", theirs, theirs.theta_after)):
        first = next((name for name, y in _stages(network, r, after) if not np.isfinite(y).all()), None)
        where += [f"{side}: {first}"] if first else []
    remedy = f"use a learning rate below {learning_rate:g}"
    if getattr(optimizer, "eps", 1.0) == 0:
        remedy = "use an eps above 0, by which a gradient of 0 is divided"
    raise Diverged(
        f"every number must stay finite, but step {step} has an infinite or undefined one, "
        f"first at {' and '.join(where)}: {remedy}"
    )


def _stages(network: manual.Network, record: Any, theta: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """(name, result) of each stage, in the order of the step."""
    layers = list(enumerate(network.layers))
    forwards = zip(layers, record.outputs, strict=True)
    yield from ((names.layer_stage(*layer, names.FORWARD), y) for layer, y in forwards)
    yield from ((names.LOSS, record.loss), (names.LOSS_GRADIENT, record.deltas[-1]))
    backwards = zip(layers[:0:-1], record.deltas[-2::-1], strict=True)
    yield from ((names.layer_stage(*layer, names.INPUT_GRADIENT), delta) for layer, delta in backwards)
    yield from ((names.PARAMETER_GRADIENTS, record.grad), ("update", theta))
