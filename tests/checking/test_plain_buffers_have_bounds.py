"""The NumPy that people write has rounding bounds: filled buffers, np.asarray, loops of numbers, helpers, classes.

A right derivation agrees by its bound, and a factor 1 + 1e-11 differs, which no other tolerance sees.
"""

from __future__ import annotations

import abc
import functools
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from numpy import zeros as fresh
from torch import nn

from handgrad import check
from handgrad.compare.checking.evaluate import evaluate
from handgrad.compare.checking.findings import Report
from handgrad.compare.judge.agreement import BOUND, TWO_PRECISION
from handgrad.compare.judge.calls import CallSides
from handgrad.compare.judge.derivations import Functions
from handgrad.compare.judge.rebuilt_code import Translator
from handgrad.compare.judge.translated import on_bounds, with_stand_ins
from handgrad.compare.rounding.bounded import Bounded, Precision
from handgrad.compare.rounding.stand_ins import stand_ins

P = Precision.of(np.float64)


def report(*args: Any, **options: Any) -> Report:
    return check(*args, **options, raises=False)


def bounded_and_sharp(make: Callable[[float], Any], reference: Any, **options: Any) -> None:
    """`make(factor)` is right where the factor is 1; its gradient is `factor` times that."""
    found = report(make(1.0), reference, **options)
    assert found.agrees, str(found)
    assert {f.verdict.rule for f in found.findings} == {BOUND}, str(found)
    assert not report(make(1 + 1e-11), reference, **options).agrees


# --- buffers ----------------------------------------------------------------------------------------------------------

KERNEL = np.random.default_rng(0).normal(size=(2, 2, 3, 3))


def convolution(x: Any) -> Any:
    y = np.zeros((len(x), 2, x.shape[2] - 2, x.shape[3] - 2))
    for i in range(y.shape[2]):
        for j in range(y.shape[3]):
            y[:, :, i, j] = np.tensordot(x[:, :, i : i + 3, j : j + 3], KERNEL, axes=([1, 2, 3], [1, 2, 3]))
    return y


def convolution_gradient(dy: Any, x: Any) -> Any:
    dx = np.zeros(x.shape)
    for i in range(3):
        for j in range(3):
            dx[:, :, i : i + dy.shape[2], j : j + dy.shape[3]] += np.einsum("nohw,oc->nchw", dy, KERNEL[:, :, i, j])
    return dx


def pooling(x: Any) -> Any:
    y = np.empty((len(x), x.shape[1] // 2))
    for n in range(len(x)):
        for k in range(y.shape[1]):
            y[n, k] = np.max(x[n, 2 * k : 2 * k + 2])
    return y


def pooling_gradient(dy: Any, x: Any) -> Any:
    dx = np.zeros_like(x)
    for n in range(len(x)):
        for k in range(dy.shape[1]):
            dx[n, 2 * k + np.argmax(x[n, 2 * k : 2 * k + 2])] = dy[n, k]
    return dx


def recurrence(x: Any) -> Any:
    h = fresh((len(x), x.shape[1] + 1))
    for t in range(x.shape[1]):
        h[:, t + 1] = np.tanh(x[:, t] + 0.5 * h[:, t])
    return h[:, 1:]


def recurrence_gradient(dy: Any, x: Any) -> Any:
    h, dx, later = recurrence(x), np.full(x.shape, 0.0), np.zeros(len(x))
    for t in reversed(range(x.shape[1])):
        dx[:, t] = (dy[:, t] + 0.5 * later) * (1 - h[:, t] ** 2)
        later = dx[:, t]
    return dx


def torch_recurrence(x: torch.Tensor) -> torch.Tensor:
    h, found = torch.zeros(len(x), dtype=x.dtype), []
    for t in range(x.shape[1]):
        h = torch.tanh(x[:, t] + 0.5 * h)
        found.append(h)
    return torch.stack(found, 1)


ROWS = np.array([0, 2, 2, 1])


def scattered(x: Any) -> Any:
    y = np.zeros((3, x.shape[1]))
    np.add.at(y, ROWS, x * 0.3)
    return y


def by_numbers(x: Any) -> Any:
    y = np.zeros(x.shape)
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            y[i, j] = 1 / (1 + math.exp(-x[i, j]))
    return y


def as_arrays(x: Any) -> Any:
    x = np.asarray(x, dtype=float)
    if not isinstance(x, np.ndarray):
        raise TypeError("an array, please")
    return np.array([np.sin(row) for row in np.ascontiguousarray(x)])


erf = np.vectorize(math.erf)

BUFFERS = {
    "convolution": (convolution, convolution_gradient, lambda x: F.conv2d(x, torch.tensor(KERNEL)), (2, 2, 5, 5)),
    "pooling": (pooling, pooling_gradient, lambda x: F.max_pool1d(x[None], 2)[0], (3, 6)),
    "recurrence": (recurrence, recurrence_gradient, torch_recurrence, (3, 4)),
    "np.add.at": (
        scattered, lambda dy, x: 0.3 * dy[ROWS],
        lambda x: torch.zeros(3, x.shape[1], dtype=x.dtype).index_add(0, torch.tensor(ROWS), x * 0.3),
        lambda rng: rng.normal(size=(4, 3)),
    ),
    "number by number": (by_numbers, lambda dy, x: dy * by_numbers(x) * (1 - by_numbers(x)), torch.sigmoid, (3, 2)),
    "np.asarray": (as_arrays, lambda dy, x: np.asanyarray(dy) * np.cos(np.array(x)), torch.sin, (3, 2)),
    "np.vectorize": (
        lambda x: x * (1 + erf(x / math.sqrt(2))) / 2,
        lambda dy, x: dy * ((1 + erf(x / math.sqrt(2))) / 2 + x * np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)),
        F.gelu, (3, 2),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BUFFERS)
def test_a_buffer_that_is_filled_has_a_bound(name: str) -> None:
    forward, backward, reference, spec = BUFFERS[name]
    rng = np.random.default_rng(0)
    x = spec(rng) if callable(spec) else rng.normal(size=spec)
    inputs = {"x": x, "dy": rng.normal(size=forward(x).shape)}
    found = evaluate(CallSides(Functions(forward, backward), reference, ("x",)), inputs)
    assert {(e.verdict.agrees, e.verdict.rule) for e in found.values()} == {(True, BOUND)}, found
    wrong = CallSides(Functions(forward, lambda dy, x: (1 + 1e-11) * backward(dy, x)), reference, ("x",))
    found = evaluate(wrong, inputs)
    assert not found["input gradient"].verdict.agrees
    assert found["input gradient"].verdict.rule == BOUND


# --- the person's own functions, closures and classes -----------------------------------------------------------------


def copied(x: Any) -> Any:
    y = np.zeros(x.shape)
    y[:] = x
    return y


def decorated(f: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(f)
    def inner(*args: Any) -> Any:
        return copied(f(*args))

    return inner


TABLE = {"square": (copied, lambda x: copied(x * x))}


def in_a_closure(k: float) -> Any:
    helper, count = copied, [0]

    def forward(x: Any) -> Any:
        import numpy as another
        from numpy import zeros

        count[0] += 1
        y = another.zeros(x.shape)
        y += zeros(x.shape)
        y[...] = helper(x * x)
        return y

    @decorated
    def backward(dy: Any, x: Any) -> Any:
        class Twice:
            made = copied(np.full(1, 2.0))

        return k * TABLE["square"][0](dy * x) * Twice.made

    return forward, backward


class Base(abc.ABC):  # noqa: B024
    """A layer of which a half is inherited, and which keeps a cache."""

    def __init__(self, factor: float) -> None:
        self.factor, self.cache, self.parts = factor, {}, [Part()]

    def init(self, rng: Any) -> Any:
        return {}

    def store(self, x: Any) -> Any:
        return self.parts[0](self.alike(x))

    @staticmethod
    def alike(x: Any) -> Any:
        return np.zeros(x.shape) + x

    @classmethod
    def twice(cls, x: Any) -> Any:
        return cls.alike(x) * 2

    @property
    def x(self) -> Any:
        return copied(self.cache["x"])

    def parameter_gradients(self, params: Any, cache: Any, dy: Any) -> Any:
        return {}


class Part:
    __slots__ = ("seen",)

    def __call__(self, x: Any) -> Any:
        self.seen = copied(x)
        return self.seen


class Square(Base):
    def store(self, x: Any) -> Any:
        return super().store(x)

    def forward(self, params: Any, x: Any) -> Any:
        self.cache["x"] = x
        return self.store(x * x), self.x

    def input_gradient(self, params: Any, cache: Any, dy: Any) -> Any:
        return self.factor * self.twice(cache) * dy


@dataclass(frozen=True)
class Frozen:
    factor: float
    shapes: list[Any] = field(default_factory=list)

    def init(self, rng: Any) -> Any:
        return {}

    def forward(self, params: Any, x: Any) -> Any:
        self.shapes.append(x.shape)
        return copied(x * x), x

    def input_gradient(self, params: Any, cache: Any, dy: Any) -> Any:
        return self.factor * copied(2 * cache * dy)

    def parameter_gradients(self, params: Any, cache: Any, dy: Any) -> Any:
        return {}


class Loss:
    def __init__(self, factor: float) -> None:
        self.factor = factor

    def forward(self, output: Any, target: Any) -> Any:
        d = np.empty(output.shape)
        d[:] = output - target
        return np.asarray(np.mean(d * d)), d

    def gradient(self, d: Any) -> Any:
        return self.factor * 2 * copied(d) / d.size


class Rule:
    def __init__(self, factor: float) -> None:
        self.factor = factor

    def init(self, theta: Any) -> Any:
        return {"momentum_buffer": np.zeros(theta.shape)}

    def update(self, theta: Any, grad: Any, state: Any, learning_rate: float) -> Any:
        v = copied(0.9 * state["momentum_buffer"] + grad)
        return theta - self.factor * learning_rate * v, {"momentum_buffer": v}


PEOPLES = {
    "closures": (in_a_closure, lambda x: x * x, {"x": (3, 2)}),
    "a class": (Square, lambda x: x * x, {"x": (3, 2)}),
    "a frozen dataclass": (Frozen, lambda x: x * x, {"x": (3, 2)}),
    "bound methods": (lambda k: (Methods(k).forward, Methods(k).backward), lambda x: x * x, {"x": (3, 2)}),
    "a partial": (lambda k: (TABLE["square"][1], functools.partial(scaled, k)), lambda x: x * x, {"x": (3, 2)}),
    "a loss": (Loss, nn.MSELoss(), {"output": (3, 2), "target": (3, 2)}),
    "a rule": (Rule, lambda p, lr: torch.optim.SGD(p, lr, momentum=0.9), {"theta": (6,)}),
}


class Methods:
    def __init__(self, factor: float) -> None:
        self.factor = factor

    def forward(self, x: Any) -> Any:
        return copied(x * x)

    def backward(self, dy: Any, x: Any) -> Any:
        return self.factor * copied(2 * x * dy)


def scaled(k: float, dy: Any, x: Any) -> Any:
    return k * copied(2 * x * dy)


@pytest.mark.parametrize("name", PEOPLES)
def test_code_of_any_shape_has_a_bound(name: str) -> None:
    make, reference, options = PEOPLES[name]
    bounded_and_sharp(make, reference, **options)


# --- nothing else is changed ------------------------------------------------------------------------------------------


def test_the_persons_objects_are_left_alone() -> None:
    layer = Square(1.0)
    before = dict(vars(Square))
    check(layer, lambda x: x * x, x=(3, 2))
    assert type(layer.cache["x"]) is np.ndarray
    assert type(layer.parts[0].seen) is np.ndarray
    assert dict(vars(Square)) == before
    assert copied.__globals__ is globals()
    assert type(np.zeros(2)) is np.ndarray


def test_another_thread_sees_plain_numpy() -> None:
    seen: list[type] = []

    def forward(x: Any) -> Any:
        thread = threading.Thread(target=lambda: seen.append(type(outside())))
        thread.start()
        thread.join()
        return copied(x)

    outside = functools.partial(np.random.default_rng(0).normal, size=2)
    check((forward, lambda dy, x: copied(dy)), lambda x: x * 1, x=(3, 2))
    assert set(seen) == {np.ndarray}


def test_what_the_rebuilt_code_sets_stays_there() -> None:
    check((remembers, lambda dy, x: copied(dy)), lambda x: x * 1, x=(3, 2))
    assert type(REMEMBERED) is np.ndarray


REMEMBERED: Any = None


def remembers(x: Any) -> Any:
    global REMEMBERED
    REMEMBERED = copied(x)
    return REMEMBERED


class Registering(type):
    made: list[type] = []  # noqa: RUF012

    def __init__(cls, *args: Any) -> None:
        super().__init__(*args)
        Registering.made.append(cls)


class Registered(metaclass=Registering):
    def init(self, rng: Any) -> Any:
        return {}

    def forward(self, params: Any, x: Any) -> Any:
        return copied(x), x

    def input_gradient(self, params: Any, cache: Any, dy: Any) -> Any:
        return dy * 1

    def parameter_gradients(self, params: Any, cache: Any, dy: Any) -> Any:
        return {}


class Announcing:
    made: list[type] = []  # noqa: RUF012

    def __init_subclass__(cls) -> None:
        Announcing.made.append(cls)


class Announced(Announcing):
    init, forward, input_gradient = Registered.init, Registered.forward, Registered.input_gradient
    parameter_gradients = Registered.parameter_gradients


@pytest.mark.parametrize(("layer", "made"), [(Registered, Registering.made), (Announced, Announcing.made)])
def test_what_cannot_be_rebuilt_runs_as_it_is(layer: Any, made: list[type]) -> None:
    found = check(layer(), lambda x: x * 1, x=(3, 2))
    assert {f.verdict.rule for f in found.findings} == {TWO_PRECISION}
    assert made == [layer]


def test_code_that_is_other_code_when_rebuilt_keeps_the_bound_of_its_own() -> None:
    """A derivation that looks at its own globals takes another path when it is rebuilt; its numbers are not used."""

    def forward(x: Any) -> Any:
        return x * 2 if type(globals()) is dict else copied(x) * 3

    x = np.ones((2, 2))
    sides = CallSides(Functions(forward, lambda dy, x: dy), lambda x: x, ("x",))
    found = on_bounds(sides, {"x": x}, P, {"output": 2 * x})
    assert np.array_equal(found["output"].value, 2 * x)
    assert np.array_equal(on_bounds(sides, {"x": x}, P)["output"].value, 3 * x)


def test_code_without_a_person_is_not_rebuilt() -> None:
    from handgrad import manual
    from handgrad.compare.judge.sides import LayerSides

    sides = LayerSides(manual.ReLU(), nn.ReLU())
    assert with_stand_ins(sides, P) is sides
    translate = Translator(stand_ins(P))
    for x in (np.sin, torch.sin, functools.reduce, nn.ReLU, 3, "text", None, np.ones(2)):
        assert translate(x) is x


def test_the_same_thing_is_rebuilt_once() -> None:
    translate = Translator(stand_ins(P))
    layer = Square(1.0)
    forward, gradient = translate(layer.forward), translate(layer.input_gradient)
    assert forward.__self__ is gradient.__self__
    assert forward.__self__ is not layer
    assert isinstance(translate(copied)(Bounded(np.ones(2), None, P)), Bounded)
