"""7. Batch, stochastic and mini-batch gradient descent, and when to stop.

The loss is a mean over the examples, and so is its gradient. Gradient descent may take the mean over

    all of them     batch         1 iteration an epoch for 6 rows     the gradient itself
    one of them     stochastic    6 iterations                        a noisy estimate of it
    some of them    mini-batch    3 iterations of 2                   in between

An epoch is one pass over the data whatever the batch, so more, noisier steps are made in it. First six rows, where they
can be counted; then 1,000 digits from the same weights with the same η. Against epochs the smallest batch wins; against
time the mini-batch does, because a step over one example costs almost as much as a step over 32.

Training may stop early: when no weight has moved by more than a tolerance τ over an epoch, more epochs change little.
"""

import time
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from handgrad import manual
from handgrad.compare.lessons.picture import draw
from handgrad.compare.lessons.training import epochs, training_digits
from handgrad.manual import Array
from handgrad.manual.training import step

LINE, SQUARES = manual.Network((manual.Linear(2, 1),)), manual.MeanSquaredError()
MLP, LOSS = manual.mlp((784, 16, 16, 10)), manual.SoftmaxCrossEntropy()
DIGITS, EPOCHS = 1000, 8


def six_rows() -> tuple[Array, Array]:
    """x (6, 2) and y = 2x₁ − x₂ + 1 (6, 1), with a little noise."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(6, 2))
    return x, x @ [[2.0], [-1.0]] + 1 + rng.normal(0, 0.2, (6, 1))


def gradient(theta: Array, rows: slice) -> Array:
    """∂J/∂θ (3,) over some of the six rows."""
    x, y = six_rows()
    return step(LINE, SQUARES, manual.SGD(), theta, {}, x[rows], y[rows], 0.1).grad


def until_still(batch_size: int, tolerance: float, rate: Any = 0.1, most: int = 400) -> int | None:
    """The epoch over which no weight moves by τ any more; None where there is none among the first `most`."""
    theta = np.zeros(3)
    runs = epochs(LINE, SQUARES, manual.SGD(), theta, *six_rows(), batch_size, rate)
    for epoch, (after, _) in enumerate(islice(runs, most), start=1):
        if np.abs(after - theta).max() < tolerance:
            return epoch
        theta = after
    return None


def on_digits(batch_size: int) -> tuple[list[float], list[float]]:
    """The loss on all the digits before training and after each epoch, and the seconds of training until then."""
    x, labels = training_digits(DIGITS)
    theta = MLP.init(np.random.default_rng(0))
    runs = epochs(MLP, LOSS, manual.SGD(), theta, x, labels, batch_size, 0.05)
    losses, seconds = [_loss(theta, x, labels)], [0.0]
    for _ in range(EPOCHS):
        started = time.perf_counter()
        theta, _ = next(runs)
        seconds.append(seconds[-1] + time.perf_counter() - started)
        losses.append(_loss(theta, x, labels))
    return losses, seconds


def _loss(theta: Array, x: Array, labels: Array) -> float:
    return float(LOSS.forward(MLP.predict(theta, x), labels)[0])


def main(folder: Path) -> None:
    """Run the lesson; its picture goes into `folder`."""
    theta = np.zeros(3)
    print("six rows, two weights and a bias")
    for name, size, iterations in (("batch", 6, 1), ("mini-batch", 2, 3), ("stochastic", 1, 6)):
        _, losses = next(epochs(LINE, SQUARES, manual.SGD(), theta, *six_rows(), size, 0.1))
        print(f"  {name:<11} rows a step: {size}   iterations an epoch: {len(losses)}")
        assert len(losses) == iterations
    alone = np.array([gradient(theta, slice(n, n + 1)) for n in range(6)])
    whole = gradient(theta, slice(None))
    print(f"  ∂J/∂w₁ by each row alone: {', '.join(f'{g:.2f}' for g in alone[:, 0])}")
    print(f"  their mean is {alone[:, 0].mean():.4f}, and by all six rows at once ∂J/∂w₁ is {whole[0]:.4f}")
    assert np.abs(alone.mean(axis=0) - whole).max() < 1e-15 * np.abs(alone).max()

    print("\nstopping when no weight moves by τ over an epoch, at most 400 epochs, η = 0.1")
    for name, size in (("batch", 6), ("mini-batch", 2), ("stochastic", 1)):
        stops = [until_still(size, tolerance) for tolerance in (1e-2, 1e-3, 1e-4)]
        print(f"  {name:<11} τ = 0.01, 0.001, 0.0001: epoch {', '.join(str(s or 'never') for s in stops)}")
        assert (stops[-1] is not None) == (size == 6)
    decayed = until_still(1, 1e-4, manual.Exponential(0.1, gamma=0.998))
    print(f"  stochastic  τ = 0.0001, η = 0.1 · 0.998ᵗ: epoch {decayed}")
    print("The gradient of one row is not 0 where the mean is: with a constant η the weights never come to rest.")
    assert decayed is not None

    print(f"\n{DIGITS:,} digits, 784-16-16-10, η = 0.05, {EPOCHS} epochs, the same start and the same seed")
    curves = {"batch": on_digits(DIGITS), "mini-batch of 32": on_digits(32), "stochastic": on_digits(1)}
    for name, (losses, seconds) in curves.items():
        print(f"  {name:<17} loss {losses[0]:.3f} → {losses[-1]:.3f} in {seconds[-1]:.2f} s")
    ends = [losses[-1] for losses, _ in curves.values()]
    assert ends == sorted(ends, reverse=True)

    def plot(figure: Any) -> None:
        by_epoch, by_time = figure.subplots(1, 2, sharey=True)
        for name, (losses, seconds) in curves.items():
            by_epoch.plot(losses, marker=".", label=name)
            by_time.plot(seconds, losses, marker=".", label=name)
        by_epoch.set(xlabel="epoch", ylabel=f"loss on {DIGITS:,} digits")
        by_time.set(xlabel="seconds of training")
        by_epoch.legend(loc="lower left")

    draw(folder / "batch_sizes.png", plot, width=9)


if __name__ == "__main__":
    main(Path("runs/lessons/batch_sizes"))
