"""Named stacks of layers, the oldest first. Their torch references are in torch_ref/models.py.

The perceptron and ADALINE are one stack, a single linear unit; what tells them apart is the loss that they are
trained by. Both are read through a threshold, which no gradient passes.
"""

from collections.abc import Sequence
from itertools import pairwise

from handgrad.manual.activations import ReLU, Sigmoid
from handgrad.manual.initialization import Initializer, torch_default
from handgrad.manual.layer import Layer
from handgrad.manual.linear import Linear
from handgrad.manual.network import Network

__all__ = ["adaline", "logistic_regression", "mlp", "perceptron"]


def perceptron(inputs: int) -> Network:
    """One unit z = x Wᵀ + b (Rosenblatt 1958), trained by `PerceptronCriterion`; class 1 where z > 0."""
    return Network((Linear(inputs, 1),))


def adaline(inputs: int) -> Network:
    """One unit z = x Wᵀ + b (Widrow and Hoff 1960), trained by `MeanSquaredError` on z itself.

    Class 1 where z lies above the middle of the two targets.
    """
    return Network((Linear(inputs, 1),))


def logistic_regression(inputs: int) -> Network:
    """One unit ŷ = σ(x Wᵀ + b), trained by `BinaryCrossEntropy`; ŷ is the probability of class 1."""
    return Network((Linear(inputs, 1), Sigmoid()))


def mlp(
    sizes: Sequence[int],
    activation: Layer | None = None,
    output_activation: Layer | None = None,
    initializer: Initializer = torch_default,
) -> Network:
    """A multilayer perceptron: Linear layers of the given widths with an activation between them.

    sizes (784, 16, 16, 10) makes Linear, g, Linear, g, Linear, which holds 13,002 parameters. `activation` is
    g, ReLU if not given; `output_activation`, if given, follows the last Linear. Raises ValueError for fewer
    than two sizes or a size below 1.
    """
    if len(sizes) < 2:
        raise ValueError(f"mlp takes at least two sizes, input and output, got {tuple(sizes)}")
    layers: list[Layer] = []
    for inputs, outputs in pairwise(sizes):
        layers += [Linear(inputs, outputs, initializer=initializer), activation or ReLU()]
    layers.pop()
    if output_activation is not None:
        layers.append(output_activation)
    return Network(tuple(layers))
