"""4. The perceptron and ADALINE: learning from mistakes, from distances, and XOR.

Both are one linear unit, z = w·x + b, and class 1 where z lies above a threshold. What differs is what they descend.

    perceptron   w ← w + η (y − [z > 0]) x     only a mistaken example moves the weights
    ADALINE      w ← w + η 2 (y − z) x         every example pulls z towards its target y

The perceptron's rule (Rosenblatt 1958) is gradient descent too, on the perceptron criterion max(0, z) − z y: how far on
the wrong side the mistaken ones lie. On separable data it stops after finitely many mistakes, at most (R/γ)² of them,
for examples (x, 1) no longer than R that some unit-length w keeps at a distance γ (Novikoff 1962). Otherwise it never
stops. ADALINE (Widrow and Hoff 1960) descends the squared error before the threshold: a smooth bowl with one lowest
point, the least-squares line, which it finds on any data if η is small enough, and which need not make the fewest
mistakes.

No line solves XOR. It asks for b ≤ 0, w₁ + b > 0, w₂ + b > 0 and w₁ + w₂ + b ≤ 0, and the two in the middle add up to
w₁ + w₂ + 2b > 0, so b > 0 by the last: a contradiction. Two layers do.
"""

from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from handgrad import data, manual
from handgrad.compare.lessons.judging import agreement, judge_training
from handgrad.compare.lessons.picture import classes, draw
from handgrad.compare.lessons.training import epochs, theta_after
from handgrad.compare.pairs.table import LOSSES, MODELS
from handgrad.manual import Array

PERCEPTRON, ADALINE = manual.perceptron(2), manual.adaline(2)
XOR = (np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), np.array([[0.0], [1.0], [1.0], [0.0]]))
EPOCHS = 50


def clouds(gap: float) -> tuple[Array, Array]:
    """Two clouds of 30 points (60, 2) and their classes (60, 1); eight points of the second lie far to the right."""
    rng = np.random.default_rng(2)
    x, y = rng.normal((1.5, 1.0), 0.5, (60, 2)), np.repeat([[0.0], [1.0]], 30, axis=0)
    x[:, :1] += np.where(y > 0, gap, -gap)
    x[30:38, 0] += rng.uniform(2, 6, 8)
    return x, y


def mistakes(z: Array, y: Array, threshold: float) -> int:
    """How many examples lie on the wrong side."""
    return int(((z > threshold) != (y > 0.5)).sum())


def learn_perceptron(x: Array, y: Array) -> tuple[Array, list[int]]:
    """θ, and the mistakes left after each epoch: one example at a time, from θ = 0, η = 1."""
    runs = epochs(PERCEPTRON, manual.PerceptronCriterion(), manual.SGD(), np.zeros(3), x, y, 1, 1.0)
    after = [theta for theta, _ in islice(runs, EPOCHS)]
    return after[-1], [mistakes(PERCEPTRON.predict(theta, x), y, 0.0) for theta in after]


def learn_adaline(x: Array, y: Array) -> tuple[Array, list[int]]:
    """The same for ADALINE: all examples at once, η = 0.05, and the threshold ½, the middle of the targets 0 and 1."""
    runs = epochs(ADALINE, manual.MeanSquaredError(), manual.SGD(), np.zeros(3), x, y, len(x), 0.05)
    after = [theta for theta, _ in islice(runs, 30 * EPOCHS)]
    return after[-1], [mistakes(ADALINE.predict(theta, x), y, 0.5) for theta in after]


def rosenblatt(x: Array, y: Array) -> tuple[Array, int]:
    """The perceptron's rule as it was published: θ after EPOCHS, and how many corrections it made."""
    theta, corrections = np.zeros(3), 0
    ones = np.concatenate([x, np.ones((len(x), 1))], axis=1)  # (N, 3): the last weight is the bias
    for epoch in range(EPOCHS):
        for (n,) in data.batch_order(len(x), 1, 0, epoch):
            error = y[n, 0] - (ones[n] @ theta > 0)  # −1, 0 or 1
            theta = theta + error * ones[n]
            corrections += error != 0
    return theta, corrections


def learn_xor() -> tuple[manual.Network, Array]:
    """Two layers, 2-3-1 with tanh, on the four rows of XOR."""
    network = manual.mlp((2, 3, 1), manual.Tanh())
    theta = network.init(np.random.default_rng(0))
    runs = epochs(network, manual.BinaryCrossEntropyWithLogits(), manual.Adam(), theta, *XOR, 4, 0.05)
    return network, theta_after(300, runs)


def require_torch_agrees(name: str, x: Array, y: Array) -> None:
    """Train the model of that name beside its torch reference for 20 steps on all examples; every stage must agree."""
    model, batch = MODELS[name], (x, y)
    loss, theta = LOSSES[model.loss], np.array([0.5, -0.3, 0.1])
    judge = judge_training(model.manual(2), loss.manual(), model.torch(2), loss.torch(), theta, [batch] * 20, 0.05)
    print(f"  {name:<11} 20 steps beside torch: {agreement(judge)}")


def plot(figure: Any) -> None:
    """The boundaries on both sets, the three costs along a line, and XOR."""
    (near, noisy), (costs, xor) = figure.subplots(2, 2)
    for axes, gap, title in ((near, 1.2, "separable"), (noisy, 0.6, "noisy")):
        x, y = clouds(gap)
        classes(axes, x, y)
        for name, (w1, w2, b), level, style in (
            ("perceptron", learn_perceptron(x, y)[0], 0.0, "-"),
            ("ADALINE", learn_adaline(x, y)[0], 0.5, "--"),
        ):
            height = np.array([-1.0, 3.0])
            axes.plot((level - b - w2 * height) / w1, height, style, color="black", linewidth=1, label=name)
        axes.set(title=title, ylim=(-1, 3))
        axes.legend(loc="lower right")
    x, y = clouds(0.6)
    theta, _ = learn_adaline(x, y)
    line = theta + np.linspace(-0.5, 0.5, 400)[:, np.newaxis] * [1, 0, 0]  # w₁ varies
    z = [ADALINE.predict(t, x) for t in line]
    criterion, squares = manual.PerceptronCriterion(), manual.MeanSquaredError()
    costs.plot(line[:, 0], [mistakes(v, y, 0.5) / len(y) for v in z], label="share of mistakes: flat, then a jump")
    costs.plot(line[:, 0], [criterion.forward(v - 0.5, y)[0] for v in z], label="perceptron criterion")
    costs.plot(line[:, 0], [squares.forward(v, y)[0] for v in z], label="squared error (ADALINE)")
    costs.set(title="noisy set: what w₁ costs", xlabel="w₁", ylim=(0, 1.6))
    costs.legend(loc="upper left")
    network, theta = learn_xor()
    xor.set(title="XOR, two layers: 2-3-1, tanh", xlim=(-0.5, 1.5), ylim=(-0.5, 1.5))
    classes(xor, *XOR, lambda points: network.predict(theta, points))


def main(folder: Path) -> None:
    """Run the lesson; its picture goes into `folder`."""
    x, y = clouds(1.2)
    theta, left = learn_perceptron(x, y)
    by_rule, corrections = rosenblatt(x, y)
    adaline, adaline_left = learn_adaline(x, y)
    print(f"a separable set, {len(x)} points")
    print(f"  perceptron  mistakes left after epoch 1, 2, …: {', '.join(map(str, left[:4]))}, and none again")
    print(
        f"              {corrections} corrections; its rule and descent on its criterion: the same weights bit for bit"
    )
    print(
        f"  ADALINE     mistakes left: {adaline_left[-1]}, where a line without any exists: the far points pull at it"
    )
    assert left[:3] == [3, 2, 3]
    assert not any(left[3:])
    assert corrections == 20
    assert (by_rule == theta).all()
    assert adaline_left[-1] == 1

    x, y = clouds(0.6)
    _, left = learn_perceptron(x, y)
    adaline, adaline_left = learn_adaline(x, y)
    ones = np.concatenate([x, np.ones((len(x), 1))], axis=1)  # (N, 3)
    exact = np.linalg.lstsq(ones, y.ravel())[0]
    print("a noisy set")
    print(f"  perceptron  mistakes left in the last ten epochs: {', '.join(map(str, left[-10:]))}; it never settles")
    print(f"  ADALINE     mistakes left in the last ten epochs: {', '.join(map(str, adaline_left[-10:]))}")
    print(f"              w₁, w₂, b = {_six(adaline)}; the least-squares solution: {_six(exact)}")
    print("              The least-squares line is not the line with the fewest mistakes; it is the one that stays.")
    assert min(left[-10:]) < max(left[-10:])
    assert min(left[-10:]) < adaline_left[-1] == adaline_left[-10]
    assert _six(adaline) == _six(exact)
    print("both beside torch, on the noisy set")
    for name in ("perceptron", "adaline"):
        require_torch_agrees(name, x, y)

    _, left = learn_perceptron(*XOR)
    adaline, _ = learn_adaline(*XOR)
    network, theta = learn_xor()
    z = network.predict(theta, XOR[0])
    print("XOR: (0, 0) → 0, (0, 1) → 1, (1, 0) → 1, (1, 1) → 0")
    print(f"  perceptron  fewest mistakes after any epoch: {min(left)}")
    print(f"  ADALINE     w₁, w₂, b = {_six(adaline)}: it says ½ to everything")
    print(f"  two layers  mistakes: {mistakes(z, XOR[1], 0.0)}")
    assert min(left) >= 1
    assert np.abs(adaline - [0, 0, 0.5]).max() < 1e-6
    assert mistakes(z, XOR[1], 0.0) == 0
    print(
        "\nWhy ADALINE can descend and the threshold cannot: the share of mistakes is flat wherever it does not jump,\n"
        "so its derivative says nothing. The squared error of z, before the threshold, is a parabola in every weight."
    )
    draw(folder / "boundaries.png", plot, width=9, height=7)


def _six(theta: Array) -> str:
    return ", ".join(f"{value + 0.0:.6f}" for value in theta)


if __name__ == "__main__":
    main(Path("runs/lessons/perceptron_and_adaline"))
