"""How the numbers of a layer are distributed: weights, gradients, activations and deltas of both sides."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.histogram.summary_v2 import histogram_pb

from handgrad.compare.board.scalars import layer_names
from handgrad.compare.run.lockstep import Lockstep

WEIGHTS, GRADIENTS, ACTIVATIONS, DELTAS = "weights", "gradients", "activations", "deltas"
GROUP = "values of {}/{}"  # all four stand together among the pages' groups
BUCKETS = 30


def of_side(run: Lockstep, side: str) -> Iterator[Summary]:
    """A histogram of everything a step computed on one side; the weights are those after it."""
    for tag, values in arrays(run, side).items():
        finite = values[np.isfinite(values)]
        if finite.size:
            yield histogram_pb(tag, finite, buckets=BUCKETS)


def arrays(run: Lockstep, side: str) -> dict[str, np.ndarray]:
    """What is shown, by tag: parameters and their gradients by torch's names, the rest by layer."""
    record = run.progress.records[side]
    theta = run.theta if side == "manual" else run.torch_theta
    found = {}
    for kind, flat in ((WEIGHTS, theta), (GRADIENTS, record.grad)):
        for name, (where, _) in run.sides.network.layout.items():
            found[GROUP.format(kind, name)] = flat[where]
    for kind, of_layers in ((ACTIVATIONS, record.outputs), (DELTAS, record.deltas)):
        for name, values in zip(layer_names(run), of_layers, strict=True):
            found[GROUP.format(kind, name)] = values.ravel()
    return found
