"""8. The learning rate: 1/h and 2/h on a quadratic, the same four on the digits.

On J(w) = ½ h (w − w*)², a step w ← w − η J'(w) multiplies the distance to w* by 1 − ηh:

    η below 1/h            it shrinks, and keeps its sign     creeps
    η = 1/h                it is 0                            arrives in one step
    between 1/h and 2/h    it shrinks, and changes its sign   oscillates
    η = 2/h                it changes its sign only           never ends
    η above 2/h            it grows                           diverges

A network has many curvatures, one for every direction, and they change while it learns. The largest of them, the top
eigenvalue of the matrix of second derivatives, is measured here, by power iteration: from a random direction v, again
and again v ← Hv / |Hv|, with Hv from two gradients, (∇J(θ + εv) − ∇J(θ − εv)) / 2ε.
"""

from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np

from handgrad import manual
from handgrad.compare.lessons.picture import draw
from handgrad.compare.lessons.training import epochs, training_digits
from handgrad.manual import Array
from handgrad.manual.training import step

# One weight, x = 2, y = 6: J = ½ (2w − 6)² = ½ · 4 · (w − 3)², so h = 4 and w* = 3.
ONE_WEIGHT, SQUARE = manual.Network((manual.Linear(1, 1, bias=False),)), manual.HalfSquaredError()
X, Y, H, TARGET = np.array([[2.0]]), np.array([[6.0]]), 4.0, 3.0
QUADRATIC = {"creeps": 0.05, "arrives in one step": 0.25, "oscillates": 0.45, "diverges": 0.55}

MLP, LOSS = manual.mlp((784, 16, 16, 10)), manual.SoftmaxCrossEntropy()
ON_DIGITS = {"creeps": 0.01, "descends": 0.1, "oscillates": 1.0, "dies": 5.0}
DIGITS, STEPS = 1000, 80


def on_quadratic(learning_rate: float) -> Array:
    """w at the start, w = 0, and after each of 20 steps (21,)."""
    runs = epochs(ONE_WEIGHT, SQUARE, manual.SGD(), np.zeros(1), X, Y, 1, learning_rate)
    return np.array([0.0, *(theta.item() for theta, _ in islice(runs, 20))])


def on_digits(learning_rate: Any) -> tuple[Array, Array]:
    """θ after STEPS steps on all of the digits, and the loss at each."""
    runs = epochs(MLP, LOSS, manual.SGD(), start(), *training_digits(DIGITS), DIGITS, learning_rate)
    found = list(islice(runs, STEPS))
    return found[-1][0], np.array([losses[0] for _, losses in found])


def start() -> Array:
    """θ before training."""
    return MLP.init(np.random.default_rng(0))


def largest_curvature(theta: Array, iterations: int = 15, epsilon: float = 1e-5) -> float:
    """The largest eigenvalue of the second derivatives of the loss on all of the digits."""
    x, labels = training_digits(DIGITS)

    def gradient(at: Array) -> Array:
        return step(MLP, LOSS, manual.SGD(), at, {}, x, labels, 0.0).grad

    v = np.random.default_rng(1).normal(size=theta.shape)
    for _ in range(iterations):
        v /= np.linalg.norm(v)
        v = (gradient(theta + epsilon * v) - gradient(theta - epsilon * v)) / (2 * epsilon)
    return float(np.linalg.norm(v))


def rises(losses: Array) -> int:
    """In how many steps the loss went up."""
    return sum(after > before for before, after in pairwise(losses))


def main(folder: Path) -> None:
    """Run the lesson; its picture goes into `folder`."""
    print(f"J(w) = ½ · {H:.0f} · (w − {TARGET:.0f})², from w = 0: 1/h = {1 / H}, 2/h = {2 / H}")
    paths = {name: on_quadratic(rate) for name, rate in QUADRATIC.items()}
    for name, rate in QUADRATIC.items():
        shown = ", ".join(f"{w:.4g}" for w in paths[name][:5])
        print(f"  η = {rate:<5} {name:<20} 1 − ηh = {1 - rate * H:>5.2f}   w = {shown}, … {paths[name][-1]:.4g}")
        distance = paths[name] - TARGET
        assert np.abs(distance[1:] - (1 - rate * H) * distance[:-1]).max() < 1e-13 * np.abs(distance).max()
    assert paths["arrives in one step"][1] == TARGET
    assert set(on_quadratic(2 / H)) == {0.0, 2 * TARGET}

    x, labels = training_digits(DIGITS)
    shares = np.bincount(labels) / len(labels)
    knows_nothing = float(-(shares * np.log(shares)).sum())
    print(f"\n{DIGITS:,} digits, all in each of {STEPS} steps; beside each η the cosine schedule from η to 0")
    constant = {name: on_digits(rate) for name, rate in ON_DIGITS.items()}
    decaying = {name: on_digits(manual.Cosine(rate, STEPS)) for name, rate in ON_DIGITS.items()}
    for name, rate in ON_DIGITS.items():
        words = []
        for losses in (constant[name][1], decaying[name][1]):
            words.append(f"loss {losses[0]:.3f} → {losses[-1]:.3f}, went up in {rises(losses):>2}")
        print(f"  η = {rate:<5} {name:<11} constant: {words[0]}   decaying: {words[1]}")
    assert rises(constant["creeps"][1]) == rises(constant["descends"][1]) == 0
    assert constant["creeps"][1][-1] > 2.2 > constant["descends"][1][-1]
    assert rises(constant["oscillates"][1]) > 10
    assert rises(constant["oscillates"][1][STEPS // 2 :]) > rises(decaying["oscillates"][1][STEPS // 2 :]) == 0
    print(
        "\nWith η = 5 every ReLU of a layer shuts. The biases of the last layer are left, and all that they can learn"
    )
    print(f"is how frequent each digit is: the loss ends at {constant['dies'][1][-1]:.3f}, ", end="")
    print(f"the entropy of these frequencies is {knows_nothing:.3f}.")
    dead = MLP.forward(constant["dies"][0], x)[0]
    assert any((dead[layer] == 0).all() for layer in (1, 3))
    assert abs(constant["dies"][1][-1] - knows_nothing) < 1e-3

    before, after = largest_curvature(start()), largest_curvature(constant["descends"][0])
    print(
        f"The largest curvature is {before:.2f} at the start and {after:.1f} after {STEPS} steps with η = 0.1, ", end=""
    )
    print(f"so 2/h falls from {2 / before:.1f} to {2 / after:.2f}:")
    print(
        "a rate that is safe at first is not safe later. A schedule that decays gives way where the rate is too large:"
    )
    ups = [rises(which["oscillates"][1][STEPS // 2 :]) for which in (constant, decaying)]
    print(
        f"with η = 1 the loss goes up in {ups[0]} of the last {STEPS // 2} steps, and in {ups[1]} where η decays.",
        end=" ",
    )
    print("Where the rate was small enough, as 0.1, decay only slows.")
    assert constant["descends"][1][-1] < decaying["descends"][1][-1]
    assert 2 / before > 1 > 2 / after > ON_DIGITS["descends"]

    def plot(figure: Any) -> None:
        above, below = figure.subplots(2, 4)
        w = np.linspace(-2, 8, 100)
        for axes, (name, rate) in zip(above, QUADRATIC.items(), strict=True):
            axes.plot(w, H / 2 * (w - TARGET) ** 2, color="black", linewidth=0.8)
            path = paths[name][:9]
            axes.plot(path, H / 2 * (path - TARGET) ** 2, marker=".", linewidth=1)
            axes.set(title=f"η = {rate}: {name}", xlabel="w", xlim=(-2, 8), ylim=(-2, 52))
        for axes, (name, rate) in zip(below, ON_DIGITS.items(), strict=True):
            axes.plot(constant[name][1], linewidth=1, label="constant")
            axes.plot(decaying[name][1], linewidth=1, label="decaying to 0")
            axes.set(title=f"digits, η = {rate}: {name}", xlabel="step", ylim=(0, 4))
        above[0].set_ylabel("J")
        below[0].set_ylabel("loss")
        below[0].legend(loc="lower left")

    draw(folder / "learning_rates.png", plot, width=12, height=6)


if __name__ == "__main__":
    main(Path("runs/lessons/learning_rate"))
