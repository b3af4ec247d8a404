"""11. The traps: gradients that pile up, a flipped sign, no bias, equal units.

None of them raises an error, and most of them learn something. What each does is shown here beside what should be.
"""

from collections.abc import Callable
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn, optim

from handgrad import manual, torch_ref
from handgrad.compare.lessons.judging import agreement, judge_training, verdict
from handgrad.compare.lessons.picture import draw
from handgrad.compare.lessons.training import epochs, theta_after
from handgrad.manual import Array

SQUARES = manual.MeanSquaredError()
WAVE = manual.mlp((1, 8, 1), manual.Tanh())
XOR = (np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), np.array([[0.0], [1.0], [1.0], [0.0]]))


def wave() -> tuple[Array, Array]:
    """x (40, 1) in [−2, 2] and y = sin 2x (40, 1)."""
    x = np.linspace(-2, 2, 40)[:, np.newaxis]
    return x, np.sin(2 * x)


def start() -> Array:
    """θ of WAVE before training."""
    return WAVE.init(np.random.default_rng(0))


def forgetful_step(model: Any, loss: Any, optimizer: Any, x: Any, target: Any) -> Any:
    """torch's training step without its zero_grad: `backward` adds to the gradients that are there."""
    optimizer.zero_grad = lambda: None
    return torch_ref.training.step(model, loss, optimizer, x, target)


def judged(torch_step: Callable[..., Any]) -> Any:
    """The judge of three steps beside torch, with this step on torch's side."""
    model = torch_ref.models.mlp((1, 8, 1), nn.Tanh)
    return judge_training(WAVE, SQUARES, model, nn.MSELoss(), start(), [wave()] * 3, 0.1, torch_step=torch_step)


def torch_losses(torch_step: Callable[..., Any], steps: int = 150) -> list[float]:
    """The loss of each step of torch's training."""
    model = torch_ref.models.mlp((1, 8, 1), nn.Tanh).double()
    torch_ref.parameters.load(model, torch.from_numpy(start()))
    optimizer = optim.SGD(model.parameters(), 0.1)
    x, y = map(torch.from_numpy, wave())
    return [float(torch_step(model, nn.MSELoss(), optimizer, x, y).loss) for _ in range(steps)]


def not_zeroed() -> None:
    """Gradients that torch adds up, and what the judge says of them."""
    print("1. Gradients not zeroed: torch adds each backward pass to the gradients that are there.")
    print(f"   with it: {agreement(judged(torch_ref.training.step))}")
    found = judged(forgetful_step).disagreements
    print("   without it, from the second step on, in each of the parameters:")
    assert [d.tensor for d in found] == ["2.weight", "2.bias", "0.weight", "0.bias"]
    assert {d.step for d in found} == {1}
    (cause,) = {cause for d in found for cause in d.causes}
    print(f"     {', '.join(d.tensor for d in found)}: {cause}")
    piled, momentum = torch_losses(forgetful_step), losses(manual.SGD(momentum=1.0), 0.1, 150)
    zeroed = torch_losses(torch_ref.training.step)
    print("   The sum of all gradients so far is momentum that never fades, μ = 1: the loss dips early, and swings up")
    print(f"   again. It ends at {piled[-1]:.3f}, having been at {min(piled):.3f}; zeroed it ends at {zeroed[-1]:.3f}.")
    assert min(piled) < piled[-1] / 3
    assert min(piled) > zeroed[-1]
    assert cause == "torch's gradient still holds that of the previous step (zero_grad() is missing)"
    assert np.abs(np.subtract(piled, momentum)[:50]).max() < 1e-9


class Climbing(manual.SGD):
    """w ← w + η∇J."""

    def update(self, theta: Array, grad: Array, state: Any, learning_rate: float) -> tuple[Array, Any]:
        """θ, ∇ (size,) → θ one step uphill."""
        return theta + learning_rate * grad, state


def losses(rule: manual.Optimizer, learning_rate: float, steps: int) -> list[float]:
    """The loss of each step of this rule."""
    runs = epochs(WAVE, SQUARES, rule, start(), *wave(), 40, learning_rate)
    return [float(loss[0]) for _, loss in islice(runs, steps)]


def sign_flipped() -> None:
    """w + η∇ for w − η∇."""
    down, up = losses(manual.SGD(), 0.02, 30), losses(Climbing(), 0.02, 30)
    report = verdict(Climbing(), optim.SGD, theta=(6,))
    print("\n2. A sign flipped: w ← w + η∇J climbs.")
    print(f"   the loss in {len(up)} steps, from {down[0]:.3f}: {down[-1]:.3f} downhill, {up[-1]:.3f} uphill")
    print(f"   check says: {report.findings[0].phrases[0]}")
    assert sorted(down, reverse=True) == down
    assert sorted(up) == up
    assert report.findings[0].phrases == ("the sign of lr * g is wrong in 'θ = θ - lr * g' (step)",)


def no_bias() -> None:
    """A line that must go through the origin."""
    x = np.linspace(-1, 1, 21)[:, np.newaxis]
    y = 2 * x + 1
    found = {}
    for bias in (True, False):
        network = manual.Network((manual.Linear(1, 1, bias=bias),))
        theta = theta_after(100, epochs(network, SQUARES, manual.SGD(), np.zeros(network.size), x, y, 21, 0.5))
        found[bias] = theta, float(SQUARES.forward(network.predict(theta, x), y)[0])
    print("\n3. No bias: y = 2x + 1 for x from −1 to 1.")
    print(f"   with one:    w = {found[True][0][0]:.4f}, b = {found[True][0][1]:.4f}, loss {found[True][1]:.4f}")
    print(
        f"   without one: w = {found[False][0][0]:.4f},             loss {found[False][1]:.4f}: the 1, squared, stays"
    )
    assert f"{found[True][1]:.4f}" == "0.0000"
    assert f"{found[False][0][0]:.4f} {found[False][1]:.4f}" == "2.0000 1.0000"


def after_xor(theta: Array) -> tuple[Array, int]:
    """The hidden weights (3, 2) of 2-3-1 after 300 steps of Adam on XOR, from θ; and how many of the four are right."""
    network = manual.mlp((2, 3, 1), manual.Tanh())
    runs = epochs(network, manual.BinaryCrossEntropyWithLogits(), manual.Adam(), theta, *XOR, 4, 0.05)
    theta = theta_after(300, runs)
    right = (network.predict(theta, XOR[0]) > 0) == (XOR[1] > 0.5)
    return network.views(theta)[0]["weight"], int(right.sum())


def equal_units() -> None:
    """Weights that start at zero, or all at one number."""
    size = manual.mlp((2, 3, 1)).size
    print("\n4. Equal weights at the start: XOR, 2-3-1, tanh, 300 steps of Adam.")
    found = {
        "all 0": after_xor(np.zeros(size)),
        "all ½": after_xor(np.full(size, 0.5)),
        "random": after_xor(manual.mlp((2, 3, 1)).init(np.random.default_rng(0))),
    }
    for name, (weights, right) in found.items():
        rows = "; ".join(f"{row[0]:.2f}, {row[1]:.2f}" for row in weights)
        print(f"   {name:<7} {right} of 4 right; the weights of the three units: {rows}")
    print("   Units that start equal get equal gradients and stay equal: three units are worth one.")
    print("   From 0 the hidden layer never moves: δ W² and tanh 0 are 0, so only the last bias has a gradient.")
    assert (found["all 0"][0] == 0).all()
    assert np.ptp(found["all ½"][0], axis=0).max() < 1e-9
    assert max(found["all 0"][1], found["all ½"][1]) < 4
    assert found["random"][1] == 4


def counted() -> None:
    """13,002, layer by layer, on both sides."""
    sizes = (784, 16, 16, 10)
    network, model = manual.mlp(sizes), torch_ref.models.mlp(sizes)
    print("\n5. How many parameters has 784-16-16-10? Every unit has a weight for each input, and one bias.")
    total = 0
    for inputs, outputs in pairwise(sizes):
        count = inputs * outputs + outputs
        total += count
        print(f"   {inputs:>3} · {outputs} + {outputs} = {count:>6,}")
    theirs = sum(p.numel() for p in model.parameters())
    print(f"   together    {total:>6,}; the manual network has {network.size:,}, torch {theirs:,}")
    print("   without the biases it would be 12,960; the input layer has none, it is only the numbers that come in")
    assert total == network.size == theirs == 13002
    assert sum(a * b for a, b in pairwise(sizes)) == 12960


def plot(figure: Any) -> None:
    """The loss with gradients that pile up, and uphill."""
    left, right = figure.subplots(1, 2)
    left.plot(torch_losses(torch_ref.training.step), label="zeroed")
    left.plot(torch_losses(forgetful_step), label="not zeroed: they pile up")
    left.set(title="gradients zeroed or not, η = 0.1", xlabel="step", ylabel="loss", ylim=(0, 0.6))
    left.legend(loc="upper right")
    right.semilogy(losses(manual.SGD(), 0.02, 30), label="w ← w − η∇J")
    right.semilogy(losses(Climbing(), 0.02, 30), label="w ← w + η∇J")
    right.set(title="a sign flipped, η = 0.02", xlabel="step")
    right.legend(loc="upper left")


def main(folder: Path) -> None:
    """Run the lesson; its picture goes into `folder`."""
    not_zeroed()
    sign_flipped()
    no_bias()
    equal_units()
    counted()
    draw(folder / "traps.png", plot, width=9)


if __name__ == "__main__":
    main(Path("runs/lessons/traps"))
