"""6. A 3-5-2 regression network, step by step as on paper.

Three inputs, five sigmoid units, two linear outputs, and the half squared error, so that the 2 of the square cancels:

    z¹ = x W¹ᵀ + b¹    a¹ = σ(z¹)    ŷ = a¹ W²ᵀ + b²    J = 1/N Σ_n ℓ_n,    ℓ = ½ Σ_k (ŷ_k − y_k)²

Backwards, with δ for ∂J/∂z, N examples in the rows:

    δ²      = (ŷ − y) / N                   (N, 2)
    ∂J/∂W²  = δ²ᵀ a¹                        (2, 5)
    ∂J/∂b²  = Σ_n δ²_n                      (2,)
    δ¹      = δ² W² ⊙ a¹ (1 − a¹)           (N, 5)
    ∂J/∂W¹  = δ¹ᵀ x                         (5, 3)
    ∂J/∂b¹  = Σ_n δ¹_n                      (5,)

The lines of `forward` and `backward` are these and nothing else: a derivation as you would bring your own. `check`
puts it beside torch; its numbers are put beside those of `manual.Network`, which then learns a function of three
numbers.
"""

from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from torch.nn import functional

from handgrad import manual, torch_ref
from handgrad.compare.lessons.judging import agreement, judge_training, verdict
from handgrad.compare.lessons.picture import draw
from handgrad.compare.lessons.training import epochs
from handgrad.compare.pairs.table import ACTIVATIONS, LOSSES
from handgrad.manual import Array
from handgrad.manual.training import step

NETWORK, LOSS = manual.mlp((3, 5, 2), manual.Sigmoid()), manual.HalfSquaredError()
RATE, EPOCHS = 0.5, 500


def points(count: int = 60) -> tuple[Array, Array]:
    """x (N, 3) in [−1, 1]³ and y (N, 2) = (x₁ x₂, sin 2x₃)."""
    x = np.random.default_rng(0).uniform(-1, 1, (count, 3))
    return x, np.stack([x[:, 0] * x[:, 1], np.sin(2 * x[:, 2])], axis=1)


def forward(x: Array, W1: Array, b1: Array, W2: Array, b2: Array) -> tuple[Array, tuple[Array, ...]]:
    """x (N, 3) → ŷ (N, 2), and what the way back needs."""
    z1 = x @ W1.T + b1  # (N, 5)
    a1 = 1 / (1 + np.exp(-z1))  # (N, 5)
    y_hat = a1 @ W2.T + b2  # (N, 2)
    return y_hat, (x, W1, z1, a1, W2)


def backward(delta2: Array, cache: tuple[Array, ...]) -> dict[str, Array]:
    """δ² = ∂J/∂ŷ (N, 2) → every gradient, by the name of what it is taken by."""
    x, W1, _, a1, W2 = cache
    delta1 = delta2 @ W2 * a1 * (1 - a1)  # ∂J/∂z¹_no = Σ_k δ²_nk W²_ko a¹_no (1 − a¹_no)    (N, 5)
    return {
        "W2": delta2.T @ a1,  # ∂J/∂W²_ko = Σ_n δ²_nk a¹_no        (2, 5)
        "b2": delta2.sum(axis=0),  # ∂J/∂b²_k = Σ_n δ²_nk          (2,)
        "W1": delta1.T @ x,  # ∂J/∂W¹_oi = Σ_n δ¹_no x_ni          (5, 3)
        "b1": delta1.sum(axis=0),  # ∂J/∂b¹_o = Σ_n δ¹_no          (5,)
        "x": delta1 @ W1,  # ∂J/∂x_ni = Σ_o δ¹_no W¹_oi            (N, 3)
    }


def reference(x: Tensor, W1: Tensor, b1: Tensor, W2: Tensor, b2: Tensor) -> Tensor:
    """The same network in torch, whose gradients autograd finds."""
    return functional.linear(functional.linear(x, W1, b1).sigmoid(), W2, b2)


def on_paper(theta: Array, x: Array, y: Array) -> dict[str, Array]:
    """Every quantity of the page above, by its name there."""
    (W1, b1), (W2, b2) = [params.values() for params in NETWORK.views(theta) if params]
    y_hat, cache = forward(x, W1, b1, W2, b2)
    J = (0.5 * ((y_hat - y) ** 2).sum(axis=1)).mean()  # ()
    delta2 = (y_hat - y) / len(x)  # ∂J/∂ŷ_nk = (ŷ_nk − y_nk) / N           (N, 2)
    g = backward(delta2, cache)
    return {
        "z¹": cache[2], "a¹": cache[3], "ŷ": y_hat, "J": J, "δ²": delta2,
        "∂J/∂W²": g["W2"], "∂J/∂b²": g["b2"], "∂J/∂W¹": g["W1"], "∂J/∂b¹": g["b1"],
    }  # fmt: skip


def by_the_network(theta: Array, x: Array, y: Array) -> dict[str, Array]:
    """The same from one step of `handgrad.manual.training`."""
    r = step(NETWORK, LOSS, manual.SGD(), theta, {}, x, y, RATE)
    first, _, second = NETWORK.views(r.grad)
    return {
        "z¹": r.outputs[0], "a¹": r.outputs[1], "ŷ": r.outputs[2], "J": r.loss, "δ²": r.deltas[2],
        "∂J/∂W²": second["weight"], "∂J/∂b²": second["bias"], "∂J/∂W¹": first["weight"], "∂J/∂b¹": first["bias"],
    }  # fmt: skip


def learn() -> tuple[Array, list[float]]:
    """θ after the last epoch, with momentum, and the loss before each epoch's step on all points."""
    theta = NETWORK.init(np.random.default_rng(0))
    runs = list(islice(epochs(NETWORK, LOSS, manual.SGD(momentum=0.9), theta, *points(), 60, RATE), EPOCHS))
    return runs[-1][0], [float(losses[0]) for _, losses in runs]


def main(folder: Path) -> None:
    """Run the lesson; its picture goes into `folder`."""
    shapes = {"W1": (5, 3), "b1": (5,), "W2": (2, 5), "b2": (2,)}
    report = verdict((forward, backward), reference, x=(4, 3), params=shapes, name="3-5-2 on paper")
    print(report, end="\n\n")
    assert report.agrees

    x, y = points(4)
    theta = NETWORK.init(np.random.default_rng(0))
    paper, network = on_paper(theta, x, y), by_the_network(theta, x, y)
    print(f"3-5-2, {NETWORK.size} parameters = (3·5 + 5) + (5·2 + 2); one step on {len(x)} examples")
    for name, ours in paper.items():
        gap = np.abs(ours - network[name]).max()
        print(f"  {name:<7} {np.shape(ours)!s:<7} paper − network: {gap:.0e}    {_first_row(ours)}")
        assert np.shape(ours) == network[name].shape
        assert np.abs(ours - network[name]).max() < 1e-15  # numbers of about 1: the last bits
    assert NETWORK.size == (3 * 5 + 5) + (5 * 2 + 2) == 32

    model = torch_ref.models.mlp((3, 5, 2), ACTIVATIONS["sigmoid"].torch)
    judge = judge_training(NETWORK, LOSS, model, LOSSES["half-squared"].torch(), theta, [points()] * 30, RATE)
    print(f"\n30 steps on 60 examples beside torch: {agreement(judge)}")

    theta, losses = learn()
    print(f"{EPOCHS} epochs: J from {losses[0]:.4f} to {losses[-1]:.4f}")
    assert losses[-1] < losses[0] / 100

    def plot(figure: Any) -> None:
        left, right = figure.subplots(1, 2)
        left.semilogy(losses)
        left.set(xlabel="epoch", ylabel="J", title="½ Σ (ŷ − y)², mean over 60 examples")
        x, y = points()
        for k, name in enumerate(("y₁ = x₁ x₂", "y₂ = sin 2x₃")):
            right.scatter(y[:, k], NETWORK.predict(theta, x)[:, k], s=9, label=name)
        right.plot([-1, 1], [-1, 1], color="black", linewidth=0.8, linestyle=":")
        right.set(xlabel="y", ylabel="ŷ", title="after the last epoch", aspect="equal")
        right.legend(loc="upper left")

    draw(folder / "regression.png", plot, width=9, height=4)


def _first_row(a: Array) -> str:
    return np.array2string(np.atleast_2d(a)[0], precision=4, max_line_width=99) + (" …" if np.ndim(a) == 2 else "")


if __name__ == "__main__":
    main(Path("runs/lessons/regression_network"))
