"""A layer of your own inside the network: both sides are trained on the digits and every stage is judged.

Softsign, g(z) = z / (1 + |z|), g'(z) = 1 / (1 + |z|)², replaces the activation on both sides. Run

    python examples/train_your_own_layer.py

and put an error into `input_gradient` to see it reported at the stages of this layer and at no others.
"""

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from rich.console import Console

from handgrad import data, manual
from handgrad.compare.run import experiment, terminal
from handgrad.compare.run.experiment import Experiment, Setup
from handgrad.compare.run.lockstep import Lockstep
from handgrad.compare.run.report import report, sentence
from handgrad.manual import Array, Params


@dataclass(frozen=True)
class Softsign(manual.Layer):
    """g(z) = z / (1 + |z|); torch.nn.Softsign's counterpart."""

    def forward(self, params: Params, x: Array) -> tuple[Array, Array]:
        """z → a, the same shape."""
        return x / (1 + np.abs(x)), x

    def input_gradient(self, params: Params, cache: Array, dy: Array) -> Array:
        """δ → ∂J/∂z, the same shape."""
        s = 1 + np.abs(cache)
        return dy / (s * s)  # ∂J/∂z_ni = δ_ni / (1 + |z_ni|)²


def build(e: Experiment, steps: int, steps_per_epoch: int) -> Setup:
    """The two sides of the experiment, with Softsign where the activation was."""
    sides = experiment.build(e, steps, steps_per_epoch)
    layers = tuple(Softsign() if isinstance(layer, manual.Tanh) else layer for layer in sides.network.layers)
    for i, module in enumerate(sides.model):
        if isinstance(module, torch.nn.Tanh):
            sides.model[i] = torch.nn.Softsign()
    return sides._replace(network=manual.Network(layers))


def main(**settings: Any) -> int:
    """Train, print the table and the verdict, and return 0 if all agrees."""
    run = Lockstep(Experiment(activation="tanh", epochs=1, **settings), data.load(), build)
    run.run()
    result = report(run, 0.0)
    Console(width=110).print(terminal.final_table(result))
    for disagreement in run.judge.disagreements:
        print(disagreement)
    print(sentence(result))
    return 0 if result["verdict"] == "agrees" else 1


if __name__ == "__main__":
    sys.exit(main(max_steps=300))
