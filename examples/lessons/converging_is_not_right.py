"""3. "It converges" is not "it is right": published derivations handed to `check`.

The updates of lessons 1 and 2 reach their target although every gradient in them is wrong. Here they are written down
as what they are, a derivation: the chain rule cut into its factors, one class a factor.

    published                       right
    ∂J/∂ŷ = ŷ − y                   2 (ŷ − y)      the square's 2 is lost
    ∂a/∂z = 1                       [z > 0]        also where the ReLU is shut
    ∂z/∂w = 1                       x              what the weight is multiplied by
    w₂ ← …, and only then ∂J/∂a     the other way round: w₂ as it was in the forward pass

First they must give the published numbers to the last digit, so that nothing is blamed on the translation. Then each
is put beside its torch reference. A fifth slip is common in written derivations over a batch: to sum the errors, and
the activations, and multiply the two sums, where Σ_n δ_n a_nᵀ belongs.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from handgrad import manual
from handgrad.compare.lessons.judging import agreement, judge_training, verdict
from handgrad.manual import Array, Params
from handgrad.manual.training import StepRecord, step


@dataclass(frozen=True)
class PublishedLinear(manual.Linear):
    """∂z/∂w taken as 1."""

    def parameter_gradients(self, params: Params, cache: Array, dy: Array) -> Params:
        """δ (N, out) → Σ_n δ_no · 1, for every weight."""
        return {"weight": np.dot(dy.T, np.ones_like(cache))}


@dataclass(frozen=True)
class PublishedReLU(manual.ReLU):
    """∂a/∂z taken as 1."""

    def input_gradient(self, params: Params, cache: Array, dy: Array) -> Array:
        """δ → δ."""
        return dy


@dataclass(frozen=True)
class PublishedError(manual.MeanSquaredError):
    """The gradient of (ŷ − y)² taken as ŷ − y."""

    def gradient(self, cache: Array) -> Array:
        """r → r / (NK)."""
        return cache / cache.size


@dataclass(frozen=True)
class SummedFirst(manual.Linear):
    """(Σ_n δ_n) (Σ_n a_n)ᵀ for Σ_n δ_n a_nᵀ."""

    def parameter_gradients(self, params: Params, cache: Array, dy: Array) -> Params:
        """δ (N, out), a (N, in) → (out, in)."""
        return {"weight": np.outer(dy.sum(axis=0), cache.sum(axis=0))}


def published_step(
    network: Any, loss: Any, optimizer: Any, theta: Any, state: Any, x: Any, target: Any, learning_rate: float
) -> StepRecord:
    """A training step that propagates through weights which it has already updated; compare manual/training.py."""
    outputs, caches = network.forward(theta, x)
    J, cache = loss.forward(outputs[-1], target)
    deltas, grads = [loss.gradient(cache)], []
    for i, (layer, params) in reversed(list(enumerate(zip(network.layers, network.views(theta), strict=True)))):
        gradients = layer.parameter_gradients(params, caches[i], deltas[0])
        updated = {name: params[name] - learning_rate * g for name, g in gradients.items()}
        grads[:0] = [g.ravel() for g in gradients.values()]
        if i:
            deltas.insert(0, layer.input_gradient(updated, caches[i], deltas[0]))
    grad = np.concatenate(grads)
    theta, state = optimizer.update(theta, grad, state, learning_rate)
    return StepRecord(outputs, J, deltas, grad, theta, state)


def trained(layers: tuple[manual.Layer, ...], theta: list[float], learning_rate: float) -> Array:
    """The weights after 100 published steps with x = 10, y = 100."""
    network, w = manual.Network(layers), np.array(theta)
    x, y = np.array([[10.0]]), np.array([[100.0]])
    for _ in range(100):
        w = published_step(network, PublishedError(), manual.SGD(), w, {}, x, y, learning_rate).theta
    return w


def pairs() -> Iterator[tuple[str, Any, Any, Any, dict[str, Any]]]:
    """What is checked: the published derivation, the right one, torch's, and the shapes that `check` draws."""
    size, reference = (3, 2), nn.Linear(3, 2, bias=False)
    squares = {"output": (5, 3), "target": (5, 3)}
    yield "∂J/∂ŷ", PublishedError(), manual.MeanSquaredError(), nn.MSELoss(), squares
    yield "∂a/∂z", PublishedReLU(), manual.ReLU(), nn.ReLU(), {"x": (5, 3)}
    yield "∂z/∂w", PublishedLinear(*size, bias=False), manual.Linear(*size, bias=False), reference, {"x": (5, 3)}
    yield "Σ_n δ_n a_nᵀ", SummedFirst(*size, bias=False), manual.Linear(*size, bias=False), reference, {"x": (5, 3)}


def judged(linear: Any, relu: Any, loss: Any, training_step: Any) -> Any:
    """The judge of one training step of two layers, 3-4-2 on five examples, beside torch."""
    rng = np.random.default_rng(0)
    network = manual.Network((linear(3, 4, bias=False), relu(), linear(4, 2, bias=False)))
    model = nn.Sequential(nn.Linear(3, 4, bias=False), nn.ReLU(), nn.Linear(4, 2, bias=False))
    batch = (rng.normal(size=(5, 3)), rng.normal(size=(5, 2)))
    theta = network.init(rng)
    return judge_training(network, loss, model, nn.MSELoss(), theta, [batch], 0.1, training_step)


def main(folder: Path) -> None:
    """Run the lesson. It draws nothing."""
    (w,) = trained((PublishedLinear(1, 1, bias=False), PublishedReLU()), [5.5], 0.01)
    two = (PublishedLinear(1, 1, bias=False), PublishedReLU(), PublishedLinear(1, 1, bias=False))
    w1, w2 = trained(two, [1.0, 1.0], 0.001)
    print(f"The published derivations, trained: {w:.8f}; {w1:.8f} and {w2:.8f}, output {10 * w1 * w2:.4f}.")
    print("They converge, to the digits that were printed. What does check say of them?")
    assert f"{w:.8f}" == "9.99988047"
    assert (f"{w1:.8f}", f"{w2:.8f}", f"{10 * w1 * w2:.4f}") == ("3.87498172", "2.58052067", "99.9947")

    rows = []
    for name, published, right, reference, shapes in pairs():
        wrong, good = verdict(published, reference, **shapes), verdict(right, reference, **shapes)
        print(f"\n--- {name} ---\n{wrong}")
        (cause,) = (cause for finding in wrong.findings for cause in finding.phrases)
        rows.append((name, cause, good))
        assert not wrong.agrees
        assert good.agrees

    print("\n--- a training step of two layers, judged stage by stage ---")
    step_judge = judged(PublishedLinear, PublishedReLU, PublishedError(), published_step)
    for disagreement in step_judge.disagreements:
        print(f"{disagreement.stage}, {disagreement.tensor}: {', '.join(disagreement.causes)}")
    right_judge = judged(manual.Linear, manual.ReLU, manual.MeanSquaredError(), step)

    width = 2 + max(len(cause) for _, cause, _ in rows)
    print("\nSide by side:")
    print(f"{'':<14}{'the published derivation':<{width}}the right one")
    for name, cause, good in rows:
        print(f"{name:<14}{cause:<{width}}agrees, closest call {good.closest_call:.3f} of its bound")
    stage = "2 · PublishedLinear · input gradient"
    (cause,) = next(d.causes for d in step_judge.disagreements if d.stage == stage)
    print(f"{'the order':<14}{cause:<{width}}{agreement(right_judge)}")
    assert [*(cause for _, cause, _ in rows), cause] == [
        "a factor ½ too much (a 2 is missing)",
        "the derivative of relu(x) is missing: relu' is taken as 1",
        "in the derivative of x @ weightᵀ by weightᵀ, the factor x is left out (taken as 1)",
        "in the derivative of x @ weightᵀ by weightᵀ, the sum of δ over axis 0 stands for δ",
        "weight was updated before it was used to propagate",
    ]
    assert len(step_judge.disagreements) == 5


if __name__ == "__main__":
    main(Path("runs/lessons/converging_is_not_right"))
