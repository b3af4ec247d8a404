"""The hand-written network: its layout is torch's, its start is reproducible, and it changes nothing it is given."""

from __future__ import annotations

import inspect
import sys
from typing import Any

import numpy as np
import pytest

from handgrad import manual, torch_ref
from handgrad.compare.pairs import table as pairs
from handgrad.compare.run.experiment import Experiment
from handgrad.manual import initialization
from handgrad.manual.training import step

SIZES = (784, 16, 16, 10)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def frozen(x: np.ndarray) -> np.ndarray:
    """A copy that cannot be written to."""
    x = np.array(x)
    x.flags.writeable = False
    return x


# --- the layout -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [SIZES, (3, 2), (5, 1, 1, 4), (2, 7, 3, 9, 4, 6)])
def test_the_layout_is_that_of_torch(sizes: tuple[int, ...]) -> None:
    layout = manual.mlp(sizes).layout
    state = torch_ref.models.mlp(sizes).state_dict()
    assert list(layout) == list(state)
    assert [shape for _, shape in layout.values()] == [tuple(p.shape) for p in state.values()]
    ends = [0, *(where.stop for where, _ in layout.values())]
    assert [where.start for where, _ in layout.values()] == ends[:-1]  # one after the other, without a gap


def test_the_number_of_parameters() -> None:
    network = manual.mlp(SIZES)
    assert network.size == 784 * 16 + 16 + 16 * 16 + 16 + 16 * 10 + 10 == 13002
    assert network.init(rng()).shape == (13002,)
    assert list(network.layout) == ["0.weight", "0.bias", "2.weight", "2.bias", "4.weight", "4.bias"]


def test_an_output_activation_comes_last() -> None:
    network = manual.mlp((3, 4, 2), manual.Tanh(), manual.Sigmoid())
    assert [type(layer).__name__ for layer in network.layers] == ["Linear", "Tanh", "Linear", "Sigmoid"]


def test_a_layer_without_a_bias() -> None:
    network = manual.Network((manual.Linear(3, 4, bias=False), manual.ReLU(), manual.Linear(4, 2)))
    assert list(network.layout) == ["0.weight", "2.weight", "2.bias"]
    assert network.size == 12 + 8 + 2


def test_views_are_views() -> None:
    network = manual.mlp((3, 4, 2))
    theta = network.init(rng())
    views = network.views(theta)
    for i, name in ((0, "weight"), (0, "bias"), (2, "weight"), (2, "bias")):
        assert np.shares_memory(views[i][name], theta)
    views[2]["weight"][1, 3] = 42
    where, _ = network.layout["2.weight"]
    assert theta[where][1 * 4 + 3] == 42
    assert views[1] == {}


def test_a_network_without_parameters() -> None:
    network = manual.Network((manual.ReLU(), manual.Tanh()))
    assert network.size == 0
    assert network.init(rng()).shape == (0,)
    _, caches = network.forward(np.empty(0), np.ones((2, 3)))
    deltas, grad = network.backward(np.empty(0), caches, np.ones((2, 3)))
    assert grad.shape == (0,)
    assert len(deltas) == 2


def test_the_first_layer_s_input_gradient_is_not_asked_for() -> None:
    class NoInputGradient(manual.Linear):
        def input_gradient(self, params: Any, cache: Any, dy: Any) -> Any:
            raise AssertionError("nobody needs it")

    network = manual.Network((NoInputGradient(3, 4), manual.ReLU(), manual.Linear(4, 2)))
    theta = network.init(rng())
    outputs, caches = network.forward(theta, np.ones((5, 3)))
    deltas, grad = network.backward(theta, caches, np.ones((5, 2)))
    assert [d.shape for d in deltas] == [y.shape for y in outputs]
    assert grad.shape == theta.shape


# --- the start --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", pairs.INITIALIZATIONS)
def test_one_seed_is_one_network(name: str) -> None:
    network = manual.mlp(SIZES, initializer=pairs.INITIALIZATIONS[name]())
    theta = network.init(rng(5))
    assert theta.dtype == np.float64
    assert np.array_equal(theta, network.init(rng(5)))
    assert not np.array_equal(theta, network.init(rng(6)))
    single = network.init(rng(5), np.float32)
    assert single.dtype == np.float32
    assert np.array_equal(single, theta.astype(np.float32))  # one network in any dtype


def test_the_global_generator_plays_no_part() -> None:
    network = manual.mlp((3, 2))
    np.random.seed(1)
    first = network.init(rng())
    np.random.seed(2)
    assert np.array_equal(first, network.init(rng()))


@pytest.mark.parametrize(
    ("name", "limit", "variance"),
    [
        ("torch", 1 / 400**0.5, 1 / (3 * 400)),
        ("xavier-uniform", (6 / 700) ** 0.5, 2 / 700),
        ("xavier-normal", np.inf, 2 / 700),
        ("he-uniform", (6 / 400) ** 0.5, 2 / 400),
        ("he-normal", np.inf, 2 / 400),
    ],
)
def test_the_distribution_of_the_weights(name: str, limit: float, variance: float) -> None:
    layer = manual.Linear(400, 300, initializer=pairs.INITIALIZATIONS[name]())
    params = layer.init(rng(1))
    W = params["weight"]
    assert W.shape == (300, 400)
    assert np.abs(W).max() <= limit
    if np.isfinite(limit):
        assert np.abs(W).max() > 0.999 * limit
        assert np.mean(np.abs(W) < limit / 2) == pytest.approx(0.5, abs=0.01)
    assert W.var() == pytest.approx(variance, rel=0.02)
    assert abs(W.mean()) < 5 * (variance / W.size) ** 0.5
    bias = params["bias"]
    if name == "torch":
        assert 0.9 / 20 < np.abs(bias).max() <= 1 / 20
        assert len(set(bias)) == 300
    else:
        assert not bias.any()


def test_the_default_is_the_distribution_of_torch() -> None:
    import torch

    torch.manual_seed(0)
    theirs = torch.nn.Linear(784, 500)
    ours = manual.Linear(784, 500).init(rng())
    for name, p in theirs.named_parameters():
        a, b = np.sort(ours[name].ravel()), np.sort(p.detach().numpy().ravel())
        assert np.abs(a - b).max() < 0.1 / 28  # the same quantiles, of U(−1/28, 1/28)


def test_every_initializer_is_on_the_table() -> None:
    functions = {
        f
        for name, f in inspect.getmembers(initialization, inspect.isfunction)
        if f.__module__ == initialization.__name__
    }
    assert {make() for make in pairs.INITIALIZATIONS.values()} == functions


# --- stable, and silent (a warning is an error under pytest) --------------------------------------------------------


EXTREMES = [0.0, -0.0, 1e-300, -1e-300, 1.0, -1.0, 30.0, -30.0, 1000.0, -1000.0, 1e8, -1e8]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", pairs.ACTIVATIONS)
def test_activations_are_finite_everywhere(name: str, dtype: type) -> None:
    layer = pairs.ACTIVATIONS[name].manual()
    z = frozen(np.array([[1000.0, -1000.0, 100.0, -100.0, 0.0, -0.0, 30.0, 1e-30]], dtype))
    a, cache = layer.forward({}, z)
    dz = layer.input_gradient({}, cache, frozen(np.ones_like(z)))
    for x in (a, dz):
        assert x.dtype == dtype
        assert x.shape == z.shape
        assert np.isfinite(x).all()
    if name == "sigmoid":
        assert (a[0, 0], a[0, 4], dz[0, 4]) == (1, 0.5, 0.25)
        assert 0 <= a[0, 1] < 1e-30
    if name == "tanh":
        assert (a[0, 0], a[0, 1], dz[0, 4]) == (1, -1, 1)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", pairs.LOSSES)
def test_losses_are_finite_everywhere(name: str, dtype: type) -> None:
    pair = pairs.LOSSES[name]
    z = np.array([[1000.0, -1000.0, 0.0], [-1000.0, -1000.0, -1000.0], [1000.0, 1000.0, 1000.0]], dtype)
    if pair.output:
        z = pairs.ACTIVATIONS[pair.output].manual().forward({}, z)[0]
    for label in range(3):
        labels = np.full(3, label)
        target = labels if pair.target == "class" else (labels[:, np.newaxis] == np.arange(3)).astype(dtype)
        J, cache = pair.manual().forward(frozen(z), frozen(target))
        gradient = pair.manual().gradient(cache)
        assert np.shape(J) == ()
        assert J.dtype == gradient.dtype == dtype
        assert gradient.shape == z.shape
        assert np.isfinite(J)
        assert np.isfinite(gradient).all()


def test_cross_entropy_at_a_thousand() -> None:
    J, cache = manual.SoftmaxCrossEntropy().forward(np.array([[1000.0, -1000.0]]), np.array([1]))
    assert J == 2000
    assert np.array_equal(manual.SoftmaxCrossEntropy().gradient(cache), [[1, -1]])
    J, _ = manual.BinaryCrossEntropyWithLogits().forward(np.array([[-1000.0]]), np.array([[1.0]]))
    assert J == 1000
    J, _ = manual.BinaryCrossEntropy().forward(np.array([[0.0, 1.0]]), np.array([[1.0, 0.0]]))
    assert J == 100  # the logarithm is cut off there, as torch cuts it off


# --- nothing that comes in is changed -------------------------------------------------------------------------------


OPTIONS: list[tuple[str, dict[str, Any]]] = [
    ("sgd", {}),
    ("sgd", {"momentum": 0.9, "dampening": 0.1, "weight_decay": 0.1}),
    ("sgd", {"momentum": 0.9, "nesterov": True}),
    ("adam", {"weight_decay": 0.1}),
    ("adamw", {}),
    ("rmsprop", {"centered": True, "momentum": 0.9, "weight_decay": 0.1}),
]


@pytest.mark.parametrize(("optimizer", "options"), OPTIONS)
@pytest.mark.parametrize("loss", pairs.LOSSES)
@pytest.mark.parametrize("activation", pairs.ACTIVATIONS)
def test_a_step_runs_on_arrays_that_cannot_be_written(
    activation: str, loss: str, optimizer: str, options: dict[str, Any]
) -> None:
    pair = pairs.LOSSES[loss]
    output = pairs.ACTIVATIONS[pair.output].manual() if pair.output else None
    network = manual.mlp((6, 5, 4), pairs.ACTIVATIONS[activation].manual(), output)
    rule = Experiment(optimizer=optimizer, optimizer_options=options).rule()
    theta = frozen(network.init(rng()))
    x, labels = frozen(rng(1).normal(size=(3, 6))), rng(2).integers(0, 4, 3)
    target = frozen(labels if pair.target == "class" else (labels[:, np.newaxis] == np.arange(4)).astype(float))
    state = rule.init(theta)
    before = theta.copy()
    for _ in range(3):
        state = {k: frozen(v) if isinstance(v, np.ndarray) else v for k, v in state.items()}
        kept = dict(state)
        record = step(network, pair.manual(), rule, theta, state, x, target, 0.01)
        assert state == kept or all(state[k] is kept[k] for k in kept)
        assert not np.shares_memory(record.theta, theta)
        assert record.theta.shape == record.grad.shape == theta.shape
        assert [d.shape for d in record.deltas] == [y.shape for y in record.outputs]
        theta, state = frozen(record.theta), record.state
    assert not np.array_equal(theta, before)


def test_two_steps_from_the_same_start_are_the_same() -> None:
    """Nothing is kept anywhere: the step is a function."""
    network, rule, loss = manual.mlp((6, 5, 4)), manual.Adam(), manual.SoftmaxCrossEntropy()
    theta = network.init(rng())
    state = rule.init(theta)
    arguments = (network, loss, rule, theta, state, rng(1).normal(size=(3, 6)), np.array([0, 1, 2]), 0.01)
    a, b = step(*arguments), step(*arguments)
    assert np.array_equal(a.theta, b.theta)
    assert np.array_equal(a.grad, b.grad)
    assert (a.state["step"], b.state["step"], state["step"]) == (1, 1, 0)


def test_layers_hold_nothing() -> None:
    with pytest.raises(AttributeError):
        manual.Linear(3, 2).weight = 1  # type: ignore[attr-defined]
    assert manual.Linear(3, 2) == manual.Linear(3, 2)
    assert "torch" not in vars(sys.modules["handgrad.manual"])
