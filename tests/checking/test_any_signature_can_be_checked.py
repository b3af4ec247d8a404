"""What people have goes in as it is: inputs by name, several outputs, integers, complex numbers, objects with state.

Each kind has a right derivation, which agrees, and a planted fault, which is found in the tensor where it is.
"""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from handgrad import UsageError, check, constant, indices, mask, stateful
from handgrad.compare.checking.findings import Report


def softmax(z: Any) -> Any:
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def attend(q: Any, k: Any, v: Any) -> Any:
    p = softmax(q @ np.swapaxes(k, -1, -2) / np.sqrt(q.shape[-1]))
    return p @ v, (q, k, v, p)


def attend_back(scale: float) -> Any:
    def backward(dy: Any, cache: Any) -> Any:
        q, k, v, p = cache
        dp = dy @ np.swapaxes(v, -1, -2)
        ds = p * (dp - (dp * p).sum(-1, keepdims=True)) / np.sqrt(q.shape[-1])
        return ds @ k, scale * np.swapaxes(ds, -1, -2) @ q, np.swapaxes(p, -1, -2) @ dy

    return backward


def look_up_back(add: bool) -> Any:
    def backward(dy: Any, ids: Any, table: Any) -> Any:
        g = np.zeros_like(table)
        if add:
            np.add.at(g, ids, dy)
        else:
            g[ids] = dy  # a repeated index overwrites
        return {"table": g}

    return backward


def masked(x: Any, keep: Any) -> Any:
    return np.where(keep, x, 0.0)


def gate(x: Any, h: Any) -> Any:
    """Two outputs, y and the next state."""
    s = 1 / (1 + np.exp(-(x + h)))
    return (s * h, s), (h, s)


def gate_back(lost: bool) -> Any:
    def backward(dy: Any, ds: Any, cache: Any) -> Any:
        h, s = cache
        dz = ((0 if lost else 1) * ds + dy * h) * s * (1 - s)
        return dz, dz + dy * s

    return backward


Moments = namedtuple("Moments", "mean square")


@dataclass(frozen=True)
class Kind:
    """A derivation that is right, one that is wrong in `tensor`, and what is given to check."""

    right: Any
    wrong: Any
    reference: Any
    tensor: str
    options: dict[str, Any]


def gate_of_torch(x: Any, h: Any) -> Any:
    s = torch.sigmoid(x + h)
    return s * h, s


def gate_by_name(x: Any, h: Any) -> Any:
    y, s = gate_of_torch(x, h)
    return {"y": y, "state": {"s": s}}


def by_name(x: Any, h: Any) -> Any:
    (y, s), cache = gate(x, h)
    return {"y": y, "state": {"s": s}}, cache


def by_name_back(lost: bool) -> Any:
    back = gate_back(lost)
    return lambda dy, cache: dict(zip(("x", "h"), back(dy["y"], dy["state"]["s"], cache), strict=True))


class Linear:
    """As most libraries write it: state in the object, gradients as attributes."""

    def __init__(self, rows: int, columns: int, wrong: bool = False) -> None:
        self.W, self.b, self.wrong = np.zeros((rows, columns)), np.zeros(columns), wrong

    def forward(self, x: Any) -> Any:
        self.x = x
        return x @ self.W + self.b

    def backward(self, dy: Any) -> Any:
        self.dW, self.db = self.x.T @ dy, dy.mean(0) if self.wrong else dy.sum(0)
        return dy @ self.W.T


class Nested:
    """Parameters in a dictionary, gradients in another, other names for the passes."""

    def __init__(self, wrong: bool = False) -> None:
        self.params, self.grads, self.wrong = {"g": np.ones(4)}, {"g": None}, wrong

    def __call__(self, x: Any) -> Any:
        self.x = x
        return x * self.params["g"]

    def back(self, dy: Any) -> Any:
        self.grads["g"] = (dy * self.x).sum(0)
        return dy if self.wrong else dy * self.params["g"]


class BatchNorm:
    """Running statistics are outputs, too."""

    def __init__(self, wrong: bool = False) -> None:
        self.mean, self.var, self.wrong = np.zeros(4), np.ones(4), wrong

    def forward(self, x: Any) -> Any:
        m, v = x.mean(0), x.var(0)
        unbiased = v if self.wrong else v * len(x) / (len(x) - 1)
        self.running_mean, self.running_var = 0.9 * self.mean + 0.1 * m, 0.9 * self.var + 0.1 * unbiased
        self.r = 1 / np.sqrt(v + 1e-5)
        self.xh = (x - m) * self.r
        return self.xh

    def backward(self, dy: Any) -> Any:
        return self.r * (dy - dy.mean(0) - self.xh * (dy * self.xh).mean(0))


ATTENTION = {"inputs": {"q": ("b", "s", 8), "k": ("b", "t", 8), "v": ("b", "t", 6)}}
KINDS: dict[str, Kind] = {
    "several inputs, named sizes": Kind(
        (attend, attend_back(1.0)),
        (attend, attend_back(2.0)),
        functional.scaled_dot_product_attention,
        "gradient of k",
        ATTENTION,
    ),
    "indices": Kind(
        (lambda ids, table: table[ids], look_up_back(True)),
        (lambda ids, table: table[ids], look_up_back(False)),
        functional.embedding,
        "gradient of table",
        {"inputs": {"ids": indices("v", ("b", "t")), "table": ("v", 4)}},
    ),
    "a mask": Kind(
        (masked, lambda dy, x, keep: dy * keep),
        (masked, lambda dy, x, keep: dy),
        lambda x, keep: torch.where(keep, x, 0.0),
        "input gradient",
        {"inputs": {"x": ("n", 5), "keep": mask(("n", 5))}},
    ),
    "an array of integers": Kind(
        (lambda x, i: x[:, i], lambda dy, x, i: np.add.reduce([np.eye(5)[:, k] * dy[:, [j]] for j, k in enumerate(i)])),
        (lambda x, i: x[:, i], lambda dy, x, i: dy @ (np.arange(5) == i[:, None]) * 2.0),
        lambda x, i: x[:, i],
        "input gradient",
        {"inputs": {"x": ("n", 5), "i": np.array([3, 0, 3])}},
    ),
    "a constant of floats": Kind(
        (lambda x, w: x * w, lambda dy, x, w: dy * w),
        (lambda x, w: x * w, lambda dy, x, w: dy),
        lambda x, w: x * w,
        "input gradient",
        {"inputs": {"x": ("n", 5), "w": constant((5,))}},
    ),
    "two outputs, one δ each": Kind(
        (gate, gate_back(False)),
        (gate, gate_back(True)),
        gate_of_torch,
        "gradient of h",
        {"inputs": {"x": ("n", 3), "h": ("n", 3)}},
    ),
    "outputs in a dictionary": Kind(
        (by_name, by_name_back(False)),
        (by_name, by_name_back(True)),
        gate_by_name,
        "input gradient",
        {"inputs": {"x": ("n", 3), "h": ("n", 3)}},
    ),
    "a named tuple": Kind(
        (lambda x: (x.mean(0), x**2), lambda dy, x: dy[0] / len(x) + 2 * x * dy[1]),
        (lambda x: (x.mean(0), x**2), lambda dy, x: dy[0] + 2 * x * dy[1]),
        lambda x: Moments(x.mean(0), x**2),
        "input gradient",
        {"x": (4, 3)},
    ),
    "complex numbers": Kind(
        (lambda z, w: z * w, lambda dy, z, w: (dy * np.conj(w), dy * np.conj(z))),
        (lambda z, w: z * w, lambda dy, z, w: (dy * np.conj(w), dy * z)),
        torch.mul,
        "gradient of w",
        {"inputs": {"z": ("n", 3), "w": ("n", 3)}, "dtype": "complex128"},
    ),
    "complex to real": Kind(
        (lambda z: np.abs(z) ** 2, lambda dy, z: 2 * dy * z),
        (lambda z: np.abs(z) ** 2, lambda dy, z: 2 * dy * np.conj(z)),
        lambda z: torch.abs(z) ** 2,
        "gradient of z",
        {"inputs": {"z": lambda rng: rng.normal(size=(3, 4)) + 1j * rng.normal(size=(3, 4))}},
    ),
    "an object with state": Kind(
        stateful(lambda: Linear(4, 3), {"W": "dW", "b": "db"}),
        stateful(lambda: Linear(4, 3, wrong=True), {"W": "dW", "b": "db"}),
        lambda x, W, b: x @ W + b,
        "gradient of b",
        {"x": (4, 4)},
    ),
    "state in dictionaries, other names": Kind(
        stateful(Nested, {"params.g": "grads.g"}, forward="__call__", backward="back"),
        stateful(lambda: Nested(wrong=True), {"params.g": "grads.g"}, forward="__call__", backward="back"),
        lambda x, **params: x * params["params.g"],
        "input gradient",
        {"inputs": {"x": ("n", 4)}},
    ),
    "running statistics of a module": Kind(
        stateful(BatchNorm, state=["running_mean", "running_var"]),
        stateful(lambda: BatchNorm(wrong=True), state=["running_mean", "running_var"]),
        nn.BatchNorm1d(4, affine=False),
        "output running_var",
        {"inputs": {"x": ("n", 4)}},
    ),
    "one function of J and its gradients": Kind(
        lambda a, b: (((a - b) ** 2).sum(), (2 * (a - b), -2 * (a - b))),
        lambda a, b: (((a - b) ** 2).sum(), (2 * (a - b), 2 * (a - b))),
        lambda a, b: ((a - b) ** 2).sum(),
        "gradient of b",
        {"inputs": {"a": ("n", 3), "b": ("n", 3)}},
    ),
    "a module's parameters": Kind(
        (lambda x, weight, bias: x @ weight.T + bias, lambda dy, x, weight, bias: (dy @ weight, dy.T @ x, dy.sum(0))),
        (lambda x, weight, bias: x @ weight.T + bias, lambda dy, x, weight, bias: (dy @ weight, dy.T @ x, dy[0])),
        nn.Linear(4, 3),
        "gradient of bias",
        {"x": (5, 4), "params": nn.Linear(4, 3).state_dict()},
    ),
    "a square matrix by x alone": Kind(
        (np.linalg.inv, lambda dy, x: -np.linalg.inv(x).T @ dy @ np.linalg.inv(x).T),
        (np.linalg.inv, lambda dy, x: -np.linalg.inv(x) @ dy @ np.linalg.inv(x)),
        torch.linalg.inv,
        "input gradient",
        {"x": (3, 3)},
    ),
}


def checked(ours: Any, kind: Kind, **more: Any) -> Report:
    return check(ours, kind.reference, **kind.options, **more, raises=False)


@pytest.mark.parametrize("name", KINDS)
def test_what_is_right_agrees(name: str) -> None:
    report = checked(KINDS[name].right, KINDS[name])
    assert report.agrees, str(report)


@pytest.mark.parametrize("name", KINDS)
def test_a_fault_is_found_where_it_is(name: str) -> None:
    kind = KINDS[name]
    report = checked(kind.wrong, kind)
    differ = {f.tensor for f in report.findings if not f.agrees}
    assert kind.tensor in differ, str(report)
    assert not any(t.startswith("output") for t in differ - {kind.tensor}), str(report)
    assert str(report)


def test_every_output_gets_a_gradient_alone() -> None:
    """What is wrong only where nothing comes from the other output is seen, too."""

    def backward(dy: Any, ds: Any, cache: Any) -> Any:
        return gate_back(not dy.any())(dy, ds, cache)

    report = check((gate, backward), gate_of_torch, inputs={"x": ("n", 3), "h": ("n", 3)}, raises=False)
    assert not report.agrees
    assert any("alone" in f.draw for f in report.findings if not f.agrees)


def test_named_sizes_move_together_and_differ() -> None:
    seen = []

    def forward(a: Any, b: Any) -> Any:
        seen.append((a.shape, b.shape))
        return a @ b

    check(
        (forward, lambda dy, a, b: (dy @ b.T, a.T @ dy)), torch.matmul, inputs={"a": ("n", "k"), "b": ("k", "m")}
    )  # fmt: skip
    sizes = {(*a, b[1]) for a, b in seen if a[1] == b[0]}
    assert len(sizes) > 1
    assert all(len(set(s)) == 3 and 1 not in s for s in sizes)


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
