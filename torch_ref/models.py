"""Named stacks of layers, as torch.nn.Sequential."""

from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import nn


def perceptron(inputs: int) -> nn.Sequential:
    """One linear unit, trained by the perceptron criterion."""
    return nn.Sequential(nn.Linear(inputs, 1))


def adaline(inputs: int) -> nn.Sequential:
    """One linear unit, trained by the mean squared error."""
    return nn.Sequential(nn.Linear(inputs, 1))


def logistic_regression(inputs: int) -> nn.Sequential:
    """One linear unit and a sigmoid, trained by the binary cross-entropy."""
    return nn.Sequential(nn.Linear(inputs, 1), nn.Sigmoid())


def mlp(
    sizes: Sequence[int],
    activation: Callable[[], nn.Module] = nn.ReLU,
    output_activation: Callable[[], nn.Module] | None = None,
) -> nn.Sequential:
    """A multilayer perceptron: nn.Linear of the given widths with an activation between them.

    The parameters are torch's own random ones until `torch_ref.parameters.load` puts others in.
    """
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers.extend((nn.Linear(inputs, outputs), activation()))
    layers[-1:] = [output_activation()] if output_activation else []
    return nn.Sequential(*layers)
