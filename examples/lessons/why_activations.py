"""9. Why activations: two linear layers are one; how gradients vanish with depth.

Without an activation between them two layers are one, however wide:

    W² (W¹ x + b¹) + b² = (W² W¹) x + (W² b¹ + b²)

An activation that is no straight line ends that. Its slope then decides how much of the gradient passes: going back
through a layer multiplies by g'(z) and by W. The slope of the sigmoid is at most ¼, so with weights of ordinary size
the gradient shrinks with every layer; that of tanh is at most 1, and that of ReLU is 1 or 0.
"""

from pathlib import Path
from typing import Any

import numpy as np

from handgrad import manual
from handgrad.compare.lessons.picture import classes, draw
from handgrad.compare.lessons.training import epochs, theta_after, training_digits
from handgrad.compare.pairs.table import ACTIVATIONS
from handgrad.manual import Array
from handgrad.manual.initialization import xavier_normal
from handgrad.manual.training import step

NAMES = ("identity", "sigmoid", "tanh", "relu", "leaky-relu")
DEEP = (784, *[16] * 8, 10)


def two_are_one() -> None:
    """Two linear layers beside the one that they equal, on numbers that round nowhere."""
    two = manual.Network((manual.Linear(3, 4), manual.Linear(4, 2)))
    one = manual.Network((manual.Linear(3, 2),))
    rng = np.random.default_rng(0)
    theta, x = rng.integers(-8, 9, two.size) / 4, rng.integers(-8, 9, (5, 3)) / 4
    first, second = two.views(theta)
    W = second["weight"] @ first["weight"]  # (2, 3)
    b = second["weight"] @ first["bias"] + second["bias"]  # (2,)
    by_two, by_one = two.predict(theta, x), one.predict(np.concatenate([W.ravel(), b]), x)
    print(f"two linear layers, 3-4-2, {two.size} parameters:  first example {by_two[0]}")
    print(f"one linear layer,  3-2,    {one.size} parameters:  first example {by_one[0]}")
    print("sums and products of a few multiples of ¼ are exact, so the two are equal bit for bit")
    assert (by_two == by_one).all()


def ring() -> tuple[Array, Array]:
    """200 points in a square (200, 2); class 1 (200, 1) between two circles."""
    x = np.random.default_rng(0).uniform(-2, 2, (200, 2))
    distance = np.sqrt((x**2).sum(axis=1, keepdims=True))
    return x, ((distance > 0.7) & (distance < 1.5)).astype(float)


def learn_ring(activation: str) -> tuple[manual.Network, Array, float]:
    """2-16-16-1 with this activation, θ after 300 steps of Adam, and the share of points that it has right."""
    network = manual.mlp((2, 16, 16, 1), ACTIVATIONS[activation].manual(), initializer=xavier_normal)
    theta, loss = network.init(np.random.default_rng(0)), manual.BinaryCrossEntropyWithLogits()
    theta = theta_after(300, epochs(network, loss, manual.Adam(), theta, *ring(), 200, 0.02))
    x, y = ring()
    return network, theta, float(((network.predict(theta, x) > 0) == (y > 0)).mean())


def deep(activation: str) -> tuple[list[float], float]:
    """On 1,000 digits, eight hidden layers: the root mean square of ∂J/∂W of each layer, the first layer first, before
    training; and the share of digits right after five epochs.
    """
    x, labels = training_digits(1000)
    network = manual.mlp(DEEP, ACTIVATIONS[activation].manual(), initializer=xavier_normal)
    loss, theta = manual.SoftmaxCrossEntropy(), network.init(np.random.default_rng(0))
    gradients = network.views(step(network, loss, manual.SGD(), theta, {}, x, labels, 0.0).grad)
    sizes = [float(np.sqrt((g["weight"] ** 2).mean())) for g in gradients if g]
    theta = theta_after(5, epochs(network, loss, manual.Adam(), theta, x, labels, 50, 0.003))
    return sizes, float((network.predict(theta, x).argmax(axis=1) == labels).mean())


def main(folder: Path) -> None:
    """Run the lesson; its picture goes into `folder`."""
    two_are_one()
    print("\na ring, 2-16-16-1, 300 steps of Adam: points right")
    learned = {name: learn_ring(name) for name in NAMES}
    for name, (_, _, right) in learned.items():
        print(f"  {name:<11} {right:.1%}")
    _, y = ring()
    assert learned["identity"][2] < max(y.mean(), 1 - y.mean()) + 0.1
    assert min(right for name, (_, _, right) in learned.items() if name in ("tanh", "relu", "leaky-relu")) > 0.95

    print("\n784, eight hidden layers of 16, 10: root mean square of ∂J/∂W before training, and digits right after it")
    depths = {name: deep(name) for name in NAMES[1:]}
    for name, (sizes, right) in depths.items():
        print(f"  {name:<11} layer 1 {sizes[0]:.0e}, layer 9 {sizes[-1]:.0e}   {right:.1%} right")
    ratios = {name: sizes[0] / sizes[-1] for name, (sizes, _) in depths.items()}
    assert ratios["sigmoid"] < 1e-4
    assert min(ratios[name] for name in ("tanh", "relu", "leaky-relu")) > 0.1
    assert depths["sigmoid"][1] < 0.3 < min(depths[name][1] for name in ("tanh", "relu", "leaky-relu"))
    each = ratios["sigmoid"] ** (1 / 8)
    print(f"The sigmoid lets {each:.2f} of the gradient through each layer, on average: the first layer hardly learns.")

    def plot(figure: Any) -> None:
        *rings, curves = figure.subplots(2, 3).ravel()
        for axes, (name, (network, theta, right)) in zip(rings, learned.items(), strict=True):
            axes.set(title=f"{name}: {right:.1%} right", aspect="equal", xlim=(-2, 2), ylim=(-2, 2))
            classes(axes, *ring(), lambda points, n=network, t=theta: n.predict(t, points))
        for name, (sizes, _) in depths.items():
            curves.semilogy(range(1, 10), sizes, marker=".", label=name)
        curves.set(title="∂J/∂W, root mean square, 8 hidden layers", xlabel="layer")
        curves.legend(loc="lower right")

    draw(folder / "activations.png", plot, width=10, height=6.5)


if __name__ == "__main__":
    main(Path("runs/lessons/why_activations"))
