"""Parameters and optimizer state go to flat vectors and back without losing a bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn, optim

from handgrad import manual
from handgrad.torch_ref import parameters
from handgrad.torch_ref.models import mlp
from handgrad.torch_ref.training import step

OPTIMIZERS: dict[str, Any] = {
    "sgd": lambda p: optim.SGD(p, lr=0.1),
    "sgd momentum": lambda p: optim.SGD(p, lr=0.1, momentum=0.9),
    "sgd nesterov": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    "adam": lambda p: optim.Adam(p, lr=0.01),
    "adamw": lambda p: optim.AdamW(p, lr=0.01),
    "rmsprop": lambda p: optim.RMSprop(p, lr=0.01),
    "rmsprop centered momentum": lambda p: optim.RMSprop(p, lr=0.01, centered=True, momentum=0.9),
}
NAMES = {
    "sgd": set(),
    "sgd momentum": {"momentum_buffer"},
    "sgd nesterov": {"momentum_buffer"},
    "adam": {"step", "exp_avg", "exp_avg_sq"},
    "adamw": {"step", "exp_avg", "exp_avg_sq"},
    "rmsprop": {"step", "square_avg"},
    "rmsprop centered momentum": {"step", "square_avg", "grad_avg", "momentum_buffer"},
}


def model(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return mlp((7, 5, 5, 3), nn.Tanh).double()


def batch(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(seed)
    return torch.randn(6, 7, dtype=torch.float64), torch.randint(0, 3, (6,))


def steps(net: nn.Sequential, optimizer: optim.Optimizer, seeds: range) -> None:
    for seed in seeds:
        step(net, nn.CrossEntropyLoss(), optimizer, *batch(seed))


def test_flat_is_in_the_order_of_parameters_and_a_copy() -> None:
    net = model(0)
    theta = parameters.flat(net)
    assert theta.shape == (7 * 5 + 5 + 5 * 5 + 5 + 5 * 3 + 3,)
    assert torch.equal(theta[:35].reshape(5, 7), net[0].weight)
    assert torch.equal(theta[35:40], net[0].bias)
    assert torch.equal(theta[-3:], net[4].bias)
    theta.zero_()
    assert bool(net[0].weight.abs().sum() > 0)


def test_load_undoes_flat() -> None:
    net, other = model(0), model(1)
    places = [p.data_ptr() for p in other.parameters()]
    theta = parameters.flat(net)
    parameters.load(other, theta)
    assert torch.equal(parameters.flat(other), theta)
    assert [p.data_ptr() for p in other.parameters()] == places  # so that an optimizer keeps its hold on them
    theta.zero_()
    assert bool(parameters.flat(other).abs().sum() > 0)


def test_a_theta_loaded_in_another_order_would_be_noticed() -> None:
    net, other = model(0), model(1)
    parameters.load(other, parameters.flat(net).flip(0))
    assert not torch.equal(parameters.flat(other), parameters.flat(net))


@pytest.mark.parametrize("wrong", [(0,), (87,), (89,), (88, 1), ()])
def test_load_takes_one_number_per_parameter(wrong: tuple[int, ...]) -> None:
    net = model(0)
    before = parameters.flat(net)
    message = rf"θ must have shape \(88,\), one number per parameter, got \({', '.join(map(str, wrong))}"
    with pytest.raises(ValueError, match=message):
        parameters.load(net, torch.zeros(wrong, dtype=torch.float64))
    assert torch.equal(parameters.flat(net), before)


def test_the_manual_theta_gives_the_same_function() -> None:
    ours = manual.mlp((7, 5, 5, 3), manual.Tanh())
    theta = ours.init(np.random.default_rng(3))
    net = model(0)
    parameters.load(net, torch.from_numpy(theta))
    x, _ = batch(0)
    np.testing.assert_allclose(net(x).detach().numpy(), ours.predict(theta, x.numpy()), rtol=1e-13, atol=1e-15)
    assert list(net.state_dict()) == list(ours.layout)


def test_flat_grad_is_in_the_same_order() -> None:
    net = model(0)
    record = step(net, nn.CrossEntropyLoss(), optim.SGD(net.parameters(), lr=0.0), *batch(0))
    assert torch.equal(record.grad[:35].reshape(5, 7), net[0].weight.grad)
    assert torch.equal(record.grad[-3:], net[4].bias.grad)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_state_goes_out_and_back(name: str) -> None:
    """Five steps, the state taken out and put into a new optimizer, five more: the same as ten in a row."""
    straight, halves = model(0), model(0)
    optimizer = OPTIMIZERS[name](straight.parameters())
    steps(straight, optimizer, range(10))

    first = OPTIMIZERS[name](halves.parameters())
    steps(halves, first, range(5))
    state = parameters.flat_state(first)
    assert set(state) == NAMES[name]
    assert all(v == 5 if k == "step" else v.shape == (88,) for k, v in state.items())
    other = model(9)
    parameters.load(other, parameters.flat(halves))
    second = OPTIMIZERS[name](other.parameters())
    parameters.load_state(second, state)
    steps(other, second, range(5, 10))

    assert torch.equal(parameters.flat(other), parameters.flat(straight))
    ours, theirs = parameters.flat_state(second), parameters.flat_state(optimizer)
    assert set(ours) == set(theirs)
    for key, value in ours.items():
        assert value == theirs[key] if key == "step" else torch.equal(value, theirs[key])


@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if name != "sgd"])
def test_a_state_that_is_forgotten_would_be_noticed(name: str) -> None:
    straight, halves = model(0), model(0)
    steps(straight, OPTIMIZERS[name](straight.parameters()), range(10))
    steps(halves, OPTIMIZERS[name](halves.parameters()), range(5))
    steps(halves, OPTIMIZERS[name](halves.parameters()), range(5, 10))
    assert not torch.equal(parameters.flat(halves), parameters.flat(straight))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_state_is_a_copy(name: str) -> None:
    net = model(0)
    optimizer = OPTIMIZERS[name](net.parameters())
    assert parameters.flat_state(optimizer) == {}
    steps(net, optimizer, range(2))
    before = parameters.flat_state(optimizer)
    kept = {k: v if k == "step" else v.clone() for k, v in before.items()}
    steps(net, optimizer, range(2, 4))
    assert all(v == kept[k] if k == "step" else torch.equal(v, kept[k]) for k, v in before.items())


def test_the_record_of_a_step_is_not_changed_by_later_steps() -> None:
    net = model(0)
    optimizer = OPTIMIZERS["adam"](net.parameters())
    record = step(net, nn.CrossEntropyLoss(), optimizer, *batch(0))
    tensors = [*record.outputs, record.loss, *record.deltas, record.grad, record.theta, record.state["exp_avg"]]
    kept = [t.clone() for t in tensors]
    steps(net, optimizer, range(1, 4))
    assert all(torch.equal(a, b) for a, b in zip(tensors, kept, strict=True))
    assert len(record.outputs) == len(record.deltas) == 5
    assert [t.shape for t in record.outputs] == [t.shape for t in record.deltas]
