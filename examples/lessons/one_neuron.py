"""1. One neuron: a sum printed wrong, and one weight trained by gradient descent.

A neuron multiplies each input by a weight, adds a bias, and sends the sum through an activation g:

    z = Σ_i w_i x_i + b        a = g(z)

Here g is ReLU, max(0, z). A published text takes w = (0.1, 1.2, 0.5) and x = (1, 10, 10) and prints 18.0. The
first input is always 1, so its weight is the bias.

Then a single weight learns to turn x = 10 into y = 100, which it does at w = 10. The same text updates it by
w ← w − η (ŷ − y). That is not the gradient of the squared error, and yet it arrives. This lesson ends with why it does;
lesson 3 hands it to `check`.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from handgrad import manual
from handgrad.compare.lessons.picture import draw
from handgrad.manual.training import step

X, Y = np.array([[10.0]]), np.array([[100.0]])  # (1, 1) each: a batch of one example with one number
NEURON = manual.Network((manual.Linear(1, 1, bias=False), manual.ReLU()))
START, ITERATIONS = 5.5, 100


def weighted_sum() -> None:
    """0.1·1 + 1.2·10 + 0.5·10, with the 0.1 as a weight and as a bias, and torch's word on it."""
    w, x = np.array([0.1, 1.2, 0.5]), np.array([[1.0, 10.0, 10.0]])
    without_bias = manual.Network((manual.Linear(3, 1, bias=False), manual.ReLU())).predict(w, x)
    with_bias = manual.Network((manual.Linear(2, 1), manual.ReLU())).predict(np.array([1.2, 0.5, 0.1]), x[:, 1:])
    theirs = torch.relu(torch.from_numpy(x) @ torch.from_numpy(w))
    print("relu(0.1·1 + 1.2·10 + 0.5·10)")
    print(f"  three weights, no bias   {without_bias.item():.1f}")
    print(f"  two weights and a bias   {with_bias.item():.1f}")
    print(f"  torch                    {theirs.item():.1f}")
    print("  the text prints          18.0, which would be the sum with 1 in place of 0.1")
    assert f"{without_bias.item():.1f}" == f"{with_bias.item():.1f}" == f"{theirs.item():.1f}" == "17.1"
    assert 1 * 1 + 1.2 * 10 + 0.5 * 10 == 18.0


def by_the_text(learning_rate: float) -> list[float]:
    """The weight before each iteration and after the last, by w ← w − η (ŷ − y)."""
    w = [np.array([START])]
    for _ in range(ITERATIONS):
        w.append(w[-1] - learning_rate * (NEURON.predict(w[-1], X) - Y).ravel())
    return [float(v[0]) for v in w]


def by_the_gradient(learning_rate: float) -> list[float]:
    """The same by w ← w − η ∂J/∂w, with J = (ŷ − y)² and so ∂J/∂w = 2 (ŷ − y) [z > 0] x."""
    w = [np.array([START])]
    for _ in range(ITERATIONS):
        w.append(step(NEURON, manual.MeanSquaredError(), manual.SGD(), w[-1], {}, X, Y, learning_rate).theta)
    return [float(v[0]) for v in w]


def plot(figure: Any) -> None:
    """The weight over the iterations."""
    axes = figure.subplots()
    for name, w in (
        ("the text's update, η = 0.01", by_the_text(0.01)),
        ("the gradient, η = 0.01", by_the_gradient(0.01)),
        ("the gradient, η = 0.005", by_the_gradient(0.005)),
    ):
        axes.plot(w[:26], label=name, marker=".", markersize=4, linewidth=1)
    axes.axhline(10, color="black", linewidth=0.8, linestyle=":")
    axes.set(xlabel="iteration", ylabel="w", title="One weight, x = 10, y = 100: right where w = 10")
    axes.legend(loc="lower right")


def main(folder: Path) -> None:
    """Run the lesson; its picture goes into `folder`."""
    weighted_sum()
    text, bouncing, direct = by_the_text(0.01), by_the_gradient(0.01), by_the_gradient(0.005)
    print(f"\none weight from {START}, x = 10, y = 100, {ITERATIONS} iterations")
    print(f"  w ← w − η (ŷ − y)                  η = 0.01    w = {text[-1]:.8f}")
    print(f"  w ← w − η ∂J/∂w, J = (ŷ − y)²      η = 0.01    w = {bouncing[-2]:.8f}, {bouncing[-1]:.8f}, and so on")
    print(f"  w ← w − η ∂J/∂w, J = (ŷ − y)²      η = 0.005   w = {direct[1]:.8f} after one iteration")
    assert f"{text[-1]:.8f}" == "9.99988047"
    assert f"{text[-1]:.8f}" == f"{10 - 4.5 * 0.9**ITERATIONS:.8f}"  # each iteration takes a tenth of what is left
    assert {round(w, 9) for w in bouncing} == {5.5, 14.5}
    assert direct[1] == 10.0
    print(
        "\nThe text's update leaves out the 2 of the square and the factor x = 10, and takes the slope of ReLU as 1.\n"
        "It makes each step 20 times too small, and that is the only reason why it arrives: J has the curvature\n"
        "2x² = 200, and the true gradient with η = 0.01 = 2/200 jumps from 5.5 to 14.5 and back for ever, while\n"
        "η = 0.005 = 1/200 arrives at once (lesson 8). With another x, the same slip makes another step."
    )
    draw(folder / "one_weight.png", plot)


if __name__ == "__main__":
    main(Path("runs/lessons/one_neuron"))
