"""10. One image, epoch by epoch; two classes; SGD beside Adam.

The last layer gives one number a class, ŷ_k, and softmax makes them probabilities:

    p_k = exp ŷ_k / Σ_j exp ŷ_j        J = −log p of the right class, mean over N

With random weights all ten are about 1/10. Learning moves the probability to one of them, for images that were never
trained on too. With two classes it is the sigmoid of the difference, p₁ = σ(ŷ₁ − ŷ₀): logistic regression again.

How fast that goes depends on the learning rate, and the same number means different things to two rules: SGD's step is
η times the gradient, Adam's about η in every weight, whatever the size of the gradient.
"""

from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from handgrad import data, manual
from handgrad.compare.lessons.picture import draw
from handgrad.compare.lessons.training import epochs, theta_after
from handgrad.manual import Array

LOSS = manual.SoftmaxCrossEntropy()
TEN, TWO = manual.mlp((784, 16, 16, 10)), manual.mlp((784, 16, 2))
DIGITS, EPOCHS, BATCH = 2000, 10, 32
RATES = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)


def digits(part: data.Digits, count: int, only: tuple[int, ...] = tuple(range(10))) -> tuple[Array, Array]:
    """The first so many digits of these classes: x (N, 784), and each one's place in `only` (N,)."""
    rows = np.flatnonzero(np.isin(part.labels, only))[:count]
    return data.scale(part.images[rows], np.float64), np.searchsorted(only, part.labels[rows])


def probabilities(network: manual.Network, theta: Array, x: Array) -> Array:
    """softmax of the outputs (N, K), which the loss remembers for its gradient."""
    _, (p, _) = LOSS.forward(network.predict(theta, x), np.zeros(len(x), np.int64))
    return p


def thoughts(network: manual.Network, only: tuple[int, ...], image: Array) -> Array:
    """The probabilities of one image before training and after each epoch of SGD (EPOCHS + 1, K)."""
    x, labels = digits(data.load().train, DIGITS, only)
    theta = network.init(np.random.default_rng(0))
    runs = epochs(network, LOSS, manual.SGD(), theta, x, labels, BATCH, 0.05)
    after = [theta, *(t for t, _ in islice(runs, EPOCHS))]
    return np.array([probabilities(network, t, image)[0] for t in after])


def share_right(optimizer: manual.Optimizer, learning_rate: float) -> float:
    """How many of 1,000 test digits are right after three epochs."""
    dataset = data.load()
    theta = TEN.init(np.random.default_rng(0))
    runs = epochs(TEN, LOSS, optimizer, theta, *digits(dataset.train, DIGITS), BATCH, learning_rate)
    theta = theta_after(3, runs)
    x, labels = digits(dataset.test, 1000)
    return float((TEN.predict(theta, x).argmax(axis=1) == labels).mean())


def main(folder: Path) -> None:
    """Run the lesson; its picture goes into `folder`."""
    test = data.load().test
    seven, label = digits(test, 1)
    p = thoughts(TEN, tuple(range(10)), seven)
    print(f"the first test digit, a {label[0]}; {DIGITS:,} training digits, 784-16-16-10, SGD, η = 0.05")
    print("  epoch  " + "  ".join(f"p({k}) " for k in range(10)))
    for epoch, row in enumerate(p):
        print(f"  {epoch:>5}  " + "  ".join(f"{value:.3f}" for value in row))
    assert label[0] == 7
    assert np.abs(p.sum(axis=1) - 1).max() < 1e-14
    assert np.abs(p[0] - 0.1).max() < 0.1
    assert p[-1].argmax() == 7
    assert p[-1][7] > 0.9

    x, is_nine = digits(test, 10, (4, 9))
    q = thoughts(TWO, (4, 9), x[:1])
    print(f"\ntwo classes, 4 and 9; the first test digit of these, a {(4, 9)[is_nine[0]]}: its p(9) after each epoch")
    print("  " + "  ".join(f"{value:.3f}" for value in q[:, 1]))
    theta = TWO.init(np.random.default_rng(0))
    y = TWO.predict(theta, x)
    sigmoid, _ = manual.Sigmoid().forward({}, y[:, 1] - y[:, 0])
    print("  p(9) is the sigmoid of the difference of the two outputs, to the last bits")
    assert np.abs(probabilities(TWO, theta, x)[:, 1] - sigmoid).max() < 1e-15
    assert q[-1][is_nine[0]] > 0.9

    print("\n1,000 test digits right after three epochs")
    print("  η       " + "  ".join(f"{rate:>6.0e}" for rate in RATES))
    found = {
        name: [share_right(rule, rate) for rate in RATES]
        for name, rule in (("SGD", manual.SGD()), ("Adam", manual.Adam()))
    }
    for name, right in found.items():
        print(f"  {name:<6}  " + "  ".join(f"{value:>6.1%}" for value in right))
    sgd, adam = found["SGD"], found["Adam"]
    print("Where Adam is at its best SGD has hardly begun; where SGD is at its best Adam has learned nothing.")
    assert int(np.argmax(sgd)) == 0
    assert 1 <= int(np.argmax(adam)) <= 2
    assert adam[0] < 0.2
    assert max(sgd[1:]) < 0.5 < min(adam[1:3])

    def plot(figure: Any) -> None:
        ten, two, rates = figure.subplots(1, 3)
        for k in range(10):
            ten.plot(p[:, k], linewidth=2.5 if k == 7 else 1, label=str(k))
        ten.set(title="the first test digit, a 7", xlabel="epoch", ylabel="probability", ylim=(0, 1))
        ten.legend(ncols=2, loc="center right")
        image = ten.inset_axes((0.02, 0.7, 0.2, 0.26))
        image.imshow(seven.reshape(28, 28), cmap="gray_r")
        image.set_axis_off()
        for k, digit in enumerate((4, 9)):
            two.plot(q[:, k], label=str(digit))
        two.set(title="4 or 9: two classes", xlabel="epoch", ylim=(0, 1))
        two.legend(loc="center right")
        for name, right in found.items():
            rates.semilogx(RATES, right, marker=".", label=name)
        rates.set(title="test digits right after 3 epochs", xlabel="η", ylim=(0, 1))
        rates.legend(loc="upper left")

    draw(folder / "one_image.png", plot, width=12)


if __name__ == "__main__":
    main(Path("runs/lessons/one_image_epoch_by_epoch"))
