"""Right training steps: what torch does on random batches, as the judge is given it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from handgrad import torch_ref
from handgrad.compare.judge.sides import as_array
from handgrad.compare.judge.stages import TorchStep


def records(sides: Any, batch: int, steps: int) -> Iterator[TorchStep]:
    """What torch does in a few steps on random batches."""
    rng = np.random.default_rng(0)
    theta = sides.theta
    state: dict[str, Any] = {}
    sizes = (sides.network.layers[0].inputs, sides.network.layers[-1].outputs)
    for _ in range(steps):
        x, target = rng.normal(0, 1, (batch, sizes[0])).astype(theta.dtype), rng.integers(0, sizes[1], batch)
        r = torch_ref.training.step(
            sides.model, sides.torch_loss, sides.torch_optimizer, torch.from_numpy(x), torch.from_numpy(target)
        )
        after = as_array(r.theta).copy()
        yield TorchStep(
            x, target, 0.1, theta, state, [as_array(y) for y in r.outputs], as_array(r.loss),
            [as_array(d) for d in r.deltas], as_array(r.grad), after, {k: as_array(v) for k, v in r.state.items()},
        )  # fmt: skip
        theta, state = after, {k: as_array(v) for k, v in r.state.items()}
        del r, after  # of a large network the next step has no room beside it
