"""5. Logistic regression as a network: every factor of the chain rule on its own.

Logistic regression is one neuron: ŷ = σ(x Wᵀ + b), read as the probability of class 1, under binary cross-entropy

    J = −1/N Σ_n [y_n log ŷ_n + (1 − y_n) log(1 − ŷ_n)]

Its boundary is a line. Three sigmoid units before it draw three lines, and the last unit joins them to a region:

    z¹ = W¹ x + b¹    a¹ = σ(z¹)    z² = W² a¹ + b²    ŷ = σ(z²)

    dJ/dW¹ = dJ/dŷ · dŷ/dz² · dz²/da¹ · da¹/dz¹ · dz¹/dW¹

Each factor is a Jacobian: row o holds the derivatives of output o. A layer's gradient method multiplies by it from the
left, so handed the unit vector e_o it returns row o. That is how the factors are got here, and `check` puts each of
these rows beside the one that torch's autograd gives.
"""

from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from handgrad import Report, manual
from handgrad.compare.lessons.judging import agreement, judge_training, verdict
from handgrad.compare.lessons.picture import classes, draw
from handgrad.compare.lessons.training import epochs, theta_after
from handgrad.compare.pairs.table import MODELS
from handgrad.manual import Array

ONE_NEURON = manual.logistic_regression(2)
THREE_UNITS = manual.mlp((2, 3, 1), manual.Sigmoid(), manual.Sigmoid())
LOSS = manual.BinaryCrossEntropy()
STEPS = 1500


def disc() -> tuple[Array, Array]:
    """200 points in a square (200, 2); class 1 (200, 1) within a distance of 1 from the middle."""
    x = np.random.default_rng(0).uniform(-1.8, 1.8, (200, 2))
    return x, ((x**2).sum(axis=1, keepdims=True) < 1).astype(float)


def learn(network: manual.Network, start: int, steps: int) -> Array:
    """θ after so many steps of Adam on the whole set."""
    theta = network.init(np.random.default_rng(start))
    return theta_after(steps, epochs(network, LOSS, manual.Adam(), theta, *disc(), 200, 0.05))


def share_right(network: manual.Network, theta: Array) -> float:
    """How many of the 200 points are given their own class the larger probability."""
    x, y = disc()
    return float(((network.predict(theta, x) > 0.5) == (y > 0.5)).mean())


def jacobian(layer: manual.Layer, params: manual.Params, x: Array, outputs: int, by_weight: bool = False) -> Array:
    """∂(outputs)/∂x, or ∂(outputs)/∂W with W flattened: one row an output, from the layer's own gradient method."""
    _, cache = layer.forward(params, x)
    units = np.eye(outputs)[:, np.newaxis]  # (outputs, 1, outputs): δ = e_o for a batch of one
    if by_weight:
        return np.array([layer.parameter_gradients(params, cache, e)["weight"].ravel() for e in units])
    return np.array([layer.input_gradient(params, cache, e).ravel() for e in units])


def rows_checked(layer: manual.Layer, reference: nn.Module, params: manual.Params, x: Array, outputs: int) -> str:
    """Check the layer with every unit vector as its upstream gradient: each row, beside autograd's."""
    return _require(*(verdict(layer, reference, x=x, dy=e[np.newaxis], params=params) for e in np.eye(outputs)))


def _require(*reports: Report) -> str:
    """In words, that all agree."""
    assert all(report.agrees for report in reports), "\n".join(map(str, reports))
    return f"agrees with autograd, closest call {max(report.closest_call for report in reports):.3f} of its bound"


def chain(theta: Array) -> None:
    """Every factor of dJ/dW¹ at one example, with its shape, checked; and their product."""
    x, y = np.array([[0.5, -1.0]]), np.array([[1.0]])  # (1, 2), (1, 1)
    first, _, second, _ = THREE_UNITS.views(theta)
    (z1, a1, z2, output), caches = THREE_UNITS.forward(theta, x)
    _, loss_cache = LOSS.forward(output, y)
    linear1, linear2, sigmoid = manual.Linear(2, 3), manual.Linear(3, 1), manual.Sigmoid()
    loss_checked = _require(verdict(LOSS, nn.BCELoss(), output=output, target=y))
    factors = [
        ("dJ/dŷ", LOSS.gradient(loss_cache), loss_checked),
        ("dŷ/dz²", jacobian(sigmoid, {}, z2, 1), rows_checked(sigmoid, nn.Sigmoid(), {}, z2, 1)),
        ("dz²/da¹", jacobian(linear2, second, a1, 1), rows_checked(linear2, nn.Linear(3, 1), second, a1, 1)),
        ("da¹/dz¹", jacobian(sigmoid, {}, z1, 3), rows_checked(sigmoid, nn.Sigmoid(), {}, z1, 3)),
        ("dz¹/dW¹", jacobian(linear1, first, x, 3, True), rows_checked(linear1, nn.Linear(2, 3), first, x, 3)),
    ]
    print("the chain, at x = (0.5, −1), y = 1; W¹ is flattened to W¹₁₁ W¹₁₂ W¹₂₁ W¹₂₂ W¹₃₁ W¹₃₂")
    product = np.eye(1)
    for name, factor, said in factors:
        numbers = np.array2string(factor, precision=4, suppress_small=True, prefix=" " * 10)
        print(f"{name:<8}  {numbers}  {factor.shape}\n{'':<10}{said}")
        product = product @ factor
    _, grad = THREE_UNITS.backward(theta, caches, LOSS.gradient(loss_cache))
    by_backward = THREE_UNITS.views(grad)[0]["weight"]
    print(f"their product, as a matrix {by_backward.shape}, is what backward returns, but for rounding:")
    print(np.array2string(product.reshape(3, 2), precision=4))
    np.testing.assert_array_almost_equal_nulp(product.reshape(3, 2), by_backward, nulp=16)
    print("The first two factors multiply to ŷ − y: σ' = ŷ (1 − ŷ) cancels the denominator of dJ/dŷ.")
    np.testing.assert_array_almost_equal_nulp(factors[0][1] @ factors[1][1], output - y, nulp=16)


def plot(figure: Any) -> None:
    """The probability of class 1 over the plane."""
    side = np.linspace(-1.8, 1.8, 100)
    grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    left, right = figure.subplots(1, 2)
    for axes, network, start, title in (
        (left, ONE_NEURON, 0, "one neuron"),
        (right, THREE_UNITS, 5, "three sigmoid units before it: three lines"),
    ):
        theta = learn(network, start, STEPS)
        p = network.predict(theta, grid).reshape(100, 100)
        shades = axes.contourf(side, side, p, np.linspace(0, 1, 11), cmap="RdBu_r", alpha=0.6)
        if network is THREE_UNITS:
            first = network.views(theta)[0]
            for w, b in zip(first["weight"], first["bias"], strict=True):
                axes.axline(-b * w / (w @ w), slope=-w[0] / w[1], color="black", linewidth=0.8, linestyle=":")
        classes(axes, *disc())
        axes.set(title=title, xlim=(-1.8, 1.8), ylim=(-1.8, 1.8), aspect="equal")
    figure.colorbar(shades, ax=figure.axes, label="probability of class 1", shrink=0.8)


def main(folder: Path) -> None:
    """Run the lesson; its picture goes into `folder`."""
    one, other, three = learn(ONE_NEURON, 0, STEPS), learn(ONE_NEURON, 1, STEPS), learn(THREE_UNITS, 5, STEPS)
    print("200 points, class 1 inside a disc")
    print(f"  one neuron, from two starts   {_shown(one)} and {_shown(other)}: one bowl, one lowest point")
    print(f"                                {share_right(ONE_NEURON, one):.1%} right, by saying no to all of them")
    print(f"  three sigmoid units before it {share_right(THREE_UNITS, three):.1%} right")
    assert _shown(one) == _shown(other)
    assert share_right(ONE_NEURON, one) == 1 - disc()[1].mean() == 0.77
    assert share_right(THREE_UNITS, three) > 0.95

    model, batch = MODELS["logistic-regression"], disc()
    start = ONE_NEURON.init(np.random.default_rng(0))
    judge = judge_training(model.manual(2), LOSS, model.torch(2), nn.BCELoss(), start, [batch] * 20, 0.5)
    print(f"  20 steps of logistic regression beside torch: {agreement(judge)}\n")

    chain(THREE_UNITS.init(np.random.default_rng(5)))
    draw(folder / "probability.png", plot, width=9, height=4)


def _shown(theta: Array) -> str:
    return f"({', '.join(f'{value:.4f}' for value in theta)})"


if __name__ == "__main__":
    main(Path("runs/lessons/logistic_regression"))
