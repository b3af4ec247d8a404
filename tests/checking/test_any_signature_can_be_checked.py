"""What people have goes in as it is: inputs by name, several outputs, integers, complex numbers, objects with state.

Each kind has a right derivation, which agrees, and a planted fault, which is found in the tensor where it is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from handgrad import UsageError, check, stateful
from handgrad.compare.checking.findings import Report
from tests.derivations.forms import ATTENTION, FUNCTIONS, Form, Linear, attend, gate, gate_back, gate_of_torch


def checked(ours: Any, form: Form, **more: Any) -> Report:
    return check(ours, form.reference, **form.options, **more, raises=False)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_is_right_agrees(name: str) -> None:
    report = checked(FUNCTIONS[name].right, FUNCTIONS[name])
    assert report.agrees, str(report)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_fault_is_found_where_it_is(name: str) -> None:
    form = FUNCTIONS[name]
    report = checked(form.wrong, form)
    differ = {f.tensor for f in report.findings if f.differs}
    assert form.tensor in differ, str(report)
    assert not any(t.startswith("output") for t in differ - {form.tensor}), str(report)
    assert str(report)


@pytest.mark.parametrize(
    ("backward", "cause"),
    [
        (lambda dy, z: dy * 2 * z, "conj is left out of the derivative"),
        (lambda dy, z: np.conj(dy) * 2 * z, "the whole gradient is conjugated"),
        (lambda dy, z: np.conj(dy * 2 * z), "the upstream gradient is conjugated"),
        (lambda dy, z: dy * np.conj(z), "a factor"),
    ],
)
def test_a_conjugate_is_named(backward: Any, cause: str) -> None:
    report = check((lambda z: z * z, backward), lambda z: z * z, x=(4, 3), dtype="complex128", raises=False)
    assert any(cause in said for said in report.causes), str(report)


def test_every_output_gets_a_gradient_alone() -> None:
    """What is wrong only where nothing comes from the other output is seen, too."""

    def backward(dy: Any, ds: Any, cache: Any) -> Any:
        return gate_back(not dy.any())(dy, ds, cache)

    report = check((gate, backward), gate_of_torch, inputs={"x": ("n", 3), "h": ("n", 3)}, raises=False)
    assert not report.agrees
    assert any("alone" in f.draw for f in report.findings if f.differs)


def test_named_sizes_move_together_and_differ() -> None:
    seen = []

    def forward(a: Any, b: Any) -> Any:
        seen.append((a.shape, b.shape))
        return a @ b

    check(
        (forward, lambda dy, a, b: (dy @ b.T, a.T @ dy)), torch.matmul, inputs={"a": ("n", "k"), "b": ("k", "m")}
    )  # fmt: skip
    sizes = {(*a, b[1]) for a, b in seen if a[1] == b[0]}
    assert sum(len(set(s)) == 3 and 1 not in s for s in sizes) > 1


class Affine:
    def __init__(self, W: Any, b: Any) -> None:
        self.W, self.b = W, b

    def forward(self, x: Any) -> Any:
        self.x = x
        return x @ self.W + self.b

    def backward(self, dy: Any) -> Any:
        self.dW, self.db = self.x.T @ dy, dy.sum(0)
        return dy @ self.W.T


class BookNet:
    """The parameters stand in a dictionary, and each layer has its own name for them."""

    def __init__(self, wrong: bool = False) -> None:
        self.params = {"W1": np.ones((3, 5)), "b1": np.zeros(5), "W2": np.ones((5, 2)), "b2": np.zeros(2)}
        self.layers = [Affine(self.params["W1"], self.params["b1"]), Affine(self.params["W2"], self.params["b2"])]
        self.wrong = wrong

    def predict(self, x: Any) -> Any:
        self.h = self.layers[0].forward(x)
        return self.layers[1].forward(np.tanh(self.h))

    def gradient(self, dy: Any) -> Any:
        dh = self.layers[1].backward(dy) * (1 if self.wrong else 1 - np.tanh(self.h) ** 2)
        dx = self.layers[0].backward(dh)
        self.grads = {f"{n}{i + 1}": getattr(layer, f"d{n}") for i, layer in enumerate(self.layers) for n in "Wb"}
        return dx


@pytest.mark.parametrize("wrong", [False, True])
def test_layers_that_share_the_parameters_of_a_network_get_them(wrong: bool) -> None:
    net = stateful(
        lambda: BookNet(wrong), {f"params.{k}": f"grads.{k}" for k in ("W1", "b1", "W2", "b2")},
        forward="predict", backward="gradient",
    )  # fmt: skip

    def reference(x: Any, W1: Any, b1: Any, W2: Any, b2: Any) -> Any:
        return torch.tanh(x @ W1 + b1) @ W2 + b2

    report = check(net, reference, x=(4, 3), raises=False)
    assert {f.tensor for f in report.findings if f.differs} == (
        {"input gradient", "gradient of W1", "gradient of b1"} if wrong else set()
    ), str(report)


class Averages:
    def __init__(self, wrong: bool) -> None:
        self.wrong = wrong

    def forward(self, x: Any) -> Any:
        self.mean = 0.1 * x.mean(0)
        return 2 * x

    def backward(self, dy: Any) -> Any:
        self.mean = self.mean * (5 if self.wrong else 1)
        return 2 * dy


@pytest.mark.parametrize("wrong", [False, True])
def test_state_has_no_upstream_gradient_and_is_read_after_the_backward_pass(wrong: bool) -> None:
    report = check(
        stateful(lambda: Averages(wrong), state=["mean"]),
        lambda x: {"output": 2 * x, "mean": 0.1 * x.mean(0)},
        x=(4, 3),
        raises=False,
    )
    assert {f.tensor for f in report.findings if f.differs} == ({"output mean"} if wrong else set()), str(report)


@pytest.mark.parametrize("off", [0, 1])
def test_outputs_of_whole_numbers_are_compared(off: int) -> None:
    def largest(x: Any) -> Any:
        return x.max(1), x.argmax(1) + off

    def back(dy: Any, x: Any) -> Any:
        return dy[:, None] * (np.arange(3) == x.argmax(1)[:, None])

    report = check((largest, back), lambda x: tuple(x.max(1)), x=(4, 3), raises=False)
    assert {f.tensor for f in report.findings if f.differs} == ({"output 1"} if off else set()), str(report)


def test_upstream_gradients_go_by_name_where_backward_has_the_names() -> None:
    ours = (lambda x: {"a": 2 * x, "b": 3 * x}, lambda a, b, x: 2 * a + 3 * b)
    assert check(ours, lambda x: {"b": 3 * x, "a": 2 * x}, x=(4, 3))


def test_a_guard_that_writes_nothing_new_is_no_fault() -> None:
    def forward(x: Any) -> Any:
        x[np.isnan(x)] = 0.0
        return 2 * x

    report = check((forward, lambda dy, x: 2 * dy), lambda x: 2 * x, x=(4, 3))
    assert report.notes == ()


REFUSED = {
    "a third output": (
        lambda: check((lambda x: (x * x, x, "lost"), lambda dy, x: 2 * x * dy), lambda x: x * x, x=(2, 3)),
        "forward must return what the reference does, one array, or that and a cache, got a tuple of 3",
    ),
    "one output of two": (
        lambda: check((lambda x: x, lambda dy, x: dy), lambda x: (x, x), x=(2, 3)),
        "forward must return what the reference does, a tuple of 0, 1, and after it a cache",
    ),
    "too few gradients": (
        lambda: check((attend, lambda dy, c: (dy, dy)), functional.scaled_dot_product_attention, **ATTENTION),
        "backward must return a gradient for each of q, k, v, in this order or by name, got 2",
    ),
    "an object that exists": (
        lambda: check(Linear(4, 3), lambda x: x, x=(2, 4)),
        "must be made anew for every evaluation, but got one that exists: write stateful(lambda: Linear(…)",
    ),
    "a stateful object that exists": (
        lambda: stateful(Linear(4, 3)),  # type: ignore[arg-type]
        "stateful takes a function that makes the layer anew, got a Linear: write lambda: Linear(…)",
    ),
    "no such attribute": (
        lambda: check(stateful(lambda: Linear(4, 3), {"V": "dV"}), lambda x, V: x, x=(2, 4)),
        "V must be an attribute of the layer, but Linear has no V: name another",
    ),
    "no inputs": (lambda: check((attend, attend), torch.relu, inputs={}), "inputs must have at least one input"),
    "a wrong name of a size": (
        lambda: check((np.abs, np.abs), torch.abs, inputs={"x": ("n m", 2)}),
        "a size must be a whole number or a name such as 'n', got 'n m'",
    ),
    "δ of one of two": (
        lambda: check((gate, gate_back(False)), gate_of_torch, inputs={"x": ("n", 3), "h": ("n", 3)}, dy={"2": 1.0}),
        "dy must have one array for each of 0, 1: give a dictionary, or a tuple of 2",
    ),
    "state that the reference does not return": (
        lambda: check(stateful(lambda: Averages(False), state=["mean"]), lambda x: 2 * x, x=(4, 3)),
        "the reference must return what state= names, mean, got output",
    ),
    "a factory that raises": (
        lambda: check(stateful(lambda: 1 / 0), torch.abs, x=(2,)),
        "the layer must be made by its function, but that raises ZeroDivisionError",
    ),
    "gradients without one number": (
        lambda: check(lambda a: (a * a, 2 * a), lambda a: a * a, inputs={"a": ("n", 3)}),
        "one function alone, which returns (J, gradients), must have a single number J",
    ),
}


@pytest.mark.parametrize("row", REFUSED)
def test_what_is_ambiguous_is_refused_in_a_sentence(row: str) -> None:
    call, says = REFUSED[row]
    with pytest.raises(UsageError) as problem:
        call()
    assert says in str(problem.value)
    assert "\n" not in str(problem.value)
