"""2. Two neurons in a row: the chain rule, and an update that arrives elsewhere.

    z = w₁ x        a = max(0, z)        ŷ = w₂ a        J = (ŷ − y)²

The first neuron has a ReLU, the second is linear. By the chain rule

    ∂J/∂w₂ = 2 (ŷ − y) a
    ∂J/∂w₁ = 2 (ŷ − y) w₂ [z > 0] x

From w₁ = w₂ = 1, x = 10 is to become y = 100, so that any two weights with w₁ w₂ = 10 will do. The text of lesson 1
goes on with w₂ ← w₂ − η (ŷ − y) and then, with the *new* w₂, w₁ ← w₁ − η (ŷ − y) w₂. It arrives again.
"""

from pathlib import Path
from typing import Any

import numpy as np

from handgrad import manual
from handgrad.compare.lessons.picture import draw
from handgrad.manual.training import step

X, Y = np.array([[10.0]]), np.array([[100.0]])  # (1, 1) each
NEURONS = manual.Network((manual.Linear(1, 1, bias=False), manual.ReLU(), manual.Linear(1, 1, bias=False)))
ITERATIONS = 100


def by_the_text(learning_rate: float) -> np.ndarray:
    """(w₁, w₂) before each iteration and after the last (ITERATIONS + 1, 2), by the text's update."""
    path = [np.array([1.0, 1.0])]
    for _ in range(ITERATIONS):
        w1, w2 = path[-1]
        error = (NEURONS.predict(path[-1], X) - Y).item()
        w2 = w2 - learning_rate * error
        w1 = w1 - learning_rate * error * w2
        path.append(np.array([w1, w2]))
    return np.array(path)


def by_the_gradient(learning_rate: float) -> np.ndarray:
    """The same by w ← w − η ∂J/∂w."""
    path = [np.array([1.0, 1.0])]
    for _ in range(ITERATIONS):
        path.append(step(NEURONS, manual.MeanSquaredError(), manual.SGD(), path[-1], {}, X, Y, learning_rate).theta)
    return np.array(path)


def plot(figure: Any) -> None:
    """The two paths over the loss."""
    axes = figure.subplots()
    w = np.linspace(0.5, 4.5, 200)
    loss = (10 * np.outer(w, w) - 100) ** 2  # (w₂, w₁)
    axes.contourf(w, w, np.log10(1 + loss), levels=20, cmap="Greys", alpha=0.5)
    axes.plot(w, 10 / w, color="black", linewidth=0.8, linestyle=":", label="w₁ w₂ = 10: the loss is 0")
    for name, path in (
        ("the text's update, η = 0.001", by_the_text(0.001)),
        ("the gradient, η = 0.0001", by_the_gradient(0.0001)),
    ):
        axes.plot(*path.T, label=name, marker=".", markersize=4, linewidth=1)
    axes.set(xlabel="w₁", ylabel="w₂", xlim=(0.5, 4.5), ylim=(0.5, 4.5), title="Two weights, both from (1, 1)")
    axes.legend(loc="upper right")


def main(folder: Path) -> None:
    """Run the lesson; its picture goes into `folder`."""
    text, gradient, too_fast = by_the_text(0.001), by_the_gradient(0.0001), by_the_gradient(0.001)
    print(f"two weights from (1, 1), x = 10, y = 100, {ITERATIONS} iterations")
    for name, w in (
        ("the text's update, η = 0.001", text[-1]),
        ("the gradient,      η = 0.0001", gradient[-1]),
        ("the gradient,      η = 0.001", too_fast[-1]),
    ):
        z = NEURONS.predict(w, X).item() + 0.0  # + 0.0, because −0.8 · max(0, …) is −0
        print(f"  {name:<30}  w₁ = {w[0]:.8f}, w₂ = {w[1]:.8f}, output {z:.4f}")
    assert [f"{w:.8f}" for w in text[-1]] == ["3.87498172", "2.58052067"]
    assert f"{10 * text[-1].prod():.4f}" == "99.9947"
    assert [f"{w:.8f}" for w in gradient[-1]] == [f"{np.sqrt(10):.8f}"] * 2
    print(
        "\nThe product is right, the weights are not. From equal weights the two partial derivatives are equal, so\n"
        "gradient descent keeps w₁ = w₂ and ends at √10 = 3.16227766 for both. The text's update is the gradient of\n"
        "no function; it leaves that line at once. Look at the output alone and you will not notice."
    )
    assert np.abs(gradient[:, 0] - gradient[:, 1]).max() < 1e-14  # equal but for rounding
    assert text[1, 0] != text[1, 1]
    dead = int(np.argmax(too_fast[:, 0] < 0))
    print(
        f"\nWith the text's own η = 0.001 the true gradient jumps so far that after {dead} iterations w₁ = "
        f"{too_fast[dead, 0]:.4f}: the ReLU\nis shut, its slope is 0, and no gradient will ever open it again "
        "(a dead ReLU). The missing factors hid that too."
    )
    assert dead == 3
    assert (too_fast[dead:] == too_fast[dead]).all()
    draw(folder / "two_weights.png", plot, width=5.5, height=5)


if __name__ == "__main__":
    main(Path("runs/lessons/two_neurons"))
